"""Bad input, item by item, through the command itself: a clear error, or an entry in the quarantine.

Two items stand where the parts are tested: a 200 MB file in features/ingest, and a model folder from another
version in models/test_artifact.py; an interrupted training is in test_cli.py.
"""

from __future__ import annotations

import json
import random
import re
import resource
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_export import leads, write

import leadloop
from models import artifact
from serving.scorer import Scorer
from training.config.settings import Config, FlatConfig, TrainingConfig
from training.data.load import read_dataset
from training.leakage import checks
from training.pipeline.fit_model import train_model

FLAT = ["--id", "Id", "--label", "Converted"]
ROWS = 300
LEADS = leads(ROWS)
NO = pl.col("No")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder of its own; what it answered: (exit code, messages, standard output)."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["leadloop", *map(str, words)])
        code = 0
        try:
            leadloop.main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, err, out

    return command


@pytest.fixture
def check(run, tmp_path):
    """Writes an export and looks at it: (exit code, messages, quarantine rows)."""

    def looked_at(content, *more):
        path = tmp_path / "leads.csv"
        if isinstance(content, pl.DataFrame):
            content.write_csv(path)
        else:
            path.write_bytes(content)
        code, err, _ = run("check", "--leads", "leads.csv", *FLAT, *more)
        quarantine = tmp_path / "leadloop-out" / "quarantine.csv"
        rows = pl.read_csv(quarantine, infer_schema=False).rows() if quarantine.is_file() else []
        return code, err, rows

    return looked_at


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a model, learned from the company's leads."""
    folder = tmp_path_factory.mktemp("trained")
    export = write(folder, LEADS)
    dataset = read_dataset(
        Config(flat=FlatConfig(export, "Converted", id="Id", exclude=("No", "Noise"))), folder
    )
    artifact.save(train_model(dataset, TrainingConfig()).model, folder / "model")
    return folder / "model"


def with_cell(column, value, row=7):
    """The export with one cell replaced; row 7 stands in line 9 of the file."""
    cell = pl.when(row == NO).then(pl.lit(value)).otherwise(pl.col(column).cast(pl.String))
    return LEADS.with_columns(cell.alias(column))


def of(column, values):
    return LEADS.with_columns(pl.Series(column, np.resize(values, ROWS)))


UNUSABLE = {
    "an empty file": (b"", [], "leads.csv is empty: not even a header line"),
    "headers only": (b"Id,Visits,Converted\n", [], "leads.csv has column names but no rows"),
    "no text at all": (bytes(range(256)), [], "is no text file: leadloop reads CSV, Parquet"),
    "no label column": (LEADS.drop("Converted"), [], "leads.csv has no column 'Converted'"),
    "no columns left": (
        LEADS.select("Id", "Converted", Always=pl.lit(3)),
        [],
        "no column is left to learn from beside id, outcome and time: Always (constant: every row has '3')",
    ),
    "no id column": (LEADS.rename({"Id": "ID"}), [], "no column 'Id'; did you mean 'ID'?"),
    "no excluded column": (LEADS, ["--exclude", "Nois"], "no column 'Nois'; did you mean 'Noise'?"),
    "no time column": (LEADS, ["--time", "Number"], "leads.csv has no column 'Number'"),
    "a label of one class": (of("Converted", ["Yes"]), [], "one class only: every row is 'Yes'"),
    "a label of three": (of("Converted", ["won", "lost", "open"]), [], "'lost' (100), 'open' (100)"),
    "a label of blanks": (of("Converted", [""]), [], "'Converted' is blank in every row"),
    "a label of codes": (of("Converted", ["1", "2"]), [], "'1' and '2'; name the success: positive ="),
    "ids that are all alike": (of("Id", ["a"]), [], "299 of 300 rows cannot be used"),
    "a time that is none": (LEADS, ["--time", "Source"], "time column 'Source' is neither dates"),
    "times all in the future": (of("Day", ["2999-01-01", "2999-01-02"]), ["--time", "Day"], "in the future"),
    "a quote never closed": (
        LEADS.write_csv().replace("\n", '\n"', 1).encode(),
        [],
        "rows cannot be used, more than the 5% allowed",
    ),
}


