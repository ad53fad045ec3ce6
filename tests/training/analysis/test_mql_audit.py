"""Today's hand-over: tallies by hand, the same number of calls by brute force, lead by lead in time."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input
from small_crm import day, history

from features.clock import DAY
from features.labels import LabelSpec
from models.explanation import log_odds_to_points
from models.points_table import PointsTable, Thresholds, TouchpointRule
from training.analysis.inputs import ReportSettings
from training.analysis.mql_audit import (
    FEWEST,
    HandoverAudit,
    RejectionReason,
    audit_handover,
    compare_at_equal_calls,
)
from training.analysis.not_applicable import NotApplicable
from training.config.settings import ReportConfig
from training.serialization import from_dict

SPEC = LabelSpec("sql", 30 * DAY)
STAGES = ("lead", "mql", "sql", "disqualified")
COMPANY = ReportSettings(SPEC, STAGES, hand_over="mql")


def brute_force(lead, y, p, today):
    """The SQLs gained by calling the best, each when it first reaches the threshold, and the calls saved."""
    rule = {unit: y[i] for i, unit in reversed([*enumerate(lead)]) if today[i]}
    calls, won = len(rule), sum(rule.values())
    reached = {}
    for threshold in sorted(p, reverse=True):
        model = {unit: y[i] for i, unit in reversed([*enumerate(lead)]) if p[i] >= threshold}
        reached.setdefault(len(model), []).append(sum(model.values()))
    enough = next(size for size, hits in reached.items() if max(hits) >= won)
    return reached[calls][0] - won, calls - enough


@pytest.fixture
def leads():
    """Leads with one to four snapshots; a rule that has handed a lead over has done so ever after."""
    random = np.random.default_rng(8)
    lead = np.repeat(np.arange(500), random.integers(1, 5, 500))
    p = random.beta(1, 5, len(lead))
    y = (random.random(len(lead)) < p).astype(float)
    hit = random.random(len(lead)) < 0.05 + 0.4 * p
    today = np.array([hit[(lead == unit) & (np.arange(len(lead)) <= i)].any() for i, unit in enumerate(lead)])
    return lead, y, p, today


def once(y, p, today):
    """The comparison of leads with one snapshot each."""
    return compare_at_equal_calls(np.arange(len(y)), y, p, today)


def first_calls(lead, today):
    return [np.flatnonzero((lead == unit) & today)[0] for unit in np.unique(lead[today])]


def test_gained_and_saved_are_those_of_calling_one_lead_after_the_other(leads):
    lead, y, _, today = leads
    result = compare_at_equal_calls(*leads)
    assert (result.gained.value, result.saved.value) == pytest.approx(brute_force(*leads))
    assert (result.calls, result.won) == (len(np.unique(lead[today])), y[first_calls(lead, today)].sum())
    assert result.gained.low < result.gained.value < result.gained.high


def test_the_model_calls_as_many_leads_as_today(leads):
    lead, _, p, _ = leads
    result = compare_at_equal_calls(*leads)
    outcome = {item.called: item for item in result.quarters}
    assert result.leads == len(np.unique(lead))
    assert outcome["model"].leads == outcome["today"].leads == result.calls
    assert outcome["today"].won == result.won
    assert outcome["model"].won == result.won + result.gained.value
    assert len(np.unique(lead[p >= result.threshold])) == result.calls


def test_where_nothing_predicts_a_rule_that_calls_late_is_no_worse_than_the_model():
    """Leads convert at one constant rate; the rule waits, so it only calls who has not converted yet."""
    random = np.random.default_rng(6)
    n, looks = 4000, 4
    converts, calls = random.exponential(6, n), random.integers(0, 6, n)
    lead, look = np.repeat(np.arange(n), looks), np.tile(np.arange(looks), n)
    is_open = converts[lead] > look
    lead, look = lead[is_open], look[is_open]
    y = (converts[lead] < look + 1).astype(float)
    result = compare_at_equal_calls(lead, y, random.random(len(lead)), look >= calls[lead])
    rates = {outcome.called: outcome.rate for outcome in result.quarters}
    assert result.gained.low < 0 < result.gained.high
    assert not result.is_gain
    assert rates["model"].low < rates["today"].high
    assert rates["today"].low < rates["model"].high


def test_what_comes_of_a_lead_counts_from_the_moment_at_which_each_would_have_called_it():
    """The rule calls the first lead late, when it is lost; the model called it in time."""
    lead, y = np.array([0, 0, 0, 1, 1, 2]), np.array([0.0, 1, 0, 1, 1, 0])
    p, today = np.array([0.1, 0.9, 0.8, 0.2, 0.1, 0.1]), np.array([0, 0, 1, 0, 1, 0], dtype=bool)
    result = compare_at_equal_calls(lead, y, p, today)
    assert (result.calls, result.won, result.gained.value, result.threshold) == (2, 1, 1, 0.2)


@pytest.mark.parametrize("digits", [0, 1])
def test_where_leads_tie_the_model_still_calls_as_many_as_today_and_no_time_is_preferred(digits):
    random = np.random.default_rng(8)
    p = random.beta(1, 5, 900)
    y, today = (random.random(900) < p).astype(float), random.random(900) < 0.1 + 0.6 * p
    first, last = (once(*(item[::step] for item in (y, p.round(digits), today))) for step in (1, -1))
    for result in (first, last):
        assert {outcome.leads for outcome in result.quarters} == {result.calls}
    model = next(outcome.won for outcome in first.quarters if outcome.called == "model")
    # Lots find what calling in any order finds on average, give or take what chance does to so many.
    assert model == pytest.approx(first.won + first.gained.value, abs=3 * np.sqrt(first.calls * 0.15))


def test_against_calling_by_chance_a_good_order_gains_and_a_bad_one_loses():
    random = np.random.default_rng(1)
    p = random.beta(1, 4, 3000)
    y = (random.random(3000) < p).astype(float)
    today = random.random(3000) < 0.3
    assert once(y, p, today).gained.low > 0
    assert once(y, p, today).is_gain
    assert once(y, 1 - p, today).gained.high < 0
    assert not once(y, 1 - p, today).is_gain


def test_a_model_that_says_the_same_of_all_gains_nothing_but_chance():
    random = np.random.default_rng(1)
    y, today = (random.random(2000) < 0.2).astype(float), random.random(2000) < 0.4
    gained = once(y, np.full(2000, 0.2), today).gained
    assert gained.low < 0 < gained.high


def test_where_all_or_none_are_called_there_is_nothing_to_compare(leads):
    lead, y, p, _ = leads
    assert compare_at_equal_calls(lead, y, p, np.ones(len(y), bool)) is None
    assert compare_at_equal_calls(lead, y, p, np.zeros(len(y), bool)) is None


def handed_over(days):
    """Leads looked at on the given days, every third handed over on day 10 and half of those an SQL."""
    n = 300
    moves = [(str(i), "mql", 10) for i in range(0, n, 3)] + [(str(i), "sql", 50) for i in range(0, n, 6)]
    crm_history = history({str(i): 0 for i in range(n)}, moves, until=900)
    keys = [(str(i), day(at)) for i in range(n) for at in days]
    inputs = report_input(len(keys), history=crm_history, company=COMPANY)
    named = pl.DataFrame(keys, schema=["lead_id", "as_of"], orient="row")
    label = np.array([float(int(lead) % 6 == 0) for lead, _ in keys])
    return replace(inputs, scores=inputs.scores.with_columns(named.get_columns()), label=label)


def test_rule_and_model_are_only_compared_where_leads_were_looked_at_when_the_rule_fired():
    created, grid, entered = (audit_handover(handed_over(days)).same for days in ([1], [1, 31], [1, 11, 31]))
    assert created is None
    assert grid is None
    assert entered.calls == 100


def test_leads_that_were_handed_over_before_they_were_looked_at_are_left_out():
    assert audit_handover(handed_over([31])).same is None


MOVES = [
    # handed over and in time; too late; never; just now; after it was an SQL already
    *[("a", "mql", 5), ("a", "sql", 20)],
    *[("b", "mql", 5), ("b", "sql", 50)],
    *[("c", "mql", 5), ("c", "disqualified", 9)],
    ("d", "mql", 95),
    *[("e", "sql", 4), ("e", "mql", 6)],
    # never handed over: converted all the same; did not; too young
    ("f", "sql", 8),
    *[("g", "disqualified", 12)],
]
CREATED = {"a": 0, "b": 0, "c": 0, "d": 90, "e": 0, "f": 0, "g": 0, "h": 90}


def crm(reasons=()):
    crm_history = history(CREATED, MOVES, [(lead, "visit", 2) for lead in "abc"], until=100)
    named = pl.col("lead_id").replace_strict(dict(reasons), default=None, return_dtype=pl.String)
    reason = pl.when(pl.col("stage") == "disqualified").then(named)
    return replace(crm_history, transitions=crm_history.transitions.with_columns(reason=reason))


def test_tallies_are_those_of_a_person_with_the_lists():
    result = audit_handover(report_input(60, history=crm(), company=COMPANY))
    # e was an SQL before it was handed over: nobody handed it over to become one.
    assert (result.handed.leads, result.handed.won, result.handed.lost, result.handed.waiting) == (3, 1, 2, 1)
    assert (result.kept.leads, result.kept.won, result.kept.waiting) == (3, 2, 1)
    assert result.handed.rate.value == pytest.approx(1 / 3)


def test_a_lead_handed_over_on_the_day_of_its_sql_is_a_hit_and_no_missed_one():
    """A CRM that keeps days only enters both stages in the same second."""
    moves = [*[("a", "mql", 5), ("a", "sql", 5)], *[("b", "mql", 0), ("b", "sql", 0)], ("c", "sql", 5)]
    crm_history = history(dict.fromkeys("abcd", 0), moves, until=100)
    result = audit_handover(report_input(60, history=crm_history, company=COMPANY))
    assert (result.handed.leads, result.handed.won) == (2, 2)
    assert (result.kept.leads, result.kept.won) == (2, 1)


def test_reasons_are_those_given_after_the_hand_over():
    result = audit_handover(
        report_input(60, history=crm([("c", "no budget"), ("g", "spam")]), company=COMPANY)
    )
    assert result.rejections == (RejectionReason("no budget", 1),)


def test_a_points_table_is_audited_at_the_held_out_snapshots():
    table = PointsTable(Thresholds(10, 20), (TouchpointRule("visit", 10),))
    keys = pl.DataFrame({"lead_id": ["a", "a", "b", "f", "g"], "as_of": [day(x) for x in (1, 3, 3, 3, 3)]})
    inputs = report_input(60, history=crm(), company=replace(COMPANY, points=table))
    rows = inputs.scores.head(5).with_columns(keys.get_columns())
    label = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    result = audit_handover(
        replace(inputs, scores=rows, label=label, held_out_rows=inputs.held_out_rows.head(5))
    )
    assert result.rule == "points"
    # a and b had visited by day 3: a was an SQL within 30 days, b was not; of f and g nothing was known.
    assert (result.handed.leads, result.handed.won) == (2, 1)
    assert (result.kept.leads, result.kept.won) == (2, 1)


def test_what_sets_groups_apart_is_the_difference_of_their_mean_contributions():
    n = 400
    random = np.random.default_rng(3)
    crm_history = history(
        {str(i): 0 for i in range(n)}, [(str(i), "mql", 1) for i in range(0, n, 2)], until=900
    )
    crm_history = replace(
        crm_history,
        transitions=pl.concat(
            [crm_history.transitions, crm_history.transitions.head(1).with_columns(stage=pl.lit("sql"))]
        ),
    )
    inputs = report_input(n, history=crm_history, company=COMPANY)
    scores = inputs.scores.with_columns(lead_id=pl.Series([str(i) for i in range(n)]), as_of=day(5))
    label = (random.random(n) < 0.4).astype(float)
    keyed = inputs.held_out_rows.with_columns(scores["lead_id"], scores["as_of"])
    parts = random.normal(size=(n, len(inputs.features)))
    result = audit_handover(
        replace(
            inputs, scores=scores, label=label, held_out_rows=keyed, explained_rows=keyed, contributions=parts
        )
    )
    today = np.arange(n) % 2 == 0
    gap = parts[today & (label == 0)].mean(axis=0) - parts[today & (label == 1)].mean(axis=0)
    assert (today & (label == 1)).sum() >= FEWEST
    assert result.against[0].points == pytest.approx(log_odds_to_points(gap.min()))
    assert result.against[0].spec == inputs.features.specs[int(gap.argmin())]
    assert all(lean.points > 0 for lean in result.towards)


def test_hours_are_only_told_where_somebody_said_what_a_call_takes():
    inputs = report_input(60, history=crm(), company=COMPANY)
    assert audit_handover(inputs).hours is None
    settings = ReportConfig(hours_per_call=0.5)
    assert audit_handover(replace(inputs, company=replace(COMPANY, settings=settings))).hours == 0.5


def test_without_a_rule_or_a_history_there_is_nothing_to_audit():
    assert audit_handover(report_input(60)) == NotApplicable("no_history")
    none = replace(COMPANY, hand_over=None)
    assert audit_handover(report_input(60, history=crm(), company=none)) == NotApplicable("no_hand_over")


def test_an_audit_survives_json():
    result = audit_handover(report_input(60, history=crm(), company=COMPANY))
    assert from_dict(HandoverAudit, asdict(result)) == result
