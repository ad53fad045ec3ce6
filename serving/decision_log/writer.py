"""The thread that writes the decision log, with group commit.

A commit costs nearly the same for one record as for hundreds. So while a transaction runs, the next requests
gather, and all of them share the next one (group commit; DeWitt et al., SIGMOD 1984). An answer waits for its
own commit and for no timer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from features.clock import DAY
from serving.decision_log.database import (
    log_url,
    open_log,
    reason,
    truncate_wal,
    without_credentials,
    writing,
)
from serving.decision_log.deadlines import ConnectionDeadlines
from serving.decision_log.log_file import LogFileChangedError, OpenedFiles, log_path
from serving.decision_log.retention import RetentionClock
from serving.decision_log.settings import LogError, LogSettings, LogUnavailable
from serving.decision_log.statements import add_decisions, forget, probe_writable, prune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Engine

    from serving.decision_log.statements import DecisionEntry

T = TypeVar("T")
logger = logging.getLogger("leadloop")
# An answer that waited so long is refused; the client may ask again.
WAITS = 5.0
# After so long a use of a connection is given up, and the connection with it.
DEADLINE = 10.0
# How many requests may wait for their commit; more are refused at once.
MOST_WAITING = 2_000
# How long a log that failed is left alone before the thread looks for itself, and one that nobody writes to.
_RETRY_SECONDS = 1.0
_HEARTBEAT_SECONDS = 1.0
_BATCH_SIZE = 500
# How often records past their retention are looked for.
_PRUNE_SECONDS = DAY / 24
# PostgreSQL ends one of two transactions that wait for each other, and it may be tried again at once.
_TRIES = 5
_CONFLICTS = frozenset({"40P01", "40001"})
# What SQLite says of a file that it can no longer use as it has it open: an I/O error, a damaged file, one
# that cannot be opened, and no database.
_BROKEN_FILE = frozenset({10, 11, 14, 26})


@dataclass(frozen=True, slots=True)
class _Job:
    """What one request writes, and the future of its result.

    ``entries`` are decisions that those of other requests may be added with, in one statement; ``work`` is
    anything else. With ``erases`` the result is a pair of what ``work`` returned and whether the content that
    it deleted has been overwritten on disk.
    """

    work: Callable[[Connection], Any] | None = None
    entries: Sequence[DecisionEntry] = ()
    erases: bool = False
    future: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _OpenLog:
    """What belongs to a log that is open: a reader takes it whole, while the thread opens another."""

    log: Engine
    writes: Engine
    files: OpenedFiles | None

    def verify_files(self) -> None:
        """Raise LogFileChangedError unless the log's files are still those that were opened."""
        if self.files is not None:
            self.files.verify()