@pytest.mark.parametrize(("content", "more", "says"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_ends_in_a_clear_error(check, content, more, says):
    code, err, _ = check(content, *more)
    assert code == 2
    assert says in err
    assert err.startswith("error: ")


DAYS = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00+05:00"]
QUARANTINED = {
    "a blank label": (with_cell("Converted", ""), [], ("9", "Converted", None, "no outcome")),
    "a duplicate id": (
        with_cell("Id", "000001"),
        [],
        ("9", "Id", "000001", "duplicate ID; the first row is used"),
    ),
    "a row without id": (with_cell("Id", ""), [], ("9", "Id", None, "no id")),
    "a word among numbers": (
        with_cell("Visits", "many"),
        [],
        ("9", "Visits", "many", "not a number; used as missing"),
    ),
    "a time in the future": (
        of("Day", ["2026-01-01"]).with_columns(
            Day=pl.when(NO == 7).then(pl.lit("2999-01-01")).otherwise("Day")
        ),
        ["--time", "Day"],
        ("9", "Day", "2999-01-01", "in the future"),
    ),
    "a time that is none": (
        of("Day", ["2026-01-01"]).with_columns(Day=pl.when(NO == 7).then(pl.lit("soon")).otherwise("Day")),
        ["--time", "Day"],
        ("9", "Day", "soon", "no time to order the row by"),
    ),
    "a line too short": (
        LEADS.write_csv().encode() + b"000999,1,2\n",
        [],
        ("302", None, "000999,1,2", "the line has fewer columns than the header"),
    ),
}


@pytest.mark.parametrize(("content", "more", "entry"), QUARANTINED.values(), ids=QUARANTINED)
def test_a_bad_cell_or_row_is_set_aside_with_its_place_and_the_others_go_on(check, content, more, entry):
    code, err, rows = check(content, *more)
    assert code == 0, err
    assert rows == [("leads", "leads.csv", *entry)]
    where = f", in {entry[1]}" if entry[1] else ""
    assert f"leadloop-out/quarantine.csv: {entry[-1]} (1{where})" in err


def test_times_of_mixed_zones_are_one_order(check, tmp_path):
    code, err, rows = check(of("Day", DAYS), "--time", "Day")
    assert (code, rows) == (0, []), err
    config = Config(flat=FlatConfig(tmp_path / "leads.csv", "Converted", id="Id", time="Day"))
    order = read_dataset(config, tmp_path).order
    assert order[0] - order[1] == 5 * 3600


def test_a_file_in_latin_1_is_read_and_said_to_be(check):
    code, err, rows = check(
        with_cell("Source", "M\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen").write_csv().encode("latin-1")
    )
    assert (code, rows) == (0, [])
    assert "leads.csv" in err
    assert "1252" in err or "Latin" in err


def test_a_quoted_line_break_does_not_break_the_row(check):
    spread = with_cell("Source", "two\nlines").with_columns(
        Visits=pl.when(NO == 8).then(pl.lit("many")).otherwise(pl.col("Visits").cast(pl.String))
    )
    code, err, rows = check(spread)
    assert code == 0, err
    # Row 8 would stand in line 10; the line break in row 7 moves it to line 11, where an editor shows it.
    assert [row[2:4] for row in rows] == [("11", "Visits")]


def test_columns_that_cannot_tell_leads_apart_are_named_and_left_out(check):
    dice = random.Random(1)  # noqa: S311
    notes = [
        f"a long note about lead {n}, typed in by someone after a call: {dice.random()}" for n in range(ROWS)
    ]
    odd = LEADS.with_columns(Always=pl.lit(3), Never=pl.lit(None, pl.String), Notes=pl.Series(notes))
    code, err, rows = check(odd)
    assert (code, rows) == (0, [])
    assert "columns not used: " in err
    assert "Always (constant: every row has '3')" in err
    assert "Never (empty: no row has a value)" in err
    assert "Notes (text: long free text)" in err


def test_of_many_columns_that_are_not_used_the_first_are_named_and_the_others_counted(check):
    empty = {f"Custom {n}": pl.lit(None, pl.String) for n in range(50)}
    code, err, _ = check(LEADS.with_columns(**empty, Always=pl.lit(3)))
    assert code == 0
    named = "No (identifier: numbers the rows); Always (constant: every row has '3'); Custom 0 (empty"
    assert f"columns not used: {named}" in err
    assert "and 32 more" in err


def test_numbers_that_cannot_be_read_as_such_are_pointed_out(check):
    # Decimals of another column would say what the commas mean.
    code, err, _ = check(of("Size", ["1,250", "3,500", "900"]).drop("Noise"))
    assert code == 0
    assert "columns that look like numbers: Size (words: commas or points may separate thousands" in err


def test_thousands_that_decimals_of_another_column_settle_are_read_and_told(check):
    code, err, _ = check(of("Size", ["1,250", "3,500", "900"]))
    assert code == 0
    assert (
        "columns of numbers to look at: Size (numbers; ',' before three digits is read as the mark between"
        in err
    )


def test_a_word_among_numbers_that_was_taken_as_missing_is_told(check):
    code, err, _ = check(of("Size", [*map(str, range(40)), *["k. A."] * 20]))
    assert code == 0
    assert "columns of numbers to look at: Size (numbers; " in err
    assert "cells with 'k. A.' were taken as missing" in err


def test_a_name_with_a_comma_can_be_excluded(check):
    named = LEADS.rename({"Noise": "Noise, pure", "Source": "From"})
    code, err, _ = check(named, "--exclude", '"Noise, pure", From')
    assert code == 0, err


def test_the_stages_of_closed_deals_are_the_outcome_and_open_ones_are_left_out(check):
    stages = of("Converted", ["Closed Won", "Closed Lost", "Prospecting"])
    code, err, rows = check(stages, "--positive", "Closed Won", "--negative", "Closed Lost")
    assert code == 0, err
    assert f"{ROWS // 3} rows have no outcome in 'Converted' and were left out" in err
    assert {row[4:] for row in rows} == {("Prospecting", "no outcome")}


def test_numbers_as_text_are_numbers(check, tmp_path):
    padded = LEADS.with_columns(Visits=" " + pl.col("Visits").cast(pl.String) + ".0 ")
    code, err, rows = check(padded)
    assert (code, rows) == (0, []), err
    config = Config(flat=FlatConfig(tmp_path / "leads.csv", "Converted", id="Id"))
    assert read_dataset(config, tmp_path).rows["Visits"].to_list() == LEADS["Visits"].to_list()


def test_ten_thousand_categories_are_learned_and_scored(run, tmp_path):
    rows = 20_000
    codes = np.random.default_rng(0).permutation(np.resize(np.arange(10_000), rows))
    many = leads(rows).with_columns(Town=pl.Series([f"town {code}" for code in codes])).drop("Noise", "No")
    path = write(tmp_path, many)
    dataset = read_dataset(Config(flat=FlatConfig(path, "Converted", id="Id")), tmp_path)
    assert dataset.rows["Town"].n_unique() == 10_000
    # Learning from a part: what is asked is whether so many words work, not how well.
    small = read_dataset(
        Config(flat=FlatConfig(write(tmp_path, many.head(2_000), "part.csv"), "Converted", id="Id")), tmp_path
    )
    learned = train_model(small, TrainingConfig()).model
    artifact.save(learned, tmp_path / "model")
    code, err, _ = run("score", "--model", "model", "--leads", path, "--out", "scores.csv")
    assert code == 0, err
    assert pl.scan_csv(tmp_path / "scores.csv").select(pl.len()).collect().item() == rows


def test_a_name_that_stands_twice_is_numbered_and_both_columns_are_learned(check):
    text = LEADS.write_csv().replace("Newsletter,Noise", "Noise,Noise", 1).encode()
    code, err, rows = check(text)
    assert (code, rows) == (0, [])
    assert "'Noise' stands there more than once; the one in place 6 is called 'Noise (2)'" in err


def test_a_column_may_be_called_as_the_file_of_contributions_calls_its_own(run, tmp_path):
    odd = write(tmp_path, LEADS.rename({"Source": "base"}))
    learned = train_model(
        read_dataset(Config(flat=FlatConfig(odd, "Converted", id="Id")), tmp_path), TrainingConfig()
    ).model
    artifact.save(learned, tmp_path / "model")
    score = ["score", "--model", "model", "--leads", odd, "--out", "scores.csv"]
    code, err, _ = run(*score, "--contributions", "c.parquet")
    assert code == 0, err
    contributions, odds = pl.read_parquet("c.parquet"), pl.read_csv("scores.csv")["log_odds"]
    assert contributions["base (feature)"].n_unique() > 1
    assert (
        contributions.select(pl.sum_horizontal(pl.exclude("lead_id"))).to_series() - odds
    ).abs().max() < 1e-9


def test_of_many_columns_that_a_model_does_not_use_the_first_are_named(run, model, tmp_path):
    write(tmp_path, LEADS.with_columns(**{f"Custom {n}": pl.lit(1) for n in range(50)}))
    code, err, _ = run("score", "--model", model, "--leads", "leads.csv", "--out", "scores.csv")
    assert code == 0
    assert "Custom 16, and 33 more" in err


def test_a_grave_finding_is_said_by_name_where_the_figures_are(run, tmp_path):
    write(tmp_path, LEADS.with_columns(Invoice=pl.when(pl.col("Converted") == "Yes").then(pl.lit("paid"))))
    code, err, _ = run("train", "--leads", "leads.csv", *FLAT)
    assert code == 0, err
    assert "LC002  high  Invoice: filled in for 100% of the converted leads and for 0% of the others" in err


@pytest.mark.parametrize(("spelt", "question"), [("Closed Won", "Closed Won"), ("Yes", "Converted")])
def test_what_is_asked_is_the_stage_that_is_a_success_or_the_column_of_a_yes(tmp_path, spelt, question):
    won = pl.when(pl.col("Converted") == "Yes").then(pl.lit(spelt)).otherwise(pl.lit("Lost"))
    export = write(tmp_path, LEADS.with_columns(Converted=won))
    assert read_dataset(Config(flat=FlatConfig(export, "Converted", "Id")), tmp_path).question == question


def test_ids_keep_their_leading_zeros(run, model, tmp_path):
    write(tmp_path, LEADS.head(5))
    code, err, _ = run("score", "--model", model, "--leads", "leads.csv", "--out", "scores.csv")
    assert code == 0, err
    assert [line.split(",")[0] for line in Path("scores.csv").read_text().splitlines()[1:]] == [
        "000000",
        "000001",
        "000002",
        "000003",
        "000004",
    ]


def test_a_category_never_seen_in_training_is_scored_and_no_error(run, model, tmp_path):
    new = LEADS.head(5).with_columns(Source=pl.lit("Carrier pigeon"))
    write(tmp_path, new)
    code, err, _ = run("score", "--model", model, "--leads", "leads.csv", "--out", "scores.csv")
    assert code == 0, err
    assert pl.read_csv("scores.csv")["probability"].is_between(0, 1).all()


def test_an_attribute_never_seen_in_training_is_refused_with_the_nearest_name(model):
    scorer = Scorer(artifact.load(model))
    good = {"lead_id": "a", "attributes": {"Visits": 3, "Source": "Ads"}}
    (unknown, fine) = scorer.score([{"lead_id": "b", "attributes": {"Visit": 3}}, good])
    assert (unknown.error.code, unknown.error.field) == ("unknown_attribute", "attributes.Visit")
    assert "did you mean 'Visits'" in unknown.error.message
    assert 0 < fine.probability < 1


def test_columns_that_training_left_out_may_be_sent_and_do_nothing(model):
    scorer = Scorer(artifact.load(model))
    lean = {"Visits": 3, "Source": "Ads", "Newsletter": "Yes"}
    everything = lean | {"Id": "000001", "No": 5, "Noise": 0.3, "Converted": "No"}
    short, full = scorer.score([{"lead_id": "a", "attributes": sent} for sent in (lean, everything)])
    assert short == full


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (LEADS.drop("Visits"), "leads.csv lacks columns that the model was trained on: Visits"),
        (LEADS.drop("Id"), "leads.csv has no column 'Id'"),
        (LEADS.clear(), "leads.csv has column names but no rows"),
    ],
)
def test_leads_that_cannot_be_scored_end_in_a_clear_error(run, model, tmp_path, frame, says):
    write(tmp_path, frame)
    code, err, _ = run("score", "--model", model, "--leads", "leads.csv", "--out", "scores.csv")
    assert code == 2
    assert says in err
    assert not Path("scores.csv").exists()


