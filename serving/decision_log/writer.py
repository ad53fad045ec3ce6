"""The thread that writes the decision log, with group commit.

A commit costs nearly the same for one record as for hundreds. So while a transaction runs, the next requests
gather, and all of them share the next one (group commit; DeWitt et al., SIGMOD 1984). An answer waits for its
own commit and for no timer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from features.clock import DAY
from serving.decision_log.database import open_log, reason, writing
from serving.decision_log.settings import LogError, LogSettings, LogUnavailable
from serving.decision_log.statements import probe_writable, prune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Engine

T = TypeVar("T")
logger = logging.getLogger("leadloop")
# An answer that waited so long is refused; the client may ask again.
WAITS = 5.0
# How long a log that failed is left alone before the thread looks for itself.
_RETRY_SECONDS = 1.0
_BATCH_SIZE = 500


@dataclass(frozen=True, slots=True)
class _Job:
    """What one request writes, and the future of its result."""

    work: Callable[[Connection], Any]
    future: Future[Any] = field(default_factory=Future)


class GroupCommitWriter:
    """Writes to the decision log from one thread, and prunes records past their retention.

    While the log cannot be reached the thread tries again with each request, and by itself every second; the
    service's own log has one line when that begins and one when it ends.
    """

    def __init__(self, settings: LogSettings) -> None:
        self.available: bool | None = None
        self._settings = settings
        self._log: Engine | None = None
        self._writes: Engine | None = None
        self._forgets_at = 0.0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    @property
    def log(self) -> Engine:
        """The open log, for reading. Raises LogUnavailable while there is none."""
        if self._log is None:
            raise LogUnavailable
        return self._log

    @property
    def waiting(self) -> int:
        """How many requests wait for their commit."""
        return self._jobs.qsize()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` returned, once it is committed. Raises LogUnavailable after ``WAITS`` seconds."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.submit(work)), WAITS)
        except TimeoutError:
            raise LogUnavailable from None

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """The future of what ``work`` returns, which is set once it is committed."""
        job = _Job(work)
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Write what was submitted, then end the thread."""
        self._jobs.put(None)
        self._thread.join()
        if self._log is not None:
            self._log.dispose()

    def _run(self) -> None:
        self._commit([_Job(probe_writable)])
        closing = False
        while not closing:
            waiting = self._gather()
            closing = None in waiting
            jobs = [job for job in waiting if job is not None and job.future.set_running_or_notify_cancel()]
            if jobs or not self.available:
                self._commit(jobs or [_Job(probe_writable)])
            self._prune()

    def _gather(self) -> list[_Job | None]:
        """The jobs that wait by now; none where the time to retry or prune has come."""
        waiting: list[_Job | None] = []
        with suppress(Empty):
            waiting.append(self._jobs.get(timeout=self._idle()))
            while len(waiting) < _BATCH_SIZE:
                waiting.append(self._jobs.get_nowait())
        return waiting

    def _idle(self) -> float | None:
        if not self.available:
            return _RETRY_SECONDS
        return None if self._settings.keeps_for is None else max(0.0, self._forgets_at - time.monotonic())

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """Write all jobs in one transaction, or, where one of them is at fault, each in its own."""
        try:
            results = self._transaction([job.work for job in jobs])
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must hear of it
            if not _unavailable(error):
                self._commit_singly(jobs)
                return
            self._report_availability(error)
            for job in jobs:
                job.future.set_exception(LogUnavailable())
        else:
            self._report_availability(None)
            for job, result in zip(jobs, results, strict=True):
                job.future.set_result(result)

    def _commit_singly(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                job.future.set_result(self._transaction([job.work])[0])
            except Exception as error:  # noqa: BLE001  # see above
                job.future.set_exception(LogUnavailable() if _unavailable(error) else error)

    def _transaction(self, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
        if self._log is None or self._writes is None:
            self._log = open_log(self._settings.place)
            self._writes = writing(self._log)
        with self._writes.begin() as connection:
            return [work(connection) for work in works]

    def _report_availability(self, error: Exception | None) -> None:
        """Log one line when the decision log becomes unavailable, and one when it is back."""
        if self.available != (error is None):
            self.available = error is None
            if error is None:
                logger.info("the decision log is written")
            else:
                logger.error("the decision log cannot be written: %s", reason(error))

    def _prune(self) -> None:
        """Prune one batch; the next one with the next turn, and once nothing is left, in a day."""
        now = time.monotonic()
        if self._settings.keeps_for is None or not self.available or now < self._forgets_at:
            return
        before = int(time.time()) - self._settings.keeps_for
        try:
            (erased,) = self._transaction([partial(prune, before=before, most=_BATCH_SIZE)])
        except SQLAlchemyError as error:
            self._report_availability(error)
        else:
            if max(erased.decisions, erased.outcomes) < _BATCH_SIZE:
                self._forgets_at = now + DAY


def _unavailable(error: Exception) -> bool:
    """Whether the log is at fault, and not what was to be written."""
    at_fault = (LogError, SQLAlchemyError)
    return isinstance(error, at_fault) and not isinstance(error, DataError | IntegrityError)
