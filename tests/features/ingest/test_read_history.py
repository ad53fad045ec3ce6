"""A history from a company's own tables: mapped, checked row by row, and told apart from what is wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from features.clock import DAY
from features.history import TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from features.ingest.mapping import AttributeSelection, FlatMapping, HistoryMapping, TableMapping, TableSource
from features.ingest.quarantine import SourceError, TooManyBadRowsError
from features.ingest.read_history import read_history

NOW = 20_000 * DAY
LEADS = (
    "key,born,company,visits,zip\n01,2020-01-01,A,1,01099\n02,2020-01-02,A,2,80331\n03,2020-01-03,B,,80331\n"
)
TOUCHES = """\
key,at,what,way,price
01,2020-01-05 10:00:00,Demo angefragt,ads,12.34
02,2020-01-06T10:00:00+02:00,visit,,
"""
DEALS = "key,won_date,lost_date\n01,2020-02-01,\n02,,2020-03-01\n03,,\n"


@pytest.fixture
def mapping(write):
    """The mapping of three small files onto the contract."""
    deals = write(DEALS, "deals.csv")
    return HistoryMapping(
        leads=TableMapping(
            file=write(LEADS), columns={"lead_id": "key", "created_at": "born", "account_id": "company"}
        ),
        touchpoints=(
            TableMapping(
                file=write(TOUCHES, "touches.csv"),
                columns={
                    "lead_id": "key",
                    "occurred_at": "at",
                    "kind": "what",
                    "channel": "way",
                    "amount": "price",
                },
                values={"kind": {"Demo angefragt": "demo_request"}},
            ),
        ),
        transitions=tuple(
            TableMapping(
                file=deals,
                columns={"lead_id": "key", "occurred_at": f"{stage}_date"},
                constants={"stage": stage},
            )
            for stage in ("won", "lost")
        ),
        stages=("won", "lost"),
        max_share=1,
    )


def with_touchpoints(mapping, text, write, **changes):
    table = replace(mapping.touchpoints[0], file=write(text, "other.csv"), **changes)
    return replace(mapping, touchpoints=(table,))


def why(reading):
    return [
        tuple(row) for row in reading.quarantine.frame.select("row", "column", "value", "reason").iter_rows()
    ]


def test_a_history_is_read_from_three_files(mapping):
    reading = read_history(mapping, NOW)
    history = reading.history
    assert history.leads["lead_id"].to_list() == ["01", "02", "03"]
    assert history.lead_columns == ["visits", "zip"]
    assert history.leads.schema["visits"] == pl.Float64
    assert history.leads["zip"].to_list() == ["01099", "80331", "80331"]
    assert dict(history.touchpoints.schema) == TOUCHPOINT_SCHEMA
    assert dict(history.transitions.schema) == TRANSITION_SCHEMA
    assert history.touchpoints["kind"].to_list() == ["demo_request", "visit"]
    assert history.touchpoints["amount"].to_list() == [1234, None]
    assert sorted(history.transitions.select("lead_id", "stage").rows()) == [("01", "won"), ("02", "lost")]
    assert (len(reading.quarantine), reading.notices) == (0, ())
    assert [(c.table, c.rows, c.accepted) for c in reading.counts][:2] == [
        ("leads", 3, 3),
        ("touchpoints", 2, 2),
    ]


def test_mixed_zones_are_each_their_own(mapping):
    at = read_history(mapping, NOW).history.touchpoints["occurred_at"].to_list()
    assert at[1] - at[0] == DAY - 2 * 3600


def test_naive_times_are_in_the_configured_zone(mapping, write):
    berlin = read_history(
        with_touchpoints(mapping, TOUCHES, write, time_zone="Europe/Berlin"), NOW
    ).history.touchpoints
    utc = read_history(mapping, NOW).history.touchpoints
    assert (utc["occurred_at"] - berlin["occurred_at"]).to_list() == [3600, 0]


def test_without_a_given_end_the_history_ends_after_its_newest_event(mapping):
    history = read_history(mapping, NOW).history
    assert history.observed_until == history.transitions["known_at"].max() + 1
    assert read_history(replace(mapping, observed_until=NOW - 1), NOW).history.observed_until == NOW - 1


@pytest.mark.parametrize(
    ("row", "entry"),
    [
        ("01,soon,visit,,", ("at", "soon", "no time (iso, zone UTC)")),
        ("99,2020-01-05,visit,,", ("key", "99", "no such lead")),
        (",2020-01-05,visit,,", ("key", None, "no lead_id")),
        ("01,2020-01-05,,,", ("what", None, "no kind")),
        ("01,,visit,,", ("at", None, "no occurred_at")),
        ("01,2090-01-05,visit,,", ("at", "2090-01-05", "in the future")),
        ("01,2020-01-05", (None, "01,2020-01-05", "the line has fewer columns than the header")),
    ],
)
def test_a_bad_row_is_named_and_the_others_go_on(mapping, write, row, entry):
    reading = read_history(with_touchpoints(mapping, TOUCHES + row + "\n", write), NOW)
    assert why(reading) == [(4, *entry)]
    assert reading.history.touchpoints.height == 2
    assert reading.quarantine.counts == {("touchpoints", entry[2]): 1}


def test_a_price_that_is_none_becomes_missing_and_the_row_goes_on(mapping, write):
    reading = read_history(with_touchpoints(mapping, TOUCHES + "01,2020-01-05,visit,,cheap\n", write), NOW)
    assert why(reading) == [(4, "price", "cheap", "not a number; used as missing")]
    assert reading.history.touchpoints.height == 3
    assert reading.quarantine.rows == 0


def test_a_stage_that_does_not_exist_is_named(mapping, write):
    table = TableMapping(
        file=write("lead_id,occurred_at,stage\n01,2020-02-01,Won\n01,2020-02-02,wonn\n", "s.csv")
    )
    mapped = replace(table, values={"stage": {"Won": "won"}})
    reading = read_history(replace(mapping, transitions=(mapped,)), NOW)
    assert why(reading) == [(3, "stage", "wonn", "not a stage of the funnel")]
    assert reading.history.transitions["stage"].to_list() == ["won"]


def test_a_lead_that_stands_twice_is_kept_once_whatever_its_cells_are(tmp_path):
    times = [datetime(2020, 1, 2, tzinfo=UTC)] * 2
    rows = {"lead_id": ["01", "01"], "created_at": times, "tags": [["a", "b"], ["c"]], "raw": [b"1", b"2"]}
    readings = []
    for order in ([0, 1], [1, 0]):
        pl.DataFrame(rows)[order].write_parquet(tmp_path / "leads.parquet")
        leads = TableMapping(file=tmp_path / "leads.parquet")
        readings.append(read_history(HistoryMapping(leads, max_share=1), NOW))
    assert [reading.history.leads.height for reading in readings] == [1, 1]
    assert readings[0].history.leads.equals(readings[1].history.leads)


def test_a_lead_that_stands_twice_is_kept_once(mapping, write):
    leads = replace(mapping.leads, file=write(LEADS + "01,2020-01-09,B,9,1\n", "twice.csv"))
    reading = read_history(replace(mapping, leads=leads), NOW)
    assert why(reading) == [(5, "key", "01", "duplicate lead ID; the row created first is used")]
    assert reading.history.leads["visits"].to_list() == [1.0, 2.0, None]


def test_nothing_is_known_before_it_happens(mapping, write):
    known = ("2020-01-04", "", "2020-01-09")
    text = "lead_id,occurred_at,kind,known_at\n" + "".join(f"01,2020-01-05,visit,{day}\n" for day in known)
    reading = read_history(replace(mapping, touchpoints=(TableMapping(file=write(text, "late.csv")),)), NOW)
    gap = reading.history.touchpoints["known_at"] - reading.history.touchpoints["occurred_at"]
    assert gap.to_list() == [0, 0, 4 * DAY]
    assert "1 rows were known before they happened" in reading.notices[0]


def test_accounts_bring_their_columns_and_unknown_ones_are_noted(mapping, write):
    accounts = TableMapping(
        file=write("company,staff\nA,10\n", "accounts.csv"), columns={"account_id": "company"}
    )
    reading = read_history(
        replace(mapping, accounts=accounts, plain=AttributeSelection(exclude=("visits",))), NOW
    )
    assert reading.history.lead_columns == ["zip"]  # one account only: its staff is constant
    assert why(reading) == [(4, "company", "B", "no such account")]
    assert reading.history.leads["account_id"].to_list() == ["A", "A", "B"]
    assert {role.column: role.role for role in reading.roles}["account.staff"] == "constant"


def test_attributes_that_are_overwritten_keep_their_history(mapping, write):
    rows = ("01,2020-01-02,budget,1000", "01,2020-02-02,budget,yes", "02,2020-01-02,need,high")
    text = "\n".join(["lead_id,known_at,name,value", *rows])
    reading = read_history(replace(mapping, attributes=(TableMapping(file=write(text, "a.csv")),)), NOW)
    assert reading.history.attributes["number"].to_list() == [1000.0, 1.0, None]
    assert {a.column: a.known for a in reading.availability} == {
        "visits": "at creation",
        "zip": "at creation",
        "budget": "history",
        "need": "history",
    }


def test_date_columns_of_the_leads_can_be_transitions(write):
    rows = ("1,2020-01-01,2020-01-05,,3", "2,2020-01-01,2020-01-06,2020-01-09,4")
    path = write("\n".join(["lead_id,created_at,mql_at,sql_at,size", *rows]))
    events = tuple(
        TableMapping(file=path, columns={"occurred_at": f"{stage}_at"}, constants={"stage": stage})
        for stage in ("mql", "sql")
    )
    reading = read_history(
        HistoryMapping(TableMapping(file=path), transitions=events, stages=("mql", "sql")), NOW
    )
    assert reading.history.lead_columns == ["size"]
    assert reading.history.transitions["stage"].to_list() == ["mql", "mql", "sql"]
    assert len(reading.quarantine) == 0


def test_several_files_feed_the_touchpoints(mapping, write):
    calls = TableMapping(
        file=write("lead_id,occurred_at\n03,2020-01-09\n", "calls.csv"), constants={"kind": "contact_request"}
    )
    reading = read_history(replace(mapping, touchpoints=(*mapping.touchpoints, calls)), NOW)
    assert reading.history.touchpoints["kind"].to_list() == ["demo_request", "visit", "contact_request"]


def test_too_many_bad_rows_stop_the_run(mapping, write, tmp_path):
    bad = replace(with_touchpoints(mapping, TOUCHES + "99,2020-01-05,visit,,\n" * 9, write), max_share=0.05)
    with pytest.raises(TooManyBadRowsError, match=r"9 of 20 rows .*no such lead .9.*quarantine.csv"):
        read_history(bad, NOW, tmp_path / "quarantine.csv")
    assert pl.read_csv(tmp_path / "quarantine.csv").height == 9


def test_only_chosen_columns_are_attributes(mapping):
    plain = AttributeSelection(only=("zip",), roles={"zip": "number"})
    reading = read_history(replace(mapping, plain=plain), NOW)
    assert reading.history.lead_columns == ["zip"]
    assert reading.history.leads["zip"].to_list() == [1099.0, 80331.0, 80331.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {"lead": "key"}}, "the contract of leads has no column 'lead'; did you mean 'lead_id'"),
        ({"columns": {"lead_id": "key", "created_at": "boorn"}}, "no column 'boorn'; did you mean 'born'"),
        ({"columns": {"lead_id": "key"}}, "leads need a column 'created_at'"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(mapping, change, message):
    with pytest.raises(SourceError, match=message):
        read_history(replace(mapping, leads=replace(mapping.leads, **change)), NOW)


def test_a_place_is_a_file_or_a_database():
    with pytest.raises(SourceError, match="exactly one"):
        TableSource()
    with pytest.raises(SourceError, match="table or a query"):
        TableSource(database="crm.db")
    assert "secret" not in TableSource(database="postgresql://me:secret@host/crm", table="leads").name


def test_a_column_cannot_also_be_a_constant(write):
    with pytest.raises(SourceError, match="both a column and a constant"):
        TableMapping(file=write("a\n1\n"), columns={"kind": "a"}, constants={"kind": "visit"})


def test_a_flat_mapping_knows_the_columns_it_speaks_of():
    mapping = FlatMapping("id", "won", exclude=("x",), roles={"y": "number"})
    assert mapping.named == ("id", "won", "x", "y")
    assert mapping.reserved == {"id", "won", "x"}


def test_olist_is_read_from_its_two_files(real):
    leads = TableMapping(
        file=real("olist_funnel/olist_marketing_qualified_leads_dataset.csv"),
        columns={"lead_id": "mql_id", "created_at": "first_contact_date"},
    )
    deals = TableMapping(
        file=real("olist_funnel/olist_closed_deals_dataset.csv"),
        columns={"lead_id": "mql_id", "occurred_at": "won_date"},
        constants={"stage": "won"},
    )
    reading = read_history(HistoryMapping(leads, transitions=(deals,), stages=("won",)), NOW)
    assert (reading.history.leads.height, reading.history.transitions.height) == (8000, 842)
    assert (len(reading.quarantine), reading.history.lead_columns) == (0, ["landing_page_id", "origin"])


NO_DATE = [
    "1900-01-01",
    "1899-12-30 00:00:00",
    "1753-01-01",
    "9999-12-31",
    "9999-12-31T23:59:59",
    "0001-01-01",
]
ZEROS = ["0000-00-00", "0000-00-00 00:00:00"]


@pytest.mark.parametrize("date", [*NO_DATE, *ZEROS])
def test_a_date_that_stands_for_none_is_none(tmp_path, date):
    leads = f"lead_id,created_at,won_at\na,2024-01-01,{date}\nb,2024-01-02,2024-02-01\nc,{date},\n"
    (tmp_path / "leads.csv").write_text(leads, encoding="utf-8")
    place = tmp_path / "leads.csv"
    won = TableMapping(place, columns={"occurred_at": "won_at"}, constants={"stage": "won"})
    reading = read_history(HistoryMapping(TableMapping(place), transitions=(won,), max_share=1.0), 2**40)
    assert reading.history.leads["lead_id"].to_list() == ["a", "b"]
    assert reading.history.transitions["lead_id"].to_list() == ["b"]
    assert len(reading.quarantine) == 1
    assert reading.quarantine.rows == 1
    said = any("hold a date that stands for none" in notice for notice in reading.notices)
    assert said == (date in NO_DATE)


def crm_with_planned(tmp_path, planned):
    """A hundred days of leads that each have ten calls on their day; some more calls are ``planned``."""
    days = [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(100)]
    leads = "".join(f"{i},{day}\n" for i, day in enumerate(days))
    (tmp_path / "leads.csv").write_text(f"lead_id,created_at\n{leads}", encoding="utf-8")
    events = [(i, day) for i, day in enumerate(days) for _ in range(10)] + [(0, day) for day in planned]
    rows = "".join(f"{i},{day},call\n" for i, day in events)
    (tmp_path / "events.csv").write_text(f"lead_id,occurred_at,kind\n{rows}", encoding="utf-8")
    touchpoints = (TableMapping(tmp_path / "events.csv"),)
    return HistoryMapping(TableMapping(tmp_path / "leads.csv"), touchpoints)


NOW_2025 = 1_735_689_600


@pytest.mark.parametrize("day", ["2031-05-01", "2025-06-01"])
def test_planned_calls_in_the_future_are_told_and_do_not_stop_a_run(tmp_path, day):
    reading = read_history(crm_with_planned(tmp_path, [day] * 90), NOW_2025)
    assert (len(reading.quarantine), reading.quarantine.rows) == (90, 0)
    assert reading.history.touchpoints.height == 1000


def test_a_table_that_is_mostly_in_the_future_stops_the_run(tmp_path):
    with pytest.raises(TooManyBadRowsError, match="in the future"):
        read_history(crm_with_planned(tmp_path, ["2031-05-01"] * 1100), NOW_2025)


def test_planned_calls_do_not_move_the_end_of_observation(tmp_path):
    plain = read_history(crm_with_planned(tmp_path, []), NOW_2025)
    planned = read_history(crm_with_planned(tmp_path, ["2024-09-01", "2024-10-01"]), NOW_2025)
    assert planned.history.observed_until == plain.history.observed_until
    assert any("taken as planned" in notice for notice in planned.notices)
    mapping = replace(crm_with_planned(tmp_path, ["2024-09-01"]), observed_until=NOW_2025)
    assert read_history(mapping, NOW_2025).history.observed_until == NOW_2025


def test_touchpoints_that_go_on_are_no_plans(tmp_path):
    later = [f"2024-{5 + i // 28:02d}-{1 + i % 28:02d}" for i in range(140)] * 10
    reading = read_history(crm_with_planned(tmp_path, later), NOW_2025)
    assert reading.history.observed_until > NOW_2025 - 120 * DAY
    assert not any("planned" in notice for notice in reading.notices)


def test_accounts_that_are_no_companies_by_their_name_are_named_and_kept(mapping, write):
    file = write(re.sub(r",B\b", ",gmail.com", re.sub(r",A\b", ",Unknown", LEADS)), "words.csv")
    reading = read_history(replace(mapping, leads=replace(mapping.leads, file=file)), NOW)
    assert reading.history.leads["account_id"].to_list() == ["Unknown", "Unknown", "gmail.com"]
    (notice,) = (each for each in reading.notices if "no companies" in each)
    # One lead alone has no colleagues.
    assert "'Unknown' (2 leads); leave the account" in notice


def test_an_account_that_is_hardly_a_company_is_named_and_kept(mapping, monkeypatch):
    assert not any("account" in notice for notice in read_history(mapping, NOW).notices)
    monkeypatch.setattr("features.ingest.notable_accounts.LARGE_ACCOUNT", 1)
    reading = read_history(mapping, NOW)
    assert any("account 'A' has 2 of the 3 leads; if that is no company" in each for each in reading.notices)
    assert reading.history.leads["account_id"].to_list() == ["A", "A", "B"]
