"""Labels are absent exactly as long as they are not knowable, and never change afterwards."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import END, histories, snapshots

from features.clock import DAY
from features.cohort import CohortRule, Snapshots
from features.cohort import draw_snapshots as draw
from features.history import LEAD_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.labels import LabelSpec, compute_labels

AS_OF, LEAD_TIME, HORIZON = 100, 10, 50
SPEC = LabelSpec("sql", HORIZON, LEAD_TIME, settle=5)
MATURE = AS_OF + LEAD_TIME + HORIZON + 5


def one_lead(*moves, observed_until=10_000):
    leads = pl.DataFrame({"lead_id": ["a"], "created_at": [0], "account_id": [None]}, schema=LEAD_SCHEMA)
    rows = [("a", at, heard, stage, None) for at, heard, stage in moves]
    transitions = pl.DataFrame(rows, schema=TRANSITION_SCHEMA, orient="row")
    return LeadHistory.from_leads(leads, observed_until).__class__(
        leads, LeadHistory.from_leads(leads, 1).touchpoints, transitions, observed_until
    )


def label(*moves, observed_until=10_000):
    frame = compute_labels(
        one_lead(*moves, observed_until=observed_until), Snapshots.single("a", AS_OF), SPEC
    )
    return frame["label"].item()


@pytest.mark.parametrize(
    ("at", "want"),
    [(99, 0), (100, 0), (109, 0), (110, 1), (111, 1), (159, 1), (160, 0), (161, 0)],
)
def test_the_window_is_half_open_from_lead_time_to_horizon(at, want):
    assert label((at, at, "sql")) == want


@pytest.mark.parametrize(("heard", "want"), [(120, 1), (164, 1), (165, 0), (900, 0)])
def test_late_news_counts_until_the_window_has_settled(heard, want):
    assert label((120, heard, "sql")) == want


@pytest.mark.parametrize(("until", "want"), [(120, None), (121, 1), (MATURE, 1)])
def test_a_conversion_is_known_the_second_after_the_news(until, want):
    assert label((120, 120, "sql"), observed_until=until) == want


@pytest.mark.parametrize(("until", "want"), [(MATURE - 1, None), (MATURE, 0)])
def test_a_lead_that_did_not_convert_is_known_when_the_window_has_settled(until, want):
    assert label(observed_until=until) == want


@pytest.mark.parametrize(("until", "want"), [(105, None), (106, 0), (MATURE, 0)])
def test_a_disqualified_lead_is_a_zero_at_once(until, want):
    assert label((105, 105, "disqualified"), observed_until=until) == want


@pytest.mark.parametrize(("lost", "want"), [(119, 0), (120, 1), (121, 1)])
def test_of_two_competing_events_the_first_known_decides(lost, want):
    assert label((120, 120, "sql"), (lost, lost, "disqualified")) == want


@given(histories(), snapshots(), st.integers(1, 60), st.integers(0, 30), st.integers(0, 20))
def test_a_label_once_given_never_changes(history, snaps, horizon, lead_time, settle):
    spec = LabelSpec("sql", horizon * DAY, lead_time * DAY, settle=settle * DAY)
    before = None
    for day in range(0, 130, 5):
        now = compute_labels(history.known_before(day * DAY), snaps, spec)["label"]
        if before is not None:
            assert now.filter(before.is_not_null()).equals(before.drop_nulls())
        before = now


@given(histories(), snapshots(), st.integers(1, 60))
def test_every_matured_row_has_a_label(history, snaps, horizon):
    rows = compute_labels(history, snaps, LabelSpec("sql", horizon * DAY))
    assert rows.filter("matured")["label"].null_count() == 0
    final = rows["as_of"] + horizon * DAY <= END
    assert rows["matured"].equals(final.alias("matured"))


@given(histories(), st.integers(1, 40))
def test_no_lead_has_a_snapshot_after_the_crm_knew_that_it_was_closed(history, days):
    rule = CohortRule(on=("created", "mql"), every=days * DAY, closed=("sql", "disqualified"))
    sample = draw(history, rule).frame
    closed = history.transitions.filter(pl.col("stage").is_in(["sql", "disqualified"]))
    first = closed.group_by("lead_id").agg(known=pl.max_horizontal("occurred_at", "known_at").min())
    assert sample.join(first, on="lead_id").filter(pl.col("as_of") > pl.col("known")).is_empty()
    assert sample.unique().height == sample.height
    assert sample.filter(pl.col("as_of") > history.observed_until).is_empty()


def test_a_stage_entry_is_looked_at_one_second_after_the_crm_knew():
    history = one_lead((50, 80, "mql"))
    sample = draw(history, CohortRule(on=("mql",))).frame
    assert sample.rows() == [("a", 81)]


def test_the_target_cannot_also_be_an_end():
    with pytest.raises(ValueError, match="is the target, so it cannot be in closed"):
        LabelSpec("sql", DAY, closed=("sql",))
