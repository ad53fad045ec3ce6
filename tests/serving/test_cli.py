"""`leadloop log`: an audit, a broom and a count."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from log_entries import log_decisions, make_decision
from sqlalchemy import select, update
from typer.testing import CliRunner

from leadloop import app
from models import artifact
from models.project import read_project
from serving.decision_log.replay import replay
from serving.decision_log.settings import LogSettings
from serving.decision_log.tables import DECISIONS
from serving.scorer import Scorer


def run(*words):
    return CliRunner().invoke(app, ["log", *map(str, words)])


@pytest.fixture
def decided(log, model_folder, lead):
    """Decisions of a learned model in the log: scored alone, scored together, explained."""
    scorer, decisions = Scorer(artifact.load(model_folder)), []
    leads = [lead | {"lead_id": str(number), "as_of": 1_780_000_000 + number} for number in range(70)]
    scorer.score(leads[:3], decisions.append)
    scorer.score(leads, decisions.append)
    scorer.explain(leads[:3], "de", 5, note=decisions.append)
    log_decisions(log, *decisions)
    return len(decisions)


def keys(*words):
    return CliRunner().invoke(app, ["keys", *map(str, words)])


def test_a_key_names_its_tenant_and_a_new_file_its_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEADLOOP_PROJECT", raising=False)
    added = keys("add", "crm", "--scope", "score", "--scope", "handover", "--tenant", "acme")
    assert (added.exit_code, added.stdout.startswith("leadloop_")) == (0, True)
    assert "crm: score, handover; tenant acme; since" in keys("list").stdout
    drawn = read_project(tmp_path / "leadloop-out")
    # Beside it, and in a folder that knows no project.
    for file in ("leadloop-out/keys.json", "keys.json"):
        keys("add", "other", "--scope", "score", "--keys", file)
        assert json.loads(Path(file).read_text())["project"] == drawn
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    keys("add", "crm", "--scope", "score", "--keys", "keys.json")
    assert "project" not in json.loads(Path("keys.json").read_text())
    assert not Path("leadloop-out").exists()
    monkeypatch.setenv("LEADLOOP_PROJECT", "acme")
    keys("add", "crm", "--scope", "score", "--keys", "acme.json")
    assert json.loads(Path("acme.json").read_text())["project"] == "acme"


def test_every_decision_comes_out_again_to_the_bit(log, decided, model_folder):
    replayed = replay(log, artifact.load(model_folder))
    assert (replayed.same, replayed.different) == (decided, ())


def altered_reason(decision):
    first, *others = json.loads(decision.reasons)
    first["contribution"] = math.nextafter(first["contribution"], 9)
    return {"reasons": json.dumps([first, *others])}


@pytest.mark.parametrize(
    "change",
    [
        lambda decision: {"probability": math.nextafter(decision.probability, 1)},
        lambda decision: {"log_odds": math.nextafter(decision.log_odds, 9)},
        lambda decision: {"points": decision.points + 1},
        lambda decision: {"row": json.dumps(json.loads(decision.row) | {"demo_request.count": 99.0})},
        altered_reason,
    ],
)
def test_a_decision_that_was_altered_is_found(log, decided, model_folder, place, change):
    last = DECISIONS.c.id == decided
    with log.begin() as connection:
        before = connection.execute(select(DECISIONS).where(last)).one()
        connection.execute(update(DECISIONS).where(last).values(change(before)))
    result = run("replay", "--model", model_folder, "--log", place)
    assert result.exit_code == 3
    assert f"decision {decided} differs" in result.output
    assert f"{decided - 1} decisions are the same" in result.output


def test_pruning_removes_what_is_old_and_says_how_much(log, place):
    log_decisions(log, *[make_decision("old")] * 2_500, now=5)
    log_decisions(log, make_decision("new"), now=2**40)
    result = run("prune", "--keep-days", 30, "--log", place)
    assert "2,500 decisions and 0 outcomes removed" in result.output
    assert json.loads(run("stats", "--log", place).stdout)["decisions"] == 1


def test_a_log_that_is_not_there_is_not_made(tmp_path):
    place = tmp_path / "none.db"
    assert run("stats", "--log", place).exit_code != 0
    assert not place.exists()


def test_where_decisions_go_is_said_without_a_password():
    sentence = LogSettings("postgresql://me:sword@fish@db/log", keep_days=9).in_words()
    assert sentence == "decisions are logged in postgresql://db/log and kept for 9 days"
    assert LogSettings("off").in_words() == "no decision is logged"
    assert "me/log.db" in LogSettings("me/log.db").in_words()
