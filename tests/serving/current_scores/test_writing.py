"""Current scores: what is written of them, what is logged, and who hears of it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import polars as pl
import pytest
from current_score_entries import NOW, find, named, rank, scored, write
from log_entries import in_transaction, make_decision, make_outcome
from sqlalchemy import func, select

from features.clock import DAY, HOUR
from models.handover_selection import HandoverRequest
from serving.current_scores.due import ended_leads
from serving.current_scores.frames import current_score_frames
from serving.current_scores.reading import count_scores, find_score, read_page, read_score_history
from serving.current_scores.records import ScoreFilter
from serving.decision_log import handovers, queries
from serving.decision_log.score_queue import oldest_queued, queue_leads, queue_length
from serving.decision_log.standing_outcomes import OutcomeCounts, count_outcomes
from serving.decision_log.statements import add_outcomes, erase
from serving.decision_log.tables import DECISIONS
from training.crm.score_file import read_score_file


def decisions(log):
    with log.connect() as connection:
        return connection.execute(select(func.count()).select_from(DECISIONS)).scalar_one()


def test_a_current_score_reads_back_as_it_was_written(log):
    lead = scored(
        owner="Ada",
        account_id="acme",
        attributes={"industry": "Ä", "employees": 3.5, "vip": True},
        interval_low=0.1,
        interval_high=0.3,
        fit=70,
        engagement=3,
        combined_grade="B4",
        created_at=5,
        last_activity_at=6,
        stage="mql",
        channel="ads",
    )
    assert write(log, lead) == 1
    (decision,) = queries.decisions_of_lead(log, "a")
    assert (decision.endpoint, decision.as_of) == ("rescore", NOW)
    assert find(log, "a") == lead.current._replace(decision_id=decision.id, decided_points=168)
    assert find(log, "a", "other") is None


def test_a_decision_is_logged_where_people_would_see_another_score_and_nowhere_else(log):
    assert write(log, scored()) == 1
    # It aged by a day and moved by less than a point.
    closer = scored(as_of=NOW + 1)
    closer = replace(closer, current=closer.current._replace(probability=0.1680001))
    assert write(log, closer) == 0
    assert (find(log, "a").as_of, find(log, "a").changed_at, find(log, "a").decision_id) == (NOW + 1, NOW, 1)
    assert write(log, scored(points=169, as_of=NOW + 2)) == 1
    assert write(log, scored(points=169, as_of=NOW + 3, version="v2")) == 1
    assert write(log, scored(points=169, as_of=NOW + 4, version="v2", state="dormant")) == 1
    assert (find(log, "a").changed_at, find(log, "a").decision_id) == (NOW + 4, 4)
    assert rank(log, "a")[:2] == (4, 0.169)


def test_a_lead_that_nobody_would_call_is_a_decision_only_every_few_points(log):
    """However slowly it moves: the step is counted from the last decision, not from the last score."""

    def ages(points, day):
        lead = scored(points=points, as_of=NOW + day)
        decide = partial(make_decision, "a", as_of=NOW + day, version="v1", points=points, grade="C")
        return replace(lead, current=lead.current._replace(grade="C"), decide=decide)

    logged = [write(log, ages(100 - day, day)) for day in range(12)]
    assert logged == [day % 5 == 0 for day in range(12)]
    assert (find(log, "a").points, find(log, "a").decided_points) == (89, 90)
    with log.connect() as connection:
        assert len(read_score_history(connection, "a", "")) == 1
    assert {each.points for each in queries.decisions_of_lead(log, "a")} == {100, 95, 90}


def test_the_score_of_a_named_model_is_beside_that_of_the_default_one(log):
    """It is logged and told under its name, ranks no lead, and goes with the lead."""
    other = named("renewal", points=300, version="r1")
    heard = []
    hooks = [lambda _, before, after: heard.append((after.model, before and before.model))]
    write(log, scored(), hooks=hooks)
    assert write(log, other, hooks=hooks) == 1
    assert write(log, replace(other, current=other.current._replace(as_of=NOW + 1))) == 0
    by_name = find(log, "a", model="renewal")
    assert (by_name.points, by_name.as_of) == (300, NOW + 1)
    assert (find(log, "a").points, rank(log, "a")[:2]) == (168, (1, 0.168))
    assert heard == [("", None), ("renewal", None)]
    assert sorted(each.model for each in queries.decisions_of_lead(log, "a")) == ["", "renewal"]
    in_transaction(log, erase, "a", NOW)
    assert find(log, "a", model="renewal") is None


def test_a_score_as_of_an_earlier_moment_does_not_replace_a_later_one(log):
    write(log, scored(points=200, as_of=NOW + 10))
    assert write(log, scored(points=100, as_of=NOW)) == 0
    assert find(log, "a").points == 200
    assert decisions(log) == 1


def test_a_closed_lead_is_handed_over_no_more_until_it_is_opened_again(log):
    write(log, scored())
    write(log, scored(as_of=NOW + 1, state="closed"))
    assert (find(log, "a").state, find(log, "a").decision_id) == ("closed", None)
    assert rank(log, "a")[2] == 2
    in_transaction(log, add_outcomes, [make_outcome(lead_id="a")], NOW)
    assert rank(log, "a")[2] == 3
    write(log, scored(as_of=NOW + 2))
    assert rank(log, "a")[2] == 1


def test_a_lead_that_the_store_lost_has_no_current_score(log):
    write(log, scored())
    write(log, gone=[("", "a")])
    assert find(log, "a") is None
    assert rank(log, "a")[2] == 2


def test_a_lead_that_was_erased_while_it_was_scored_is_not_written(log):
    read_at = time.time()
    write(log, scored("b"), read_at=read_at)
    in_transaction(log, erase, "a", NOW)
    in_transaction(log, erase, "b", NOW)
    assert write(log, scored("a"), scored("c"), read_at=read_at) == 1
    assert [find(log, each) for each in "ab"] == [None, None]
    assert find(log, "c") is not None


@pytest.mark.parametrize("model", ["", "renewal"])
def test_a_history_has_a_point_for_each_change_and_one_an_hour_at_most(log, model):
    start = NOW // HOUR * HOUR
    for offset, points in ((1, 100), (2, 110), (3, 110), (HOUR, 110), (HOUR + 1, 120), (3 * HOUR, 90)):
        write(log, named(model, points=points, as_of=start + offset))
    # Of another model at the same moments, and it keeps its own.
    write(log, named("upsell", points=5, as_of=start + 2))
    with log.connect() as connection:
        points = read_score_history(connection, "a", "", model)
        assert [each.points for each in read_score_history(connection, "a", "", "upsell")] == [5]
    assert [(point.as_of - start, point.points) for point in points] == [
        (2, 110),
        (HOUR + 1, 120),
        (3 * HOUR, 90),
    ]


def test_hooks_hear_of_each_move_in_the_transaction_that_writes_it(log):
    heard = []

    def hook(connection, before, after):
        assert find_score(connection, after.lead_id, after.tenant) == after
        heard.append((before and before.points, after.points))

    write(log, scored(), hooks=[hook])
    write(log, scored(as_of=NOW + 1), hooks=[hook])
    write(log, scored(points=150, as_of=NOW + 2), hooks=[hook])
    assert heard == [(None, 168), (168, 150)]


def test_a_hook_that_fails_takes_the_score_back(log):
    def hook(*_):
        msg = "no outbox"
        raise LookupError(msg)

    with pytest.raises(LookupError, match="no outbox"):
        write(log, scored(), hooks=[hook])
    assert find(log, "a") is None
    assert decisions(log) == 0


def test_a_lead_that_was_queued_again_while_it_was_scored_stays_queued(log):
    in_transaction(log, queue_leads, ["a", "b", "a"], "")
    with log.connect() as connection:
        rows = oldest_queued(connection, 10)
    assert [row.lead_id for row in rows] == ["a", "b"]
    in_transaction(log, queue_leads, ["b"], "")
    write(log, scored("a"), scored("b"), queued=rows)
    with log.connect() as connection:
        assert [row.lead_id for row in oldest_queued(connection, 10)] == ["b"]
        assert queue_length(connection) == (1, rows[1].since)


def test_a_file_of_current_scores_is_what_push_reads(log, tmp_path):
    write(
        log,
        scored("a", 300, owner="Ada"),
        scored("b", 100, state="dormant", insufficient="dormant"),
        scored("c", state="closed"),
    )
    path = tmp_path / "scores.parquet"
    pl.concat(current_score_frames(log)).write_parquet(path)
    rows = read_score_file(path).select("lead_id", "score", "state", "owner").rows()
    assert rows == [("a", 30, "open", "Ada"), ("b", 10, "dormant", None)]


def ids(page):
    return [score.lead_id for score in page.scores]


@pytest.mark.parametrize("model", ["", "renewal"])
def test_pages_come_best_first_and_each_lead_once(log, model):
    leads = [named(model, f"l{n:02}", points=100 + n % 3) for n in range(10)]
    others = (named(model, "other", 500, tenant="t"), named(model, "done", state="closed"))
    write(log, *leads, *others)
    write(log, *(named("upsell", each.current.lead_id, 900) for each in leads))
    with log.connect() as connection:
        whole = ids(read_page(connection, ScoreFilter(), "", None, 50, model))
        read, end, pages = [], None, 0
        while pages == 0 or end is not None:
            page = read_page(connection, ScoreFilter(), "", end, 3, model)
            read, end, pages = read + ids(page), page.next, pages + 1
        everybody = ids(read_page(connection, ScoreFilter(states=()), "", None, 50, model))
        assert count_scores(connection, ScoreFilter(), "", model) == len(leads)
    ordered = sorted(leads, key=lambda each: (-each.current.points, each.current.lead_id))
    assert whole == [each.current.lead_id for each in ordered]
    assert (read, pages) == (whole, 4)
    assert everybody == [*whole, "done"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ScoreFilter(owner="Ada"), ["a"]),
        (ScoreFilter(channel="ads"), ["b"]),
        (ScoreFilter(account_id="acme"), ["b"]),
        (ScoreFilter(stage="mql"), ["a"]),
        (ScoreFilter(grades=("A",)), []),
        (ScoreFilter(states=("dormant",)), ["c"]),
        (ScoreFilter(text="BETA"), ["b"]),
        (ScoreFilter(text="100%"), ["c"]),
        (ScoreFilter(text="0_"), []),
        (ScoreFilter(text="ACM"), ["b"]),
        (ScoreFilter(text="ada"), ["a"]),
        (ScoreFilter(text="beta b"), []),
        (ScoreFilter(attribute=("size", "3")), ["a"]),
        (ScoreFilter(attribute=("vip", "true")), ["b"]),
        (ScoreFilter(attribute=('so "called"', "x")), []),
        (ScoreFilter(attribute=("a.b", "x")), ["b"]),
    ],
)
def test_a_page_has_what_its_filter_lets_through(log, wanted, found):
    wanted = wanted if wanted.states != ("open",) else replace(wanted, states=("open", "dormant"))
    leads = (
        scored("a", 300, owner="Ada", stage="mql", attributes={"size": 3}),
        scored("b", 200, channel="ads", account_id="acme", name="Beta", attributes={"vip": True, "a.b": "x"}),
        scored("c", 100, state="dormant", name="100% Söhne"),
    )
    for model in ("", "renewal"):
        write(log, *(replace(each, current=each.current._replace(model=model)) for each in leads))
        with log.connect() as connection:
            assert ids(read_page(connection, wanted, "", None, 50, model)) == found


def test_an_outcome_decides_about_the_list_of_its_model(log):
    """What is given up by the default model is given up for all, what it won may still renew."""
    reports = {
        "accepted": ("accepted", ""),
        "won": ("won", ""),
        "given up": ("disqualified", ""),
        "renewed": ("accepted", "renewal"),
        "not now": ("rejected", "renewal"),
    }
    for model in ("", "renewal", "upsell"):
        write(log, *(named(model, lead) for lead in ("open", *reports)))
    outcomes = [
        make_outcome(lead, lead, kind, model=model, reason="so") for lead, (kind, model) in reports.items()
    ]
    in_transaction(log, add_outcomes, outcomes, NOW)

    def undecided(model):
        with log.connect() as connection:
            return set(ids(read_page(connection, ScoreFilter(undecided=True), "", None, 50, model)))

    def ended(model):
        with log.connect() as connection:
            return ended_leads(connection, reports, "", model)

    assert undecided("") == {"open", "renewed", "not now"}
    assert undecided("renewal") == {"open", "accepted", "won"}
    assert undecided("upsell") == {"open", "accepted", "won", "renewed", "not now"}
    assert [ended(model) for model in ("", "renewal", "upsell")] == [
        {"won", "given up"},
        {"given up", "not now"},
        {"given up"},
    ]
    back = [make_outcome(f"{key} back", key, "withdrawn", corrects=key) for key in ("not now", "given up")]
    in_transaction(log, add_outcomes, back, NOW)
    assert undecided("renewal") == {"open", "accepted", "won", "not now", "given up"}
    assert "given up" in undecided("")


def test_an_outcome_that_is_corrected_to_another_model_opens_the_list_that_it_was_of(log):
    write(log, scored("a"), scored("b"))
    moved = [make_outcome("1", "a", "accepted"), make_outcome("2", "a", corrects="1", model="renewal")]
    # In whatever order they come.
    late = [make_outcome("4", "b", corrects="3", model="renewal"), make_outcome("3", "b", "accepted")]
    for outcome in (*moved, *late):
        in_transaction(log, add_outcomes, [outcome], NOW)
    with log.connect() as connection:
        assert ids(read_page(connection, ScoreFilter(undecided=True), "", None, 50)) == ["a", "b"]


def test_a_model_learns_from_the_outcomes_that_answer_its_question(log):
    def answers(model):
        return {each.key for each in queries.outcomes(log, model=model)}

    unnamed = [make_outcome("won", "a", "won"), make_outcome("lost", "b", "lost")]
    in_transaction(log, add_outcomes, unnamed, NOW)
    # There was no way to say which model's they are.
    assert answers("") == answers("renewal") == {"won", "lost"}
    assert count_outcomes(log, "renewal") == OutcomeCounts("renewal", own=0, given_up=1, others=1)
    in_transaction(log, add_outcomes, [make_outcome("renewed", "c", "won", model="renewal")], NOW)
    assert (answers(""), answers("renewal")) == ({"won", "lost"}, {"renewed", "lost"})
    assert count_outcomes(log, "renewal") == OutcomeCounts("renewal", own=1, given_up=1, others=1)
    # One that was taken back is as if it had never been reported.
    back = make_outcome("back", "c", "withdrawn", corrects="renewed", model="renewal")
    in_transaction(log, add_outcomes, [back], NOW)
    assert answers("renewal") == {"won", "lost"}
    again = make_outcome("renewed", "c", "won")
    assert in_transaction(log, add_outcomes, [again], NOW) == ["key_conflict"]


def test_a_list_says_as_of_when_a_lead_has_its_score_also_where_no_decision_was_new(log):
    write(log, scored())
    day = NOW // DAY * DAY
    selection = handovers.select_handover(log, HandoverRequest(day, 5))
    in_transaction(log, handovers.add_handover, HandoverRequest(day, 5), selection)
    assert write(log, scored(as_of=NOW + 6 * DAY)) == 0
    handover = handovers.find_handover(log, HandoverRequest(day, 5))
    assert [lead.decision.as_of for lead in handover.leads] == [NOW + 6 * DAY]
