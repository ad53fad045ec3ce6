"""Merged leads: before the merge both are what they were, after it the survivor has what the other did."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.clock import DAY
from features.cohort import CohortRule, Snapshots, draw_snapshots, open_lead_snapshots
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.partitions import read_partitioned
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.labels import LabelSpec, compute_labels
from features.merges import MERGE_SCHEMA, PART, chain_merges
from training.data.dataset import compute_feature_rows, from_history

NOW = 20_000 * DAY
FIRST = 18262  # 2020-01-01
LEADS = (
    "id,created_date,is_deleted,master_record_id,last_modified_date\n"
    "A,2020-01-01,true,B,2020-01-10 12:00\nB,2020-01-02,true,C,2020-01-20 12:00\n"
    "C,2020-01-03,false,,2020-03-01\n"
    "D,2020-01-04,false,,2020-01-05\nE,2020-01-04,true,,2020-01-05\n"
)
CALLS = (
    "id,day,kind\nA,2020-01-05 10:00,call\nB,2020-01-06 10:00,call\n"
    "D,2020-01-07 10:00,call\nX,2020-01-08 10:00,call\n"
)
STAGES = "id,day,stage\nA,2020-01-06 09:00,mql\nC,2020-02-01 09:00,sql\nD,2020-01-09 09:00,sql\n"


@pytest.fixture
def mapping(write):
    columns = {"lead_id": "id", "occurred_at": "day"}
    path = write(LEADS)
    merges = TableMapping(
        file=path,
        columns={"lead_id": "id", "merged_into": "master_record_id", "known_at": "last_modified_date"},
    )
    return HistoryMapping(
        TableMapping(
            file=path, columns={"lead_id": "id", "created_at": "created_date"}, deleted="is_deleted"
        ),
        touchpoints=(TableMapping(file=write(CALLS, "calls.csv"), columns=columns),),
        transitions=(TableMapping(file=write(STAGES, "stages.csv"), columns=columns),),
        merges=(merges,),
        stages=("mql", "sql"),
        max_share=1,
    )


def rows(history, table, lead):
    events = getattr(history, table).filter(pl.col("lead_id") == lead).sort("known_at")
    word = {"touchpoints": "kind", "transitions": "stage"}[table]
    return [
        ((known - FIRST * DAY) // DAY + 1, text) for known, text in events.select("known_at", word).rows()
    ]


def test_the_survivor_has_what_the_other_did_from_the_merge_on(mapping):
    history = read_history(mapping, NOW).history
    assert rows(history, "touchpoints", "A") == [(5, "call")]
    assert rows(history, "touchpoints", "B") == [(6, "call"), (10, "call")]
    assert rows(history, "touchpoints", "C") == [(20, "call"), (20, "call")]
    occurred = history.touchpoints.filter(pl.col("lead_id") == "C")["occurred_at"].sort()
    assert ((occurred - FIRST * DAY) // DAY + 1).to_list() == [5, 6]


def test_a_merge_cannot_change_an_earlier_snapshot(mapping):
    merged = read_history(mapping, NOW).history
    apart_leads = replace(mapping.leads, deleted=None)
    apart = read_history(replace(mapping, leads=apart_leads, merges=()), NOW).history
    label = LabelSpec("sql", 20 * DAY, closed=())
    features = from_history(merged, CohortRule(), label).features
    early = [
        (lead, (FIRST + day) * DAY)
        for lead, days in (("A", (5, 9)), ("B", (5, 9)), ("C", (5, 9, 19)))
        for day in days
    ]
    snapshots = Snapshots(pl.DataFrame(early, ["lead_id", "as_of"], orient="row"))
    frames = [compute_feature_rows(features, history, snapshots) for history in (merged, apart)]
    assert_frame_equal(*frames, check_exact=True)
    late = Snapshots(pl.DataFrame({"lead_id": ["C"], "as_of": [(FIRST + 25) * DAY]}))
    assert not compute_feature_rows(features, merged, late).equals(
        compute_feature_rows(features, apart, late)
    )


def test_a_merged_lead_is_not_open_and_its_outcome_is_that_of_the_survivor(mapping):
    history = read_history(mapping, NOW).history
    rule = CohortRule(("created",), every=7 * DAY, closed=("sql", "merged"))
    drawn = draw_snapshots(history, rule).frame
    days = {
        lead: ((part["as_of"] - FIRST * DAY) // DAY).to_list() for (lead,), part in drawn.group_by("lead_id")
    }
    assert max(days["A"]) <= 9
    assert max(days["B"]) <= 19
    assert set(open_lead_snapshots(history, rule).frame["lead_id"]) == set()
    label = LabelSpec("sql", 40 * DAY, closed=())
    first = Snapshots(pl.DataFrame({"lead_id": ["A", "C"], "as_of": [(FIRST + 3) * DAY] * 2}))
    assert compute_labels(history, first, label)["label"].to_list() == [1, 1]


def test_a_merged_lead_is_no_deleted_one(mapping):
    reading = read_history(mapping, NOW)
    assert reading.history.leads["lead_id"].to_list() == ["A", "B", "C", "D"]
    assert any("1 leads were deleted" in notice for notice in reading.notices)


def test_events_of_a_lead_that_is_no_row_any_more_go_to_the_survivor(mapping, write):
    """HubSpot's contact_merge_audit: the contact that was merged has vanished."""
    audit = write("vid_to_merge,canonical_vid,timestamp\nX,D,2020-01-08 12:00\n", "contact_merge_audit.csv")
    merges = TableMapping(
        file=audit,
        columns={"lead_id": "vid_to_merge", "merged_into": "canonical_vid", "known_at": "timestamp"},
    )
    reading = read_history(replace(mapping, merges=(merges,)), NOW)
    assert rows(reading.history, "touchpoints", "D") == [(7, "call"), (8, "call")]
    assert "X" not in reading.history.touchpoints["lead_id"].to_list()
    assert "X" not in reading.quarantine.frame["value"].to_list()


