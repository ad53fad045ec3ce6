"""One thread that writes: whoever waits meanwhile is written in one transaction, and told when it holds.

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
_LOOKS_AGAIN = 1.0
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Job:
    """What one request wants written, and where it hears that it was."""

    work: Callable[[Connection], Any]
    done: Future[Any] = field(default_factory=Future)


class GroupCommitWriter:
    """Writes to the log as long as the service lives, and forgets what is older than it may be.

    A log that cannot be reached makes no difference to the thread but one line in the service's log: it tries
    again with the next request, and by itself every second.
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
        """What ``work`` returned, once its transaction holds. Raises LogUnavailable if it may not hold."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.submit(work)), WAITS)
        except TimeoutError:
            raise LogUnavailable from None

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """What ``work`` will have returned, for whom nobody waits."""
        job = _Job(work)
        self._jobs.put(job)
        return job.done

    def close(self) -> None:
        """Write what was accepted, then end."""
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
            jobs = [job for job in waiting if job is not None and job.done.set_running_or_notify_cancel()]
            if jobs or not self.available:
                self._commit(jobs or [_Job(probe_writable)])
            self._forget()

    def _gather(self) -> list[_Job | None]:
        """Whoever waits by now; nobody, when it is time to look after the log."""
        waiting: list[_Job | None] = []
        with suppress(Empty):
            waiting.append(self._jobs.get(timeout=self._idle()))
            while len(waiting) < _AT_ONCE:
                waiting.append(self._jobs.get_nowait())
        return waiting

    def _idle(self) -> float | None:
        if not self.available:
            return _LOOKS_AGAIN
        return None if self._settings.keeps_for is None else max(0.0, self._forgets_at - time.monotonic())

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """Write all or nothing; what is wrong with one job alone must not be held against the others."""
        try:
            results = self._transaction([job.work for job in jobs])
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must hear of it
            if not _unavailable(error):
                self._one_by_one(jobs)
                return
            self._found(error)
            for job in jobs:
                job.done.set_exception(LogUnavailable())
        else:
            self._found(None)
            for job, result in zip(jobs, results, strict=True):
                job.done.set_result(result)

    def _one_by_one(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                job.done.set_result(self._transaction([job.work])[0])
            except Exception as error:  # noqa: BLE001  # see above
                job.done.set_exception(LogUnavailable() if _unavailable(error) else error)

    def _transaction(self, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
        if self._log is None or self._writes is None:
            self._log = open_log(self._settings.place)
            self._writes = writing(self._log)
        with self._writes.begin() as connection:
            return [work(connection) for work in works]

    def _found(self, error: Exception | None) -> None:
        """Say it once when the log goes away, and once when it is back."""
        if self.available != (error is None):
            self.available = error is None
            if error is None:
                logger.info("the decision log is written")
            else:
                logger.error("the decision log cannot be written: %s", reason(error))

    def _forget(self) -> None:
        """Some of what is too old; again with the next turn, until nothing is, then tomorrow."""
        now = time.monotonic()
        if self._settings.keeps_for is None or not self.available or now < self._forgets_at:
            return
        before = int(time.time()) - self._settings.keeps_for
        try:
            (erased,) = self._transaction([partial(prune, before=before, most=_AT_ONCE)])
        except SQLAlchemyError as error:
            self._found(error)
        else:
            if max(erased.decisions, erased.outcomes) < _AT_ONCE:
                self._forgets_at = now + DAY


def _unavailable(error: Exception) -> bool:
    """Whether the log is at fault, not what was to be written in it."""
    at_fault = (LogError, SQLAlchemyError)
    return isinstance(error, at_fault) and not isinstance(error, DataError | IntegrityError)
