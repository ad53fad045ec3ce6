"""The background scorer: who is scored when, by whom, and what a failure leaves behind."""

from __future__ import annotations

import gc
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace

import pytest
from log_entries import make_outcome
from sqlalchemy import delete, text
from sqlalchemy.exc import OperationalError

from features.clock import HOUR
from serving import background_scorer, rescoring
from serving.background_scorer import LEASE_SECONDS, RESCORE_AFTER, BackgroundScorer
from serving.current_scores import writing
from serving.current_scores.reading import find_score, read_page
from serving.current_scores.records import ScoreFilter
from serving.decision_log import database
from serving.decision_log.leases import take_lease
from serving.decision_log.score_queue import queue_all_leads, queue_length
from serving.decision_log.settings import LogSettings, LogUnavailable
from serving.decision_log.statements import add_outcomes, erase
from serving.decision_log.tables import METADATA
from serving.decision_log.writer import GroupCommitWriter
from serving.endpoints.events import parse_event
from serving.lead_store import stored_leads
from serving.lead_store.events import add_events
from serving.lead_store.stored_leads import read_stored_leads
from serving.request_parsing import LeadById
from serving.scorer import Scorer

CREATED = 1_777_000_000


@dataclass
class Store:
    """A store whose leads are scored in the background, by hand."""

    writer: GroupCommitWriter
    scorer: Scorer
    background: BackgroundScorer

    def add(self, *events, tenant=""):
        rows = [parse_event(event, int(time.time())) for event in events]
        return self.writer.submit(
            lambda connection: add_events(connection, rows, tenant, time.time())
        ).result(10)

    def run(self):
        """Work until nothing waits; how many turns that took."""
        turns = 0
        while self.background.work():
            turns += 1
        return turns

    def find(self, lead_id, tenant=""):
        with self.writer.log.connect() as connection:
            return find_score(connection, lead_id, tenant)

    def waiting(self):
        with self.writer.log.connect() as connection:
            return queue_length(connection)[0]

    def write(self, function, *arguments):
        return self.writer.submit(lambda connection: function(connection, *arguments)).result(10)

    def execute(self, statement):
        return self.write(lambda connection: connection.execute(text(statement)) and None)

    def expected(self, lead_id, as_of):
        """The score that a request by id gets as of then."""
        with self.writer.log.connect() as connection:
            rows = read_stored_leads(connection, [lead_id], "")
        return self.scorer.score([LeadById(lead_id, rows, as_of=as_of)], with_parts=True)[0]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def writer(request, tmp_path_factory):
    if request.param == "sqlite":
        place = str(tmp_path_factory.mktemp("store") / "decisions.db")
    else:
        place = request.getfixturevalue("cluster").database()
    opened = GroupCommitWriter(LogSettings(place))
    deadline = time.monotonic() + 20
    while not opened.available:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield opened
    opened.close()


def empty(connection):
    for table in METADATA.sorted_tables:
        if table.name != "log_state":
            connection.execute(delete(table))


@pytest.fixture
def store(writer, by_hand):
    writer.submit(empty).result(10)
    card = replace(by_hand.card, closed_stages=("sql", "lost"), reopen_stages=("reopened",))
    scorer = Scorer(replace(by_hand, card=card))
    background = BackgroundScorer(writer, lambda: scorer)
    yield Store(writer, scorer, background)
    background.close()


def lead(lead_id, account=None, **attributes):
    return {
        "id": f"lead-{lead_id}",
        "type": "lead",
        "lead_id": lead_id,
        "created_at": CREATED,
        "account_id": account,
        "attributes": attributes,
    }


def visit(lead_id, event_id, at=CREATED + 5, **fields):
    row = {"id": event_id, "type": "touchpoint", "lead_id": lead_id, "occurred_at": at, "kind": "visit"}
    return row | fields


def enter(lead_id, event_id, stage, at=CREATED + 5):
    return {"id": event_id, "type": "transition", "lead_id": lead_id, "occurred_at": at, "stage": stage}


