"""A challenger that scores along: it hears every request, answers nobody, and keeps nobody waiting."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import BoundedSemaphore
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
logger = logging.getLogger("leadloop")


class ShadowScorer:
    """Compares, in one thread of its own, what the challenger says with what was told.

    ``keep`` is given the decisions of each request.
    """

    def __init__(self, followed: ReloadingModel, keep: Callable[[list[NewDecision]], object] = len) -> None:
        self.followed, self._keep = followed, keep
        self._places = BoundedSemaphore(_MOST_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._farthest = 0.0

    def submit(self, leads: Sequence[object], told: Sequence[ScoreResult | LeadFailure]) -> None:
        """Let the challenger score ``leads`` some time, to be held against what was ``told``."""
        if self._places.acquire(blocking=False):
            self._thread.submit(copy_context().run, self._compare, leads, told)
        else:
            metrics.SHADOW_LOST.inc(len(leads))

    def close(self) -> None:
        """Finish what was heard."""
        self._thread.shutdown()

    def _compare(self, leads: Sequence[object], told: Sequence[ScoreResult | LeadFailure]) -> None:
        try:
            made: list[NewDecision] = []
            said = self._scored(leads, made)
            self._keep(made)
            for mine, other in zip(said, told, strict=True):
                self._count(mine, other)
        except Exception:  # a challenger's failure is nobody's but its own
            metrics.SHADOW_LOST.inc(len(leads))
            logger.exception("the challenger failed")
        finally:
            self._places.release()

    def _scored(self, leads: Sequence[object], made: list[NewDecision]) -> list[ScoreResult | LeadFailure]:
        if self.followed.current is None:
            msg = "there is no challenger that can answer"
            raise LookupError(msg)
        return self.followed.current.scorer.score(leads, made.append)

    def _count(self, mine: ScoreResult | LeadFailure, told: ScoreResult | LeadFailure) -> None:
        if isinstance(told, LeadFailure):
            return
        if isinstance(mine, LeadFailure):
            metrics.SHADOW_LOST.inc()
            return
        if mine.probability is None or told.probability is None:
            return
        distance = abs(mine.probability - told.probability)
        self._farthest = max(self._farthest, distance)
        metrics.SHADOW_DISTANCE.observe(distance)
        metrics.SHADOW_FARTHEST.set(self._farthest)
        metrics.SHADOW_GRADES.labels("same" if mine.grade == told.grade else "differs").inc()
