"""Accounts: who is active, what the score says, and what it does not."""

from __future__ import annotations

import json
from dataclasses import asdict

import polars as pl
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from report_inputs import report_input
from small_crm import history
from small_model import build_small_model

from features.catalogue import build_feature_set
from features.clock import DAY
from features.cohort import Snapshots
from features.labels import LabelSpec
from models.account_chance import AccountDependence
from training.analysis.accounts import Accounts, AccountScore, accounts, accounts_from_entries, active_leads
from training.analysis.inputs import ReportSettings
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import stage_entries
from training.data.dataset import compute_feature_rows
from training.serialization import from_dict
from training.simulation.simulator import simulate

STAGES = ("mql", "sql", "disqualified")
SPEC = LabelSpec("sql", 60 * DAY)


def scored_accounts(crm, **probability):
    entries = stage_entries(crm, STAGES, SPEC)
    scores = pl.DataFrame({"lead_id": list(probability), "probability": list(probability.values())})
    return accounts_from_entries(entries, active_leads(entries), scores)


def test_an_account_is_summed_up_by_hand():
    leads = {"a": (0, "X"), "b": (90, "X"), "c": (0, "X"), "d": (95, "Y"), "e": (95, None)}
    moves = [("c", "sql", 50)]
    touches = [("a", "visit", 80), ("a", "demo_request", 97, 98), ("c", "visit", 75), ("a", "visit", 60)]
    result = scored_accounts(history(leads, moves, touches, until=100), a=0.2, b=0.5, d=0.9)
    expected = AccountScore(
        account="X",
        leads=2,
        lead="b",
        best=0.5,
        at_least_one=pytest.approx(0.6),
        touches=3,
        requests=1,
        quiet=2,
        won=1,
    )
    assert (result.active, result.known, result.several, result.together) == (4, 3, 1, 2)
    assert result.accounts == (expected,)


def test_with_a_measured_dependence_the_chance_lies_between_the_bounds_and_ranks():
    crm = history({"a": (90, "X"), "b": (90, "X"), "c": (90, "Y"), "d": (90, "Y")}, until=100)
    entries = stage_entries(crm, STAGES, SPEC)
    probability = {"a": 0.4, "b": 0.4, "c": 0.55, "d": 0.05}
    scores = pl.DataFrame({"lead_id": list(probability), "probability": list(probability.values())})
    plain = accounts_from_entries(entries, active_leads(entries), scores)
    assert [each.account for each in plain.accounts] == ["X", "Y"]
    assert [each.chance for each in plain.accounts] == [None, None]
    measured = AccountDependence(0.9, 0.8, 0.95, 90, 200)
    result = accounts_from_entries(entries, active_leads(entries), scores, measured)
    assert [each.account for each in result.accounts] == ["Y", "X"]
    assert result.correlation == 0.9
    for each in result.accounts:
        assert each.best <= each.chance <= each.at_least_one


def test_active_is_open_and_seen_or_new_in_the_last_thirty_days():
    leads = {"seen": 0, "edge": 0, "old": 0, "new": 80, "won": 80, "closed": 80, "late": 0}
    touches = [("seen", "visit", 99), ("edge", "visit", 70), ("old", "visit", 70 - 1 / DAY)]
    touches += [("late", "visit", 99, 100)]
    moves = [("won", "sql", 90), ("closed", "disqualified", 90)]
    entries = stage_entries(history(leads, moves, touches, until=100), STAGES, SPEC)
    assert active_leads(entries)["lead_id"].to_list() == ["seen", "edge", "new"]


@drawn(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_an_account_scores_at_least_its_best_lead_and_at_most_all_of_them(chances):
    names = [f"lead{i}" for i in range(len(chances))]
    crm = history(dict.fromkeys(names, (0, "X")), until=5)
    (company,) = scored_accounts(crm, **dict(zip(names, chances, strict=True))).accounts
    assert company.best == max(chances)
    assert company.best - 1e-12 <= company.at_least_one <= min(1, sum(chances)) + 1e-12


def test_the_likeliest_account_comes_first():
    leads = {"a": (0, "X"), "b": (0, "X"), "c": (0, "Y"), "d": (0, "Y")}
    result = scored_accounts(history(leads, until=5), a=0.3, b=0.3, c=0.45, d=0.01)
    assert [(company.account, company.lead) for company in result.accounts] == [("X", "a"), ("Y", "c")]


def test_a_reports_accounts_have_the_probabilities_of_its_model_today():
    crm = simulate(600, seed=3).history
    features = build_feature_set(crm, target="sql", closed=("disqualified",))
    everyone = Snapshots(crm.leads.select("lead_id", as_of=pl.lit(crm.observed_until, pl.Int64)))
    rows = compute_feature_rows(features, crm, everyone)
    model = build_small_model(features, rows)
    inputs = report_input(200, history=crm, company=ReportSettings(SPEC, STAGES), model=model)
    result = accounts(inputs)
    chance = dict(model.score_frame(rows).select("lead_id", "probability").iter_rows())
    assert result.accounts
    for company in result.accounts:
        assert company.best == pytest.approx(chance[company.lead])
    assert from_dict(Accounts, json.loads(json.dumps(asdict(result), allow_nan=False))) == result


@pytest.mark.parametrize(
    ("account", "reason"), [(None, "no_accounts"), ("X", "no_model")], ids=["no account", "no model"]
)
def test_what_is_missing_is_said(account, reason):
    crm = history({"a": (0, account), "b": (0, account)}, [("a", "sql", 3)])
    inputs = report_input(200, history=crm, company=ReportSettings(SPEC, STAGES))
    assert accounts(inputs) == NotApplicable(reason)