def numbers(score):
    return (score.probability, score.points, score.grade, score.fit, score.engagement, score.combined_grade)


def test_a_lead_is_scored_as_a_request_for_it_would_be_then(store):
    store.add(lead("a", "acme", industry="machinery", employees=120), lead("b", "acme"), visit("b", "v1"))
    store.run()
    for lead_id in "ab":
        current = store.find(lead_id)
        asked = store.expected(lead_id, current.as_of)
        parts = [part and part.percentile for part in (asked.fit, asked.engagement)]
        assert numbers(current) == (
            *(asked.probability, asked.points, asked.grade),
            *(*parts, asked.combined_grade),
        )
        assert current.state == "open"
    assert store.waiting() == 0


def test_lists_know_what_a_lead_is_called_whose_it_is_and_where_it_stands(store):
    store.add(
        lead("a", "acme", first_name="Ada", last_name="Lovelace", **{"Owner ID": 7, "company": "Acme"}),
        lead("b", company="Beta"),
        lead("c", vip=None),
        visit("a", "v1", CREATED + 5, channel="ads"),
        visit("a", "v2", CREATED + 9),
        enter("a", "t1", "mql", CREATED + 7),
        {
            "id": "n1",
            "type": "attribute",
            "lead_id": "b",
            "known_at": CREATED + 5,
            "name": "owner",
            "value": "Eve",
        },
    )
    store.run()
    a, b, c = map(store.find, "abc")
    assert (a.name, a.owner, a.account_id, a.channel, a.stage) == ("Ada Lovelace", "7", "acme", "ads", "mql")
    assert (a.created_at, a.last_activity_at) == (CREATED, CREATED + 9)
    assert (b.name, b.owner, b.attributes) == ("Beta", "Eve", {"company": "Beta", "owner": "Eve"})
    assert (c.name, c.last_activity_at) == ("c", None)


def test_an_event_moves_the_lead_its_colleagues_and_nobody_else(store):
    store.add(lead("a", "acme"), lead("b", "acme"), lead("c", "other"))
    store.run()
    before = {lead_id: store.find(lead_id) for lead_id in "abc"}
    store.add(visit("a", "v1"))
    store.run()
    after = {lead_id: store.find(lead_id) for lead_id in "abc"}
    assert after["a"].probability > before["a"].probability
    assert after["b"].probability > before["b"].probability
    assert after["c"] == before["c"]


def test_colleagues_that_wait_together_are_scored_once(store, monkeypatch):
    """However few rows of the queue are read at a time: each would bring all of its colleagues along."""
    store.add(*(lead(lead_id, "acme") for lead_id in "abcd"), lead("e", "other"))
    monkeypatch.setattr(background_scorer, "_QUEUED_ROWS", 1)
    scored = []

    def rescore(scorer, batch):
        scored.extend(batch.lead_ids)
        return rescoring.rescore(scorer, batch)

    monkeypatch.setattr(background_scorer, "rescore", rescore)
    store.run()
    assert sorted(scored) == ["a", "b", "c", "d", "e"]
    assert store.waiting() == 0


def test_who_is_queued_again_while_it_is_scored_with_a_colleague_waits_on(store, monkeypatch):
    store.add(lead("a", "acme"), lead("b", "acme"))
    monkeypatch.setattr(background_scorer, "_QUEUED_ROWS", 1)

    def rescore(scorer, batch):
        # An event that comes after the leads were read is none that their scores count.
        store.add(visit("b", "late"))
        return rescoring.rescore(scorer, batch)

    monkeypatch.setattr(background_scorer, "rescore", rescore)
    assert store.background.work()
    assert store.waiting() == 1


