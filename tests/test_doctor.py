"""`leadloop doctor` names what is wrong and what to do, and changes nothing."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from features.messages import Message
from leadloop import app
from training.cli.commands import FailOn
from training.cli.doctor import Diagnosis, worst_state
from training.leakage.checks import Check, Finding, has_finding
from training.leakage.column_checks import SEVERITIES


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "LEADLOOP_LOG", "LEADLOOP_PROJECT", "LEADLOOP_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bento"))
    return tmp_path


def examine(*options):
    """The exit code, the results by name, and what was printed."""
    result = CliRunner().invoke(app, ["doctor", "--json", "report.json", "--port", "0", *options])
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    return result.exit_code, {row["name"]: row for row in report["results"]}, result.output


def test_an_empty_folder_is_fine_and_stays_empty(empty_folder):
    code, results, output = examine()
    assert code == 0
    assert {row["state"] for row in results.values()} <= {"ok", "warning"}
    assert "leadloop init" in results["configuration"]["detail"]
    assert "ok      python: Python 3." in output
    assert [path.name for path in empty_folder.iterdir()] == ["report.json"]


def test_a_mistake_in_the_configuration_fails_with_its_place(empty_folder):
    (empty_folder / "leadloop.toml").write_text("[training]\nsed = 1\n")
    code, results, _ = examine()
    assert code == 1
    assert results["configuration"]["state"] == "failed"
    assert "sed" in results["configuration"]["detail"]
    assert results["configuration"]["advice"]


def test_a_tracking_server_that_is_gone_fails_without_a_long_wait(monkeypatch):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:secret@127.0.0.1:{free.getsockname()[1]}")
        code, results, output = examine()
    assert (code, results["tracking"]["state"]) == (1, "failed")
    assert "secret" not in output


def test_a_decision_log_is_read_and_a_damaged_one_is_named(empty_folder):
    with closing(sqlite3.connect(empty_folder / "log.db")) as log:
        log.execute("CREATE TABLE decisions (id INTEGER)")
        log.execute("INSERT INTO decisions VALUES (1)")
        log.commit()
    before = (empty_folder / "log.db").read_bytes()
    assert "holds 1 decisions" in examine("--log", "log.db")[1]["decision log"]["detail"]
    assert (empty_folder / "log.db").read_bytes() == before
    (empty_folder / "log.db").write_bytes(b"no database, but long enough to be taken for one" * 100)
    code, results, _ = examine("--log", "log.db")
    assert (code, results["decision log"]["state"]) == (1, "failed")
    _, results, _ = examine("--log", "postgresql://ada:secret@db.invalid/log")
    assert results["decision log"]["detail"].startswith("postgresql://db.invalid/log cannot be reached")


def test_a_port_in_use_is_a_warning():
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        code, results, _ = examine("--port", str(server.getsockname()[1]))
    assert (code, results["port"]["state"]) == (0, "warning")


def test_the_worst_counts():
    rows = [Diagnosis("a", state, "") for state in ("ok", "failed", "warning")]
    assert (worst_state(rows), worst_state(rows[:1]), worst_state([])) == ("failed", "ok", "ok")


def test_findings_are_as_severe_as_the_option_knows():
    assert get_args(FailOn) == SEVERITIES


@pytest.mark.parametrize(("severity", "failing"), [("high", False), ("medium", True), ("info", True)])
def test_a_check_fails_on_findings_as_severe_or_more(severity, failing):
    title, message = Message("checks.LC001"), Message("findings.no_value")
    checks = (Check("LC001", title), Check("LC006", title, (Finding("LC006", "medium", "x", message),)))
    assert has_finding(checks, severity) is failing
