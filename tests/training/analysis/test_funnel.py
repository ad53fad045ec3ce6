"""The funnel against a CRM that was counted with a pencil, and at its boundaries."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from report_inputs import report_input
from small_crm import history

from features.clock import DAY, to_epoch
from features.ingest.read_history import read_history
from features.labels import LabelSpec
from training.analysis.funnel import Funnel, Quartiles, funnel, funnel_from_entries
from training.analysis.inputs import report_settings
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import stage_entries
from training.config.settings import load_config
from training.serialization import from_dict

CRM = Path(__file__).parents[2] / "golden" / "crm" / "leadloop.toml"
STAGES = ("mql", "sal", "sql", "disqualified")
SPEC = LabelSpec("sql", 10 * DAY)


@pytest.fixture(scope="module")
def inputs():
    config = load_config(CRM)
    read_in = read_history(config.history_mapping, now=to_epoch(datetime(2026, 7, 1, tzinfo=UTC)))
    return report_input(200, history=read_in.history, company=report_settings(config))


def small(leads, moves, *, until=100):
    return funnel_from_entries(stage_entries(history(leads, moves, until=until), STAGES, SPEC))


def step(result, stage):
    return next(item for item in result.steps if item.stage == stage)


def test_the_golden_leads_are_counted_by_hand(inputs):
    """tests/golden/crm/transitions.csv: 15 MQLs, one SAL, six SQLs of which five skipped SAL, four closed."""
    result = funnel(inputs)
    counts = [(s.stage, s.entered, s.skipped, s.closed, s.still) for s in result.steps]
    assert counts == [
        ("created", 20, 0, 0, 5),
        ("mql", 15, 0, 4, 5),
        ("sal", 1, 5, 0, 0),
        ("sql", 6, 0, 0, 6),
    ]


def test_the_golden_rates_are_counted_by_hand(inputs):
    """Of the six SQLs, leads 001, 005 and 013 came within 60 days of creation, and of becoming an MQL."""
    result = funnel(inputs)
    whole, mql = result.overall, step(result, "mql").target
    assert (whole.rows, whole.hits, whole.naive, whole.old) == (20, 6, 0.3, 20)
    assert whole.matured.value == pytest.approx(3 / 20)
    assert (mql.rows, mql.hits, mql.old, mql.matured.value) == (15, 6, 15, pytest.approx(3 / 15))


def test_the_golden_days_as_an_mql_are_worked_out_by_hand(inputs):
    """Ten left after 6 9 12 13 20 28 36 65 68 72 days, one of five that stay was seen for 60.4 days only.

    Of 15, 11/15 stay beyond 13 days; 8/15 beyond 36; then of the seven still watched 6/7 beyond 65: 0.457.
    """
    assert step(funnel(inputs), "mql").stay == Quartiles(13.0, 65.0, None)


def test_cohorts_are_months_of_creation(inputs):
    result = funnel(inputs)
    assert result.period == "month"
    months = [(datetime.fromtimestamp(c.start, UTC).month, c.leads, c.entered) for c in result.cohorts]
    assert months == [(1, 14, (14, 11, 1, 5)), (2, 5, (5, 3, 0, 1)), (3, 1, (1, 1, 0, 0))]


def test_a_step_in_the_second_of_the_horizon_is_too_late():
    at = {"a": 0, "b": 0}
    result = small(at, [("a", "sql", 10), ("b", "sql", 10 - 1 / DAY)])
    assert result.overall.hits == 2
    assert result.overall.matured.value == 0.5


def test_a_lead_is_old_enough_the_second_its_horizon_is_over():
    entries = small({"a": 0, "b": 1 / DAY}, [("b", "sql", 5)], until=10)
    assert (entries.overall.old, entries.overall.matured.value) == (1, 0.0)
    assert [cohort.maturing for cohort in entries.cohorts] == [True]
    assert [cohort.maturing for cohort in small({"a": 0}, [], until=10).cohorts] == [False]


def test_early_success_does_not_make_a_young_lead_count():
    """Of two old and two young leads, one each converted: counting the young would flatter."""
    entries = small({"a": 0, "b": 0, "c": 95, "d": 95}, [("a", "sql", 5), ("c", "sql", 96)])
    assert (entries.overall.naive, entries.overall.old, entries.overall.matured.value) == (0.5, 2, 0.5)
    late = small({"a": 0, "b": 0, "c": 95, "d": 95}, [("a", "sql", 5)])
    assert (late.overall.naive, late.overall.matured.value) == (0.25, 0.5)


def test_late_news_moves_a_step_to_when_it_was_known():
    entries = funnel_from_entries(
        stage_entries(history({"a": 0, "b": 0}, [("a", "sql", 9, 11), ("b", "sql", 9)]), STAGES, SPEC)
    )
    assert (entries.overall.hits, entries.overall.matured.value) == (2, 0.5)


def test_skipping_a_stage_is_not_entering_it():
    entries = small({"a": 0, "b": 0}, [("a", "sql", 3), ("b", "mql", 1), ("b", "sql", 2)])
    mql = step(entries, "mql")
    assert (mql.entered, mql.skipped, mql.onward.hits, mql.target.hits) == (1, 1, 1, 1)
    assert step(entries, "sal").skipped == 2


def test_every_lead_that_entered_went_on_was_closed_or_is_there():
    moves = [("a", "mql", 1), ("a", "disqualified", 2), ("b", "mql", 1), ("c", "mql", 1), ("c", "sal", 4)]
    for item in small({"a": 0, "b": 0, "c": 0, "d": 0}, moves).steps:
        gone = item.onward.hits if item.onward else 0
        assert item.entered == gone + item.closed + item.still


def test_leads_of_more_than_two_years_are_put_in_quarters():
    entries = small({"a": 0, "b": 89, "c": 91, "d": 800}, [], until=900)
    assert entries.period == "quarter"
    assert [cohort.leads for cohort in entries.cohorts] == [2, 1, 1]


def test_a_stage_nobody_entered_has_no_rates():
    sal = step(small({"a": 0}, []), "sal")
    assert (sal.entered, sal.onward.naive, sal.onward.matured, sal.stay.median) == (0, None, None, None)


def test_without_a_history_there_is_no_funnel(inputs):
    assert funnel(replace(inputs, history=None)) == NotApplicable("no_history")


def test_a_funnel_is_read_back_from_json(inputs):
    result = funnel(inputs)
    assert from_dict(Funnel, json.loads(json.dumps(asdict(result), allow_nan=False))) == result