@pytest.mark.parametrize(
    ("event", "moved"),
    [
        ({"type": "account", "account_id": "acme", "attributes": {"region": "north"}}, "ab"),
        ({"type": "merge", "lead_id": "c", "merged_into": "a", "known_at": CREATED + 9}, "abc"),
        (lead("a", "other", industry="machinery") | {"known_at": CREATED + 9}, "ab"),
    ],
)
def test_whoever_counts_an_event_is_scored_anew(store, event, moved):
    store.add(lead("a", "acme"), lead("b", "acme"), lead("c"), lead("d"))
    store.add(visit("c", "v1", CREATED + 7), visit("a", "v2"))
    store.run()
    before = {lead_id: store.find(lead_id) for lead_id in "abcd"}
    store.add(event | {"id": "e1"})
    store.run()
    changed = "".join(
        lead_id for lead_id in "abcd" if numbers(store.find(lead_id)) != numbers(before[lead_id])
    )
    assert changed == moved


def test_colleagues_in_a_very_large_account_wait_for_the_next_day(store, monkeypatch):
    monkeypatch.setattr(stored_leads, "MOST_COLLEAGUES", 2)
    store.add(*(lead(each, "acme") for each in "abc"))
    store.run()
    store.add(visit("a", "v1"))
    before = store.find("b").scored_at
    store.execute(f"UPDATE current_scores SET scored_at = scored_at - {RESCORE_AFTER + HOUR}")
    store.background.work()
    assert store.find("a").scored_at >= before > store.find("b").scored_at
    store.run()
    assert store.find("b").scored_at >= before


def test_a_lead_ages_every_day_and_a_closed_one_does_not(store):
    store.add(lead("a"), lead("b"), enter("b", "t1", "sql"))
    store.run()
    scored_at = store.find("a").scored_at
    assert store.run() == 0
    store.execute(f"UPDATE current_scores SET scored_at = scored_at - {RESCORE_AFTER + HOUR}")
    assert store.run() == 1
    assert store.find("a").scored_at >= scored_at
    assert store.find("b").scored_at < scored_at
    assert store.find("b").state == "closed"


def test_a_new_model_scores_every_open_lead_anew(store):
    store.add(lead("a"), lead("b"), lead("c"), enter("c", "t1", "lost"))
    store.run()
    store.scorer.model = replace(store.scorer.model, version="aaaaaaaaaaaa", base=1.0)
    assert store.run() == 1
    assert [store.find(each).model_version for each in "abc"] == ["aaaaaaaaaaaa"] * 2 + ["byhand000000"]
    store.scorer.model = replace(store.scorer.model, version="zzzzzzzzzzzz", base=2.0)
    assert store.run() == 1
    assert store.find("a").probability == store.expected("a", store.find("a").as_of).probability


def test_each_model_of_the_service_keeps_its_own_scores(store):
    """Those of leads that were there before it, of new ones, and after it is another one."""
    renewal = Scorer(replace(store.scorer.model, version="renewal00000", base=1.0))
    store.add(lead("a"), lead("b"), enter("b", "t1", "lost"))
    store.run()
    store.background.close()
    store.execute("DELETE FROM leases")
    store.background = BackgroundScorer(store.writer, lambda: store.scorer, also={"renewal": lambda: renewal})

    def named():
        with store.writer.log.connect() as connection:
            found = {each: find_score(connection, each, "", "renewal") for each in "abc"}
        return {each: (score.model_version, score.state) for each, score in found.items() if score}

    store.run()
    assert named() == {"a": ("renewal00000", "open"), "b": ("renewal00000", "closed")}
    store.add(lead("c"))
    store.run()
    assert set(named()) == {"a", "b", "c"}
    renewal.model = replace(renewal.model, version="renewal00001")
    store.run()
    closed = {"b": ("renewal00000", "closed")}
    assert named() == dict.fromkeys("ac", ("renewal00001", "open")) | closed
    assert {store.find(each).model_version for each in "ac"} == {store.scorer.model.version}
    assert store.find("a").probability == store.expected("a", store.find("a").as_of).probability


