"""The command as a person or a script meets it: files in, files out, exit codes, one JSON object."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from zipfile import is_zipfile

import polars as pl
import pytest
from small_export import leads, write

COMMAND = [sys.executable, "-m", "leadloop"]
FLAT = ["--id", "Id", "--label", "Converted"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an export, and a model trained on it."""
    folder = tmp_path_factory.mktemp("company")
    write(folder)
    write(folder, leads(300, seed=9), "later.csv")
    options = [*FLAT, "--time", "No", "--exclude", "Noise", "--holdout", "later.csv", "--json", "-"]
    result = run(folder, "train", "--leads", "leads.csv", *options)
    assert result.returncode == 0, result.stderr
    (folder / "train.json").write_text(result.stdout)
    return folder


def run(folder, *words):
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment | {"BENTOML_HOME": str(folder / "bentoml")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_train_prints_one_json_object_and_nothing_else(place):
    result = json.loads((place / "train.json").read_text())
    assert result["rows"] == 600
    assert result["time_ordered"] is True
    assert Path(place, result["model_dir"], "SHA256SUMS").is_file()
    for part in ("validation", "holdout"):
        figures = result["metrics"][part]
        assert set(figures) == {"roc_auc", "average_precision", "log_loss", "brier", "calibration_error"}
        assert all(f["low"] <= f["value"] <= f["high"] for f in figures.values())
    assert result["metrics"]["holdout"]["roc_auc"]["value"] > 0.7


@pytest.mark.slow
def test_score_writes_reasons_and_contributions_that_add_up(place):
    result = run(
        place, "score", "--model", "leadloop-out/model", "--leads", "later.csv", "--out", "scores.csv",
        "--explain", "2", "--contributions", "weights.parquet",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    scores = pl.read_csv(place / "scores.csv", schema_overrides={"lead_id": pl.String})
    weights = pl.read_parquet(place / "weights.parquet")
    assert scores["lead_id"].to_list() == leads(300)["Id"].to_list()
    columns = ["lead_id", "log_odds", "probability", "points", "grade"]
    doubt = ["low", "high", "sufficient", "insufficient"]
    assert scores.columns == [*columns, *doubt, "reason_1", "reason_2"]
    total = weights.select(pl.sum_horizontal(pl.exclude("lead_id"))).to_series()
    assert (total - scores["log_odds"]).abs().max() < 1e-9
    assert set(weights.columns) == {"lead_id", "base", "Visits", "Source", "Newsletter"}


@pytest.mark.slow
def test_csv_and_parquet_scores_are_the_same(place):
    pl.read_csv(place / "later.csv", schema_overrides={"Id": pl.String}).write_parquet(
        place / "later.parquet"
    )
    for suffix in ("csv", "parquet"):
        model = ["--model", "leadloop-out/model"]
        result = run(place, "score", *model, "--leads", f"later.{suffix}", "--out", f"{suffix}.parquet")
        assert result.returncode == 0, result.stderr
    assert pl.read_parquet(place / "csv.parquet").equals(pl.read_parquet(place / "parquet.parquet"))


@pytest.mark.slow
def test_a_report_is_written_again_in_german(place):
    result = run(place, "report", "--lang", "de", "--out", "bericht.html")
    assert result.returncode == 0, result.stderr
    assert 'lang="de"' in (place / "bericht.html").read_text()


@pytest.mark.slow
def test_the_board_the_tables_and_what_changed_are_written_alone(place):
    before = (place / "leadloop-out/report.html").read_bytes()
    earlier = place / "leadloop-out/report-before.json"
    assert not earlier.exists()
    result = run(place, "report", "--since", "last")
    assert "no earlier report" in result.stderr
    shutil.copy(place / "leadloop-out/report.json", earlier)
    result = run(place, "report", "--since", "last", "--email", "digest.html", "--xlsx", "tables.xlsx")
    assert result.returncode == 0, result.stderr
    assert (place / "digest.html").read_text().startswith("<!doctype html>")
    assert "nothing changed beyond chance" in (place / "digest.txt").read_text()
    assert is_zipfile(place / "tables.xlsx")
    result = run(place, "report", "--board", "--lang", "de", "--out", "board.html")
    assert result.returncode == 0, result.stderr
    assert "Wie verlässlich ist das?" in (place / "board.html").read_text(encoding="utf-8")
    assert (place / "leadloop-out/report.html").read_bytes() == before


@pytest.mark.slow
def test_check_lists_findings(place):
    result = run(place, "check", "--leads", "leads.csv", *FLAT, "--json", "-")
    checks = json.loads(result.stdout)
    assert {finding["code"] for finding in checks["findings"]} == {"LC007"}
    assert set(checks["findings"][0]) == {"code", "severity", "column", "message"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--leads", "nowhere.csv", *FLAT], "nowhere.csv"),
        (["train", "--leads", "leads.csv", "--id", "Id", "--label", "Convertd"], "Converted"),
        (["train", "--leads", "leads.csv", "--id", "Id"], "--label is missing"),
        (["train", "--leads", "leads.csv", "--id", "Id", "--label", "Source"], "3 values"),
        (["train"], "leadloop init"),
        (["train", "--leads", "leads.csv", *FLAT, "--json", "nowhere/x.json"], "there is no folder"),
        (["train", "--leads", "leads.csv", *FLAT, "--json", "leads.csv/x.json"], "there is no folder"),
        (["check", "--leads", "leads.csv", *FLAT, "--json", "."], "is a folder; name a file in it"),
        (["score", "--leads", "leads.csv", "--out", "nowhere/x.csv"], "there is no folder"),
        (
            ["score", "--leads", "leads.csv", "--out", "x.csv", "--contributions", "no/x.parquet"],
            "there is no folder",
        ),
        (["points", "--leads", "leads.csv", *FLAT, "--out", "nowhere/x.csv"], "there is no folder"),
        (["report", "--out", "nowhere/x.html"], "there is no folder"),
        (["report", "--xlsx", "nowhere/x.xlsx"], "there is no folder"),
        (["report", "--email", "nowhere/x.html"], "there is no folder"),
        (["init", "leads.csv", "--out", "nowhere/x.toml"], "there is no folder"),
        (["monitor", "--log", "leads.csv", "--html", "nowhere/x.html"], "there is no folder"),
        (["decisions", "--out", "nowhere/x.csv"], "there is no folder"),
        (["check"], "--leads, --id and --label"),
        (["score", "--model", "nowhere", "--leads", "leads.csv", "--out", "x.csv"], "no model here"),
        (["score", "--leads", "leads.csv"], "--out"),
        (["report", "--run", "nowhere"], "leadloop train"),
        (["promote", "nowhere"], "nowhere is neither a folder nor a tracked run"),
        (["push", "hubspot", "--scores", "nowhere.csv"], "nowhere.csv does not exist"),
        (["nonsense"], "nonsense"),
    ],
)
def test_unusable_input_ends_with_code_2_and_says_what_to_do(tmp_path, words, says):
    write(tmp_path)
    result = run(tmp_path, *words)
    assert result.returncode == 2, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.slow
def test_an_interrupted_training_leaves_nothing_half_written(tmp_path):
    write(tmp_path, leads(20_000))
    process = subprocess.Popen(
        [*COMMAND, "train", "--leads", "leads.csv", *FLAT], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("fold 1"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in rest
    assert not (tmp_path / "leadloop-out" / "model").exists()


def test_the_command_says_which_release_it_is(tmp_path):
    result = run(tmp_path, "--version")
    assert (result.returncode, result.stdout) == (0, f"leadloop {version('leadloop')}\n")


@pytest.mark.parametrize("words", [[], ["keys"], ["log"], ["models"], ["store"], ["webhooks"]], ids=str)
def test_the_list_of_commands_says_each_in_a_whole_sentence(tmp_path, words):
    listed = run(tmp_path, *words, "--help").stdout.partition("Commands:")[2].strip().splitlines()
    assert listed
    assert all(line.endswith(".") and not line.endswith("...") for line in listed), listed


@pytest.mark.parametrize("command", ["train", "check", "backtest", "points"])
def test_what_reads_a_flat_export_lists_its_options_first(tmp_path, command):
    listed = re.findall(r"^  --(\S+)", run(tmp_path, command, "--help").stdout, flags=re.MULTILINE)
    options = ["leads", "id", "label", "time", "exclude", "positive", "negative", "encoding", "config"]
    assert listed[: len(options)] == options


def test_help_imports_nothing_heavy():
    heavy = ("mlflow", "polars", "lightgbm", "bentoml", "numpy")
    code = f"import sys, leadloop; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_points_are_learned_printed_and_written(place):
    options = [*FLAT, "--time", "No", "--exclude", "Noise", "--out", "points.csv", "--json", "-"]
    result = run(place, "points", "--leads", "leads.csv", *options)
    assert result.returncode == 0, result.stderr
    table = json.loads(result.stdout)
    assert 0 < len(table["rows"]) <= 30
    assert all(isinstance(row["points"], int) for row in table["rows"])
    assert set(table["roc_auc"]) == set(table["log_loss"]) == {"table", "model"}
    assert pl.read_csv(place / "points.csv").height == len(table["rows"])