def test_scores_under_a_name_that_promises_another_format_are_refused(run, model, tmp_path):
    write(tmp_path, LEADS)
    code, err, _ = run("score", "--model", model, "--leads", "leads.csv", "--out", "scores.xlsx")
    assert code == 2
    assert "scores.xlsx: leadloop writes .csv and .parquet files" in err


@contextmanager
def full_disk(size=20_000):
    """No file can grow beyond ``size`` bytes: what writing meets then is what a full disk gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_a_full_disk_leaves_the_old_scores_and_says_so(run, model, tmp_path, name):
    write(tmp_path, leads(20_000))
    Path(name).write_text("old")
    with full_disk():
        code, err, _ = run("score", "--model", model, "--leads", "leads.csv", "--out", name)
    assert code == 1
    assert f"nothing was written: {name}" in err
    assert Path(name).read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leads.csv", name]


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_report_and_says_so(run, tmp_path):
    write(tmp_path, LEADS)
    run("train", "--leads", "leads.csv", *FLAT, "--out", "out")
    before = Path("out/report.html").read_bytes()
    with full_disk():
        code, err, _ = run("report", "--run", "out", "--lang", "de")
    assert code == 1
    assert "nothing was written: out/report.html" in err
    assert Path("out/report.html").read_bytes() == before


def test_a_holdout_of_leads_that_were_learned_from_is_said_to_flatter(run, tmp_path):
    write(tmp_path, LEADS)
    write(tmp_path, LEADS.head(90), "later.csv")
    code, err, _ = run("train", "--leads", "leads.csv", *FLAT, "--holdout", "later.csv")
    assert code == 0, err
    assert "90 of the 90 leads of the holdout teach the model, too: it flatters" in err


def test_an_unusable_holdout_is_refused_before_anything_is_learned(run, tmp_path):
    write(tmp_path, LEADS)
    write(tmp_path, LEADS.drop("Visits"), "later.csv")
    code, err, _ = run("train", "--leads", "leads.csv", *FLAT, "--holdout", "later.csv")
    assert code == 2
    assert "later.csv has no column 'Visits'" in err
    assert "fold" not in err


HISTORY = """
[leads]
file = "leads.csv"
[[touchpoints]]
file = "touchpoints.csv"
[[transitions]]
file = "transitions.csv"
[funnel]
stages = ["sql", "disqualified"]
target = "sql"
closed = ["disqualified"]
[label]
horizon = "30d"
[quarantine]
max_share = 0.5
"""
GOOD = {
    "leads.csv": "lead_id,created_at,city\n"
    + "".join(f"{n:03d},2026-01-{1 + n % 9:02d},{'Bonn' if n % 2 else 'Ulm'}\n" for n in range(80)),
    "touchpoints.csv": "lead_id,occurred_at,kind\n001,2026-01-05,visit\n002,2026-03-05,visit\n",
    "transitions.csv": "lead_id,occurred_at,stage\n"
    + "".join(f"{n:03d},2026-01-20,sql\n" for n in range(0, 80, 3)),
}
BAD_ROWS = {
    "a time that is none": ("touchpoints.csv", "003,yesterday,visit", ("4", "occurred_at", "yesterday")),
    "a time in the future": ("touchpoints.csv", "003,2999-01-01,visit", ("4", "occurred_at", "2999-01-01")),
    "a lead nobody knows": ("touchpoints.csv", "999,2026-01-05,visit", ("4", "lead_id", "999")),
    "an event without kind": ("touchpoints.csv", "003,2026-01-05,", ("4", "kind", None)),
    "a stage that does not exist": ("transitions.csv", "001,2026-01-05,sqll", ("29", "stage", "sqll")),
    "a duplicate lead": ("leads.csv", "005,2026-01-15,Bonn", ("82", "lead_id", "005")),
    "a lead without a date": ("leads.csv", "900,,Bonn", ("82", "created_at", None)),
}


@pytest.mark.parametrize(("file", "line", "place"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_of_a_history_is_set_aside_with_its_place(run, file, line, place):
    for name, text in GOOD.items():
        Path(name).write_text(text + (line + "\n" if name == file else ""))
    Path("leadloop.toml").write_text(HISTORY)
    code, err, _ = run("check")
    assert code == 0, err
    ((table, source, *location, reason),) = pl.read_csv(
        "leadloop-out/quarantine.csv", infer_schema=False
    ).rows()
    assert f"{table}.csv" == Path(source).name == file
    assert tuple(location) == place
    assert f"leadloop-out/quarantine.csv: {table}: {reason} (1, in {place[1]})" in err


def test_a_history_that_is_mostly_bad_stops_the_run(run):
    for name, text in GOOD.items():
        Path(name).write_text(text.replace("2026-", "soon-") if name == "leads.csv" else text)
    Path("leadloop.toml").write_text(HISTORY)
    code, err, _ = run("check")
    assert code == 2
    assert "rows cannot be used, more than the 50% allowed" in err


def test_a_history_without_an_outcome_of_both_kinds_says_how_many_there_are(run):
    for name, text in GOOD.items():
        Path(name).write_text(text)
    Path("leadloop.toml").write_text(HISTORY.replace('horizon = "30d"', 'horizon = "1d"'))
    code, err, _ = run("check")
    assert code == 2
    assert "0 rows with and 80 without it; a model needs both" in err


def test_a_fault_that_nobody_foresaw_is_one_line_and_a_file_to_report(run, tmp_path, monkeypatch):
    def broken(*_):
        msg = "index out of bounds"
        raise RuntimeError(msg)

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(checks, "run_checks", broken)
    write(tmp_path, LEADS)
    code, err, out = run("check", "--leads", "leads.csv", *FLAT)
    assert (code, out) == (1, "")
    match = re.fullmatch(r"error: leadloop has a fault \(RuntimeError: (.+)\); .* report it with (.+)\n", err)
    assert match[1] == "index out of bounds"
    assert "in broken" in Path(match[2]).read_text()


def test_a_place_that_cannot_be_written_is_said_before_anything_is_learned(run, tmp_path):
    write(tmp_path, LEADS)
    Path("taken").write_text("a file, not a folder")
    code, err, _ = run("train", "--leads", "leads.csv", *FLAT, "--out", "taken/out")
    assert code == 2
    assert "is a file; name a folder" in " ".join(err.split())


def test_json_goes_to_standard_output_alone_even_when_something_is_wrong(run, tmp_path):
    write(tmp_path, with_cell("Visits", "many"))
    code, _, out = run("check", "--leads", "leads.csv", *FLAT, "--json", "-")
    assert code == 0
    assert "findings" in json.loads(out)
