"""Shadow deployment: a challenger scores the leads of every request in a thread, and answers nobody."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from serving.monitoring import metrics
from serving.schemas import LeadFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serving.decision_log.records import NewDecision
    from serving.model_reload import ReloadingModel
    from serving.schemas import ScoreResult

# Requests that may wait for the challenger; when there are more, it misses some, and a counter says how many.
_MOST_WAITING = 100
# And leads of them, so that what waits stays small, too.
_MOST_LEADS = 5_000
logger = logging.getLogger("leadloop")


class ShadowScorer:
    """Scores leads with a challenger in one thread, and counts how its scores differ from the answers.

    Args:
        followed: The challenger.
        keep: Called with the challenger's decisions of each request.
    """

    def __init__(self, followed: ReloadingModel, keep: Callable[[list[NewDecision]], object] = len) -> None:
        self.followed, self._keep = followed, keep
        self._places = BoundedSemaphore(_MOST_WAITING)
        self._lock, self._leads_waiting = Lock(), 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._farthest = 0.0

    def submit(
        self, leads: Sequence[object], answers: Sequence[ScoreResult | LeadFailure], now: float
    ) -> None:
        """Queue leads for the challenger, to be compared with ``answers`` as of ``now``, or drop them."""
        if self._has_room(len(leads)):
            self._thread.submit(copy_context().run, self._compare, leads, answers, now)
        else:
            metrics.SHADOW_LOST.inc(len(leads))

    def _has_room(self, leads: int) -> bool:
        """Whether a request of so many leads may wait, which it then does."""
        if not self._places.acquire(blocking=False):
            return False
        with self._lock:
            room = self._leads_waiting + leads <= _MOST_LEADS
            self._leads_waiting += leads * room
        if not room:
            self._places.release()
        return room

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        self._thread.shutdown()

    def _compare(
        self, leads: Sequence[object], answers: Sequence[ScoreResult | LeadFailure], now: float
    ) -> None:
        try:
            decisions: list[NewDecision] = []
            results = self._score(leads, decisions, now)
            self._keep(decisions)
            for result, answer in zip(results, answers, strict=True):
                self._count(result, answer)
        except Exception:  # a challenger's failure is nobody's but its own
            metrics.SHADOW_LOST.inc(len(leads))
            logger.exception("the challenger failed")
        finally:
            with self._lock:
                self._leads_waiting -= len(leads)
            self._places.release()

    def _score(
        self, leads: Sequence[object], decisions: list[NewDecision], now: float
    ) -> list[ScoreResult | LeadFailure]:
        if self.followed.current is None:
            msg = "no challenger is loaded"
            raise LookupError(msg)
        return self.followed.current.scorer.score(leads, decisions.append, now=now)

    def _count(self, result: ScoreResult | LeadFailure, answer: ScoreResult | LeadFailure) -> None:
        if isinstance(answer, LeadFailure):
            return
        if isinstance(result, LeadFailure):
            metrics.SHADOW_LOST.inc()
            return
        if result.probability is None or answer.probability is None:
            return
        distance = abs(result.probability - answer.probability)
        self._farthest = max(self._farthest, distance)
        metrics.SHADOW_DISTANCE.observe(distance)
        metrics.SHADOW_FARTHEST.set(self._farthest)
        metrics.SHADOW_GRADES.labels("same" if result.grade == answer.grade else "differs").inc()