def test_who_is_at_its_end_for_one_model_is_open_for_another_until_that_ends_it(store):
    """By the stages of each model's card, and by the outcomes that answer its question."""
    card = replace(store.scorer.model.card, closed_stages=("churned",))
    renewal = Scorer(replace(store.scorer.model, version="renewal00000", card=card))
    store.add(*map(lead, "abcd"), enter("a", "t1", "lost"), enter("b", "t2", "churned"))
    store.write(add_outcomes, [make_outcome("k1", "c", "won"), make_outcome("k2", "d", "rejected")], CREATED)
    store.run()
    assert [store.find(each).state for each in "abcd"] == ["closed", "open", "closed", "closed"]
    store.background.close()
    store.execute("DELETE FROM leases")
    store.background = BackgroundScorer(store.writer, lambda: store.scorer, also={"renewal": lambda: renewal})

    def named():
        with store.writer.log.connect() as connection:
            return [find_score(connection, each, "", "renewal").state for each in "abcd"]

    store.run()
    assert named() == ["open", "closed", "open", "closed"]
    store.write(add_outcomes, [make_outcome("k3", "c", "lost", model="renewal")], CREATED)
    store.run()
    assert named() == ["open", "closed", "closed", "closed"]
    store.write(add_outcomes, [make_outcome("k4", "c", "withdrawn", corrects="k3", model="renewal")], CREATED)
    store.run()
    assert named() == ["open", "closed", "open", "closed"]
    assert store.find("c").state == "closed"


def test_many_leads_are_scored_together_as_they_are_alone(store, monkeypatch):
    store.add(
        *(lead(each, "acme", industry="machinery", employees=3) for each in "ab"),
        *(lead(each) for each in "cdef"),
        *(visit(each, f"v-{each}", channel="ads") for each in "abce"),
        enter("d", "t1", "lost"),
        {"id": "m1", "type": "merge", "lead_id": "e", "merged_into": "f", "known_at": CREATED + 9},
        lead("g", "acme") | {"created_at": int(time.time()) + 200},
    )
    monkeypatch.setattr(background_scorer, "MANY_LEADS", 1)
    together = []
    monkeypatch.setattr(
        background_scorer,
        "rescore_together",
        lambda scorer, batch: together.extend(batch.leads) or rescoring.rescore_together(scorer, batch),
    )
    store.run()
    first = {each: store.find(each) for each in "abcdefg"}
    assert sorted(together) == ["a", "b", "c", "d"]
    for table in ("current_scores", "score_history", "decisions"):
        store.execute(f"DELETE FROM {table}")
    monkeypatch.setattr(background_scorer, "MANY_LEADS", 100)
    monkeypatch.setattr(store.background, "_clock", lambda: first["a"].as_of - 1)
    store.write(queue_all_leads)
    store.run()
    without = {"decision_id": None, "scored_at": 0}
    for each, score in first.items():
        assert store.find(each)._replace(**without, changed_at=0) == score._replace(**without, changed_at=0)


def test_a_closed_lead_that_is_opened_again_is_scored_again(store):
    store.add(lead("a"), enter("a", "t1", "lost", CREATED + 5))
    store.run()
    assert (store.find("a").state, store.find("a").probability) == ("closed", None)
    store.add(enter("a", "t2", "reopened", CREATED + 9))
    store.run()
    assert store.find("a").state == "open"
    assert store.find("a").probability is not None


def test_a_reported_end_closes_a_lead_and_one_that_was_accepted_goes_on(store):
    store.add(lead("a"), lead("b"), lead("c"))
    store.run()
    outcomes = [
        make_outcome("k1", "a", "won"),
        make_outcome("k2", "b", "accepted"),
        make_outcome("k3", "c", "rejected"),
        make_outcome("k4", "c", "accepted", corrects="k3"),
    ]
    store.write(add_outcomes, outcomes, CREATED)
    store.run()
    assert [store.find(each).state for each in "abc"] == ["closed", "open", "open"]


def test_events_of_a_lead_that_is_not_there_yet_wait_for_nothing(store):
    store.add(visit("a", "v1"))
    store.run()
    assert (store.find("a"), store.waiting()) == (None, 0)
    store.add(lead("a"))
    store.run()
    assert store.find("a").probability == store.expected("a", store.find("a").as_of).probability


