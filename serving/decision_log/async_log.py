"""The decision log for the service's endpoints: asynchronous, one call per read or write."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from serving.decision_log import handovers, queries, statements
from serving.decision_log.settings import LogUnavailable
from serving.decision_log.writer import GroupCommitWriter
from serving.handover_selection import select_leads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from serving.decision_log.handovers import Handover
    from serving.decision_log.records import (
        Decision,
        ErasedCounts,
        NewDecision,
        Outcome,
        OutcomeStatus,
        RequestInfo,
    )
    from serving.decision_log.settings import LogSettings
    from serving.handover_selection import HandoverRequest

T = TypeVar("T")
# Decisions whose rows are made in the event loop.
_FEW = 10


class DecisionLog:
    """Asynchronous access to the decision log.

    Every method raises LogUnavailable while the log cannot be reached, and works again as soon as it can.
    """

    def __init__(self, settings: LogSettings) -> None:
        self.writer = GroupCommitWriter(settings)

    async def log_decisions(self, decisions: Sequence[NewDecision], request: RequestInfo) -> None:
        """Log decisions; returns once they are committed, and only then may they be answered."""
        if decisions:
            insert = partial(_insert_decisions, decisions, request)
            # A row with a hundred reasons takes 0.2 ms to write down, which for many is no work for the loop.
            few = len(decisions) <= _FEW
            await self.writer.write(insert() if few else await asyncio.to_thread(insert))

    def log_shadow_decisions(self, decisions: Sequence[NewDecision], request: RequestInfo) -> None:
        """Log a challenger's decisions without waiting; they are lost while the log cannot be reached."""
        if decisions:
            self.writer.submit(_insert_decisions(decisions, request))

    async def log_outcomes(self, outcomes: Sequence[Outcome]) -> list[OutcomeStatus]:
        """Log outcomes; the status of each, in their order, once all are committed."""
        return await self.writer.write(partial(statements.add_outcomes, outcomes=outcomes, now=_now()))

    async def erase(self, lead_id: str) -> ErasedCounts:
        """Erase all records of a lead; how many were removed, once that is committed."""
        return await self.writer.write(partial(statements.erase, lead_id=lead_id, now=_now()))

    async def decisions_of(self, lead_id: str, before: int | None, limit: int) -> list[Decision]:
        """At most ``limit`` decisions about a lead, newest first; with ``before``, those with smaller ids."""
        return await _read(lambda: list(queries.decisions_of_lead(self.writer.log, lead_id, before, limit)))

    async def outcomes_of(self, lead_id: str) -> list[Outcome]:
        """All outcomes reported about a lead, including corrections and what they correct."""
        return await _read(lambda: list(queries.outcome_history(self.writer.log, lead_id)))

    async def get_or_create_handover(self, request: HandoverRequest) -> Handover | None:
        """The hand-over of a day, selected and logged at the first request; None where no lead is open.

        Later requests with the same parameters get the same leads, so that the propensity of each stays what
        it was. Raises NoSuchValueError where no open lead has the value.
        """
        handover = await _read(lambda: handovers.find_handover(self.writer.log, request))
        if handover is not None:
            return handover
        selection = await _read(
            lambda: select_leads(handovers.open_candidates(self.writer.log, request.value), request)
        )
        if not selection.leads:
            return None
        # Another worker may have been faster.
        with suppress(IntegrityError):
            await self.writer.write(partial(handovers.add_handover, request=request, selection=selection))
        return await _read(lambda: handovers.find_handover(self.writer.log, request))


async def _read(query: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(query)
    except SQLAlchemyError as error:
        raise LogUnavailable from error


def _insert_decisions(decisions: Sequence[NewDecision], request: RequestInfo) -> Callable[[Connection], None]:
    return partial(statements.add_decisions, rows=statements.decision_rows(decisions, request, _now()))


def _now() -> int:
    return int(time.time())
