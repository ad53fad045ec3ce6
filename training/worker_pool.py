"""A pool of fresh processes that work on parts of a history; one that dies takes only its own part along."""

from __future__ import annotations

import os
import signal
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Generic, TypeVar

from models.lightgbm_import import import_lightgbm_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Task = TypeVar("Task")
Result = TypeVar("Result")
_THREADS = "POLARS_MAX_THREADS"
_DIED = "the process that worked on it was ended, most likely for want of memory: use fewer --workers"


@dataclass(frozen=True, slots=True)
class Workers:
    """Processes that score parts of a history at the same time.

    Attributes:
        count: How many.
        model: The folder of the model, which each of them loads.
    """

    count: int
    model: Path


@dataclass(frozen=True, slots=True)
class PartFailure:
    """A part that could not be scored.

    Attributes:
        part: What messages call it.
        reason: Why.
    """

    part: str
    reason: str

    def __str__(self) -> str:
        return f"{self.part}: {self.reason}"


def describe_error(error: BaseException) -> str:
    """Why a part could not be scored, in a line."""
    # The messages of leadloop's own errors need no name of a class.
    return str(error) if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: {error}"


class WorkerPool(Generic[Task, Result]):
    """Fresh processes that share the cores; no more than two tasks wait for each of them."""

    def __init__(self, workers: Workers, work: Callable[[Path, Task], Result]) -> None:
        self._workers, self._work = workers, work
        self._executor: ProcessPoolExecutor | None = None

    def start(self, prepare: Callable[[Path], None]) -> None:
        """Start the processes before there is a task, so that they import what they need meanwhile.

        Args:
            prepare: What each of them does first, with the folder of the model.
        """
        with _share_cores(self._workers.count):
            self._executor = _start(self._workers, self._workers.count)
            for _ in range(self._workers.count):
                self._executor.submit(prepare, self._workers.model)

    def run(self, tasks: Iterable[Task]) -> Iterator[Result | Exception]:
        """What becomes of each task, in their order: a result, or the error of that task."""
        waiting: deque[tuple[Task, Future[Result]]] = deque()
        with _share_cores(self._workers.count):
            try:
                for task in tasks:
                    waiting.append((task, self._submit(task)))
                    if len(waiting) >= 2 * self._workers.count:
                        yield self._collect(*waiting.popleft())
                while waiting:
                    yield self._collect(*waiting.popleft())
            finally:
                self.close()

    def _submit(self, task: Task) -> Future[Result]:
        try:
            self._executor = self._executor or _start(self._workers, self._workers.count)
            return self._executor.submit(self._work, self._workers.model, task)
        except BrokenProcessPool:
            self.close()
            return self._submit(task)

    def _collect(self, task: Task, future: Future[Result]) -> Result | Exception:
        try:
            return future.result()
        except BrokenProcessPool:
            # Whichever task it was, all that waited have failed with it: each is tried alone.
            return self._try_alone(task)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the task's
            return error

    def _try_alone(self, task: Task) -> Result | Exception:
        with _start(self._workers, 1) as alone:
            try:
                return alone.submit(self._work, self._workers.model, task).result()
            except BrokenProcessPool:
                return RuntimeError(_DIED)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the task's
                return error

    def close(self) -> None:
        """End the processes: what runs is finished, what has not begun is not begun."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        self._executor = None


def _start(workers: Workers, count: int) -> ProcessPoolExecutor:
    # A forked copy of this process would wait for locks of threads that it does not have.
    return ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_prepare_worker, initargs=(workers.model,)
    )


def _prepare_worker(model: Path) -> None:
    # Ctrl-C reaches all processes of a terminal: what runs is finished, and the first one stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_lightgbm_alone(model)


@contextmanager
def _share_cores(count: int) -> Iterator[None]:
    """Let each of so many processes that start use its share of the cores."""
    before = os.environ.get(_THREADS)
    os.environ.setdefault(_THREADS, str(max(1, (os.cpu_count() or 1) // count)))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
