"""Leads in, answers out: everything between the contract and the model, without a word of HTTP."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from features.cohort import SNAPSHOT_SCHEMA
from features.online import Plan
from features.reading.parsing import MISSING
from models.explanation import change, weightiest
from serving.contract import MAX_NAME, Explained, Failed, Scored
from serving.log.records import Made
from serving.problems import LeadRefused
from serving.reading import Asked, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from features.record import Value
    from models.conversion import ConversionModel
    from models.explanation import Change, Explanation, Reason, Score

    Note = Callable[[Made], object]

# From about here on one matrix for all leads is faster than a row each (0.1 ms a row, 15 ms a matrix of any
# size; 1,000 leads 190 against 32 ms): see tests/benchmarks/online.py.
MANY = 64

Answer = TypeVar("Answer", Scored, Explained)


def _forget(_: Made) -> None:
    """Nobody keeps a record."""


class Scorer:
    """Scores and explains leads with one model. Safe to share between threads: nothing in it changes.

    Features are always folded lead by lead. The batch engine gives the same bits, but events that arrive as
    JSON would first have to become frames, which costs more than folding them, at any size of request.
    """

    def __init__(self, model: ConversionModel) -> None:
        self.model = model
        self._read = Reader(model.features, model.card.ignored, model.card.missing or MISSING)
        self._plan = Plan(model.features)
        types = {spec.name: pl.String if spec.is_category else pl.Float64 for spec in model.features.specs}
        self._schema: dict[str, Any] = SNAPSHOT_SCHEMA | types

    def score(self, leads: Sequence[object], note: Note = _forget) -> list[Scored | Failed]:
        """One answer per lead, in their order; a lead that cannot be read fails alone.

        ``note`` is told of each decision, in order, with all it takes to make it once more.
        """

        def scores(asked: Sequence[Asked]) -> Iterator[Scored]:
            for one, (score, row) in zip(asked, self._scores(asked), strict=True):
                note(Made(score, row))
                yield _scored(score, one)

        return self._answers(leads, scores)

    def explain(
        self,
        leads: Sequence[object],
        lang: str = "en",
        top: int | None = None,
        note: Note = _forget,
        *,
        top_each: int | None = None,
    ) -> list[Explained | Failed]:
        """Scores with their reasons in ``lang``: the weightiest ``top``, or ``top_each`` for and against."""

        def explanations(asked: Sequence[Asked]) -> Iterator[Explained]:
            for one in asked:
                row = self.row(one)
                explanation = self.model.explain(row, one.record.lead_id, one.as_of, lang)
                told = weightiest(explanation.reasons, top, top_each)
                note(Made(explanation.score, row, told))
                yield _explained(explanation, told, one, self._change(explanation, one, lang))

        return self._answers(leads, explanations)

    def _change(self, now: Explanation, asked: Asked, lang: str) -> Change | None:
        """What has changed since the earlier moment that is asked about, by what was known of it then."""
        if asked.since is None:
            return None
        row = self._plan(asked.record, asked.since)
        return change(now, self.model.explain(row, asked.record.lead_id, asked.since, lang))

    def row(self, asked: Asked) -> dict[str, Value]:
        """The feature row of a lead."""
        return self._plan(asked.record, asked.as_of)

    def _answers(
        self, leads: Sequence[object], answer: Callable[[Sequence[Asked]], Iterator[Answer]]
    ) -> list[Answer | Failed]:
        read = [self._attempt(item) for item in leads]
        answers = answer([one for one in read if isinstance(one, Asked)])
        return [next(answers) if isinstance(one, Asked) else one for one in read]

    def _attempt(self, item: object) -> Asked | Failed:
        try:
            return self._read(item)
        except LeadRefused as refused:
            return Failed(lead_id=_name(item), error=refused.error)

    def _scores(self, asked: Sequence[Asked]) -> Iterator[tuple[Score, Mapping[str, Value]]]:
        """Each lead's score, with the row it was made from."""
        rows = [self.row(one) for one in asked]
        if len(asked) < MANY:
            for one, row in zip(asked, rows, strict=True):
                yield self.model.score(row, one.record.lead_id, one.as_of), row
            return
        keys = [{"lead_id": one.record.lead_id, "as_of": one.as_of} for one in asked]
        frame = pl.DataFrame([key | row for key, row in zip(keys, rows, strict=True)], self._schema)
        yield from zip(self.model.score_all(frame), rows, strict=True)


def _name(item: object) -> str | None:
    """The lead's id if it has one, so that the CRM knows whom an error is about."""
    lead_id = item.get("lead_id") if isinstance(item, dict) else None
    return lead_id if isinstance(lead_id, str) and len(lead_id) <= MAX_NAME else None


def _scored(score: Score, asked: Asked) -> Scored:
    return Scored(**_told(score, asked))


def _told(score: Score, asked: Asked) -> dict[str, Any]:
    """The fields that every answer has."""
    why = score.insufficient
    withheld = why is not None and why.withheld
    return {
        "lead_id": score.lead_id,
        "probability": None if withheld else score.probability,
        "points": None if withheld else score.points,
        "grade": None if withheld else score.grade,
        "interval": score.interval,
        "sufficient": why is None,
        "insufficient": why,
        "as_of": asked.as_of,
        "known_until": asked.known_until,
    }


def _explained(
    explanation: Explanation, told: tuple[Reason, ...], asked: Asked, changed: Change | None
) -> Explained:
    names = {reason.feature for reason in told}
    left_out = (reason for reason in explanation.reasons if reason.feature not in names)
    return Explained(
        **_told(explanation.score, asked),
        log_odds=explanation.score.log_odds,
        base=explanation.base,
        rest=fsum(reason.contribution for reason in left_out),
        reasons=told,
        families=explanation.families,
        change=changed,
    )
