"""A challenger that scores along: it hears every request, answers nobody, and keeps nobody waiting."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from serving.contract import Failed
from serving.watching import telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serving.contract import Scored
    from serving.follow import Followed
    from serving.log.records import Made

# Requests that may wait for the challenger; when there are more, it misses some, and a counter says how many.
_MOST_WAITING = 100
logger = logging.getLogger("leadloop")


class Shadow:
    """Compares, in one thread of its own, what the challenger says with what was told.

    ``keep`` is given the decisions of each request.
    """

    def __init__(self, followed: Followed, keep: Callable[[list[Made]], object] = len) -> None:
        self.followed, self._keep = followed, keep
        self._places = BoundedSemaphore(_MOST_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._farthest = 0.0

    def hear(self, leads: Sequence[object], told: Sequence[Scored | Failed]) -> None:
        """Let the challenger score ``leads`` some time, to be held against what was ``told``."""
        if self._places.acquire(blocking=False):
            self._thread.submit(copy_context().run, self._compare, leads, told)
        else:
            telemetry.SHADOW_LOST.inc(len(leads))

    def close(self) -> None:
        """Finish what was heard."""
        self._thread.shutdown()

    def _compare(self, leads: Sequence[object], told: Sequence[Scored | Failed]) -> None:
        try:
            made: list[Made] = []
            said = self._scored(leads, made)
            self._keep(made)
            for mine, other in zip(said, told, strict=True):
                self._count(mine, other)
        except Exception:  # a challenger's failure is nobody's but its own
            telemetry.SHADOW_LOST.inc(len(leads))
            logger.exception("the challenger failed")
        finally:
            self._places.release()

    def _scored(self, leads: Sequence[object], made: list[Made]) -> list[Scored | Failed]:
        if self.followed.current is None:
            msg = "there is no challenger that can answer"
            raise LookupError(msg)
        return self.followed.current.scorer.score(leads, made.append)

    def _count(self, mine: Scored | Failed, told: Scored | Failed) -> None:
        if isinstance(told, Failed):
            return
        if isinstance(mine, Failed):
            telemetry.SHADOW_LOST.inc()
            return
        if mine.probability is None or told.probability is None:
            return
        distance = abs(mine.probability - told.probability)
        self._farthest = max(self._farthest, distance)
        telemetry.SHADOW_DISTANCE.observe(distance)
        telemetry.SHADOW_FARTHEST.set(self._farthest)
        telemetry.SHADOW_GRADES.labels("same" if mine.grade == told.grade else "differs").inc()
