"""The log as a file of scores: what was said last about each lead, as `leadloop score` writes it."""

from __future__ import annotations

from dataclasses import replace

from log_entries import log_decisions, make_decision
from typer.testing import CliRunner

from leadloop import app
from models.explanation import Reason
from models.uncertainty import InsufficientEvidence
from serving.decision_log.database import open_log
from serving.decision_log.frames import REASONS, latest_scores
from training.crm.score_file import read_score_file

WHY = tuple(Reason(f"f{i}", "fit", float(i), (10.25 - i) / 29, 10.25 - i, f"because {i}") for i in range(5))


def test_the_newest_told_decision_of_each_lead_is_its_score(log):
    log_decisions(log, make_decision("0012", points=1), make_decision("bob", points=2))
    log_decisions(log, make_decision("0012", points=3, reasons=WHY))
    log_decisions(log, make_decision("bob", points=9), shadow=True)
    [frame] = latest_scores(log)
    assert frame.select("lead_id", "points").rows() == [("bob", 2), ("0012", 3)]
    assert frame.select("^reason_.*$").rows() == [
        (None,) * REASONS,
        ("+10.2 because 0", "+9.2 because 1", "+8.2 because 2"),
    ]


def test_a_number_that_was_withheld_is_withheld_here_too(log):
    few = InsufficientEvidence("too_few_outcomes", None, "Too few conversions.")
    log_decisions(
        log,
        make_decision("ada", insufficient=few),
        make_decision("bob", insufficient=replace(few, code="no_signal")),
    )
    [frame] = latest_scores(log)
    assert frame.select("lead_id", "probability", "points", "grade").rows() == [
        ("ada", None, None, None),
        ("bob", 0.25, 168, "B"),
    ]


def test_a_log_of_any_size_is_read_whole_and_an_empty_one_has_the_columns(log, monkeypatch):
    assert [frame.height for frame in latest_scores(log)] == [0]
    monkeypatch.setattr("serving.decision_log.frames._CHUNK_ROWS", 4)
    log_decisions(log, *(make_decision(str(i)) for i in range(10)))
    assert [frame.height for frame in latest_scores(log)] == [4, 4, 2]


def test_the_command_writes_what_push_reads(tmp_path):
    log = open_log(str(tmp_path / "decisions.db"))
    log_decisions(log, make_decision("0012", probability=0.25), make_decision("bob", probability=0.75))
    log.dispose()
    out = tmp_path / "scores.csv"
    result = CliRunner().invoke(
        app, ["decisions", "--log", str(tmp_path / "decisions.db"), "--out", str(out)]
    )
    assert result.exit_code == 0
    assert dict(read_score_file(out).select("lead_id", "score").iter_rows()) == {"0012": 25, "bob": 75}


def test_a_log_that_is_not_there_is_not_made(tmp_path):
    place = tmp_path / "nothing.db"
    result = CliRunner().invoke(
        app, ["decisions", "--log", str(place), "--out", str(tmp_path / "scores.csv")]
    )
    assert (result.exit_code, place.exists()) == (2, False)
    assert list(tmp_path.iterdir()) == []
