"""Outcomes out of the stages that the lead store knows."""

from __future__ import annotations

from sqlalchemy import update

from serving.decision_log.tables import LEAD_EVENTS
from serving.endpoints.events import parse_event
from serving.lead_store.events import add_events
from serving.lead_store.stage_outcomes import stage_outcomes_frame

LATER = 2**32


def lead(lead_id):
    return {"id": f"l-{lead_id}", "type": "lead", "lead_id": lead_id, "created_at": 5}


def entry(lead_id, stage, at, known_at=None):
    event = {"id": f"{lead_id}-{stage}-{at}", "type": "transition", "lead_id": lead_id}
    return {**event, "occurred_at": at, "known_at": known_at or at, "stage": stage}


def merge(lead_id, merged_into, at):
    event = {"id": f"{lead_id}-merged", "type": "merge", "lead_id": lead_id}
    return {**event, "merged_into": merged_into, "known_at": at}


def store(log, *events, tenant=""):
    with log.begin() as connection:
        add_events(connection, [parse_event(event, 1_000) for event in events], tenant, LATER)


def outcomes(log, **rule):
    return stage_outcomes_frame(log, "sql", ("sql", "lost"), **rule).rows()


def test_the_target_and_the_stages_that_end_a_leads_way_are_outcomes(log):
    store(log, lead("a"), entry("a", "mql", 10), entry("a", "sql", 20), entry("a", "customer", 30))
    store(log, lead("b"), entry("b", "mql", 11), entry("b", "lost", 15, known_at=40), tenant="acme")
    store(log, lead("c"), entry("c", "mql", 12))
    assert outcomes(log) == [("b", "disqualified", 15), ("a", "qualified", 20)]


def test_the_first_entry_counts(log):
    store(log, lead("a"), entry("a", "sql", 20), entry("a", "sql", 50), entry("a", "lost", 70))
    assert outcomes(log) == [("a", "qualified", 20), ("a", "disqualified", 70)]


def test_a_closing_that_was_undone_is_none(log):
    store(log, lead("a"), entry("a", "lost", 20), entry("a", "open", 30), entry("a", "sql", 40))
    assert outcomes(log) == [("a", "disqualified", 20), ("a", "qualified", 40)]
    assert outcomes(log, reopen=("open",)) == [("a", "qualified", 40)]


def test_what_becomes_of_a_lead_is_what_becomes_of_the_one_it_was_merged_into(log):
    store(log, lead("a"), lead("b"), merge("a", "b", 15), entry("b", "sql", 20))
    assert outcomes(log) == [("a", "qualified", 20), ("b", "qualified", 20)]


def test_merges_in_a_circle_explain_nothing(log):
    store(log, lead("a"), lead("b"), merge("a", "b", 15), merge("b", "a", 16), entry("b", "sql", 20))
    assert outcomes(log) == [("b", "qualified", 20)]


def test_what_the_crm_took_back_is_none(log):
    store(log, lead("a"), entry("a", "sql", 20), entry("a", "lost", 30))
    with log.begin() as connection:
        removed = update(LEAD_EVENTS).where(LEAD_EVENTS.c.event_id == "a-sql-20")
        connection.execute(removed.values(removed_at=25))
    assert outcomes(log) == [("a", "disqualified", 30)]


def test_a_store_without_leads_has_none(log):
    assert outcomes(log) == []
