"""One date column a stage: a table of leads or contacts that holds its stages side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from features.clock import DAY
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history

NOW = 20_000 * DAY
# The headings of HubSpot's own export of contacts.
CONTACTS = """\
Record ID,Create Date,Became an MQL Date,Became an SQL Date,Became a Customer Date,Job Title
1,2020-01-01 08:00,2020-01-02 09:00,2020-01-05 10:00,,CEO
2,2020-01-02 08:00,,,,CTO
3,2020-01-03 08:00,2020-01-04 11:00,soon,,CEO
"""
STAGES = {"Became an MQL Date": "mql", "Became an SQL Date": "sql", "Became a Customer Date": "customer"}


@pytest.fixture
def mapping(write):
    path = write(CONTACTS)
    leads = TableMapping(file=path, columns={"lead_id": "Record ID", "created_at": "Create Date"})
    wide = TableMapping(file=path, columns={"lead_id": "Record ID"}, stages=STAGES)
    return HistoryMapping(leads, transitions=(wide,), stages=("mql", "sql", "customer"), max_share=1)


def rows(reading):
    return sorted(reading.history.transitions.select("occurred_at", "lead_id", "stage").rows())


def test_one_block_is_as_many_as_there_are_stages(mapping):
    narrow = tuple(
        TableMapping(
            file=mapping.leads.file,
            columns={"lead_id": "Record ID", "occurred_at": column},
            constants={"stage": stage},
        )
        for column, stage in STAGES.items()
    )
    reading, expected = (read_history(m, NOW) for m in (mapping, replace(mapping, transitions=narrow)))
    assert rows(reading) == rows(expected)
    assert len(rows(reading)) == 3
    assert reading.history.lead_columns == expected.history.lead_columns == ["Job Title"]


def test_a_date_that_is_none_is_named_by_its_own_column(mapping):
    quarantine = read_history(mapping, NOW).quarantine
    assert quarantine.frame.select("row", "column", "value").rows() == [(4, "Became an SQL Date", "soon")]


def test_the_table_counts_its_rows_once(mapping):
    counts = read_history(mapping, NOW).counts[1]
    assert (counts.rows, counts.accepted) == (3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"stages": {"Became a MQL Date": "mql"}},
            "no column 'Became a MQL Date'; did you mean 'Became an MQL Date'",
        ),
        ({"constants": {"stage": "mql"}}, "stages say what stage is"),
        (
            {"columns": {"lead_id": "Record ID", "occurred_at": "Create Date"}},
            "stages say what occurred_at is",
        ),
    ],
)
def test_what_cannot_be_is_refused(mapping, change, message):
    with pytest.raises(SourceError, match=message):
        read_history(replace(mapping, transitions=(replace(mapping.transitions[0], **change),)), NOW)


def test_touchpoints_have_no_stages(mapping):
    table = replace(mapping.transitions[0], columns={"lead_id": "Record ID"})
    with pytest.raises(SourceError, match="stages is a key of transitions, not of touchpoints"):
        read_history(replace(mapping, touchpoints=(table,)), NOW)
