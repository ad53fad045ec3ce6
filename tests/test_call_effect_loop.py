"""Does calling help, from the lists that a service made to the answer of the command."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing

import numpy as np
import polars as pl
import pytest
from log_entries import in_transaction
from scipy.special import expit, logit
from small_model import build_small_model
from typer.testing import CliRunner

from features.clock import DAY
from features.spec import DisplayText, FeatureSet, attribute
from leadloop import app
from models import artifact
from models.explanation import Score
from models.handover_selection import HandoverRequest
from serving.decision_log import handovers
from serving.decision_log.database import open_log, writing
from serving.decision_log.experiment import experiment_frame
from serving.decision_log.overrides import add_override
from serving.decision_log.records import NewDecision, Outcome, Override, RequestInfo
from serving.decision_log.statements import add_decisions, add_outcomes, decision_rows

FEATURES = FeatureSet(
    (attribute("size", family="fit", says=DisplayText("{value}", "{value}"), unit="number"),)
)
FIRST, DAYS, A_DAY = 20_000 * DAY, 20, 150


def write_log(place, control_share, effect, seed=0):
    """Three weeks of lists, half above the cut and half by lot; a call adds ``effect`` to the log-odds."""
    random = np.random.default_rng(seed)
    log = writing(open_log(place))
    for day in range(DAYS):
        now = FIRST + day * DAY
        chances = {f"{day}-{n}": float(p) for n, p in enumerate(random.uniform(0.1, 0.5, A_DAY))}
        decisions = [
            NewDecision(Score(lead_id, now, float(logit(p)), p, 200, "A", "v1"), {"size": p})
            for lead_id, p in chances.items()
        ]
        in_transaction(log, add_decisions, decision_rows(decisions, RequestInfo("/v1/score"), now))
        wish = HandoverRequest(now, 60, 0.5, control_share=control_share)
        selection = handovers.select_handover(log, wish)
        in_transaction(log, handovers.add_handover, wish, selection)
        called = {lead.candidate.lead_id for lead in selection.leads}
        outcomes = []
        for lead_id, p in chances.items():
            odds = logit(p) + effect * (lead_id in called)
            kind = "qualified" if random.random() < expit(odds) else "lost"
            outcomes.append(Outcome(f"e-{lead_id}", lead_id, kind, None, now + 2 * DAY))
            if lead_id in called:
                outcomes.append(Outcome(f"a-{lead_id}", lead_id, "accepted", None, now + 60))
        in_transaction(log, add_outcomes, outcomes, now)
    in_transaction(log, add_outcomes, [Outcome("end", "nobody", "accepted", None, FIRST + 99 * DAY)], FIRST)
    return log


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """The folder of a company whose calls help, with its log and its model."""
    folder = tmp_path_factory.mktemp("company")
    write_log(str(folder / "decisions.db"), 0.3, effect=1.0).dispose()
    rows = pl.DataFrame({"size": [0.1, 0.2, 0.3, 0.4]})
    artifact.save(build_small_model(FEATURES, rows, label="sql within 30 days"), folder / "model")
    return folder


def run(company, *words):
    place = ["--log", str(company / "decisions.db"), "--model", str(company / "model")]
    return CliRunner().invoke(app, ["effect", *place, *words])


def test_each_lead_is_in_the_experiment_once_as_it_was_first_decided(company):
    log = open_log(str(company / "decisions.db"))
    frame = experiment_frame(log, FEATURES)
    log.dispose()
    assert frame["lead_id"].n_unique() == frame.height
    assert set(frame["control_share"]) == {0.3}
    control = frame.filter(~pl.col("handed_over"))
    assert abs(control.height - 0.3 * frame.height) < 4 * np.sqrt(0.21 * frame.height)
    assert 0.3 < frame["explored"].mean() < 0.7
    assert (frame["size"] - 1 / (1 + (-frame["log_odds"]).exp())).abs().max() < 1e-9


def test_the_command_says_that_calls_help_and_by_how_much(company):
    result = run(company, "--by", "size", "--lang", "de", "--json", "-")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    overall = found["overall"]
    # A call moves 30 % to 54 %.
    assert overall["is_clear"]
    assert overall["effect"]["low"] < 0.22 < overall["effect"]["high"]
    assert {group["kind"] for group in found["groups"]} == {"list", "size"}
    assert "Leads zu übergeben hilft" in result.stderr


def test_control_leads_that_people_handed_over_stay_in_their_group_and_count_as_called(tmp_path, company):
    place = str(tmp_path / "decisions.db")
    shutil.copy(company / "decisions.db", place)
    log = writing(open_log(place))
    frame = experiment_frame(log, FEATURES)
    assert not frame["called_by_hand"].any()
    groups = [frame.filter(handed_over=flag)["lead_id"].head(40).to_list() for flag in (True, False)]
    for lead_id in (*groups[0][:5], *groups[1]):
        override = Override(lead_id, "hand_over", "met them", "ann", FIRST + DAY, FIRST + 3 * DAY)
        in_transaction(log, add_override, override, time.time())
    again = experiment_frame(log, FEATURES)
    log.dispose()
    assert again.drop("called_by_hand").equals(frame.drop("called_by_hand"))
    assert again.filter("called_by_hand").height == 45
    result = run(company, "--log", place, "--json", "-")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["by_hand"] == 40
    assert found["overall"]["control"] == frame.filter(~pl.col("handed_over")).height
    assert "40 leads of the control group were handed over by hand" in result.stderr


def test_the_effect_of_calls_by_a_named_model_is_of_its_own_lists_and_outcomes(
    tmp_path, company, monkeypatch
):
    """The same log under another name tells the same; the default model has no experiment in it."""
    expected = json.loads(run(company, "--json", "-").stdout)
    place = str(tmp_path / "decisions.db")
    shutil.copy(company / "decisions.db", place)
    with closing(sqlite3.connect(place)) as db, db:
        for table in ("decisions", "handovers", "outcomes"):
            db.execute(f"UPDATE {table} SET model = 'renewal'")  # a name of ours
    monkeypatch.setenv("LEADLOOP_MODELS", f"renewal={company}/model")
    result = run(company, "--log", place, "--model", "renewal", "--lang", "de", "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == expected
    assert "Ergebnisse von renewal: " in result.stderr
    result = run(company, "--log", place, "--model", "renewals")
    assert (result.exit_code, "did you mean 'renewal'?" in result.output) == (2, True)


def test_without_a_control_group_the_command_says_what_to_do(tmp_path, company):
    write_log(str(tmp_path / "decisions.db"), 0.0, effect=1.0).dispose()
    result = run(company, "--log", str(tmp_path / "decisions.db"))
    assert result.exit_code != 0
    assert "--control 0.1" in str(result.exception)
