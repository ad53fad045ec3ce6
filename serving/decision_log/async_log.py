"""The log as the service's endpoints use it: each question and each record in one call."""

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


class DecisionLog:
    """Everything here raises LogUnavailable where the log is gone, and works again as soon as it is back."""

    def __init__(self, settings: LogSettings) -> None:
        self.writer = GroupCommitWriter(settings)

    async def log_decisions(self, made: Sequence[NewDecision], occasion: RequestInfo) -> None:
        """Returns once the decisions hold: only then may they be told."""
        if made:
            await self.writer.write(_adding(made, occasion))

    def log_shadow_decisions(self, made: Sequence[NewDecision], occasion: RequestInfo) -> None:
        """Decisions that nobody is told and nobody waits for: lost where the log is gone."""
        if made:
            self.writer.submit(_adding(made, occasion))

    async def log_outcomes(self, outcomes: Sequence[Outcome]) -> list[OutcomeStatus]:
        """What became of each outcome, in order, once all of them hold."""
        return await self.writer.write(partial(statements.add_outcomes, outcomes=outcomes, now=_now()))

    async def erase(self, lead_id: str) -> ErasedCounts:
        """What was removed of a person, once it is gone."""
        return await self.writer.write(partial(statements.erase, lead_id=lead_id, now=_now()))

    async def decisions_of(self, lead_id: str, before: int | None, limit: int) -> list[Decision]:
        """What was decided about a lead, newest first."""
        return await _read(lambda: list(queries.decisions_of_lead(self.writer.log, lead_id, before, limit)))

    async def outcomes_of(self, lead_id: str) -> list[Outcome]:
        """What was reported about a lead, corrections and what they correct included."""
        return await _read(lambda: list(queries.outcome_history(self.writer.log, lead_id)))

    async def handed_over(self, wish: HandoverRequest) -> Handover | None:
        """What is handed over on a day; None where there is nobody yet. Raises NoSuchValueError.

        Whoever asks first decides for all who ask the same: a CRM may ask twice, and the chance that a lead
        had of being handed over stays what it was.
        """
        found = await _read(lambda: handovers.find_handover(self.writer.log, wish))
        if found is not None:
            return found
        choice = await _read(
            lambda: select_leads(handovers.open_candidates(self.writer.log, wish.value), wish)
        )
        if not choice.leads:
            return None
        # Another worker may have been faster.
        with suppress(IntegrityError):
            await self.writer.write(partial(handovers.add_handover, wish=wish, choice=choice))
        return await _read(lambda: handovers.find_handover(self.writer.log, wish))


async def _read(question: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(question)
    except SQLAlchemyError as error:
        raise LogUnavailable from error


def _adding(made: Sequence[NewDecision], occasion: RequestInfo) -> Callable[[Connection], None]:
    return partial(statements.add_decisions, rows=statements.decision_rows(made, occasion, _now()))


def _now() -> int:
    return int(time.time())
