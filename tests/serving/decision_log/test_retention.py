"""Which records are too old by a clock that may be wrong."""

from __future__ import annotations

import time

import pytest
from log_entries import in_transaction, log_decisions, make_decision

from features.clock import DAY
from serving.decision_log import retention
from serving.decision_log.records import ErasedCounts
from serving.decision_log.retention import RetentionClock
from serving.decision_log.settings import LogError
from serving.decision_log.statements import prune_in_batches

NOW = 2_000_000_000
KEEPS = 30 * DAY


@pytest.fixture
def clocks(monkeypatch):
    """The wall clock, and the time that passes whatever somebody sets it to."""
    clocks = {"wall": NOW, "passed": 0.0}
    monkeypatch.setattr(time, "time", lambda: float(clocks["wall"]))
    monkeypatch.setattr(retention, "_passed", lambda: clocks["passed"])
    return clocks


@pytest.fixture
def old_log(log):
    log_decisions(log, make_decision("ada"), now=NOW)
    return log


def oldest_kept(log, clock):
    return in_transaction(log, clock.oldest_kept)


def test_by_a_clock_that_is_right_records_are_kept_for_their_time(old_log, clocks):
    clock = RetentionClock(KEEPS)
    for days in (0, 1, 2, 30, 31):
        clocks |= {"wall": NOW + days * DAY, "passed": days * DAY}
        assert oldest_kept(old_log, clock) == NOW + days * DAY - KEEPS
        assert clock.ahead == 0


def test_a_jump_does_not_count_and_the_days_that_pass_do(old_log, clocks):
    clock = RetentionClock(KEEPS)
    oldest_kept(old_log, clock)
    for days in (1, 2, 60):
        clocks |= {"wall": NOW + 400 * DAY + days * DAY, "passed": days * DAY}
        assert oldest_kept(old_log, clock) == NOW + days * DAY - KEEPS
        assert clock.ahead == 400 * DAY


def test_a_jump_stays_in_doubt_where_the_service_starts_again(old_log, clocks):
    oldest_kept(old_log, RetentionClock(KEEPS))
    clocks["wall"] = NOW + 400 * DAY
    log_decisions(old_log, make_decision("bob"), now=clocks["wall"])
    clock = RetentionClock(KEEPS)
    assert (oldest_kept(old_log, clock), clock.ahead) == (NOW - KEEPS, 400 * DAY)


@pytest.mark.parametrize(("days", "doubt"), [(3, 0), (4, 4 * DAY)])
def test_a_service_that_was_off_for_a_tenth_of_the_retention_is_believed(old_log, clocks, days, doubt):
    oldest_kept(old_log, RetentionClock(KEEPS))
    clocks["wall"] = NOW + days * DAY
    clock = RetentionClock(KEEPS)
    assert (oldest_kept(old_log, clock), clock.ahead) == (NOW + (0 if doubt else days) * DAY - KEEPS, doubt)


def test_a_clock_that_falls_behind_deletes_nothing_and_is_forgiven(old_log, clocks):
    clock = RetentionClock(KEEPS)
    oldest_kept(old_log, clock)
    clocks["wall"] = 0
    assert oldest_kept(old_log, clock) == -KEEPS
    clocks["wall"] = NOW + DAY
    assert (oldest_kept(old_log, clock), clock.ahead) == (NOW + DAY - KEEPS, 0)


def test_by_hand_a_clock_in_doubt_is_refused_unless_it_is_vouched_for(old_log, clocks):
    clocks["wall"] = NOW + 400 * DAY
    with pytest.raises(LogError, match=r"400 days after .* --keep-days 30 --force"):
        prune_in_batches(old_log, 30)
    assert prune_in_batches(old_log, 30, force=True) == ErasedCounts(1, 0)
    assert prune_in_batches(old_log, 30) == ErasedCounts(0, 0)
