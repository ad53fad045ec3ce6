"""Keeps the current scores true: scores leads of the store in the background, see ``serving.scorer_process``.

Leads of which something became known are scored within seconds, all leads after a new model is loaded, and
all open leads at least daily, because they age. Of all workers that share the database one does it, by a
lease. A chunk of leads is read and scored, and written in short transactions, each with its decisions; a
process that is killed anywhere in between loses nothing but the time.
"""

from __future__ import annotations

import gc
import logging
import secrets
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from features.clock import HOUR
from serving.current_scores.due import due_colleagues, due_leads, ended_leads, leads_without_score
from serving.current_scores.writing import ScoreUpdate, write_scores
from serving.decision_log.leases import give_back_lease, is_taken, take_lease
from serving.decision_log.score_queue import oldest_queued, queue_length, queued_among
from serving.decision_log.settings import LogUnavailable
from serving.lead_store.stored_leads import find_concerned_leads, read_stored_leads
from serving.lead_store.stored_tables import read_stored_tables
from serving.monitoring import metrics
from serving.request_parsing import CLOCK_SKEW
from serving.rescoring import StoredBatch, TableBatch, rescore, rescore_together, unscorable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from serving.current_scores.writing import OnChange, ScoredLead
    from serving.decision_log.score_queue import QueuedLead
    from serving.decision_log.writer import GroupCommitWriter
    from serving.scorer import Scorer

LEASE = "current_scores"
# How long a worker that died keeps others from going on, and how often the one that works says it is alive.
LEASE_SECONDS, _RENEW_SECONDS = 30.0, 10.0
# How often the queue is looked at, and how long a database that cannot be written is left alone.
_LOOK_SECONDS, _RETRY_SECONDS = 1.0, 5.0
# So that all are scored within a day, however many there are.
RESCORE_AFTER = 20 * HOUR
# Rows of the queue that are read at a time, and leads that are read and scored at a time. What does not
# grow with the leads, above all the plans of the engine that scores files, takes a quarter of a second.
_QUEUED_ROWS, CHUNK_LEADS = 8_000, 8_000
# With the colleagues of these that wait, too, so many at most.
_MOST_LEADS = 2 * CHUNK_LEADS
# Leads whose scores are written in a transaction, and rows of the queue that are removed in one: what answers
# commit waits for it, some 10 ms.
_WRITTEN_LEADS, _REMOVED_ROWS = 100, 500
# After each of them others can write, in whichever process they are: they ask every millisecond.
_PAUSE_SECONDS = 0.002
# From so many leads on one history of all costs less than a record of each.
MANY_LEADS = 64
# A turn of the writer is waited for so long; what it does after that is done once more.
_WRITES_WITHIN = 30.0
_REPORT_SECONDS = 60.0
UNSCORABLE = "internal_error"
Lead = tuple[str, str]
logger = logging.getLogger("leadloop")


