"""How much work a worker takes at a time, and which of it leaves the event loop.

Costs are estimates in milliseconds of CPU, from the bytes and the leads of a request. What is cheap is done
at once. All else is done in two threads, so that other requests and the probes are answered meanwhile; and
where more is waiting than the budget allows, a request is refused with a time to come back.
"""

from __future__ import annotations

import asyncio
import gc
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

from serving.monitoring.metrics import WORK_IN_FLIGHT
from serving.problems import Problem, ProblemResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# To read, validate and fold a kilobyte of a body; an outcome, a score, and an explanation with all reasons.
MS_PER_KILOBYTE = 0.1
MS_PER_ITEM = {"/v1/outcomes": 0.02, "/v1/events": 0.04, "/v1/score": 0.25, "/v1/explain": 2.5}
# A hand-over to a thread and back costs a tenth of a millisecond, and the loop may be kept for some of them.
INLINE_MS = 10.0
# What may be in flight in one worker; the costliest request there can be is a fifth of it.
BUDGET_MS = 20_000.0
# The threads share one interpreter with the loop, which gets it back after so many seconds at the latest.
SWITCH_INTERVAL = 0.001
_USUAL_INTERVAL = 0.005
_THREADS = 2


class Workload:
    """The work of one worker process: what is in flight, and the threads for what is not cheap.

    Args:
        budget: The estimated milliseconds that may be in flight. Default: ``BUDGET_MS``.
    """

    def __init__(self, budget: float = BUDGET_MS) -> None:
        self.budget = budget
        self._in_flight = 0.0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="work")

    @contextmanager
    def admit(self, cost: float) -> Iterator[None]:
        """Keep room for ``cost`` (in ms) in this context. Raises ProblemResponse where there is none."""
        if self._in_flight + cost > self.budget:
            raise ProblemResponse(_overloaded(self._in_flight))
        if cost <= INLINE_MS:
            # Done in one go, it never waits beside others.
            yield
            return
        self._change(cost)
        try:
            yield
        finally:
            self._change(-cost)

    async def run(self, cost: float, work: Callable[[], T]) -> T:
        """What ``work`` returns: done at once where ``cost`` (in ms) is small, else in a thread."""
        if cost <= INLINE_MS:
            return work()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, copy_context().run, work)

    def close(self) -> None:
        """Finish what is being done, then end the threads."""
        self._threads.shutdown()

    def _change(self, cost: float) -> None:
        self._in_flight = max(0.0, self._in_flight + cost)
        WORK_IN_FLIGHT.set(self._in_flight / 1e3)


def let_threads_share() -> None:
    """Let the event loop have the interpreter soon, whatever the threads do."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    # Of what was there from the start nothing is ever freed: to go through it takes the collector 150 ms.
    gc.collect()
    gc.freeze()


def stop_sharing() -> None:
    """Undo ``let_threads_share``, for a process that goes on without the service."""
    sys.setswitchinterval(_USUAL_INTERVAL)
    gc.unfreeze()


def _overloaded(in_flight: float) -> Problem:
    seconds = max(1, math.ceil(in_flight / 1e3))
    detail = f"the service is busy with other requests; ask again in {seconds} s"
    return Problem(503, "overloaded", detail, headers=(("retry-after", str(seconds)),))
