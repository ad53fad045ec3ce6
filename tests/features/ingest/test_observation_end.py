"""Up to when outcomes are known: planned calls do not move it, a table that ends early does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from features.clock import DAY
from features.ingest import event_tables
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.observation_end import TableEnd, find_observation_end
from features.ingest.quarantine import SourceError, TooManyBadRowsError
from features.ingest.read_history import read_history

NOW = 20_000 * DAY


def daily(kind, first, last, step=1, name=None):
    return TableEnd(
        kind, name or f"{kind}.csv", {day: (1, day * DAY + 60) for day in range(first, last + 1, step)}
    )


LEADS, STAGES = daily("leads", 0, 100), daily("transitions", 3, 99, 3)


def test_without_planned_rows_it_is_one_second_after_the_newest():
    assert find_observation_end([LEADS, STAGES, daily("touchpoints", 0, 102)]) == (102 * DAY + 61, ())


def test_planned_calls_do_not_move_it_and_are_said():
    calls = daily("touchpoints", 0, 100)
    planned = replace(calls, days={**calls.days, 190: (1, 190 * DAY), 220: (1, 220 * DAY)})
    until, notices = find_observation_end([LEADS, STAGES, planned])
    assert until == 100 * DAY + 61
    assert "taken as planned" in notices[0]
    assert find_observation_end([LEADS, STAGES, calls])[0] == until


def test_a_table_that_ends_before_the_others_ends_it_and_is_said():
    until, notices = find_observation_end([LEADS, STAGES, daily("touchpoints", 0, 60)])
    assert until == 60 * DAY + 61
    assert "ends on 1970-03-02, 40 days before the others" in notices[0]
    assert "observed_until = 1970-04-12" in notices[0]


def test_a_table_that_is_silent_as_often_before_has_not_ended():
    assert find_observation_end([LEADS, daily("transitions", 0, 90, 4)])[0] == 100 * DAY + 61


def test_a_table_that_is_read_as_several_things_has_one_end():
    audit = [daily("transitions", 0, 100, name="audit"), daily("attributes", 0, 60, name="audit")]
    assert find_observation_end([LEADS, *audit]) == (100 * DAY + 61, ())
    early = [replace(end, days=daily("", 0, day).days) for end, day in zip(audit, (60, 50), strict=True)]
    until, notices = find_observation_end([LEADS, STAGES, *early])
    assert until == 60 * DAY + 61
    assert len(notices) == 1


def test_few_rows_say_nothing_of_an_end():
    assert find_observation_end([LEADS, daily("transitions", 0, 9)])[0] == 100 * DAY + 61


def test_leads_that_stop_coming_end_nothing():
    assert find_observation_end([daily("leads", 0, 40), STAGES])[0] == 99 * DAY + 61


@pytest.fixture
def mapping(write):
    leads = TableMapping(file=write("lead_id,created_at\n1,2020-01-01 10:00\n2,2020-01-01 18:00\n"))
    stages = write("lead_id,occurred_at,stage\n1,2020-01-01,sql\n2,2020-01-03 09:00,sql\n", "s.csv")
    return HistoryMapping(leads, transitions=(TableMapping(file=stages),), stages=("sql",))


def touchpoints(mapping, write, text, **changes):
    table = TableMapping(file=write("lead_id,occurred_at,kind\n" + text, "t.csv"), **changes)
    return replace(mapping, touchpoints=(table,))


def test_touchpoints_of_the_future_are_planned_and_no_bad_rows(mapping, write):
    rows = "1,2020-01-02,call\n" * 9 + "1,2090-01-01,call\n" * 9
    reading = read_history(touchpoints(mapping, write, rows), NOW)
    assert reading.history.touchpoints.height == 9
    assert reading.quarantine.rows == 0
    assert any("9 rows are planned for later and left out" in notice for notice in reading.notices)


@pytest.mark.parametrize("rows_at_a_time", [2, 5, 1_000])
def test_plans_at_the_end_of_a_long_table_are_those_of_the_whole_table(
    mapping, write, monkeypatch, rows_at_a_time
):
    monkeypatch.setattr(event_tables, "EVENT_ROWS", rows_at_a_time)
    past, future = "1,2020-01-02,call\n" * 18, "1,2090-01-01,call\n"
    reading = read_history(touchpoints(mapping, write, past + future * 4), NOW)
    assert (reading.history.touchpoints.height, reading.quarantine.rows) == (18, 0)
    assert any("4 rows are planned for later and left out" in notice for notice in reading.notices)
    with pytest.raises(TooManyBadRowsError, match="in the future"):
        read_history(touchpoints(mapping, write, past + future * 19), NOW)


def test_stages_of_the_future_are_bad_rows(mapping, write):
    late = write("lead_id,occurred_at,stage\n1,2090-01-01,sql\n2,2020-01-03,sql\n", "late.csv")
    with pytest.raises(TooManyBadRowsError, match="in the future"):
        read_history(replace(mapping, transitions=(TableMapping(file=late),)), NOW)


def test_a_date_without_a_time_is_the_whole_day(mapping):
    reading = read_history(mapping, NOW)
    created = reading.history.leads["created_at"][0]
    entered = reading.history.transitions["occurred_at"].to_list()
    assert entered == [18262 * DAY + DAY - 1, 18264 * DAY + 9 * 3600]
    assert entered[0] > created
    assert any(
        "1 rows date a stage on the day of the lead's creation" in notice for notice in reading.notices
    )


def test_the_whole_day_is_that_of_the_tables_zone(mapping):
    berlin = replace(mapping.transitions[0], time_zone="Europe/Berlin")
    reading = read_history(replace(mapping, transitions=(berlin,)), NOW)
    assert reading.history.transitions["occurred_at"][0] == 18262 * DAY + 23 * 3600 - 1


def test_a_date_of_today_counts_now_at_the_latest(mapping):
    now = 18262 * DAY + 20 * 3600
    reading = read_history(replace(mapping, max_share=1), now)
    assert reading.history.transitions["occurred_at"].to_list() == [now - 1]


def test_a_table_may_have_a_limit_of_its_own(mapping, write):
    rows = "1,2020-01-02,call\n9,2020-01-02,call\n"
    with pytest.raises(TooManyBadRowsError, match="1 of 6 rows"):
        read_history(touchpoints(mapping, write, rows), NOW)
    assert read_history(touchpoints(mapping, write, rows, max_share=0.5), NOW).quarantine.rows == 1
    with pytest.raises(TooManyBadRowsError, match="1 of 2 rows"):
        read_history(touchpoints(replace(mapping, max_share=1), write, rows, max_share=0.4), NOW)
    with pytest.raises(SourceError, match="between 0 and 1"):
        TableMapping(file=mapping.leads.file, max_share=2)


def test_an_event_table_that_is_still_empty_is_a_notice(mapping, write):
    reading = read_history(touchpoints(mapping, write, ""), NOW)
    assert any(
        "has column names but no rows; it counts once it has some" in notice for notice in reading.notices
    )


def test_deleted_leads_and_their_events_are_left_out_and_no_bad_rows(mapping, write):
    text = "lead_id,created_at,is_deleted\n1,2020-01-01,FALSE\n2,soon,TRUE\n3,2020-01-01,FALSE\n"
    leads = TableMapping(file=write(text, "deleted.csv"), deleted="is_deleted")
    reading = read_history(replace(mapping, leads=leads), NOW)
    assert reading.history.leads["lead_id"].to_list() == ["1", "3"]
    assert reading.history.transitions["lead_id"].to_list() == ["1"]
    assert reading.quarantine.rows == 0
    said = " ".join(reading.notices)
    assert "1 leads were deleted and are left out" in said
    assert "1 rows belong to deleted leads" in said
    assert reading.history.lead_columns == []


def test_a_query_has_a_name_in_messages():
    source = TableMapping(database="crm.db", query="SELECT a FROM b", title="won deals")
    assert source.name == "won deals"
    assert replace(source, title=None).name == "crm.db: query SELECT a FROM b"
