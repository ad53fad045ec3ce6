"""How often somebody may ask, by a clock that the test turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.middleware import rate_limit
from serving.middleware.rate_limit import RateLimiter


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@given(st.integers(1, 50), st.lists(st.floats(0, 30), min_size=1, max_size=100))
def test_nobody_gets_more_than_a_full_bucket_and_what_flowed_in(most, pauses):
    clock = Clock()
    rate, let_in = RateLimiter(most, clock), 0
    for pause in pauses:
        clock.now += pause
        let_in += rate.retry_after("crm") == 0
    assert let_in <= most + sum(pauses) * most / 60 + 1e-6


@given(st.integers(1, 600))
def test_who_waits_as_long_as_told_is_let_in(most):
    clock = Clock()
    rate = RateLimiter(most, clock)
    while not (wait := rate.retry_after("crm")):
        pass
    clock.now += wait
    assert rate.retry_after("crm") == 0


def test_one_caller_does_not_spend_what_another_has():
    rate = RateLimiter(1, Clock())
    assert [rate.retry_after("a"), rate.retry_after("b")] == [0, 0]


def test_a_full_bucket_may_be_forgotten_and_an_empty_one_may_not(monkeypatch):
    clock = Clock()
    rate = RateLimiter(1, clock)
    monkeypatch.setattr(rate_limit, "_MOST_BUCKETS", 10)
    for i in range(10):
        rate.retry_after(f"at rest {i}")
    clock.now += 60
    rate.retry_after("busy")
    assert len(rate._buckets) == 1
    assert rate.retry_after("busy") > 0
