"""A lead that was closed can be opened again: it is looked at again, and the closing was no outcome."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.clock import DAY
from features.closings import is_closed, standing_transitions
from features.cohort import CohortRule, Snapshots, draw_snapshots, open_lead_snapshots
from features.history import LEAD_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.labels import LabelSpec, compute_labels

RULE = CohortRule(("created", "reopened"), every=10 * DAY, closed=("sql", "lost"), reopen=("reopened",))
LABEL = LabelSpec("sql", 30 * DAY, closed=("lost",), reopen=("reopened",))
STEPS = {
    "back": [(5, "lost"), (12, "reopened"), (25, "sql")],
    "gone": [(5, "lost")],
    "twice": [(5, "lost"), (12, "reopened"), (22, "lost")],
}


def history(until):
    rows = [
        {"lead_id": lead, "occurred_at": day * DAY, "known_at": day * DAY, "stage": stage, "reason": None}
        for lead, steps in STEPS.items()
        for day, stage in steps
        if day < until
    ]
    leads = pl.DataFrame({"lead_id": list(STEPS), "created_at": 0, "account_id": None}, schema=LEAD_SCHEMA)
    return LeadHistory(
        leads=leads,
        touchpoints=LeadHistory.from_leads(leads, 0).touchpoints,
        transitions=pl.DataFrame(rows, TRANSITION_SCHEMA),
        observed_until=until * DAY,
    )


def days(frame):
    return {lead: sorted(part["as_of"] // DAY) for (lead,), part in frame.group_by("lead_id")}


def test_it_is_looked_at_again_from_then_on():
    drawn = days(draw_snapshots(history(60), RULE).frame)
    assert drawn == {"back": [0, 12, 20], "gone": [0], "twice": [0, 12, 20]}


def test_it_is_open_until_it_is_closed_again():
    assert set(open_lead_snapshots(history(20), RULE).frame["lead_id"]) == {"back", "twice"}
    assert set(open_lead_snapshots(history(60), RULE).frame["lead_id"]) == set()


def label(until, spec=LABEL):
    first = Snapshots(pl.DataFrame({"lead_id": list(STEPS), "as_of": [1] * len(STEPS)}))
    return dict(compute_labels(history(until), first, spec).select("lead_id", "label").iter_rows())


def test_a_closing_that_was_undone_is_no_outcome():
    assert label(60) == {"back": 1, "gone": 0, "twice": 0}


def test_without_the_key_a_closing_is_the_last_word():
    assert label(60, LabelSpec("sql", 30 * DAY, closed=("lost",))) == {"back": 0, "gone": 0, "twice": 0}


@pytest.mark.parametrize("lead", STEPS)
def test_a_label_once_given_never_changes(lead):
    known = [value for until in range(1, 61) if (value := label(until)[lead]) is not None]
    assert len(set(known)) == 1


def test_whoever_asks_for_closed_leads_gets_those_that_were_not_opened_again():
    known = history(30)
    standing = standing_transitions(known, RULE.closed, RULE.reopen)
    lost = standing.filter(pl.col("stage") == "lost").select("lead_id", "occurred_at").sort(pl.all()).rows()
    assert lost == [("gone", 5 * DAY), ("twice", 22 * DAY)]
    open_now = set(open_lead_snapshots(known, RULE).frame["lead_id"])
    closed = set(standing.filter(pl.col("stage").is_in(RULE.closed))["lead_id"])
    assert open_now | closed == set(STEPS)
    assert not open_now & closed


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from(["sql", "lost", "reopened", "mql"])),
        max_size=6,
    )
)
def test_one_lead_alone_is_closed_when_it_is_among_all(rows):
    transitions = [
        {"lead_id": "a", "occurred_at": at, "known_at": at + lag, "stage": stage, "reason": None}
        for at, lag, stage in rows
    ]
    leads = pl.DataFrame({"lead_id": ["a"], "created_at": 0, "account_id": None}, schema=LEAD_SCHEMA)
    known = LeadHistory(
        leads=leads,
        touchpoints=LeadHistory.from_leads(leads, 0).touchpoints,
        transitions=pl.DataFrame(transitions, TRANSITION_SCHEMA),
        observed_until=4,
    )
    alone = is_closed(transitions, 4, RULE.closed, RULE.reopen)
    assert alone == open_lead_snapshots(known, RULE).frame.is_empty()