def test_a_lead_that_cannot_be_scored_yet_says_why_and_is_tried_again(store):
    tomorrow = int(time.time()) + 200
    store.add(lead("a") | {"created_at": tomorrow}, lead("b"))
    store.run()
    assert (store.find("a").state, store.find("a").problem) == ("unscorable", "invalid_value")
    assert store.find("b").state == "open"
    assert store.waiting() == 0


def test_one_lead_that_breaks_the_scorer_keeps_nobody_waiting(store, monkeypatch):
    features = Scorer.feature_row

    def fail_for_b(self, request):
        if request.record.lead_id == "b":
            raise ZeroDivisionError
        return features(self, request)

    monkeypatch.setattr(Scorer, "feature_row", fail_for_b)
    store.add(*(lead(each) for each in "abc"))
    store.run()
    assert [store.find(each).state for each in "abc"] == ["open", "unscorable", "open"]
    assert (store.find("b").problem, store.waiting()) == ("internal_error", 0)
    monkeypatch.setattr(Scorer, "feature_row", features)
    store.add(visit("b", "v1"))
    store.run()
    assert (store.find("b").state, store.find("b").problem) == ("open", None)


def test_what_is_erased_moves_the_colleagues_it_counted_for(store):
    store.add(lead("a", "acme"), lead("b", "acme"), visit("b", "v1"))
    store.run()
    before = store.find("a").probability
    store.write(erase, "b", int(time.time()))
    store.run()
    assert store.find("b") is None
    assert store.find("a").probability < before
    assert store.find("a").probability == store.expected("a", store.find("a").as_of).probability


def test_a_service_that_stops_within_a_chunk_leaves_the_rest_waiting(store, monkeypatch):
    monkeypatch.setattr(background_scorer, "_WRITTEN_LEADS", 1)
    leads = [f"l{n}" for n in range(3)]
    store.add(*(lead(each) for each in leads))
    write_scores = background_scorer.write_scores

    def write_and_stop(connection, update, hooks):
        store.background._stopping.set()
        return write_scores(connection, update, hooks)

    monkeypatch.setattr(background_scorer, "write_scores", write_and_stop)
    assert not store.background.work()
    assert [store.find(each) is not None for each in leads] == [True, False, False]
    assert store.waiting() == len(leads)


@pytest.mark.parametrize("is_on", [True, False])
def test_the_garbage_collector_rests_while_leads_are_scored_and_is_as_it_was_afterwards(
    store, monkeypatch, is_on
):
    states = []

    def break_down(*_):
        states.append(gc.isenabled())
        raise ValueError

    monkeypatch.setattr(background_scorer, "_compute", break_down)
    was_on = gc.isenabled()
    (gc.enable if is_on else gc.disable)()
    try:
        store.add(lead("a"))
        store.run()
        assert states
        assert not any(states)
        assert gc.isenabled() == is_on
    finally:
        (gc.enable if was_on else gc.disable)()


def test_one_worker_scores_and_another_goes_on_when_it_is_gone(store):
    other = BackgroundScorer(store.writer, lambda: store.scorer)
    store.add(lead("a"))
    assert store.background.work()
    store.add(lead("b"))
    assert not other.work()
    store.background.close()
    while not other.work():
        time.sleep(0.01)
    assert store.find("b") is not None
    other.close()


def test_a_worker_that_died_is_waited_for_no_longer_than_its_lease(store):
    now = time.time()
    store.write(take_lease, "current_scores", "dead", now - LEASE_SECONDS - 1, LEASE_SECONDS)
    store.add(lead("a"))
    assert store.background.work()
    store.write(take_lease, "current_scores", "alive", now + 3 * LEASE_SECONDS, LEASE_SECONDS)
    store.background._lease_until = 0.0
    store.add(lead("b"))
    assert not store.background.work()


