"""A history read in batches into parts is the one that is read at once, whatever is wrong with it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from features.ingest import event_tables, partitions, repeated_events
from features.ingest.known_leads import HashedLeads, find_buckets
from features.ingest.mapping import AttributeSelection, HistoryMapping, TableMapping
from features.ingest.partitions import read_partitioned
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.ingest.repeated_events import HashRuns
from features.ingest.tables import TableReader, open_table
from features.merges import PART

NOW = 2_000_000_000
TABLES = ("leads", "touchpoints", "transitions", "attributes", "accounts")
ROLES = {"size": "number", "city": "category", "account.turnover": "number"}
LEADS = """id,created,account,size,city,gone,other
a@x.de,2020-01-05,A,"1.200",Bern,,k1
B@x.de,2020-01-02,A,"1.200,5",N/A,,k2
c,2020-01-03,Z,3,Ulm,,k3
c,2020-01-01,B,4,Ulm,,k4
c,,B,5,Ulm,,k5
d,when,B,6,Ulm,,k6
e,2020-01-04,,many,Graz,,k7
Total (9 records),2020-01-04,,9,,,
f,2020-01-06,,7,Graz,yes,k8
,2020-01-06,,7,Graz,,k9
A@X.de,2020-01-07,C,8,Graz,,k10
"""
ACCOUNTS = 'account_id,turnover\nA,"1.000,5"\nB,"2.500"\nB,"2.500"\nC,17\nlonely,3\n'
TOUCHES = """who,occurred_at,kind
a@x.de,2020-02-01T10:00:00,visit
b@X.de,2020-02-01T11:00:00,form
b@X.de,2020-02-01T11:00:00,form
c,2020-02-02T12:00:00,visit
c ,2020-02-03T12:00:00,visit
C,2020-02-04T12:00:00,visit
f,2020-02-01T12:00:00,visit
e,2020-02-05T12:00:00,visit
k7,2020-02-06T12:00:00,call
k8,2020-02-06T12:00:00,call
"""
STAGES = "lead_id,occurred_at,stage\nc,2020-03-01,mql\ne,2020-01-04,mql\nzz,2020-03-02,mql\n"
CHANGES = (
    "account_id,known_at,name,value\nA,2020-02-01,plan,gold\nB,2020-02-02,plan,x\nlonely,2020-02-02,x,\n"
)


@pytest.fixture
def mapping(write):
    def table(text, name, **keys):
        return TableMapping(file=write(text, f"{name}.csv"), **keys)

    return HistoryMapping(
        leads=table(
            LEADS,
            "leads",
            columns={"lead_id": "id", "created_at": "created", "account_id": "account"},
            deleted="gone",
        ),
        accounts=table(ACCOUNTS, "accounts"),
        touchpoints=(table(TOUCHES, "touches", lead_id=("who",), also={"leads": ("other",)}),),
        transitions=(table(STAGES, "stages"),),
        attributes=(table(CHANGES, "changes"),),
        plain=AttributeSelection(only=tuple(ROLES), roles=ROLES),
        max_share=1.0,
        extractions=(),
        history_extractions=(),
    )


def in_words(frame):
    return frame.with_columns(pl.selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))


def read_both(mapping, size=1, **options):
    whole = read_history(mapping, NOW)
    with read_partitioned(mapping, NOW, leads=size, **options) as parts:
        histories = [part.map_frames(in_words) for part in parts.histories()]
        return whole, parts.reading, histories


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_a_history_read_in_batches_is_the_one_read_at_once(mapping, monkeypatch, rows, ahead):
    monkeypatch.setattr(TableReader.batches, "__defaults__", (rows, None))
    monkeypatch.setattr(event_tables, "EVENT_ROWS", rows)
    monkeypatch.setattr(partitions, "_FREE_ROWS", 2)
    monkeypatch.setattr(partitions, "_FEWEST_ROWS", 2)
    whole, reading, histories = read_both(mapping, ahead=ahead)
    assert len(histories) > 2
    for name in TABLES:
        together = pl.concat([getattr(history, name) for history in histories])
        expected = getattr(whole.history, name)
        assert together.sort(pl.all()).equals(expected.sort(pl.all())), name
    assert reading.quarantine.frame.sort(pl.all()).equals(whole.quarantine.frame.sort(pl.all()))
    assert reading.quarantine.rows == whole.quarantine.rows
    assert reading.counts == whole.counts
    assert set(reading.notices) == set(whole.notices)
    # What the sample is about is there.
    assert whole.history.leads["size"].to_list()[:3] == [1200.0, 1200.5, 4.0]
    assert {"f", "Total (9 records)"}.isdisjoint(whole.history.leads["lead_id"])
    assert whole.history.attributes.height == 3


def test_one_part_has_its_leads_in_the_order_of_the_file(mapping, monkeypatch):
    monkeypatch.setattr(TableReader.batches, "__defaults__", (2, None))
    whole, _, (history,) = read_both(mapping, size=100)
    assert history.leads.equals(whole.history.leads)


def test_the_number_of_parts_is_told_before_events_are_read(mapping, monkeypatch):
    told, read = [], []
    monkeypatch.setattr(event_tables, "open_table", lambda place: read.append(told[:]) or open_table(place))
    with read_partitioned(mapping, NOW, leads=1, when_counted=told.append) as parts:
        assert told == [len(parts.parts)]
    assert read
    assert all(each == told for each in read)


def test_touchpoints_of_a_lead_stand_together_in_the_order_of_their_file(write):
    leads = write("lead_id,created_at\nb,2020-01-01\na,2020-01-01\n", "l.csv")
    kinds = [(lead, f"k{i}") for i, lead in enumerate("abbaab")]
    rows = "".join(f"{lead},2020-02-01,{kind}\n" for lead, kind in kinds)
    touches = write("lead_id,occurred_at,kind\n" + rows, "t.csv")
    mapping = HistoryMapping(TableMapping(file=leads), touchpoints=(TableMapping(file=touches),))
    _, _, (history,) = read_both(mapping, size=100)
    found = history.touchpoints.select("lead_id", "kind").rows()
    assert found == [each for lead in "ba" for each in kinds if each[0] == lead]


def test_events_lie_on_disk_a_part_at_a_time(monkeypatch, write):
    monkeypatch.setattr(partitions, "_FEWEST_ROWS", 1)
    ids = [f"lead-{i}" for i in range(64)]
    leads = write("lead_id,created_at\n" + "".join(f"{each},2020-01-01\n" for each in ids), "l.csv")
    rows = "".join(f"{each},2020-02-01,k{i}\n" for each in ids for i in range(10))
    touches = write("lead_id,occurred_at,kind\n" + rows, "t.csv")
    mapping = HistoryMapping(TableMapping(file=leads), touchpoints=(TableMapping(file=touches),))
    with read_partitioned(mapping, NOW, leads=8) as parts:
        count = len(parts.parts)
        ((path, _, _),) = dict(parts.parts[0]._tables)["touchpoints"]
        batches = pa.ipc.open_file(path).num_record_batches
        assert sum(part.touchpoints.height for part in parts.histories()) == 640
    assert count > 4
    assert count <= batches <= count + 1


def test_when_leads_became_known_is_read_in_batches(monkeypatch, write):
    monkeypatch.setattr(TableReader.batches, "__defaults__", (1, None))
    leads = write("lead_id,created_at,known_at\na,2020-01-01,2020-01-01\nb,2020-01-01,2020-01-03\n", "l.csv")
    whole, _, histories = read_both(HistoryMapping(TableMapping(file=leads), extractions=()))
    assert pl.concat(history.leads for history in histories).sort("lead_id").equals(whole.history.leads)
    assert whole.history.lead_known_at.meta.output_name() == "created_at"


def test_merged_leads_share_their_events_across_parts_of_leads_read_in_batches(mapping, monkeypatch, write):
    monkeypatch.setattr(TableReader.batches, "__defaults__", (2, None))
    merges = write("lead_id,merged_into,known_at\ne,c,2020-03-05\ngone,c,2020-03-06\n", "m.csv")
    more = write("lead_id,occurred_at,kind\ngone,2020-02-07,mail\n", "more.csv")
    merged = replace(
        mapping,
        merges=(TableMapping(file=merges),),
        touchpoints=(*mapping.touchpoints, TableMapping(file=more)),
    )
    whole, _, histories = read_both(merged)
    for name in ("touchpoints", "transitions"):
        together = pl.concat([getattr(history, name) for history in histories])
        assert together.sort(pl.all()).equals(getattr(whole.history, name).sort(pl.all())), name
    assert whole.history.touchpoints.filter(lead_id="c", kind="mail").height == 1


def test_leads_without_rows_or_columns_are_refused_in_batches_as_at_once(mapping, write):
    for text in ("lead_id,created_at\n", "who,created_at\na,2020-01-01\n"):
        leads = replace(mapping, leads=TableMapping(file=write(text, "l.csv")), touchpoints=(), accounts=None)
        messages = set()
        for read in (read_history, lambda *args: read_partitioned(*args, leads=1).__enter__()):
            with pytest.raises(SourceError) as error:
                read(leads, NOW)
            messages.add(str(error.value))
        assert len(messages) == 1


def test_hashes_that_wait_on_disk_are_found_as_in_memory(monkeypatch):
    numbers = np.random.default_rng(1).integers(0, 500, 700).astype(np.uint64) * np.uint64(2**55)
    expected = sorted(pl.Series(numbers).filter(pl.Series(numbers).is_duplicated()).unique())
    for run in (10, 64, 10_000):
        monkeypatch.setattr(repeated_events, "_RUN", run)
        runs = HashRuns()
        for first in range(0, 700, 7):
            runs.add(pl.Series(numbers[first : first + 7]))
        assert sorted(runs.find_repeated()) == expected


def test_an_id_that_is_no_lead_is_found_nowhere():
    known = HashedLeads(
        pl.Series(["a", "b"]).hash(0).to_numpy(), np.array([3, 4], np.int32), np.array([10, 20]), pl.DataFrame
    )
    rows = known.locate(pl.DataFrame({"lead_id": ["b", "x", "a"]}), dated=True)
    assert rows[PART].to_list() == [4, None, 3]
    assert rows["leadloop.created"].to_list() == [20, None, 10]


def test_an_account_is_in_the_same_bucket_whoever_asks():
    code = (
        "import polars as pl; from features.ingest.known_leads import find_buckets; "
        "print(find_buckets(pl.Series(['A', 'ü'])))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(find_buckets(pl.Series(["A", "ü"])))