class BackgroundScorer:
    """Scores leads of the store in a thread of its own, by each model of the service.

    Args:
        writer: The database.
        find_scorer: The scorer of the model in charge; None while there is none.
        also: By name, the same of other models.
        holder: By whom the lease is held. Default: by this object alone.
        hooks: What is called of each score that changed, see ``serving.current_scores.writing``.
        clock: The moment as of which leads are scored, in epoch seconds. Default: now.
    """

    def __init__(  # noqa: PLR0913  # what it works with
        self,
        writer: GroupCommitWriter,
        find_scorer: Callable[[], Scorer | None],
        hooks: Sequence[OnChange] = (),
        clock: Callable[[], float] = time.time,
        *,
        also: Mapping[str, Callable[[], Scorer | None]] | None = None,
        holder: str | None = None,
    ) -> None:
        self._writer, self._hooks, self._clock = writer, hooks, clock
        self._find_scorers = {"": find_scorer, **(also or {})}
        # Of each other model the last lead that was looked up in vain, until all were once.
        self._looked_up: dict[str, Lead | None] = dict.fromkeys(also or (), ("", ""))
        self._holder = holder or secrets.token_hex(8)
        self._lease_until = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background-scorer", daemon=True)
        self._progress = _Progress()

    def start(self) -> None:
        """Begin to score."""
        self._thread.start()

    def close(self) -> None:
        """Finish the current chunk, end the thread, and let another worker go on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_WRITES_WITHIN)
        if self._lease_until:
            self._writer.submit(partial(give_back_lease, name=LEASE, holder=self._holder))
            self._lease_until = 0.0

    def _run(self) -> None:
        pause = _LOOK_SECONDS
        while not self._stopping.wait(pause):
            try:
                pause = 0.0 if self.work() else _LOOK_SECONDS
            except (LogUnavailable, SQLAlchemyError, FutureTimeoutError):
                # The writer of the database says so in the service's log.
                pause, self._lease_until = _RETRY_SECONDS, 0.0
            except Exception:  # the next turn may see more
                logger.exception("leads of the store cannot be scored in the background")
                pause = _RETRY_SECONDS

    def work(self) -> bool:
        """Score the leads that have waited longest; False where none wait, or another worker does it.

        Raises:
            LogUnavailable: The database cannot be read or written.
        """
        scorers = self._scorers()
        if "" not in scorers or not self._has_lease():
            self._progress.show(0, None)
            return False
        with self._writer.log.connect() as connection:
            queued, leads = _queued_leads(connection)
            if not queued:
                leads, scorers = self._due_leads(connection, scorers)
            self._progress.show(*queue_length(connection))
        for chunk in _chunks(leads):
            for model in scorers:
                if not self._may_go_on():
                    return False
                scorer = self._scorers().get(model, scorers[model])
                if not self._score_chunk(scorer, chunk, model):
                    return False
            self._progress.add(len(chunk))
        for first in range(0, len(queued), _REMOVED_ROWS):
            # Whoever is killed before this scores them once more.
            self._write(ScoreUpdate((), time.time(), queued=queued[first : first + _REMOVED_ROWS]))
            self._stopping.wait(_PAUSE_SECONDS)
        self._progress.report(idle=not (queued or leads))
        return bool(queued or leads)

    def _may_go_on(self) -> bool:
        """Whether the service goes on, and this worker is still the one that scores."""
        return not self._stopping.is_set() and self._has_lease()

    def _has_lease(self) -> bool:
        """Whether this worker has the lease, which it renews in time."""
        now = time.time()
        if now < self._lease_until - LEASE_SECONDS + _RENEW_SECONDS:
            return True
        with self._writer.log.connect() as connection:
            if is_taken(connection, LEASE, self._holder, now):
                self._lease_until = 0.0
                return False
        taking = partial(take_lease, name=LEASE, holder=self._holder, now=now, seconds=LEASE_SECONDS)
        has_lease = self._writer.submit(taking).result(_WRITES_WITHIN)
        self._lease_until = now + LEASE_SECONDS if has_lease else 0.0
        return has_lease

    def _scorers(self) -> dict[str, Scorer]:
        """The scorers of the models that have anything to answer with, by their names."""
        scorers = {model: find() for model, find in self._find_scorers.items()}
        return {model: scorer for model, scorer in scorers.items() if scorer is not None}

    def _due_leads(
        self, connection: Connection, scorers: Mapping[str, Scorer]
    ) -> tuple[list[Lead], dict[str, Scorer]]:
        """Leads that age, or whose model is a new one, and the scorer of the model that is to score them."""
        before = int(self._clock()) - RESCORE_AFTER
        for model, scorer in scorers.items():
            version = scorer.model.version
            due = due_leads(connection, version, before, CHUNK_LEADS, model)
            if due:
                colleagues = due_colleagues(connection, due, version, before, model)
                return sorted({*due, *colleagues}), {model: scorer}
            after = self._looked_up.get(model)
            if after is not None:
                missing = leads_without_score(connection, model, after, CHUNK_LEADS)
                self._looked_up[model] = missing[-1] if missing else None
                if missing:
                    return missing, {model: scorer}
        return [], {}

    def _score_chunk(self, scorer: Scorer, leads: Sequence[Lead], model: str) -> bool:
        """Score some leads; where that fails by halves, so that one does not keep the others waiting.

        False where the service stops meanwhile, or another worker has taken over: the rest still waits.
        """
        read_at = time.time()
        with _collector_at_rest():
            batches = self._read(leads, model)
            try:
                return self._may_go_on() and self._write_chunk(scorer, batches, model, read_at)
            except (LogUnavailable, FutureTimeoutError):
                raise
            except Exception:
                if len(leads) == 1:
                    logger.exception("a lead of the store cannot be scored")
                    score = unscorable(*leads[0], scorer.model.version, UNSCORABLE, self._clock())
                    current = score.current._replace(model=model)
                    self._write(ScoreUpdate([replace(score, current=current)], read_at), hooks=())
                    return True
        half = len(leads) // 2
        return all(self._score_chunk(scorer, some, model) for some in (leads[:half], leads[half:]))

    def _write_chunk(
        self, scorer: Scorer, batches: Iterable[StoredBatch | TableBatch], model: str, read_at: float
    ) -> bool:
        """Score what was read, and write it; False where the rest of it was left."""
        scored, gone = _compute(scorer, batches)
        if model:
            scored = [replace(each, current=each.current._replace(model=model)) for each in scored]
        for update in _updates(scored, gone, read_at):
            if not self._may_go_on():
                return False
            self._write(update)
            self._stopping.wait(_PAUSE_SECONDS)
        return True

    def _read(self, leads: Sequence[Lead], model: str) -> list[StoredBatch | TableBatch]:
        batches: list[StoredBatch | TableBatch] = []
        for tenant, own in groupby(leads, key=lambda lead: lead[0]):
            lead_ids, now = [lead_id for _, lead_id in own], self._clock()
            with self._writer.log.connect() as connection:
                ended = ended_leads(connection, lead_ids, tenant, model)
                if len(lead_ids) >= MANY_LEADS:
                    tables = read_stored_tables(connection, lead_ids, tenant)
                    together, lead_ids = tables.split(lead_ids, int(now) + 1, CLOCK_SKEW)
                    batches.append(TableBatch(tenant, together, tables, ended, now))
                if lead_ids:
                    rows = read_stored_leads(connection, lead_ids, tenant)
                    batches.append(StoredBatch(tenant, lead_ids, rows, ended, now))
        return batches

    def _write(self, update: ScoreUpdate, hooks: Sequence[OnChange] | None = None) -> None:
        chosen = self._hooks if hooks is None else hooks
        self._writer.submit(partial(write_scores, update=update, hooks=chosen)).result(_WRITES_WITHIN)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Let the garbage collector rest: the million objects of a chunk are in no circle, and go without it.

    To go through them again and again would take a quarter of the time, and keep answers waiting. What these
    leave behind meanwhile is collected afterwards.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _queued_leads(connection: Connection) -> tuple[list[QueuedLead], list[Lead]]:
    """The rows of the queue that have waited longest, and the leads they concern."""
    queued = oldest_queued(connection, _QUEUED_ROWS)
    leads: list[Lead] = []
    for tenant, rows in groupby(sorted(queued), key=lambda row: row.tenant):
        own = list(rows)
        lead_ids = [row.lead_id for row in own if not row.is_account]
        account_ids = [row.lead_id for row in own if row.is_account]
        concerned = find_concerned_leads(connection, lead_ids, account_ids, tenant)
        # Colleagues that wait, too, are done with these, or each would bring all the others along once more.
        waiting = set(queued_among(connection, concerned.difference(lead_ids), tenant))
        if waiting:
            concerned |= find_concerned_leads(connection, [row.lead_id for row in waiting], (), tenant)
        queued += waiting
        leads += ((tenant, lead_id) for lead_id in sorted(concerned))
    return queued, leads


def _chunks(leads: Iterable[Lead]) -> Iterator[list[Lead]]:
    """The leads in chunks, colleagues that wait together in one as far as it goes."""
    remaining = iter(leads)
    while chunk := list(islice(remaining, _MOST_LEADS)):
        yield sorted(chunk)


def _compute(
    scorer: Scorer, batches: Iterable[StoredBatch | TableBatch]
) -> tuple[list[ScoredLead], list[Lead]]:
    """The scores of leads, and those that the store does not have any more."""
    scored: list[ScoredLead] = []
    gone: list[Lead] = []
    for batch in batches:
        if isinstance(batch, TableBatch):
            scored += rescore_together(scorer, batch)
            continue
        own, vanished = rescore(scorer, batch)
        scored += own
        gone += vanished
    return scored, gone


def _updates(scored: Sequence[ScoredLead], gone: Sequence[Lead], read_at: float) -> Iterator[ScoreUpdate]:
    """What is written in a transaction each."""
    for first in range(0, len(scored), _WRITTEN_LEADS):
        yield ScoreUpdate(scored[first : first + _WRITTEN_LEADS], read_at)
    if gone:
        yield ScoreUpdate((), read_at, gone)


@dataclass
class _Progress:
    """What the service's metrics and its log say of the background scorer."""

    leads: int = 0
    since: float = 0.0

    def show(self, waiting: int, since: int | None) -> None:
        """Show how many rows wait, and for how long the oldest has."""
        metrics.RESCORE_WAITING.set(waiting)
        metrics.RESCORE_OLDEST.set(0 if since is None else max(0.0, time.time() - since))

    def add(self, leads: int) -> None:
        """Count leads that were scored."""
        self.since = self.since or time.monotonic()
        self.leads += leads
        metrics.RESCORED.inc(leads)

    def report(self, *, idle: bool) -> None:
        """Log a line when the work is done, and every minute while it is not."""
        took = time.monotonic() - self.since
        if self.leads and (idle or took > _REPORT_SECONDS):
            rest = "none is waiting" if idle else "more are waiting"
            logger.info("%s leads of the store scored in %.0f s; %s", f"{self.leads:,}", took, rest)
            self.leads, self.since = 0, 0.0
