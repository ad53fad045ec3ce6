"""How often somebody may ask, by a clock that the test turns, in one process and in several."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from serving.middleware import shared_counts
from serving.middleware.rate_limit import RateLimiter
from serving.middleware.shared_counts import SharedCounts

# Asks in a process of its own as often as it is let in.
ASKS = """
import sys
from pathlib import Path
from serving.middleware.rate_limit import RateLimiter
from serving.middleware.shared_counts import SharedCounts

rate = RateLimiter(int(sys.argv[2]), SharedCounts(Path(sys.argv[1]), clock=lambda: 150.0))
print(sum(rate.retry_after("crm") == 0 for _ in range(2 * int(sys.argv[2]))))
"""


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@given(st.integers(1, 50), st.lists(st.floats(0, 90), min_size=1, max_size=100))
def test_nobody_gets_more_than_the_limit_at_once_and_what_time_gives_back(most, pauses):
    clock = Clock()
    rate, let_in = RateLimiter(most, SharedCounts(clock=clock)), 0
    for pause in pauses:
        clock.now += pause
        let_in += rate.retry_after("crm") == 0
    # One more, as a share of a request counts only when it is whole.
    assert let_in <= most + sum(pauses) * most / 60 + 1 + 1e-6


@given(st.integers(1, 50), st.lists(st.floats(0, 30), min_size=1, max_size=60), st.floats(1e9, 2e9))
def test_shared_counts_let_in_whom_the_librarys_own_storage_lets_in(most, pauses, start):
    """Its memory storage is the oracle, by its own clock: the time of day."""
    clock = Clock()
    clock.now = start
    limit, name = RateLimitItemPerMinute(most), "crm"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limits.storage.memory.time.time", clock)
        patch.setattr("threading.Timer.start", lambda _: None)
        theirs = SlidingWindowCounterRateLimiter(MemoryStorage())
        ours = SlidingWindowCounterRateLimiter(SharedCounts(clock=clock))
        for pause in pauses:
            clock.now += pause
            assert ours.hit(limit, name) == theirs.hit(limit, name)


@given(st.integers(1, 600), st.floats(0, 120))
def test_who_waits_as_long_as_told_is_let_in(most, start):
    clock = Clock()
    clock.now += start
    rate = RateLimiter(most, SharedCounts(clock=clock))
    while not (wait := rate.retry_after("crm")):
        pass
    clock.now += wait
    assert rate.retry_after("crm") == 0


def test_one_caller_does_not_spend_what_another_has():
    rate = RateLimiter(1, SharedCounts(clock=Clock()))
    assert [rate.retry_after("a"), rate.retry_after("b")] == [0, 0]


def test_all_processes_that_count_in_a_file_share_the_limit(tmp_path):
    command = [sys.executable, "-c", ASKS, str(tmp_path / "counts"), "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as one:
        other = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        first = int(one.stdout.read())
    assert first + int(other.stdout) == 500


def test_a_table_that_is_full_forgets_who_asked_least_of_late_and_not_who_asked_most(monkeypatch):
    monkeypatch.setattr(shared_counts, "_SLOTS", 1)
    rate = RateLimiter(3, SharedCounts(clock=Clock()))
    busy = [rate.retry_after("busy") for _ in range(4)]
    assert (busy[:3], busy[3] > 0) == ([0, 0, 0], True)
    assert {rate.retry_after(f"passer-by {number}") for number in range(100)} == {0}
    assert rate.retry_after("busy") > 0
