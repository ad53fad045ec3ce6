"""Leads in, answers out: everything between the contract and the model, without a word of HTTP."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from features.cohort import SNAPSHOT_SCHEMA
from features.online import OnlineFeatures
from features.parsing import MISSING
from models.explanation import explain_change, top_reasons
from serving.decision_log.records import NewDecision
from serving.problems import InvalidLead
from serving.request_parsing import LeadParser, ScoringRequest
from serving.schemas import MAX_NAME, ExplainResult, LeadFailure, ScoreResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from features.record import Value
    from models.conversion import ConversionModel
    from models.explanation import Explanation, Reason, Score, ScoreChange

    Note = Callable[[NewDecision], object]

# From about here on one matrix for all leads is faster than a row each (0.1 ms a row, 15 ms a matrix of any
# size; 1,000 leads 190 against 32 ms): see tests/benchmarks/online.py.
MANY = 64

Answer = TypeVar("Answer", ScoreResult, ExplainResult)


def _forget(_: NewDecision) -> None:
    """Nobody keeps a record."""


class Scorer:
    """Scores and explains leads with one model. Safe to share between threads: nothing in it changes.

    Features are always folded lead by lead. The batch engine gives the same bits, but events that arrive as
    JSON would first have to become frames, which costs more than folding them, at any size of request.
    """

    def __init__(self, model: ConversionModel) -> None:
        self.model = model
        self._read = LeadParser(model.features, model.card.ignored, model.card.missing or MISSING)
        self._plan = OnlineFeatures(model.features)
        types = {spec.name: pl.String if spec.is_category else pl.Float64 for spec in model.features.specs}
        self._schema: dict[str, Any] = SNAPSHOT_SCHEMA | types

    def score(self, leads: Sequence[object], note: Note = _forget) -> list[ScoreResult | LeadFailure]:
        """One answer per lead, in their order; a lead that cannot be read fails alone.

        ``note`` is told of each decision, in order, with all it takes to make it once more.
        """

        def scores(asked: Sequence[ScoringRequest]) -> Iterator[ScoreResult]:
            for one, (score, row) in zip(asked, self._scores(asked), strict=True):
                note(NewDecision(score, row))
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
    ) -> list[ExplainResult | LeadFailure]:
        """Scores with their reasons in ``lang``: the weightiest ``top``, or ``top_each`` for and against."""

        def explanations(asked: Sequence[ScoringRequest]) -> Iterator[ExplainResult]:
            for one in asked:
                row = self.feature_row(one)
                explanation = self.model.explain(row, one.record.lead_id, one.as_of, lang)
                told = top_reasons(explanation.reasons, top, top_each)
                note(NewDecision(explanation.score, row, told))
                yield _explained(explanation, told, one, self._change(explanation, one, lang))

        return self._answers(leads, explanations)

    def _change(self, now: Explanation, asked: ScoringRequest, lang: str) -> ScoreChange | None:
        """What has changed since the earlier moment that is asked about, by what was known of it then."""
        if asked.since is None:
            return None
        row = self._plan(asked.record, asked.since)
        return explain_change(now, self.model.explain(row, asked.record.lead_id, asked.since, lang))

    def feature_row(self, asked: ScoringRequest) -> dict[str, Value]:
        """The feature row of a lead."""
        return self._plan(asked.record, asked.as_of)

    def _answers(
        self, leads: Sequence[object], answer: Callable[[Sequence[ScoringRequest]], Iterator[Answer]]
    ) -> list[Answer | LeadFailure]:
        read = [self._attempt(item) for item in leads]
        answers = answer([one for one in read if isinstance(one, ScoringRequest)])
        return [next(answers) if isinstance(one, ScoringRequest) else one for one in read]

    def _attempt(self, item: object) -> ScoringRequest | LeadFailure:
        try:
            return self._read(item)
        except InvalidLead as refused:
            return LeadFailure(lead_id=_name(item), error=refused.error)

    def _scores(self, asked: Sequence[ScoringRequest]) -> Iterator[tuple[Score, Mapping[str, Value]]]:
        """Each lead's score, with the row it was made from."""
        rows = [self.feature_row(one) for one in asked]
        if len(asked) < MANY:
            for one, row in zip(asked, rows, strict=True):
                yield self.model.score(row, one.record.lead_id, one.as_of), row
            return
        keys = [{"lead_id": one.record.lead_id, "as_of": one.as_of} for one in asked]
        frame = pl.DataFrame([key | row for key, row in zip(keys, rows, strict=True)], self._schema)
        yield from zip(self.model.score_many(frame), rows, strict=True)


def _name(item: object) -> str | None:
    """The lead's id if it has one, so that the CRM knows whom an error is about."""
    lead_id = item.get("lead_id") if isinstance(item, dict) else None
    return lead_id if isinstance(lead_id, str) and len(lead_id) <= MAX_NAME else None


def _scored(score: Score, asked: ScoringRequest) -> ScoreResult:
    return ScoreResult(**_told(score, asked))


def _told(score: Score, asked: ScoringRequest) -> dict[str, Any]:
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
    explanation: Explanation, told: tuple[Reason, ...], asked: ScoringRequest, changed: ScoreChange | None
) -> ExplainResult:
    names = {reason.feature for reason in told}
    left_out = (reason for reason in explanation.reasons if reason.feature not in names)
    return ExplainResult(
        **_told(explanation.score, asked),
        log_odds=explanation.score.log_odds,
        base=explanation.base,
        rest=fsum(reason.contribution for reason in left_out),
        reasons=told,
        families=explanation.families,
        change=changed,
    )
