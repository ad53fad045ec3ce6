"""What people ran into with their own files, through the command itself: each is right now, or named."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

import leadloop
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from models import artifact
from training.config.settings import Config, FlatConfig, TrainingConfig
from training.data.load import read_dataset
from training.pipeline.fit_model import train_model

CASES = Path(__file__).parents[2] / "shared" / "cases"
FLAT = ("--id", "Id", "--label", "Won")


@pytest.fixture
def case(request, tmp_path, monkeypatch):
    """The files of the case that the test names, in an empty folder of their own."""
    name = request.param
    if not (CASES / name).is_dir():
        pytest.skip(f"{CASES / name} is not on this machine")
    shutil.copytree(CASES / name, tmp_path / name)
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / name


def of(name):
    return pytest.mark.parametrize("case", [name], indirect=True, ids=[name])


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; what it answered: (exit code, messages)."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["leadloop", *map(str, words)])
        code = 0
        try:
            leadloop.main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, err + out

    return command


def trained(file, label="Won", **settings):
    """A model learned from a file, saved beside it."""
    config = Config(flat=FlatConfig(file, label, id="Id", **settings))
    model = train_model(read_dataset(config, file.parent), TrainingConfig()).model
    artifact.save(model, file.parent / "model")
    return model


def rows_of(model, file):
    """The rows of a file to score as that model reads them."""
    card = model.card
    columns = FlatColumns.from_features(model.features, card.id_column, card.missing, card.marks)
    return pl.concat(batch.leads for batch in iter_flat_batches(file, columns))


def read(file, label="Won", **settings):
    return read_dataset(Config(flat=FlatConfig(file, label, id="Id", **settings)), file.parent)


@of("01-de-thousands-million")
def test_a_million_settles_what_a_point_is(case):
    amounts = read(case / "export.csv").rows["Umsatz"]
    assert {950, 1250, 12500, 1250000} < set(amounts)
    assert all(amount == int(amount) for amount in amounts)


@of("19-score-german-spreadsheet")
def test_a_spreadsheet_of_another_country_scores_alike(case):
    model = trained(case / "history.csv")
    plain = rows_of(model, case / "new_plain.csv")
    assert rows_of(model, case / "new_de.csv").equals(plain)
    assert rows_of(model, case / "new_tsv.txt").equals(plain)


@of("09-utf8-one-bad-byte")
def test_one_bad_byte_leaves_a_file_what_it_is(case, run):
    code, said = run("check", "--leads", "export.csv", *FLAT, "--exclude", "Größe")
    assert (code, "line 302 of this UTF-8 file" in said) == (0, True)
    model = trained(case / "good.csv")
    bad, good = (rows_of(model, case / name) for name in ("bad_row_only.csv", "good.csv"))
    assert (bad["Quelle"] == good["Quelle"]).sum() >= 599


@of("11-nfd-nfc")
def test_a_letter_in_two_parts_is_one_letter(case, run):
    code, _ = run("check", "--leads", "nfd.csv", "--id", "Id", "--label", "Größe_erreicht")
    assert code == 0
    model = trained(case / "nfc.csv")
    assert rows_of(model, case / "new_nfd.csv").equals(rows_of(model, case / "nfc.csv"))


@of("17-title-above-header")
@pytest.mark.parametrize("name", ["a.csv", "b.csv", "c.csv"])
@pytest.mark.usefixtures("case")
def test_columns_below_a_title_are_found(run, name):
    code, said = run("check", "--leads", name, *FLAT)
    assert (code, "above the column names" in said) == (0, True)


@of("08-region-NA")
def test_a_region_that_was_taken_as_missing_is_told(case, run):
    code, said = run("check", "--leads", "export.csv", *FLAT)
    assert (code, "column 'Region': 150 cells with 'NA' were taken as missing" in said) == (0, True)
    assert read(case / "export.csv", missing=("",)).rows["Region"].to_list().count("NA") == 150


@of("20b-two-stray-quotes")
@pytest.mark.usefixtures("case")
def test_records_inside_one_cell_are_told(run):
    code, said = run("check", "--leads", "export.csv", *FLAT)
    assert code == 2
    assert "150 of 600 rows cannot be used" in said
    assert "the cell holds 150 lines, each of them a record" in said


@of("12b-parquet-decimal-ids-apart")
def test_long_ids_are_what_they_are(case):
    ids = pl.read_parquet(case / "export.parquet")["Id"]
    assert read(case / "export.parquet").rows["lead_id"].to_list() == [f"{each:.0f}" for each in ids]


@of("13-parquet-nested")
@pytest.mark.usefixtures("case")
@pytest.mark.parametrize(
    ("name", "left_out"),
    [("list", "tags"), ("duration", "response_time"), ("struct", "utm"), ("map", "props"), ("uuid", "")],
)
def test_columns_of_lists_and_maps_are_left_out_and_said(run, name, left_out):
    code, said = run("check", "--leads", f"{name}.parquet", *FLAT)
    assert code == 0
    assert not left_out or f"columns not used: {left_out} (" in said


@of("51-salesforce-15-18")
@pytest.mark.usefixtures("case")
def test_ids_of_15_and_of_18_characters_are_named(run):
    code, said = run("check", "--config", "leadloop.toml")
    assert (code, "the last three characters (15 of Salesforce against 18) alone (1,629" in said) == (2, True)


@of("23-monitor-ids-do-not-match")
@pytest.mark.parametrize(("name", "unmatched"), [("outcomes.csv", 600), ("third.csv", 400)])
def test_outcomes_that_fit_no_scored_lead_are_told(case, run, name, unmatched):
    trained(case / "history.csv")
    run("score", "--leads", "history.csv", "--model", "model", "--out", "s.csv")
    outcomes = ("--outcomes", name, *FLAT)
    code, said = run("monitor", "--scores", "s.csv", *outcomes, "--model", "model")
    assert f"{unmatched} of 600 outcomes fit no scored lead" in said
    assert f"{unmatched} would but for leading zeros: 'L2' and 'L00002'" in said
    assert (code, "verdict: watch" in said) == (3, True)
