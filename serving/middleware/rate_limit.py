"""Rate limit by token buckets, one per key or address, on a monotonic clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE = 60.0
# Without keys a bucket belongs to an address; when there are more, the fullest (those at rest) make room.
_MOST_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """A token bucket per caller: ``per_minute`` requests, all of them at once after a minute without any.

    Each worker counts for itself.

    Args:
        per_minute: Requests per caller and minute.
        clock: Seconds of a clock that never goes back.

    >>> rate = RateLimiter(1, clock=lambda: 100.0)
    >>> rate.retry_after("crm"), rate.retry_after("crm"), rate.retry_after("portal")
    (0, 60, 0)
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = float(per_minute), clock
        self._buckets: dict[str, _Bucket] = {}

    def retry_after(self, caller: str) -> int:
        """0 where the request is within the limit, and is counted; else the whole seconds until one is."""
        now = self._clock()
        bucket = self._buckets.setdefault(caller, _Bucket(self._most, now))
        bucket.tokens = min(self._most, bucket.tokens + (now - bucket.at) * self._most / _MINUTE)
        bucket.at = now
        if bucket.tokens < 1:
            return ceil((1 - bucket.tokens) * _MINUTE / self._most)
        bucket.tokens -= 1
        self._drop_full_buckets(now)
        return 0

    def _drop_full_buckets(self, now: float) -> None:
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets = {
                name: bucket for name, bucket in self._buckets.items() if now - bucket.at < _MINUTE
            }
