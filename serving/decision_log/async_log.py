"""The decision log for the service's endpoints: asynchronous, one call per read or write."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from serving.decision_log import handovers, idempotency, overrides, queries, statements
from serving.decision_log.owner_lists import find_owner
from serving.decision_log.records import ErasedLead
from serving.decision_log.settings import LogUnavailable
from serving.decision_log.writer import DEADLINE, GroupCommitWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from models.handover_lists import ListWish
    from models.handover_plan import HandoverPlan
    from models.handover_selection import HandoverRequest
    from serving.decision_log.handovers import HandoverObserver
    from serving.decision_log.records import (
        Decision,
        DecisionSummary,
        Handover,
        IdempotencyKey,
        KeptAnswer,
        NewAnswer,
        NewDecision,
        Outcome,
        OutcomeStatus,
        Override,
        RequestInfo,
    )
    from serving.decision_log.settings import LogSettings

    OutcomeObserver = Callable[[Connection, Sequence[Outcome], float | None], None]

T = TypeVar("T")
# Decisions whose rows are made in the event loop.
_FEW = 10
_READERS = 4
# How often lists are looked for that other workers are making at the same time.
_ATTEMPTS = 3
# For how long leads are selected (seconds), whoever waits for it.
_SELECTS_WITHIN = 300.0
# How many reads may wait for one of the threads; more are refused at once.
MOST_READS = 64


class DecisionLog:
    """Asynchronous access to the decision log.

    Every method raises LogUnavailable while the log cannot be reached, and works again as soon as it can.
    ``tenant`` limits a method to the records of one tenant; "" means all of them.
    """

    def __init__(self, settings: LogSettings) -> None:
        self.writer = GroupCommitWriter(settings)
        # Threads of their own: reads of a database that hangs must not take those that score.
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="log-reader")
        self._reads = 0
        # Called in the transactions that add hand-overs and outcomes.
        self.handover_observer: HandoverObserver | None = None
        self.outcome_observer: OutcomeObserver | None = None
        self._making: dict[Any, asyncio.Task[list[Handover]]] = {}

    def close(self) -> None:
        """Write what was submitted, then end the threads."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self.writer.close()

    async def log_decisions(self, decisions: Sequence[NewDecision], request: RequestInfo) -> None:
        """Log decisions; returns once they are committed, and only then may they be answered."""
        if decisions:
            entries = partial(statements.decision_rows, decisions, request, _now())
            # A row with a hundred reasons takes 0.2 ms to write down, which for many is no work for the loop.
            few = len(decisions) <= _FEW
            await self.writer.write_decisions(entries() if few else await asyncio.to_thread(entries))

    async def find_answer(self, request: IdempotencyKey) -> KeptAnswer | None:
        """The answer that was given within the last day under the key of a request; None where none was."""

        def find() -> KeptAnswer | None:
            with self.writer.log.connect() as connection:
                return idempotency.find_answer(connection, request, _now())

        return await self.read(find)

    async def log_answer(
        self, decisions: Sequence[NewDecision], request: RequestInfo, answer: NewAnswer
    ) -> KeptAnswer | None:
        """Log decisions and keep their answer, both or neither; or the answer that was kept before."""
        entries = await asyncio.to_thread(statements.decision_rows, decisions, request, _now())
        work = partial(idempotency.add_answer, new=answer, entries=entries, now=_now())
        return await self.writer.write(work)

    def log_shadow_decisions(self, decisions: Sequence[NewDecision], request: RequestInfo) -> None:
        """Log a challenger's decisions without waiting; they are lost while the log cannot be reached."""
        if decisions:
            self.writer.submit_decisions(statements.decision_rows(decisions, request, _now()))

    async def log_outcomes(
        self, outcomes: Sequence[Outcome], received_at: float | None = None
    ) -> list[OutcomeStatus]:
        """Log outcomes of a request that came at ``received_at``; the status of each, once committed."""
        arrival = time.time() if received_at is None else received_at

        def work(connection: Connection) -> list[OutcomeStatus]:
            statuses = statements.add_outcomes(connection, outcomes, _now(), arrival)
            pairs = zip(outcomes, statuses, strict=True)
            recorded = [outcome for outcome, status in pairs if status == "recorded"]
            if self.outcome_observer is not None and recorded:
                self.outcome_observer(connection, recorded, arrival)
            return statuses

        return await self.writer.write(work)

    async def erase(self, lead_id: str, tenant: str = "") -> ErasedLead:
        """Erase all records of a lead; how many were removed, once that is committed."""
        erased, overwritten = await self.writer.write_erasure(
            partial(statements.erase, lead_id=lead_id, now=_now(), tenant=tenant)
        )
        return ErasedLead(erased.decisions, erased.outcomes, overwritten, erased.events)

    async def decisions_of(
        self,
        lead_id: str,
        before: int | None,
        limit: int,
        tenant: str = "",
        models: Sequence[str] | None = None,
    ) -> list[Decision]:
        """At most ``limit`` decisions about a lead, newest first; with ``before``, those with smaller ids.

        With ``models`` those of these alone, by their names; "" is the default one.
        """
        return await self.read(
            lambda: list(queries.decisions_of_lead(self.writer.log, lead_id, before, limit, tenant, models))
        )

    async def outcomes_of(self, lead_id: str, tenant: str = "") -> list[Outcome]:
        """All outcomes reported about a lead, including corrections and what they correct."""
        return await self.read(lambda: list(queries.outcome_history(self.writer.log, lead_id, tenant)))

    async def lists_of(self, lead_id: str, tenant: str = "") -> list[dict[str, Any]]:
        """The call lists that a lead was on, or left off for the control group."""
        return await self.read(lambda: list(queries.lists_of_lead(self.writer.log, lead_id, tenant)))

    async def find_handover(self, request: HandoverRequest) -> Handover | None:
        """The hand-over that was made for these parameters on this day; None where none was."""
        return await self.read(lambda: handovers.find_handover(self.writer.log, request))

    async def find_handovers(self, wish: ListWish) -> list[Handover]:
        """The lists of a wish that were made on its day, by the names of their owners."""
        if not wish.by_owner:
            handover = await self.find_handover(wish.request)
            return [] if handover is None else [handover]
        lists = await self.read(lambda: handovers.find_handovers(self.writer.log, wish.request))
        return [
            each
            for each in lists
            if wish.covers(each.request.owner)
            and each.request.capacity == wish.plan.capacity_of(each.request.owner)
        ]

    async def get_or_create_handovers(self, wish: ListWish) -> list[Handover]:
        """The lists of a day, selected and logged at the first request; none where no lead is open.

        Each owner's list stays what it was when it was first asked for, so that the propensity of each lead
        stays what it was. Among a million leads that may take longer than a request waits: the lists are
        made all the same, and are there for whoever asks again. Raises NoSuchValueError where no open lead
        has the value.
        """
        plan = wish.plan
        key = (wish.request, wish.by_owner, wish.owners, plan.capacity, *plan.owners.items())
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(self._make_handovers(wish))
            making.add_done_callback(lambda task: self._forget_making(key, task))
        try:
            return await asyncio.wait_for(asyncio.shield(making), DEADLINE)
        except TimeoutError as error:
            raise LogUnavailable from error

    def _forget_making(self, key: Any, task: asyncio.Task[list[Handover]]) -> None:
        del self._making[key]
        if not task.cancelled():
            # Nobody else asks for it where all requests have given up.
            task.exception()

    async def _make_handovers(self, wish: ListWish) -> list[Handover]:
        for _ in range(_ATTEMPTS):
            earlier = await self.find_handovers(wish)
            owners = {each.request.owner for each in earlier}
            if not wish.missing(owners):
                return earlier
            select = partial(handovers.select_handovers, self.writer.log, wish)
            lists = await self.read(select, _SELECTS_WITHIN)
            fresh = [each for each in lists if each.request.owner not in owners]
            if not earlier and not any(each.selection.leads for each in fresh):
                return []
            # Another worker may have been faster, with all of them or with some.
            with suppress(IntegrityError):
                await self.writer.write(
                    partial(handovers.add_handovers, lists=fresh, observer=self.handover_observer)
                )
        return await self.find_handovers(wish)

    async def log_override(self, override: Override, received_at: float) -> bool:
        """Log what a person decided about a lead; False where it was never scored."""
        return await self.writer.write(
            partial(overrides.add_override, override=override, received_at=received_at)
        )

    async def overrides(self, tenant: str = "", model: str = "") -> list[tuple[Override, DecisionSummary]]:
        """What people decided about a model's lists that counts now, with each lead's newest decision."""

        def find() -> list[tuple[Override, DecisionSummary]]:
            with self.writer.log.connect() as connection:
                active = overrides.active_overrides(connection, tenant, _now(), model)
                decided = (
                    (each, handovers.find_candidate(connection, each.lead_id, each.tenant, model))
                    for each in active
                )
                return [(each, decision) for each, decision in decided if decision is not None]

        return await self.read(find)

    async def overrides_of(self, lead_id: str, tenant: str = "") -> list[Override]:
        """All that people ever decided about a lead's place on call lists."""
        return await self.read(lambda: list(overrides.overrides_of_lead(self.writer.log, lead_id, tenant)))

    async def find_owner(
        self, plan: HandoverPlan, lead_id: str, tenant: str = "", model: str = ""
    ) -> str | None:
        """Whose lead this is by a plan; None where the model never scored it, "" where nobody takes it."""

        def find() -> str | None:
            with self.writer.log.connect() as connection:
                return find_owner(connection, plan, lead_id, tenant, model)

        return await self.read(find)

    async def read(self, query: Callable[[], T], within: float | None = None) -> T:
        """What ``query`` returned, in a thread.

        Raises LogUnavailable where it takes longer than ``within`` seconds. Default: ``DEADLINE``.
        """
        if self._reads >= MOST_READS:
            raise LogUnavailable
        self._reads += 1
        reading = asyncio.get_running_loop().run_in_executor(self._readers, query)
        reading.add_done_callback(self._count_read)
        try:
            return await asyncio.wait_for(asyncio.shield(reading), DEADLINE if within is None else within)
        except (SQLAlchemyError, TimeoutError) as error:
            raise LogUnavailable from error

    def _count_read(self, reading: asyncio.Future[Any]) -> None:
        self._reads -= 1
        if not reading.cancelled():
            # Nobody else asks for it where the request has given up.
            reading.exception()


def _now() -> int:
    return int(time.time())
