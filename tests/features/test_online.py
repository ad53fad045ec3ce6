"""One lead in plain Python: what it sees at the edges, and the way between records and frames."""

from __future__ import annotations

import polars as pl
import pytest
from full_history import CATALOGUE, FULL_HISTORY, ONE_PER_SHAPE
from oracle import feature_rows

from features.clock import DAY
from features.cohort import Snapshots
from features.history import TOUCHPOINT_SCHEMA, LeadHistory
from features.online import OnlineFeatures
from features.record import LeadRecord, from_records, to_records
from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    attribute,
    count,
    history_attribute,
    latest,
    recency,
    trend,
)

SAYS = DisplayText("{value}", "{value}")
DEMOS = EventSelection("intent", "touchpoints", ("demo",))
NOW = 100 * DAY


def feature_value(spec, events, as_of=NOW, source="touchpoints"):
    lead = LeadRecord("a", 0, events={source: events})
    return OnlineFeatures(FeatureSet((spec,)))(lead, as_of)[spec.name]


def demo(occurred_at, known_at=None, **more):
    known = occurred_at if known_at is None else known_at
    return {"occurred_at": occurred_at, "known_at": known, "kind": "demo", **more}


@pytest.mark.parametrize(
    ("occurred_at", "known_at", "counted"),
    [
        (NOW - 1, NOW - 1, 1.0),
        (NOW, NOW, 0.0),
        (NOW + 1, NOW + 1, 0.0),
        (NOW - 9, NOW - 1, 1.0),
        (NOW - 9, NOW, 0.0),
        (NOW - 9, NOW + 1, 0.0),
    ],
)
def test_an_event_is_seen_if_it_happened_and_was_known_before_the_second_asked_about(
    occurred_at, known_at, counted
):
    assert feature_value(count(DEMOS, SAYS), [demo(occurred_at, known_at)]) == counted


@pytest.mark.parametrize(("age", "counted"), [(7 * DAY - 1, 1.0), (7 * DAY, 0.0), (7 * DAY + 1, 0.0)])
def test_a_window_ends_before_its_last_second(age, counted):
    assert feature_value(count(DEMOS.last(7), SAYS), [demo(NOW - age)]) == counted


def test_never_is_not_the_same_as_at_once():
    assert feature_value(count(DEMOS, SAYS), []) == 0.0
    assert feature_value(recency(DEMOS, SAYS), []) is None
    assert feature_value(recency(DEMOS, SAYS), [demo(NOW - 1)]) == 1.0


def test_steady_activity_has_no_trend():
    every_day = [demo(NOW - day * DAY - 1) for day in range(37)]
    assert feature_value(trend(DEMOS, SAYS), every_day) == 0.0
    assert feature_value(trend(DEMOS, SAYS), every_day[:7]) == 7 * 30.0
    assert feature_value(trend(DEMOS, SAYS), every_day[7:]) == -30 * 7.0


def test_the_latest_value_is_of_the_latest_row_that_has_one():
    offer = latest(DEMOS, "offer", SAYS)
    rows = [demo(NOW - 5, offer="old"), demo(NOW - 3, offer="new"), demo(NOW - 1)]
    assert feature_value(offer, rows) == "new"
    assert feature_value(offer, [demo(NOW - 3, offer="a"), demo(NOW - 3, offer="b")]) == "b"


def test_an_overwritten_attribute_counts_from_when_the_crm_knew_it():
    changes = [
        {"name": "size", "known_at": NOW - 9, "number": 5.0},
        {"name": "size", "known_at": NOW, "number": 500.0},
    ]
    size = history_attribute("size", family="fit", says=SAYS, unit="number")
    assert feature_value(size, changes, source="attributes") == 5.0
    assert feature_value(size, changes, as_of=NOW + 1, source="attributes") == 500.0


def test_a_lead_that_does_not_exist_yet_has_no_attributes():
    features = FeatureSet((attribute("city", family="fit", says=SAYS),))
    lead = LeadRecord("a", NOW, {"city": "Bonn"})
    assert OnlineFeatures(features)(lead, NOW) == {"city": None}
    assert OnlineFeatures(features)(lead, NOW + 1) == {"city": "Bonn"}


def test_a_row_has_every_feature_in_the_order_of_the_set():
    row = OnlineFeatures(CATALOGUE)(LeadRecord("a", 0), 1)
    assert tuple(row) == CATALOGUE.names


def test_the_newest_news_of_a_lead_is_when_the_crm_heard_it():
    events = {
        "touchpoints": [demo(5, 50)],
        "attributes": [{"name": "size", "known_at": 60, "number": 1.0}],
        "account_touchpoints": [demo(7, 70) | {"colleague": "b"}],
    }
    assert LeadRecord("a", 0, events=events).last_known_at == 70
    assert LeadRecord("a", 9).last_known_at == 9


def test_records_carry_the_accounts_columns_and_the_colleagues_events():
    leads = pl.DataFrame(
        {"lead_id": ["x", "y", "z"], "created_at": [0, 0, 0], "account_id": ["A", "A", None]}
    )
    history = FULL_HISTORY.__class__(
        leads, FULL_HISTORY.touchpoints, FULL_HISTORY.transitions, 10, accounts=FULL_HISTORY.accounts
    )
    x, y, z = to_records(history)
    assert (x.attributes, z.attributes) == ({"account.sector": "steel"}, {})
    assert {event["colleague"] for event in y.events["account_touchpoints"]} == {"x"}
    assert len(y.events["account_touchpoints"]) == FULL_HISTORY.touchpoints.height
    assert x.events["account_touchpoints"] == z.events["account_touchpoints"] == []


def test_the_records_of_an_account_share_its_events():
    ids = [f"l{i}" for i in range(9)]
    leads = pl.DataFrame({"lead_id": ids, "created_at": [0] * 9, "account_id": ["a"] * 8 + [None]})
    rows = [
        {"lead_id": lead, "occurred_at": moment, "known_at": moment, "kind": "demo"}
        for lead in ids[1:]
        for moment in (1, 2)
    ]
    touchpoints = pl.DataFrame(rows, {**TOUCHPOINT_SCHEMA})
    records = list(to_records(LeadHistory(leads, touchpoints, FULL_HISTORY.transitions.clear(), 10)))
    of_colleagues = [record.events["account_touchpoints"] for record in records]
    assert [len(events) for events in of_colleagues] == [14, *[12] * 7, 0]
    assert len({id(event) for events in of_colleagues for event in events}) == 14
    for own, events in zip(ids, of_colleagues, strict=True):
        copies = list(events)
        assert own not in {event["colleague"] for event in copies}
        assert [events[place] for place in range(len(events))] == copies
        assert (events[-1:], events[3:7]) == (copies[-1:], copies[3:7])
        with pytest.raises(IndexError):
            events[len(events)]


def test_the_same_lead_may_stand_in_a_request_twice():
    (lead,) = to_records(FULL_HISTORY)
    history = from_records([lead, lead], ONE_PER_SHAPE)
    pair = Snapshots(pl.DataFrame({"lead_id": ["0", "1"], "as_of": [10, 10]}))
    rows = feature_rows(ONE_PER_SHAPE, history, pair).drop("lead_id")
    assert rows.row(0) == rows.row(1) == (10, *OnlineFeatures(ONE_PER_SHAPE)(lead, 10).values())
