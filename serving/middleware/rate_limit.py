"""How often a key may ask: a bucket of tokens each, filled steadily by a clock that never goes back."""

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
    """``per_minute`` requests of each caller, and as many at once after a minute's rest. One worker's count.

    >>> rate = RateLimiter(1, clock=lambda: 100.0)
    >>> rate.wait("crm"), rate.wait("crm"), rate.wait("portal")
    (0, 60, 0)
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = float(per_minute), clock
        self._buckets: dict[str, _Bucket] = {}

    def retry_after(self, caller: str) -> int:
        """0 when the caller may ask now, and has; else the whole seconds until it may."""
        now = self._clock()
        bucket = self._buckets.setdefault(caller, _Bucket(self._most, now))
        bucket.tokens = min(self._most, bucket.tokens + (now - bucket.at) * self._most / _MINUTE)
        bucket.at = now
        if bucket.tokens < 1:
            return ceil((1 - bucket.tokens) * _MINUTE / self._most)
        bucket.tokens -= 1
        self._make_room(now)
        return 0

    def _make_room(self, now: float) -> None:
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets = {name: one for name, one in self._buckets.items() if now - one.at < _MINUTE}
