"""Rate limits: requests of a caller in a minute, counted by ``limits`` for all workers together."""

from __future__ import annotations

import os
import time
from math import ceil
from pathlib import Path

from limits import RateLimitItemPerMinute
from limits.strategies import SlidingWindowCounterRateLimiter

from serving.middleware.shared_counts import SharedCounts
from serving.uvicorn_patches import RUN_DIR


class RateLimiter:
    """A limit of requests in a sliding minute, for each caller by itself.

    Args:
        per_minute: Requests per caller and minute.
        counts: Where they are counted. Default: in this process alone.

    >>> rate = RateLimiter(1, SharedCounts(clock=lambda: 120.0))
    >>> rate.retry_after("crm"), rate.retry_after("crm"), rate.retry_after("portal")
    (0, 60, 0)
    """

    def __init__(self, per_minute: int, counts: SharedCounts | None = None) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._windows = SlidingWindowCounterRateLimiter(counts or SharedCounts())

    def retry_after(self, caller: str) -> int:
        """0 where the request is within the limit, and is counted; else the whole seconds until one is."""
        return 0 if self._windows.hit(self._limit, caller) else self._wait(caller)

    def _wait(self, caller: str) -> int:
        stats = self._windows.get_window_stats(self._limit, caller)
        # The library adds the wait to the time of day.
        return max(1, ceil(stats.reset_time - time.time()))


def shared_limiter(per_minute: int, name: str) -> RateLimiter:
    """A limit that the workers of this service share, by the name of the file that they count in."""
    folder = Path(os.environ.get(RUN_DIR) or os.devnull)
    return RateLimiter(per_minute, SharedCounts(folder / name if folder.is_dir() else None))