def test_parts_of_a_history_hold_the_same(mapping):
    whole = read_history(mapping, NOW).history
    with read_partitioned(mapping, NOW, leads=1) as parts:
        histories = list(parts.histories())
    together = pl.concat(
        [h.touchpoints.with_columns(pl.col("lead_id", "kind").cast(pl.String)) for h in histories]
    )
    keys = ["lead_id", "known_at", "occurred_at", "kind"]
    assert together.select(keys).sort(keys).equals(whole.touchpoints.select(keys).sort(keys))


def test_leads_merged_in_a_circle_are_refused(mapping, write):
    text = "lead_id,merged_into,known_at\nA,B,2020-01-10\nB,A,2020-01-11\n"
    with pytest.raises(SourceError, match="merged into itself by way of others"):
        read_history(replace(mapping, merges=(TableMapping(file=write(text, "m.csv")),)), NOW)


CHANGES = (
    "id,day,name,value\nA,2020-01-05,size,10\nA,2020-01-06,size,20\nA,2020-01-06,city,Bonn\n"
    "B,2020-01-07,city,Ulm\nC,2020-01-15,size,99\nX,2020-01-08,size,7\n"
)


def values(history, lead):
    changes = history.attributes.filter(pl.col("lead_id") == lead).sort("known_at", "name")
    return [
        ((at - FIRST * DAY) // DAY + 1, *rest)
        for at, *rest in changes.select("known_at", "name", "value").rows()
    ]


def test_a_survivor_inherits_attributes_that_it_has_not(mapping, write):
    table = TableMapping(file=write(CHANGES, "changes.csv"), columns={"lead_id": "id", "known_at": "day"})
    merged = replace(mapping, attributes=(table,))
    history = read_history(merged, NOW).history
    assert values(history, "A") == [(5, "size", "10"), (6, "city", "Bonn"), (6, "size", "20")]
    # B has a city of its own; of the sizes that A had, the newest counts.
    assert values(history, "B") == [(7, "city", "Ulm"), (10, "size", "20")]
    # C has a size of its own; of both cities that reach it, the newest counts.
    assert values(history, "C") == [(15, "size", "99"), (20, "city", "Ulm")]
    with read_partitioned(merged, NOW, leads=1) as parts:
        together = pl.concat(
            [
                h.attributes.with_columns(pl.exclude("known_at", "number").cast(pl.String))
                for h in parts.histories()
            ]
        )
    assert together.sort(pl.all()).equals(history.attributes.sort(pl.all()))


def test_only_merged_leads_without_a_row_have_vanished():
    """Among many, since the order of what is found by a hash is another one each time."""
    ids = [f"l{n:03}" for n in range(60)]
    pairs = [(lead_id, "survivor", 5) for lead_id in ids]
    merged = chain_merges([pl.DataFrame(pairs, MERGE_SCHEMA, orient="row")])
    there = ids[::2]
    leads = pl.DataFrame({"lead_id": there, PART: [0] * len(there)}, {"lead_id": pl.String, PART: pl.Int64})
    parts = dict(merged.add_vanished(leads).rows())
    assert parts == dict.fromkeys(there, 0) | dict.fromkeys(ids[1::2], -1)
    assert merged.add_vanished(leads).height == len(ids)
