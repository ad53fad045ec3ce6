"""What goes into the log comes out of it, once, and goes for good when it is told to."""

from __future__ import annotations

import math
import struct
from dataclasses import asdict
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_entries import NASTY, in_transaction, log_decisions, make_decision, make_outcome

from features.clock import DAY
from models.explanation import Reason
from models.handover_selection import HandoverRequest
from serving.decision_log import handovers, queries
from serving.decision_log.records import ErasedCounts
from serving.decision_log.statements import add_outcomes, erase, prune

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def bits(number):
    return struct.pack("<d", number)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.dictionaries(TEXTS, st.none() | NUMBERS | TEXTS, max_size=5))
def test_a_row_comes_back_to_the_bit(log, row):
    log_decisions(log, make_decision("bits", row=row))
    back = next(queries.decisions_of_lead(log, "bits")).row
    assert list(back) == list(row)
    for name, value in row.items():
        assert type(back[name]) is type(value)
        assert back[name] == value
        assert not isinstance(value, float) or bits(back[name]) == bits(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(probability=st.floats(0, 1), log_odds=NUMBERS)
def test_a_score_comes_back_to_the_bit(log, probability, log_odds):
    log_decisions(log, make_decision("bits", probability=probability, log_odds=log_odds))
    back = next(queries.decisions_of_lead(log, "bits"))
    assert back.probability == probability
    assert back.log_odds == log_odds


@pytest.mark.parametrize("text", NASTY)
def test_no_text_is_more_than_text(log, text):
    row, why = {text: text, "visits": 1.0}, Reason(text, text, text, 0.5, 14.4, text)
    log_decisions(
        log,
        make_decision(text, row=row, reasons=(why,), version=text),
        request_id=text,
        key_id=text,
        endpoint=text,
    )
    in_transaction(
        log, add_outcomes, [make_outcome(text, text, "rejected", reason=text, corrects=text + "x")], 1_000
    )
    (decision,), (event,) = queries.decisions_of_lead(log, text), queries.outcome_history(log, text)
    assert (decision.lead_id, decision.model_version, decision.endpoint) == (text, text, text)
    assert (decision.request_id, decision.key_id) == (text, text)
    assert (decision.row, decision.reasons) == (row, [asdict(why)])
    assert (event.key, event.lead_id, event.reason, event.corrects) == (text, text, text, text + "x")
    assert in_transaction(log, erase, text, 0) == ErasedCounts(1, 1)


def test_a_key_counts_once(log):
    first = in_transaction(log, add_outcomes, [make_outcome(), make_outcome(), make_outcome("k2")], 1_000)
    again = in_transaction(log, add_outcomes, [make_outcome("k2"), make_outcome()], 2_000)
    assert (first, again) == (["recorded", "repeated", "recorded"], ["repeated", "repeated"])
    assert [(event.key, event.recorded_at) for event in queries.outcomes(log)] == [
        ("k1", 1_000),
        ("k2", 1_000),
    ]


@pytest.mark.parametrize(
    "other",
    [
        make_outcome(kind="won"),
        make_outcome(lead_id="0013"),
        make_outcome(at=51),
        make_outcome(reason="x"),
        make_outcome(corrects="k0"),
    ],
)
def test_a_key_cannot_be_used_for_something_else(log, other):
    in_transaction(log, add_outcomes, [make_outcome()], 1_000)
    assert in_transaction(log, add_outcomes, [other], 1_000) == ["key_conflict"]
    assert [event.outcome for event in queries.outcomes(log)] == ["qualified"]


def test_an_outcome_of_another_lead_cannot_be_corrected(log):
    in_transaction(log, add_outcomes, [make_outcome()], 1_000)
    assert in_transaction(log, add_outcomes, [make_outcome("k2", "0013", corrects="k1")], 1_000) == [
        "other_lead"
    ]


def test_the_order_of_arrival_makes_no_difference(log):
    for number, order in enumerate(permutations(range(4))):
        lead = str(number)
        a, b, c, d = (f"{letter}{number}" for letter in "abcd")
        events = [
            make_outcome(a, lead, "accepted", at=10),
            make_outcome(b, lead, "rejected", at=20, reason="budget"),
            make_outcome(c, lead, "rejected", at=20, reason="timing", corrects=b),
            make_outcome(d, lead, "qualified", at=20, corrects=c),
        ]
        for place in order:
            in_transaction(log, add_outcomes, [events[place]], 1_000)
        assert [event.key for event in queries.outcomes(log, lead)] == [a, d]
        assert {event.key for event in queries.outcome_history(log, lead)} == {a, b, c, d}
    assert len(list(queries.outcomes(log))) == 2 * 24


def test_a_correction_that_turns_out_to_be_of_another_lead_corrects_nothing(log):
    in_transaction(log, add_outcomes, [make_outcome("b", "0013", corrects="a")], 1_000)
    in_transaction(log, add_outcomes, [make_outcome("a", "0012")], 1_000)
    assert {event.key for event in queries.outcomes(log)} == {"a", "b"}


def test_who_is_forgotten_leaves_a_number_and_nobody_else_is_touched(log):
    log_decisions(log, make_decision("ada"), make_decision("bob"), make_decision("ada"))
    in_transaction(log, add_outcomes, [make_outcome("k1", "ada"), make_outcome("k2", "bob")], 1_000)
    assert in_transaction(log, erase, "ada", 3 * DAY + 5) == ErasedCounts(2, 1)
    assert in_transaction(log, erase, "ada", 3 * DAY + 6) == ErasedCounts(0, 0)
    assert not [*queries.decisions_of_lead(log, "ada"), *queries.outcome_history(log, "ada")]
    assert len([*queries.decisions_of_lead(log, "bob"), *queries.outcome_history(log, "bob")]) == 2
    counts = queries.stats(log)
    assert (counts["erasures"], counts["erased"]) == (1, {"decisions": 2, "outcomes": 1})


def test_of_who_is_forgotten_no_byte_is_left_in_the_file(log, place):
    if place.startswith("postgresql"):
        pytest.skip("PostgreSQL overwrites with VACUUM, by itself and later")
    log_decisions(log, *[make_decision("ada-lovelace", row={"secret": "swordfish"})] * 20)
    in_transaction(
        log, add_outcomes, [make_outcome("k1", "ada-lovelace", "rejected", reason="swordfish")], 1_000
    )
    in_transaction(log, erase, "ada-lovelace", 0)
    log.dispose()
    content = b"".join(file.read_bytes() for file in Path(place).parent.iterdir())
    assert b"ada-lovelace" not in content
    assert b"swordfish" not in content


def test_what_is_too_old_goes_and_no_more_than_asked_at_once(log):
    for now in (10, 20, 30):
        log_decisions(log, make_decision(), now=now)
        in_transaction(log, add_outcomes, [make_outcome(f"k{now}")], now)
    assert in_transaction(log, prune, before=30, most=1) == ErasedCounts(1, 1)
    assert in_transaction(log, prune, before=30, most=9) == ErasedCounts(1, 1)
    assert in_transaction(log, prune, before=30, most=9) == ErasedCounts(0, 0)
    assert [decision.decided_at for decision in queries.decisions_of_lead(log, "0012")] == [30]


def test_a_number_that_is_none_is_kept_as_it_is(log):
    log_decisions(log, make_decision("bits", row={"a": math.inf, "b": math.nan, "c": -0.0}))
    row = next(queries.decisions_of_lead(log, "bits")).row
    assert row["a"] == math.inf
    assert math.isnan(row["b"])
    assert bits(row["c"]) == bits(-0.0)


def circle(log, *reports):
    """The statuses of outcomes of one lead, one after the other: pairs of a key and what it corrects."""
    return [
        in_transaction(log, add_outcomes, [make_outcome(key, corrects=corrects)], 1)[0]
        for key, corrects in reports
    ]


def test_outcomes_that_correct_each_other_in_a_circle_are_refused_at_the_last(log):
    assert circle(log, ("a", "b"), ("b", "a")) == ["recorded", "circle"]
    assert circle(log, ("c", "d"), ("d", "e"), ("e", "c")) == ["recorded", "recorded", "circle"]
    assert circle(log, ("f", "f")) == ["circle"]
    assert circle(log, ("g", None), ("h", "g"), ("i", "h"), ("j", "h")) == ["recorded"] * 4
    assert [event.key for event in queries.outcomes(log)] == ["a", "c", "i", "j"]


def test_a_circle_within_a_request_is_refused_as_well(log):
    reports = [
        make_outcome("a", corrects="b"),
        make_outcome("b", corrects="c"),
        make_outcome("c", corrects="a"),
    ]
    assert in_transaction(log, add_outcomes, reports, 1) == ["recorded", "recorded", "circle"]
    assert [event.key for event in queries.outcomes(log)] == ["a"]


def test_the_same_key_and_lead_of_two_tenants_are_two(log):
    for tenant in ("acme", "umbrella"):
        log_decisions(log, make_decision("ada"), tenant=tenant)
        report = make_outcome("k", "ada", "won", tenant=tenant)
        assert in_transaction(log, add_outcomes, [report], 1) == ["recorded"]
    other = make_outcome("k", "ada", "lost", tenant="acme")
    assert in_transaction(log, add_outcomes, [other], 1) == ["key_conflict"]
    correction = make_outcome("k2", "ada", "lost", corrects="k", tenant="acme")
    assert in_transaction(log, add_outcomes, [correction], 1) == ["recorded"]
    assert [(event.tenant, event.key) for event in queries.outcomes(log)] == [
        ("umbrella", "k"),
        ("acme", "k2"),
    ]
    assert [event.key for event in queries.outcome_history(log, "ada", "acme")] == ["k", "k2"]
    assert [each.tenant for each in queries.decisions_of_lead(log, "ada", tenant="acme")] == ["acme"]
    assert len(list(queries.latest_decisions(log))) == 2
    assert [each.tenant for each in queries.latest_decisions(log, "umbrella")] == ["umbrella"]
    assert len(list(queries.first_decisions(log))) == 2


def is_ranked(log, lead_id):
    """Whether a hand-over would take the lead."""
    selection = handovers.select_handover(log, HandoverRequest(0, 10))
    return lead_id in [lead.candidate.lead_id for lead in selection.leads]


def test_an_outcome_that_is_withdrawn_never_was_whichever_came_first(log):
    for number, order in enumerate(permutations(range(3))):
        lead = f"lead {number}"
        a, b, c = (f"{letter}{number}" for letter in "abc")
        log_decisions(log, make_decision(lead))
        events = [
            make_outcome(a, lead, "accepted", at=10),
            make_outcome(b, lead, "rejected", at=20, reason="budget", corrects=a),
            make_outcome(c, lead, "withdrawn", at=30, corrects=b),
        ]
        for place in order:
            assert in_transaction(log, add_outcomes, [events[place]], 1_000) == ["recorded"]
        assert list(queries.outcomes(log, lead)) == []
        assert {event.key for event in queries.outcome_history(log, lead)} == {a, b, c}
        assert is_ranked(log, lead)
        in_transaction(log, add_outcomes, [make_outcome(f"d{number}", lead, "accepted")], 1_000)
        assert [event.outcome for event in queries.outcomes(log, lead)] == ["accepted"]
        assert not is_ranked(log, lead)


def test_of_two_outcomes_the_one_that_was_not_withdrawn_keeps_the_lead_closed(log):
    log_decisions(log, make_decision("ada"))
    in_transaction(log, add_outcomes, [make_outcome("a", "ada"), make_outcome("b", "ada")], 1_000)
    in_transaction(log, add_outcomes, [make_outcome("c", "ada", "withdrawn", corrects="a")], 1_000)
    assert [event.key for event in queries.outcomes(log, "ada")] == ["b"]
    assert not is_ranked(log, "ada")
