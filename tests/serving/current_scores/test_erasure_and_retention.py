"""Whoever is erased, refuses or was silent for too long is in no table of current scores either."""

from __future__ import annotations

import time

from current_score_entries import NOW, find, named, rank, scored, write
from log_entries import in_transaction, make_outcome
from sqlalchemy import select

from features.clock import DAY, HOUR
from serving.current_scores.reading import read_score_history
from serving.decision_log.score_queue import oldest_queued, queue_accounts, queue_leads
from serving.decision_log.statements import add_outcomes, erase, prune
from serving.decision_log.tables import CURRENT_SCORES, NAMED_SCORES, SCORE_HISTORY, SCORE_QUEUE
from serving.endpoints.events import parse_event
from serving.lead_store.events import add_events

TABLES = (CURRENT_SCORES, NAMED_SCORES, SCORE_HISTORY, SCORE_QUEUE)


def tables_with(log, lead_id):
    with log.connect() as connection:
        return [
            table.name
            for table in TABLES
            if connection.execute(select(table).where(table.c.lead_id == lead_id)).first()
        ]


def queued(log):
    with log.connect() as connection:
        return [(row.lead_id, row.is_account) for row in oldest_queued(connection, 10)]


def add(log, *events, received_at=None):
    rows = [parse_event(event, NOW) for event in events]
    in_transaction(log, add_events, rows, "", time.time() if received_at is None else received_at)


def lead(lead_id, account=None):
    return {
        "id": f"lead-{lead_id}",
        "type": "lead",
        "lead_id": lead_id,
        "created_at": NOW,
        "account_id": account,
    }


def points(log, lead_id, model):
    with log.connect() as connection:
        return [point.points for point in read_score_history(connection, lead_id, "", model)]


def work_off(log):
    with log.begin() as connection:
        connection.execute(SCORE_QUEUE.delete())


def test_an_erasure_reaches_score_history_and_queue_and_leaves_an_account_of_that_name(log):
    for tenant in ("", "t"):
        write(log, scored("a", tenant=tenant), scored("b", tenant=tenant))
        in_transaction(log, queue_leads, ["a", "b"], tenant)
    in_transaction(log, queue_accounts, ["a"], "")
    in_transaction(log, erase, "a", NOW, "t")
    assert find(log, "a", "t") is None
    assert find(log, "a") is not None
    in_transaction(log, erase, "a", NOW)
    assert find(log, "a") is None
    assert tables_with(log, "a") == ["score_queue"]
    assert ("a", 1) in queued(log)
    assert tables_with(log, "b") == ["current_scores", "score_history", "score_queue"]


def test_who_refuses_is_forgotten_and_whoever_counted_it_is_queued(log):
    add(log, lead("a", "acme"), lead("b", "acme"))
    write(log, scored("a"), scored("b"))
    work_off(log)
    no = {"id": "no", "type": "consent", "lead_id": "a", "known_at": NOW, "consented": False}
    add(log, {("consent" if name == "consented" else name): value for name, value in no.items()})
    assert tables_with(log, "a") == []
    assert queued(log) == [("acme", 1)]


def test_retention_takes_silent_leads_with_their_scores_and_old_points_of_others(log):
    old = int(time.time()) - 100 * DAY
    add(log, lead("a", "acme"), lead("b", "acme"), received_at=time.time())
    with log.begin() as connection:
        connection.exec_driver_sql(f"UPDATE lead_events SET received_at = {old} WHERE subject = 'a'")
    write(log, scored("a", state="closed"))
    write(log, scored("b", points=100, as_of=old))
    write(log, scored("b", points=200, as_of=old + 99 * DAY))
    work_off(log)
    in_transaction(log, prune, old + 50 * DAY, 10)
    assert tables_with(log, "a") == []
    assert rank(log, "a") is None
    assert queued(log) == [("acme", 1)]
    with log.connect() as connection:
        assert [point.points for point in read_score_history(connection, "b", "")] == [200]


def test_the_history_by_a_named_model_is_erased_and_retained_as_that_by_the_default_one(log):
    old = int(time.time()) - 100 * DAY
    add(log, lead("silent"), lead("b"), lead("c"), received_at=time.time())
    with log.begin() as connection:
        connection.exec_driver_sql(f"UPDATE lead_events SET received_at = {old} WHERE subject = 'silent'")
    for model in ("", "renewal"):
        for lead_id in ("silent", "b", "c"):
            write(log, named(model, lead_id, 100, old))
            write(log, named(model, lead_id, 200, old + 99 * DAY))
    work_off(log)
    in_transaction(log, prune, old + 50 * DAY, 10)
    assert tables_with(log, "silent") == []
    assert points(log, "b", "renewal") == points(log, "b", "") == [200]
    in_transaction(log, erase, "b", NOW)
    assert tables_with(log, "b") == []
    add(log, {"id": "no", "type": "consent", "lead_id": "c", "known_at": NOW, "consent": False})
    assert tables_with(log, "c") == []


def test_a_decision_that_is_pruned_is_logged_anew_with_the_next_score(log):
    write(log, scored("a"))
    with log.begin() as connection:
        connection.exec_driver_sql("UPDATE decisions SET decided_at = 1")
    in_transaction(log, prune, 2, 10)
    assert (find(log, "a").decision_id, rank(log, "a")) == (None, None)
    assert write(log, scored("a", as_of=NOW + HOUR)) == 1
    assert rank(log, "a")[0] == find(log, "a").decision_id


def test_an_outcome_that_is_pruned_lets_the_lead_be_scored_again(log):
    write(log, scored("a"))
    in_transaction(log, add_outcomes, [make_outcome(lead_id="a")], 1)
    assert queued(log) == [("a", 0)]
    work_off(log)
    in_transaction(log, prune, 2, 10)
    assert queued(log) == [("a", 0)]