def test_what_is_dropped_can_be_made_again(store, monkeypatch):
    store.add(lead("a", "acme"), lead("b", "acme"), visit("b", "v1"))
    # A second later all leads are a second older, and their scores others.
    now = time.time() + 1
    monkeypatch.setattr(store.background, "_clock", lambda: now)
    store.run()
    with store.writer.log.connect() as connection:
        before = read_page(connection, ScoreFilter(), "", None, 10).scores
    for table in ("current_scores", "score_history", "score_queue"):
        store.execute(f"DELETE FROM {table}")
    store.write(queue_all_leads)
    store.run()
    with store.writer.log.connect() as connection:
        after = read_page(connection, ScoreFilter(), "", None, 10).scores
    assert [numbers(score) for score in after] == [numbers(score) for score in before]


class Killed(BaseException):
    """The end of the process, as far as the thread is concerned."""


def die_once(monkeypatch, module, name, error):
    """Let a function fail the first time that it is called; what it did before is not undone by us."""
    original, calls = getattr(module, name), []

    def die(*arguments, **named):
        calls.append(name)
        if len(calls) == 1:
            raise error
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, die)
    return calls


def counts(store):
    with store.writer.log.connect() as connection:
        tables = ("decisions", "current_scores", "score_history", "lead_ranks")
        return [connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (background_scorer, "find_concerned_leads"),
        (background_scorer, "read_stored_leads"),
        (background_scorer, "rescore"),
        (writing, "add_decisions"),
        (writing, "_write"),
        (writing, "_remember"),
        (writing, "_close"),
        (writing, "remove_queued"),
    ],
)
def test_a_process_that_dies_between_event_and_score_loses_and_doubles_nothing(
    store, monkeypatch, module, name
):
    store.add(lead("a", "acme"), lead("b", "acme"), visit("a", "v1"))
    in_writer = module is writing
    error = OperationalError("", {}, Exception("the connection is cut")) if in_writer else Killed()
    calls = die_once(monkeypatch, module, name, error)
    with pytest.raises(LogUnavailable if in_writer else Killed):
        store.background.work()
    assert calls == [name]
    assert (counts(store), store.waiting()) == ([0, 0, 0, 0], 2)
    reborn = BackgroundScorer(store.writer, lambda: store.scorer)
    store.execute("DELETE FROM leases")
    while reborn.work():
        pass
    assert (counts(store), store.waiting()) == ([2, 2, 2, 2], 0)
    for lead_id in "ab":
        current = store.find(lead_id)
        assert current.probability == store.expected(lead_id, current.as_of).probability
    reborn.close()


def test_a_process_that_dies_after_its_scores_and_before_the_queue_logs_nothing_twice(store, monkeypatch):
    store.add(lead("a"))
    original = store.background._write

    def die_without_scores(update, hooks=None):
        if not update.scored:
            raise Killed
        original(update, hooks)

    monkeypatch.setattr(store.background, "_write", die_without_scores)
    with pytest.raises(Killed):
        store.background.work()
    assert (counts(store), store.waiting()) == ([1, 1, 1, 1], 1)
    before = store.find("a")
    monkeypatch.setattr(store.background, "_write", original)
    store.run()
    assert store.waiting() == 0
    if store.find("a").points == before.points:
        assert counts(store) == [1, 1, 1, 1]


def test_a_database_that_cannot_be_written_for_a_while_keeps_what_waits_and_scoring_goes_on(
    tmp_path, by_hand, monkeypatch
):
    place = str(tmp_path / "decisions.db")
    monkeypatch.setattr(background_scorer, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(background_scorer, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    writer = GroupCommitWriter(LogSettings(place))
    wait_until(lambda: writer.available)
    scorer = Scorer(by_hand)
    background = BackgroundScorer(writer, lambda: scorer)
    store = Store(writer, scorer, background)
    store.add(lead("a"), visit("a", "v1"))
    with closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        background.start()
        wait_until(lambda: not writer.available)
        assert (store.find("a"), store.waiting()) == (None, 1)
        other.execute("ROLLBACK")
        wait_until(lambda: store.waiting() == 0)
    current = store.find("a")
    assert current.probability == store.expected("a", current.as_of).probability
    background.close()
    writer.close()


def wait_until(holds):
    deadline = time.monotonic() + 30
    while True:
        with suppress(LogUnavailable):
            if holds():
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)
