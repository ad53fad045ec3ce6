"""Reading back: the newest, a time, a page; what nobody was told stays apart."""

from __future__ import annotations

from dataclasses import asdict

from log_entries import in_transaction, log_decisions, make_decision, make_outcome

from models.explanation import Reason
from models.observed_rates import ObservedRate
from serving.decision_log import queries
from serving.decision_log.statements import add_outcomes


def test_the_latest_is_the_newest_that_was_told(log):
    log_decisions(log, make_decision("ada", points=1), make_decision("bob", points=2))
    log_decisions(log, make_decision("ada", points=3), now=500)
    log_decisions(log, make_decision("ada", points=4), now=2_000, shadow=True)
    assert [(decision.lead_id, decision.points) for decision in queries.latest_decisions(log)] == [
        ("bob", 2),
        ("ada", 3),
    ]


def test_a_clock_that_is_set_back_makes_nothing_older(log):
    log_decisions(log, make_decision(points=1), now=2_000)
    log_decisions(log, make_decision(points=2), now=1_000)
    assert next(queries.latest_decisions(log)).points == 2
    assert [decision.points for decision in queries.decisions_of_lead(log, "0012")] == [2, 1]


def test_scores_of_a_time_are_half_open_and_without_shadows(log):
    for now in (9, 10, 19, 20):
        log_decisions(log, make_decision(points=now), now=now, explored=now == 19)
    log_decisions(log, make_decision(points=0), now=15, shadow=True)
    decisions = list(queries.scores(log, 10, 20))
    assert [(decision.points, decision.explored, decision.shadow) for decision in decisions] == [
        (10, False, False),
        (19, True, False),
    ]
    assert [decision.points for decision in queries.scores(log, 10, 20, shadow=True)] == [0]


def test_pages_are_newest_first_and_leave_nothing_out(log):
    log_decisions(log, *(make_decision(points=number) for number in range(10)))
    first = list(queries.decisions_of_lead(log, "0012", limit=4))
    rest = list(queries.decisions_of_lead(log, "0012", before=first[-1].id))
    assert [decision.points for decision in first + rest] == list(range(9, -1, -1))


def test_a_decision_has_its_row_its_reasons_and_its_occasion(log):
    why = Reason("visits", "behaviour", 3.0, 0.1, 2.9, "3 visits", ObservedRate(40, 10, 0.25, 0.2, above=2.0))
    log_decisions(log, make_decision(reasons=(why,)), endpoint="/v1/explain", request_id="r1", key_id="crm")
    (decision,) = queries.decisions_of_lead(log, "0012")
    assert decision.row == {"industry": "machinery", "visits": 3.0}
    assert decision.reasons == [asdict(why)]
    assert (decision.endpoint, decision.request_id, decision.key_id) == ("/v1/explain", "r1", "crm")


def test_a_log_larger_than_a_batch_is_read_whole(log):
    log_decisions(log, *(make_decision(str(number)) for number in range(2_500)))
    assert sum(1 for _ in queries.latest_decisions(log)) == 2_500


def test_an_empty_log_has_numbers_too(log):
    assert queries.stats(log)["decisions"] == 0
    assert list(queries.latest_decisions(log)) == list(queries.outcomes(log)) == []


def test_the_numbers_of_a_log_count_what_is_in_it(log):
    log_decisions(log, make_decision("ada"), make_decision("bob", version="v2"), now=7)
    log_decisions(log, make_decision("ada"), now=9)
    in_transaction(
        log,
        add_outcomes,
        [make_outcome("k1", kind="won"), make_outcome("k2", kind="won"), make_outcome("k3")],
        9,
    )
    assert queries.stats(log) == {
        "decisions": 3,
        "leads": 2,
        "first_decided_at": 7,
        "last_decided_at": 9,
        "by_model": {"v1": 2, "v2": 1},
        "outcomes": {"qualified": 1, "won": 2},
        "erasures": 0,
        "erased": {"decisions": 0, "outcomes": 0},
    }