class GroupCommitWriter:
    """Writes to the decision log from one thread, and prunes records past their retention.

    While the log cannot be reached the thread tries again with each request, and by itself every second; the
    service's own log has one line when that begins and one when it ends.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._reachable: bool | None = None
        self._busy_since: float | None = None
        self._opened: _OpenLog | None = None
        self._deadlines = ConnectionDeadlines(DEADLINE)
        self._prunes_at = time.monotonic() + (_PRUNE_SECONDS if settings.keeps_for is None else 0)
        self._clock = None if settings.keeps_for is None else RetentionClock(settings.keeps_for)
        self._wal_has_erased = False
        self._retries_overwriting = False
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    @property
    def available(self) -> bool | None:
        """Whether the log is written: not while it fails, nor while a write hangs. None before the first."""
        return self._reachable and not self._hangs

    @property
    def _hangs(self) -> bool:
        since = self._busy_since
        return since is not None and time.monotonic() - since > WAITS

    @property
    def log(self) -> Engine:
        """The open log, for reading. Raises LogUnavailable while there is none."""
        opened = self._opened
        if opened is None or self._hangs:
            raise LogUnavailable
        try:
            opened.verify_files()
        except LogFileChangedError:
            # The thread opens what is there now.
            self.submit(probe_writable)
            raise LogUnavailable from None
        return opened.log

    @property
    def waiting(self) -> int:
        """How many requests wait for their commit."""
        return self._jobs.qsize()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` returned, once it is committed.

        ``work`` may be called more than once: where its transaction was rolled back, it is tried again.

        Raises:
            LogUnavailable: The log cannot be written, or ``WAITS`` seconds have passed.
        """
        return await _result(self.submit(work))

    async def write_decisions(self, entries: Sequence[DecisionEntry]) -> None:
        """Add decisions; returns once they are committed. Raises LogUnavailable as ``write`` does."""
        await _result(self.submit_decisions(entries))

    async def write_erasure(self, work: Callable[[Connection], T]) -> tuple[T, bool]:
        """What ``work`` returned, and whether the deleted content is overwritten on disk as well."""
        result: tuple[T, bool] = await _result(self._submit(_Job(work, erases=True)))
        return result

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """The future of what ``work`` returns, which is set once it is committed."""
        return self._submit(_Job(work))

    def submit_decisions(self, entries: Sequence[DecisionEntry]) -> Future[None]:
        """A future that is set once the decisions are committed."""
        return self._submit(_Job(entries=entries))

    def _submit(self, job: _Job) -> Future[Any]:
        if self._hangs or self._jobs.qsize() >= MOST_WAITING:
            job.future.set_exception(LogUnavailable())
        else:
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Write what was submitted, then end the thread; one that hangs is left behind."""
        self._jobs.put(None)
        self._thread.join(DEADLINE + WAITS)
        self._deadlines.close()
        # What a thread that hangs has in use is closed when it comes back.
        opened = self._opened
        if opened is not None:
            opened.log.dispose()

    def _run(self) -> None:
        self._commit([_Job(probe_writable)])
        closing = False
        while not closing:
            waiting = self._gather()
            closing = None in waiting
            jobs = [job for job in waiting if job is not None and job.future.set_running_or_notify_cancel()]
            if jobs or not self._reachable:
                self._commit(jobs or [_Job(probe_writable)])
            elif not closing:
                self._check()
            self._overwrite_erased()
            self._prune()

    def _gather(self) -> list[_Job | None]:
        """The jobs that wait by now; none where a second has passed without any."""
        waiting: list[_Job | None] = []
        with suppress(Empty):
            waiting.append(self._jobs.get(timeout=self._idle()))
            while len(waiting) < _BATCH_SIZE:
                waiting.append(self._jobs.get_nowait())
        return waiting

    def _idle(self) -> float:
        until_prune = self._prunes_at - time.monotonic()
        return max(0.0, min(_HEARTBEAT_SECONDS, until_prune)) if self.available else _RETRY_SECONDS

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """Write all jobs in one transaction, or, where one of them is at fault, each in its own."""
        try:
            results = self._transaction(jobs)
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must hear of it
            if not _unavailable(error):
                self._commit_singly(jobs)
                return
            self._report_availability(error)
            for job in jobs:
                job.future.set_exception(LogUnavailable())
        else:
            self._report_availability(None)
            self._set_results(jobs, results)

    def _commit_singly(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                results = self._transaction([job])
            except Exception as error:  # noqa: BLE001  # see above
                job.future.set_exception(LogUnavailable() if _unavailable(error) else error)
            else:
                self._set_results([job], results)

    def _set_results(self, jobs: Sequence[_Job], results: Sequence[Any]) -> None:
        if any(job.erases for job in jobs):
            self._wal_has_erased = True
            self._overwrite_erased()
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result((result, not self._wal_has_erased) if job.erases else result)

    def _transaction(self, jobs: Sequence[_Job]) -> list[Any]:
        """The results of jobs that were committed together."""
        self._busy_since = time.monotonic()
        try:
            return self._repeat_conflicts(jobs)
        finally:
            self._busy_since = None

    def _repeat_conflicts(self, jobs: Sequence[_Job]) -> list[Any]:
        for attempt in range(1, _TRIES + 1):
            try:
                return self._attempt(jobs)
            except LogFileChangedError as error:
                # What was committed since is in a file that nobody will find.
                logger.error("the decision log is opened anew: %s", error)  # noqa: TRY400
                self._close_log()
                if attempt == _TRIES:
                    raise
            except DBAPIError as error:
                if attempt == _TRIES or getattr(error.orig, "sqlstate", None) not in _CONFLICTS:
                    raise
                time.sleep(random.uniform(0, 0.02) * attempt)  # noqa: S311
        raise LogUnavailable

    def _attempt(self, jobs: Sequence[_Job]) -> list[Any]:
        opened = self._open()
        opened.verify_files()
        with opened.writes.begin() as connection:
            results = [result for group in _groups(jobs) for result in _write_group(connection, group)]
        if opened.files is not None:
            opened.files.add_files_beside()
            opened.files.verify()
        return results

    def _open(self) -> _OpenLog:
        opened = self._opened
        if opened is None:
            path = log_path(log_url(self._settings.place))
            log = open_log(self._settings.place, self._settings.project, self._deadlines)
            opened = _OpenLog(log, writing(log), None if path is None else OpenedFiles(path))
            self._opened = opened
        return opened

    def _close_log(self) -> None:
        """Close the log's connections, so that the next transaction opens what is there then."""
        opened, self._opened = self._opened, None
        if opened is not None:
            # What the write-ahead log holds gets into the database, if only its own name was taken away.
            with suppress(SQLAlchemyError):
                truncate_wal(opened.log)
            opened.log.dispose()

    def _check(self) -> None:
        """Find out, while nobody writes, whether the log could be written."""
        self._busy_since = time.monotonic()
        try:
            opened = self._open()
            opened.verify_files()
            _refuse_read_only(self._settings.place)
            if opened.writes.dialect.name == "postgresql":
                with opened.writes.connect() as connection:
                    connection.execute(text("SELECT 1"))
        except LogFileChangedError:
            self._commit([_Job(probe_writable)])
        except (LogError, SQLAlchemyError, OSError) as error:
            self._report_availability(error)
        finally:
            self._busy_since = None

    def _report_availability(self, error: Exception | None) -> None:
        """Log one line when the decision log becomes unavailable, and one when it is back."""
        if getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF in _BROKEN_FILE:
            self._close_log()
        if self._reachable != (error is None):
            self._reachable = error is None
            if error is None:
                logger.info("the decision log is written")
            else:
                # A message of our own names no password; where the URL is at fault there is none to compare.
                own = isinstance(error, LogError)
                cause = (
                    reason(error)
                    if own
                    else without_credentials(reason(error), log_url(self._settings.place))
                )
                logger.error("the decision log cannot be written: %s", cause)

    def _overwrite_erased(self) -> None:
        """Empty SQLite's write-ahead log, where deleted content stays until then; a reader may prevent it."""
        opened = self._opened
        if not self._wal_has_erased or opened is None or opened.log.dialect.name != "sqlite":
            return
        try:
            emptied = truncate_wal(opened.log)
        except SQLAlchemyError as error:
            self._report_availability(error)
            return
        if not emptied and not self._retries_overwriting:
            logger.warning("what was erased is overwritten on disk as soon as others have read the log")
        self._wal_has_erased, self._retries_overwriting = not emptied, not emptied

    def _prune(self) -> None:
        """Prune one batch; the next one with the next turn, and once nothing is left, in an hour."""
        now = time.monotonic()
        if not self.available or now < self._prunes_at:
            return
        try:
            (left,) = self._transaction([_Job(self._prune_batch)])
        except Exception as error:  # noqa: BLE001  # the thread goes on, whatever it is
            self._report_availability(error)
        else:
            if not left:
                self._prunes_at = now + _PRUNE_SECONDS
                if self._clock is not None and self._clock.ahead:
                    logger.error("%s", self._clock.in_words())

    def _prune_batch(self, connection: Connection) -> bool:
        """Prune one batch; whether records may be left."""
        forget(connection)
        if self._clock is None:
            return False
        erased = prune(connection, self._clock.oldest_kept(connection), _BATCH_SIZE)
        return max(erased.decisions, erased.outcomes, erased.events) >= _BATCH_SIZE


async def _result(future: Future[T]) -> T:
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), WAITS)
    except TimeoutError:
        raise LogUnavailable from None


def _groups(jobs: Iterable[_Job]) -> list[list[_Job]]:
    """Jobs in their order, decisions that follow each other together."""
    return [list(group) for _, group in groupby(jobs, lambda job: id(job) if job.work else None)]


def _write_group(connection: Connection, group: Sequence[_Job]) -> list[Any]:
    if group[0].work is not None:
        return [group[0].work(connection)]
    add_decisions(connection, [entry for job in group for entry in job.entries])
    return [None] * len(group)


def _unavailable(error: Exception) -> bool:
    """Whether the log is at fault, and not what was to be written."""
    at_fault = (LogError, SQLAlchemyError, OSError)
    return isinstance(error, at_fault) and not isinstance(error, DataError | IntegrityError)


def _refuse_read_only(place: str) -> None:
    """Raise LogError where the file system of a log on SQLite can no longer be written."""
    path = log_path(log_url(place))
    if path is not None and os.statvfs(path.parent).f_flag & os.ST_RDONLY:
        msg = f"the file system of {path} is mounted read-only"
        raise LogError(msg)
