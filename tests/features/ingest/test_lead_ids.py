"""An event belongs to its lead by whichever id it names: one of several, or that of what the lead became."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from features.clock import DAY
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.quarantine import SourceError, TooManyBadRowsError
from features.ingest.read_history import read_history

NOW = 20_000 * DAY
# Salesforce: on conversion tasks move from the lead (00Q) to the contact (003); a campaign member names both.
LEADS = (
    "id,created_date,converted_contact_id,converted_opportunity_id,title\n"
    "00Q1,2020-01-01,0031,0061,CEO\n00Q2,2020-01-02,,,CTO\n00Q3,2020-01-03,0033,,CEO\n00Q4,2020-01-04,0033,,CFO\n"
)
TASKS = (
    "id,who_id,what_id,created_date,task_subtype\n"
    "00T1,00Q2,,2020-01-05,Call\n00T2,0031,0061,2020-01-05,Email\n00T3,0033,,2020-01-06,Call\n"
    "00T4,,0061,2020-01-07,Email\n00T5,0039,,2020-01-08,Call\n"
)


@pytest.fixture
def mapping(write):
    leads = TableMapping(file=write(LEADS), columns={"lead_id": "id", "created_at": "created_date"})
    tasks = TableMapping(
        file=write(TASKS, "task.csv"),
        columns={"occurred_at": "created_date", "kind": "task_subtype"},
        lead_id=("who_id",),
    )
    return HistoryMapping(leads, touchpoints=(tasks,), max_share=1)


def read(mapping, **changes):
    return read_history(replace(mapping, touchpoints=(replace(mapping.touchpoints[0], **changes),)), NOW)


def events(reading):
    return sorted(reading.history.touchpoints.select("lead_id", "occurred_at").rows())


def day(number):
    return (18262 + number - 1) * DAY


def test_tasks_of_the_contact_are_those_of_the_lead_that_became_it(mapping):
    reading = read(mapping, also={"leads": "converted_contact_id"})
    # A contact that two leads became has its task with both.
    assert events(reading) == [("00Q1", day(5)), ("00Q2", day(5)), ("00Q3", day(6)), ("00Q4", day(6))]
    assert reading.quarantine.frame.select("row", "column", "value").rows() == [
        (5, "who_id", None),
        (6, "who_id", "0039"),
    ]


def test_without_it_they_are_no_rows_of_any_lead(mapping):
    assert events(read(mapping)) == [("00Q2", day(5))]


def test_the_first_id_that_is_a_lead_counts(mapping):
    also = {"leads": ["converted_contact_id", "converted_opportunity_id"]}
    reading = read(mapping, lead_id=("who_id", "what_id"), also=also)
    assert ("00Q1", day(7)) in events(reading)
    assert reading.quarantine.frame["value"].to_list() == ["0039"]
    swapped = read(mapping, lead_id=("what_id", "who_id"), also=also)
    assert events(swapped) == events(reading)


def test_an_id_of_a_lead_goes_before_what_other_columns_say(mapping, write):
    leads = replace(mapping.leads, file=write(LEADS.replace("0031", "00Q2"), "clash.csv"))
    reading = read(replace(mapping, leads=leads), also={"leads": "converted_contact_id"})
    assert [lead for lead, _ in events(reading)] == ["00Q2", "00Q3", "00Q4"]


def test_a_column_by_which_events_are_found_is_no_attribute(mapping):
    reading = read(mapping, also={"leads": ["converted_contact_id", "converted_opportunity_id"]})
    assert reading.history.lead_columns == ["title"]


def test_unknown_ids_that_stand_in_another_column_of_the_leads_name_it(write):
    rows = [f"00Q{i},2020-01-01,{f'003{i}' if i % 2 else ''}" for i in range(20)]
    leads = write("\n".join(["id,created_date,converted_contact_id", *rows]), "many.csv")
    calls = [f"{f'003{i}' if i % 2 else f'00Q{i}'},2020-01-02" for i in range(20)]
    tasks = TableMapping(
        file=write("\n".join(["who_id,created_date", *calls]), "calls.csv"),
        columns={"lead_id": "who_id", "occurred_at": "created_date"},
        constants={"kind": "call"},
    )
    columns = {"lead_id": "id", "created_at": "created_date"}
    mapping = HistoryMapping(TableMapping(file=leads, columns=columns), touchpoints=(tasks,))
    hint = r"10 of the 10 unknown ids of .* stand in 'converted_contact_id' of the leads.*also = \{ leads ="
    with pytest.raises(TooManyBadRowsError, match=hint):
        read_history(mapping, NOW)
    assert re.search(hint, " ".join(read_history(replace(mapping, max_share=1), NOW).notices))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"also": {"leads": "converted_contact"}},
            "no column 'converted_contact' to find events by; did you mean",
        ),
        ({"also": {"accounts": "id"}}, "names columns of leads, not of 'accounts'"),
        ({"lead_id": ("whoid",)}, "no column 'whoid'; did you mean 'who_id'"),
    ],
)
def test_what_cannot_be_is_refused(mapping, change, message):
    with pytest.raises(SourceError, match=message):
        read(mapping, **change)


def test_lead_ids_are_no_key_of_leads(mapping):
    with pytest.raises(SourceError, match="lead_id is a key of attributes and touchpoints and transitions"):
        read_history(
            replace(
                mapping, leads=replace(mapping.leads, columns={"created_at": "created_date"}, lead_id=("id",))
            ),
            NOW,
        )
