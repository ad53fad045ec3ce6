"""The log as the service's endpoints use it: each question and each record in one call."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from serving.log import handovers, reading, writing
from serving.log.settings import LogUnavailable
from serving.log.writer import Writer
from serving.loop.choosing import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from serving.log.handovers import Handover
    from serving.log.records import Decision, Erased, Made, Occasion, Outcome, Receipt
    from serving.log.settings import LogSettings
    from serving.loop.choosing import Wish

T = TypeVar("T")


class Journal:
    """Everything here raises LogUnavailable where the log is gone, and works again as soon as it is back."""

    def __init__(self, settings: LogSettings) -> None:
        self.writer = Writer(settings)

    async def decided(self, made: Sequence[Made], occasion: Occasion) -> None:
        """Returns once the decisions hold: only then may they be told."""
        if made:
            await self.writer.write(_adding(made, occasion))

    def overheard(self, made: Sequence[Made], occasion: Occasion) -> None:
        """Decisions that nobody is told and nobody waits for: lost where the log is gone."""
        if made:
            self.writer.post(_adding(made, occasion))

    async def happened(self, outcomes: Sequence[Outcome]) -> list[Receipt]:
        """What became of each outcome, in order, once all of them hold."""
        return await self.writer.write(partial(writing.add_outcomes, outcomes=outcomes, now=_now()))

    async def erase(self, lead_id: str) -> Erased:
        """What was removed of a person, once it is gone."""
        return await self.writer.write(partial(writing.erase, lead_id=lead_id, now=_now()))

    async def said(self, lead_id: str, before: int | None, limit: int) -> list[Decision]:
        """What was decided about a lead, newest first."""
        return await _read(lambda: list(reading.decisions(self.writer.log, lead_id, before, limit)))

    async def reported(self, lead_id: str) -> list[Outcome]:
        """What was reported about a lead, corrections and what they correct included."""
        return await _read(lambda: list(reading.reported(self.writer.log, lead_id)))

    async def handed_over(self, wish: Wish) -> Handover | None:
        """What is handed over on a day; None where there is nobody yet. Raises NoSuchValueError.

        Whoever asks first decides for all who ask the same: a CRM may ask twice, and the chance that a lead
        had of being handed over stays what it was.
        """
        found = await _read(lambda: handovers.find(self.writer.log, wish))
        if found is not None:
            return found
        choice = await _read(lambda: choose(handovers.candidates(self.writer.log, wish.value), wish))
        if not choice.leads:
            return None
        # Another worker may have been faster.
        with suppress(IntegrityError):
            await self.writer.write(partial(handovers.add, wish=wish, choice=choice))
        return await _read(lambda: handovers.find(self.writer.log, wish))


async def _read(question: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(question)
    except SQLAlchemyError as error:
        raise LogUnavailable from error


def _adding(made: Sequence[Made], occasion: Occasion) -> Callable[[Connection], None]:
    return partial(writing.add_decisions, rows=writing.decision_rows(made, occasion, _now()))


def _now() -> int:
    return int(time.time())
