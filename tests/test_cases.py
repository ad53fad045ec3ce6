"""What people ran into with their own files, through the command itself: each is right now, or named."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import leadloop
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from models import artifact
from models.metrics import roc_auc
from training.config.settings import Config, FlatConfig, TrainingConfig
from training.data.load import read_dataset
from training.learner.fit import fit
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
    assert "the cell contains 150 lines, each of them a record" in said


@of("12b-parquet-decimal-ids-apart")
def test_long_ids_are_what_they_are(case):
    ids = pl.read_parquet(case / "export.parquet")["Id"]
    assert read(case / "export.parquet").rows["lead_id"].to_list() == [f"{each:.0f}" for each in ids]


@of("13-parquet-nested")
@pytest.mark.usefixtures("case")
@pytest.mark.parametrize(
    ("name", "left_out"),
    [("list", ""), ("duration", "response_time"), ("struct", "utm"), ("map", "props"), ("uuid", "")],
)
def test_columns_of_lists_and_maps_are_left_out_and_said(run, name, left_out):
    code, said = run("check", "--leads", f"{name}.parquet", *FLAT)
    assert code == 0
    assert not left_out or f"columns not used: {left_out} (" in said


@of("51-salesforce-15-18")
@pytest.mark.usefixtures("case")
def test_ids_of_15_and_of_18_characters_are_named(run):
    code, said = run("check", "--config", "leadloop.toml")
    assert (code, "only in the last three characters (15 of Salesforce against 18) (1,629" in said) == (
        2,
        True,
    )


@of("23-monitor-ids-do-not-match")
@pytest.mark.parametrize(("name", "unmatched"), [("outcomes.csv", 600), ("third.csv", 400)])
def test_outcomes_that_fit_no_scored_lead_are_told(case, run, name, unmatched):
    trained(case / "history.csv")
    run("score", "--leads", "history.csv", "--model", "model", "--out", "s.csv")
    outcomes = ("--outcomes", name, *FLAT)
    code, said = run("monitor", "--scores", "s.csv", *outcomes, "--model", "model")
    assert f"{unmatched} of 600 outcomes match no scored lead" in said
    assert f"{unmatched} would match but for leading zeros: 'L2' and 'L00002'" in said
    assert (code, "verdict: watch" in said) == (3, True)


@of("33-zero-dates")
@pytest.mark.usefixtures("case")
def test_zeros_are_no_date_and_a_date_of_conversion_is_a_leak(run):
    code, said = run("check", "--leads", "a.csv", *FLAT)
    assert (code, "'date_converted' is filled for 100% of the successes and 0% of the others" in said) == (
        0,
        True,
    )
    code, said = run("check", "--leads", "b.csv", *FLAT)
    assert (code, "last_call (date: " in said) == (0, True)
    assert run("check", "--leads", "a.csv", *FLAT, "--time", "created")[0] == 0


@of("27-created-1900")
@pytest.mark.usefixtures("case")
@pytest.mark.parametrize(
    "words", [("--leads", "export.csv", *FLAT, "--time", "Created"), ("--config", "leadloop.toml")]
)
def test_a_lead_of_1900_has_no_date(run, words):
    code, said = run("check", *words)
    assert (code, "a placeholder date, such as 1900-01-01" in said) == (2, True)


@of("04-dates-first-weeks")
@pytest.mark.usefixtures("case")
def test_days_above_twelve_prove_what_comes_first(run):
    code, said = run("check", "--leads", "export.csv", *FLAT, "--time", "Created")
    assert (code, "LC007  holds" in said) == (0, True)


@of("05-iso-date-ampm")
@pytest.mark.usefixtures("case")
def test_an_iso_date_with_half_a_day_is_a_date(run):
    code, said = run("check", "--leads", "export.csv", *FLAT, "--time", "Created")
    assert (code, "LC007  holds" in said) == (0, True)
    assert "Created (date: times (iso))" in run("check", "--leads", "export.csv", *FLAT)[1]


@of("28-outcome-is-a-date")
@pytest.mark.usefixtures("case")
@pytest.mark.parametrize(
    ("name", "label", "positive"), [("export", "Converted Date", "filled"), ("revenue", "Revenue", "> 0")]
)
def test_an_outcome_may_be_a_date_or_an_amount(run, name, label, positive):
    words = ("check", "--leads", f"{name}.csv", "--id", "Id", "--label", label)
    code, said = run(*words)
    assert (code, f"--positive {positive}" in said.replace("'", "")) == (2, True)
    code, said = run(*words, "--positive", positive)
    assert (code, f"% of them positive ({label} {positive})" in said) == (0, True)


@of("65-open-and-lost-only")
@pytest.mark.usefixtures("case")
def test_what_is_not_lost_is_not_won(run):
    code, said = run("check", "--leads", "export.csv", "--id", "Id", "--label", "Status")
    assert (code, "name the success" in said) == (2, True)


@of("38-phone-owner-ids")
def test_phones_and_owners_are_no_amounts(case):
    dataset = read(case / "export.csv")
    units = {spec.name: spec.unit for spec in dataset.features.specs}
    assert units == {"Source": "category", "Visits": "number", "Contact owner ID": "category"}


@of("14-pandas-index-in-parquet")
def test_an_index_of_pandas_is_no_column(case):
    model = trained(case / "export.parquet")
    assert "__index_level_0__" not in model.features.names
    assert rows_of(model, case / "noindex.parquet").height == 600


@of("25-bulk-import-one-day")
def test_one_day_for_all_is_no_order(case):
    dataset = read(case / "export.csv", time="Created")
    assert dataset.order is None
    assert any("puts nothing in order" in notice for notice in dataset.notices)


@of("18-multi-select")
@pytest.mark.usefixtures("case")
def test_several_choices_in_a_cell_are_named(run):
    code, said = run("check", "--leads", "export.csv", *FLAT)
    assert (code, "'Interests': several choices in one cell; each of 7 is a column of its own" in said) == (
        0,
        True,
    )


@of("72-folder-with-percent")
def test_a_folder_that_holds_no_store_is_refused_before_the_work(case, run, monkeypatch):
    monkeypatch.chdir(case / "Export%20Leads")
    code, said = run("train", "--leads", "base.csv", *FLAT)
    assert (code, "in a folder with % in its path" in said, "chosen" in said) == (2, True, False)


@of("52-future-tasks")
@pytest.mark.usefixtures("case")
def test_planned_tasks_do_not_stop_a_run(run):
    code, said = run("check", "--config", "leadloop.toml")
    assert (code, "touchpoints: in the future (204" in said) == (0, True)


@of("68-scheduled-after-export")
@pytest.mark.usefixtures("case")
def test_planned_calls_do_not_make_snapshots_mature(run):
    code, said = run("check", "--config", "leadloop.toml")
    assert (code, "\n580 snapshots" in said, "taken as planned" in said) == (0, True, True)


@of("18-multi-select")
def test_the_order_of_choices_in_a_cell_is_nothing(case):
    rows = read(case / "export.csv").rows
    cells = pl.read_csv(case / "export.csv")["Interests"].str.split(";")
    assert rows["Interests: Demo"].to_list() == cells.list.contains("Demo").cast(pl.Float64).to_list()
    assert "Interests" not in rows.columns


@of("18-multi-select")
@pytest.mark.slow
def test_one_choice_of_several_is_learned_from(case):
    dataset = read(case / "export.csv")
    frame, label = dataset.rows.select(dataset.features.names), dataset.label.astype(float)
    halves = np.arange(len(label)) % 2
    areas = []
    for half in (0, 1):
        earlier, later = np.flatnonzero(halves == half), np.flatnonzero(halves != half)
        predictor = fit(frame[earlier], label[earlier]).predictor
        log_odds = predictor.log_odds(predictor.encodings.encode(frame[later]))
        areas.append(roc_auc(label[later], log_odds))
    assert np.mean(areas) > 0.75
