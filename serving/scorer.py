"""Leads in, answers out: everything between the contract and the model, without a word of HTTP."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from features.cohort import SNAPSHOT_SCHEMA
from features.online import Plan
from features.parsing import MISSING
from serving.contract import MAX_NAME, Explained, Failed, Scored
from serving.problems import LeadRefused
from serving.reading import Asked, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from features.record import Value
    from models.conversion import ConversionModel
    from models.explanation import Explanation, Score

# From about here on one matrix for all leads is faster than a row each (0.1 ms a row, 15 ms a matrix of any
# size; 1,000 leads 190 against 32 ms): see tests/benchmarks/online.py.
MANY = 64

Answer = TypeVar("Answer", Scored, Explained)


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

    def score(self, leads: Sequence[object]) -> list[Scored | Failed]:
        """One answer per lead, in their order; a lead that cannot be read fails alone."""
        return self._answers(leads, self._scores)

    def explain(
        self, leads: Sequence[object], lang: str = "en", top: int | None = None
    ) -> list[Explained | Failed]:
        """Scores with their reasons, the weightiest ``top`` of them, in ``lang``."""

        def explanations(asked: Sequence[Asked]) -> Iterator[Explained]:
            for one in asked:
                row = self.row(one)
                yield _explained(self.model.explain(row, one.record.lead_id, one.as_of, lang), top)

        return self._answers(leads, explanations)

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

    def _scores(self, asked: Sequence[Asked]) -> Iterator[Scored]:
        if len(asked) < MANY:
            return (_scored(self.model.score(self.row(one), one.record.lead_id, one.as_of)) for one in asked)
        keys = [{"lead_id": one.record.lead_id, "as_of": one.as_of} for one in asked]
        rows = pl.DataFrame([key | self.row(one) for key, one in zip(keys, asked, strict=True)], self._schema)
        scores = self.model.score_rows(rows).select(*Scored.model_fields)
        return (Scored(**score) for score in scores.iter_rows(named=True))


def _name(item: object) -> str | None:
    """The lead's id if it has one, so that the CRM knows whom an error is about."""
    lead_id = item.get("lead_id") if isinstance(item, dict) else None
    return lead_id if isinstance(lead_id, str) and len(lead_id) <= MAX_NAME else None


def _scored(score: Score) -> Scored:
    return Scored(
        lead_id=score.lead_id, probability=score.probability, points=score.points, grade=score.grade
    )


def _explained(explanation: Explanation, top: int | None) -> Explained:
    score, reasons = explanation.score, explanation.reasons
    left_out = () if top is None else reasons[top:]
    return Explained(
        lead_id=score.lead_id,
        probability=score.probability,
        points=score.points,
        grade=score.grade,
        log_odds=score.log_odds,
        base=explanation.base,
        rest=fsum(reason.contribution for reason in left_out),
        reasons=reasons[:top],
    )
