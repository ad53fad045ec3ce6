"""Events of the lead store in the database: who is stored, for how long, and what of two workers at once."""

from __future__ import annotations

import threading

import pytest

from serving.decision_log.database import open_log, writing
from serving.decision_log.statements import erase, prune
from serving.endpoints.events import parse_event
from serving.lead_store.events import add_events
from serving.lead_store.stored_leads import read_stored_leads

LATER = 2**32


def lead(lead_id, **fields):
    return {"id": f"l-{lead_id}", "type": "lead", "lead_id": lead_id, "created_at": 5} | fields


def visit(lead_id, event_id, at=7, kind="visit"):
    return {"id": event_id, "type": "touchpoint", "lead_id": lead_id, "occurred_at": at, "kind": kind}


def store(log, *events, received_at=LATER, tenant=""):
    with log.begin() as connection:
        return add_events(connection, [parse_event(event, 100) for event in events], tenant, received_at)


def stored(log, *lead_ids, tenant=""):
    with log.connect() as connection:
        return read_stored_leads(connection, lead_ids, tenant)


def test_a_lead_of_which_nothing_was_received_for_too_long_is_forgotten_whole(log):
    store(log, lead("a"), visit("a", "a1"), lead("b"), visit("b", "b1"), received_at=LATER)
    store(log, visit("a", "a2"), received_at=LATER + 900)
    with log.begin() as connection:
        assert prune(connection, LATER + 500, 10).events == 1
    rows = stored(log, "a", "b")
    assert "b" not in rows.versions
    assert len(rows.lead("a").events["touchpoint"]) == 2


def test_an_event_whose_request_came_before_the_erasure_is_not_stored(log):
    import time  # noqa: PLC0415

    before = time.time() - 1
    store(log, lead("a"), received_at=before)
    with log.begin() as connection:
        erase(connection, "a", 50)
    # The consent that came with it is of the time before, too.
    assert store(log, visit("a", "a1"), lead("b"), received_at=before) == ["forgotten", "accepted"]
    assert not stored(log, "a").versions


def test_the_same_lead_of_two_tenants_is_two_leads(log):
    store(log, lead("a"), visit("a", "v"), tenant="acme")
    store(log, lead("a"), tenant="other")
    assert len(stored(log, "a", tenant="acme").events["touchpoint"]["a"]) == 1
    assert not stored(log, "a", tenant="other").events["touchpoint"]["a"]
    assert not stored(log, "a").versions
    with log.begin() as connection:
        erase(connection, "a", 50, "acme")
    assert not stored(log, "a", tenant="acme").versions
    assert stored(log, "a", tenant="other").versions


def test_who_refuses_is_forgotten_by_every_name_that_merges_gave_them(log):
    merge = {"id": "m", "type": "merge", "lead_id": "a", "merged_into": "b", "known_at": 9}
    refusal = {"id": "c", "type": "consent", "lead_id": "a", "consent": False, "known_at": 11}
    assert store(log, lead("a"), lead("b"), visit("b", "v"), merge) == ["accepted"] * 4
    assert store(log, refusal, visit("a", "w"), visit("b", "x")) == ["accepted", "forgotten", "forgotten"]
    assert not stored(log, "a", "b").versions


def test_leads_that_were_merged_in_a_circle_stay_what_they_were(log):
    merges = [
        {"id": f"m{i}", "type": "merge", "lead_id": loser, "merged_into": into, "known_at": 9}
        for i, (loser, into) in enumerate([("a", "b"), ("b", "a")])
    ]
    store(log, lead("a"), lead("b"), visit("b", "v"), *merges)
    assert len(stored(log, "a").lead("a").events["touchpoint"]) == 0
    assert len(stored(log, "b").lead("b").events["touchpoint"]) == 1


def test_an_event_that_is_known_undoes_nothing_of_a_request_before_it_in_the_same_transaction(log):
    events = [[lead("a")], [lead("a"), lead("b")], [lead("b"), lead("a", created_at=6), lead("c")]]
    with log.begin() as connection:
        statuses = [
            add_events(connection, [parse_event(each, 100) for each in some], "", LATER) for some in events
        ]
    assert statuses == [
        ["accepted"],
        ["duplicate", "accepted"],
        ["duplicate", "key_conflict", "accepted"],
    ]
    assert stored(log, "a", "b", "c").versions.keys() == {"a", "b", "c"}


def test_an_event_of_somebody_forgotten_is_turned_away_among_others_without_any_word_of_consent(log):
    store(log, {"id": "c", "type": "consent", "lead_id": "a", "consent": False, "known_at": 9})
    assert store(log, visit("a", "a1"), visit("b", "b1")) == ["forgotten", "accepted"]


@pytest.mark.parametrize("kind", ["visit", "form"])
def test_of_two_workers_that_store_an_id_at_once_the_second_is_told_what_is_there(place, kind):
    logs = [writing(open_log(place)) for _ in range(2)]
    store(logs[0], lead("a"))
    results = []
    with logs[0].begin() as first:
        add_events(first, [parse_event(visit("a", "v"), 100)], "", LATER)
        other = threading.Thread(target=lambda: results.append(store(logs[1], visit("a", "v", kind=kind))))
        other.start()
        other.join(0.3)
    other.join()
    for log in logs:
        log.dispose()
    assert results[0][0] in ({"accepted", "duplicate"} if kind == "visit" else {"key_conflict"})


def test_reading_takes_as_many_queries_for_many_leads_as_for_one(log):
    from sqlalchemy import event  # noqa: PLC0415

    rows = [lead(str(i), account_id=f"A{i % 7}") for i in range(40)]
    store(log, *rows, *(visit(str(i), f"v{i}") for i in range(40)))
    counts = []

    def count(*_):
        counts[-1] += 1

    event.listen(log, "before_cursor_execute", count)
    for wanted in (["1"], [str(i) for i in range(40)]):
        counts.append(0)
        stored(log, *wanted)
    assert counts[1] <= counts[0] <= 6
