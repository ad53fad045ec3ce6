"""What a lead's colleagues did, however many they are: the account's totals less the lead's own."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import feature_rows
from strategies import KINDS, STAGES, lags, moments, words

from features.clock import DAY
from features.cohort import Snapshots
from features.history import TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.online import OnlineFeatures
from features.record import to_records
from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    count,
    distinct,
    earliest,
    latest,
    recency,
    span,
    tenure,
    total,
    trend,
)

TEXT = DisplayText("{value}", "{value}")
LEADS = tuple(f"l{i:02}" for i in range(12))
ACCOUNTS = ("A",) * 8 + ("B",) * 2 + ("C", None)


def _every_fold():
    """Every way to fold the events of colleagues: of all kinds and of two, ever and of late."""
    every = EventSelection("account", "account_touchpoints", label="any")
    some = EventSelection("account", "account_touchpoints", ("visit", "email_open"), label="some")
    decisions = EventSelection(
        "account", "account_touchpoints", where=(("offer_stage", "decision"),), label="decisions"
    )
    moves = EventSelection("account", "account_transitions", label="moves")
    won = EventSelection("account", "account_transitions", ("sql",), label="won")
    for rows in (every, some, decisions, every.last(30), some.last(10)):
        yield count(rows, TEXT)
        yield total(rows, "amount", TEXT)
        yield from (distinct(rows, column, TEXT) for column in ("colleague", "channel"))
        yield from (fold(rows, TEXT) for fold in (recency, tenure, span))
        yield from (
            fold(rows, column, TEXT) for fold in (latest, earliest) for column in ("channel", "colleague")
        )
    yield from (trend(rows, TEXT) for rows in (every, some, moves))
    for rows in (moves, won, moves.last(20)):
        yield count(rows, TEXT)
        yield distinct(rows, "stage", TEXT)
        yield latest(rows, "stage", TEXT)


EVERY_FOLD = FeatureSet(tuple(_every_fold()))


@st.composite
def busy_accounts(draw):
    """Twelve leads, eight of one account, with events that are often of one moment and often known late."""
    who = st.sampled_from(LEADS)
    touches = draw(
        st.lists(
            st.tuples(
                who, moments, lags, st.sampled_from(KINDS), words, st.one_of(st.none(), st.integers(0, 9))
            ),
            max_size=40,
        )
    )
    moves = draw(st.lists(st.tuples(who, moments, lags, st.sampled_from(STAGES)), max_size=12))
    stages = ("awareness", "decision", None)
    history = LeadHistory(
        leads=pl.DataFrame(
            {"lead_id": LEADS, "created_at": [0] * len(LEADS), "account_id": ACCOUNTS},
            schema_overrides={"created_at": pl.Int64},
        ),
        touchpoints=pl.DataFrame(
            [
                (lead, at, at + lag, kind, channel, None, None, stages[at % 3], amount, None)
                for lead, at, lag, kind, channel, amount in touches
            ],
            schema=TOUCHPOINT_SCHEMA,
            orient="row",
        ),
        transitions=pl.DataFrame(
            [(lead, at, at + lag, stage, None) for lead, at, lag, stage in moves],
            schema=TRANSITION_SCHEMA,
            orient="row",
        ),
        observed_until=120 * DAY,
    )
    seen = st.tuples(who, moments.flatmap(lambda at: st.sampled_from([at, at + 1])))
    keys = draw(st.lists(seen, min_size=1, max_size=12, unique=True))
    return history, Snapshots(
        pl.DataFrame(sorted(keys), schema={"lead_id": pl.String, "as_of": pl.Int64}, orient="row")
    )


@settings(max_examples=12)
@given(busy_accounts(), st.lists(st.sampled_from(EVERY_FOLD.specs), min_size=1, max_size=4, unique=True))
def test_an_account_less_ones_own_is_its_colleagues_on_every_engine(compute, drawn, specs):
    history, snapshots = drawn
    features = FeatureSet(tuple(specs))
    assert compute(features, history, snapshots).equals(feature_rows(features, history, snapshots))


@given(busy_accounts())
def test_colleagues_are_the_same_one_lead_at_a_time(drawn):
    history, snapshots = drawn
    want = feature_rows(EVERY_FOLD, history, snapshots)
    plan, leads = OnlineFeatures(EVERY_FOLD), {record.lead_id: record for record in to_records(history)}
    rows = [
        {"lead_id": lead, "as_of": as_of} | plan(leads[lead], as_of)
        for lead, as_of in snapshots.frame.iter_rows()
    ]
    assert pl.DataFrame(rows, schema=want.schema).sort("lead_id", "as_of").equals(want)
