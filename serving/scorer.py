"""Scores and explains leads of requests, independent of HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import fsum
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from features.cohort import SNAPSHOT_SCHEMA
from features.messages import translate
from features.online import OnlineFeatures
from features.parsing import MISSING
from models.explanation import explain_change, top_reasons
from models.score_parts import combine_grades
from models.uncertainty import InsufficientEvidence
from serving.body_splitter import OversizedItem
from serving.decision_log.records import NewDecision
from serving.problems import InvalidLead
from serving.request_parsing import COLLEAGUES, LeadById, LeadParser, ScoringRequest
from serving.schemas import MAX_NAME, ExplainResult, LeadFailure, ScoreResult, TrendPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from features.record import Value
    from models.conversion import ConversionModel
    from models.explanation import Explanation, Reason, Score, ScoreChange, ScorePart
    from serving.lead_store.stored_leads import StoredLead

    Note = Callable[[NewDecision], object]

# From about here on one matrix for all leads is faster than a row each (0.1 ms a row, 15 ms a matrix of any
# size; 1,000 leads 190 against 32 ms): see tests/benchmarks/online.py.
MANY = 64

# Reasons of one answer: some 300 bytes each, and 20 microseconds to find and write them.
MAX_REASONS = 50_000

Answer = TypeVar("Answer", ScoreResult, ExplainResult)


class TooManyReasons(ValueError):  # noqa: N818  # the request is refused, the scorer is not in error
    """An answer of too many reasons; of so many leads, ``most_leads``, it would not be one."""

    def __init__(self, most_leads: int) -> None:
        super().__init__(f"an answer has at most {MAX_REASONS:,} reasons")
        self.most_leads = most_leads


@dataclass(frozen=True, slots=True)
class ParsedScore:
    """The score of a parsed lead, with the features that it was computed from, and its parts."""

    score: Score
    row: Mapping[str, Value]
    parts: tuple[ScorePart, ...]


def _discard(_: NewDecision) -> None:
    """The default ``note``: decisions are not recorded."""


class Scorer:
    """Scores and explains leads with one model; immutable, so threads can share it.

    Args:
        model: The model.

    Features are always folded lead by lead. The batch engine gives the same bits, but events that arrive as
    JSON would first have to become frames, which costs more than folding them, at any size of request.
    """

    def __init__(self, model: ConversionModel) -> None:
        self.model = model
        card = model.card
        self._read = LeadParser(model.features, card.ignored, card.missing or MISSING, card.marks)
        self._plan = OnlineFeatures(model.features)
        self._counts_colleagues = any(spec.source in COLLEAGUES for spec in model.features.specs)
        types = {spec.name: pl.String if spec.is_category else pl.Float64 for spec in model.features.specs}
        self._schema: dict[str, Any] = SNAPSHOT_SCHEMA | types

    def score(
        self,
        leads: Sequence[object],
        note: Note = _discard,
        *,
        now: float | None = None,
        with_parts: bool = False,
    ) -> list[ScoreResult | LeadFailure]:
        """Score leads.

        Args:
            leads: JSON objects as requests hold them.
            note: Called with each decision, in order, with what it takes to replay it.
            now: The moment, in epoch seconds, for leads without ``as_of``. Default: by the clock.
            with_parts: Whether to split each score into fit and engagement, for some 0.1 ms.

        Returns:
            One result per lead, in their order; a lead that is not valid fails alone.
        """

        def scores(requests: Sequence[ScoringRequest]) -> Iterator[ScoreResult]:
            # All are scored before the first is noted.
            scored = [*self._scores(requests, with_parts=with_parts)]
            for request, (plain, parts, row) in zip(requests, scored, strict=True):
                score = self._with_account_doubt(plain, request)
                note(NewDecision(score, row))
                yield ScoreResult(**_score_fields(score, request, parts))

        return self._answers(leads, scores, now)

    def explain(  # noqa: PLR0913  # the options of a request
        self,
        leads: Sequence[object],
        lang: str = "en",
        top: int | None = None,
        note: Note = _discard,
        *,
        top_each: int | None = None,
        now: float | None = None,
    ) -> list[ExplainResult | LeadFailure]:
        """Score leads with the reasons.

        Args:
            leads: JSON objects as requests hold them.
            lang: The language of the reasons.
            top: How many reasons, the weightiest first. Default: all.
            note: Called with each decision, in order.
            top_each: How many reasons for and as many against, within ``top``.
            now: The moment, in epoch seconds, for leads without ``as_of``. Default: by the clock.

        Returns:
            One result per lead, in their order; a lead that is not valid fails alone.

        Raises:
            TooManyReasons: The answer would have more than ``MAX_REASONS`` reasons.
        """

        def explanations(requests: Sequence[ScoringRequest]) -> Iterator[ExplainResult]:
            self._limit_reasons(requests, top, top_each)
            for request in requests:
                row = self.feature_row(request)
                # A change since an earlier time is told of all features.
                limits = {"top": top, "top_each": top_each} if request.since is None else {}
                plain = self.model.explain(row, request.record.lead_id, request.as_of, lang, **limits)
                explanation = replace(plain, score=self._with_account_doubt(plain.score, request, lang))
                reasons = top_reasons(explanation.reasons, top, top_each)
                note(NewDecision(explanation.score, row, reasons))
                yield _explain_result(explanation, reasons, request, self._change(explanation, request, lang))

        return self._answers(leads, explanations, now)

    def _limit_reasons(
        self, requests: Sequence[ScoringRequest], top: int | None, top_each: int | None
    ) -> None:
        features = len(self.model.features)
        each = min(features, top or features, 2 * top_each if top_each else features)
        # What has changed of a lead is told whole, whatever ``top`` is.
        compared = sum(request.since is not None for request in requests)
        if each * len(requests) + features * compared > MAX_REASONS:
            raise TooManyReasons(MAX_REASONS // (each + (features if compared else 0)))

    def _change(self, current: Explanation, request: ScoringRequest, lang: str) -> ScoreChange | None:
        """The change since ``request.since``, from what was known then; None where the request names none."""
        if request.since is None:
            return None
        row = self._plan((request.earlier or request).record, request.since)
        return explain_change(current, self.model.explain(row, request.record.lead_id, request.since, lang))

    def parse(self, items: Sequence[LeadById], now: float) -> list[ScoringRequest | LeadFailure]:
        """Read leads of the store, to be scored together.

        Args:
            items: The leads, with what the store has of them.
            now: The moment as of which those without ``as_of`` are scored, in epoch seconds.

        Returns:
            Each as a parsed lead, or why it cannot be scored, in their order.
        """
        read = self._read.for_one_request(now)
        return [self._parse_or_fail(item, read) for item in items]

    def score_parsed(self, requests: Sequence[ScoringRequest]) -> list[ParsedScore]:
        """Score parsed leads, as ``score`` does.

        Args:
            requests: The leads.

        Returns:
            The score of each with its parts and the features that it was computed from, in their order.
        """
        scored = self._scores(requests, with_parts=True)
        return [ParsedScore(score, row, parts) for score, parts, row in scored]

    def score_features(self, rows: pl.DataFrame) -> Iterator[tuple[Score, tuple[ScorePart, ...]]]:
        """Score leads by their features, as ``score_parsed`` does.

        Args:
            rows: n rows of ``lead_id``, ``as_of`` and the model's features.

        Returns:
            The score of each with its parts, in their order.
        """
        if rows.is_empty():
            return iter(())
        return iter(self.model.score_many_with_parts(rows))

    def read_attributes(self, stored: StoredLead) -> tuple[dict[str, Value], list[dict[str, Any]]]:
        """The attributes of a stored lead as the model reads them, see ``LeadParser.read_attributes``."""
        return self._read.read_attributes(stored)

    def trend(self, item: LeadById, moments: Sequence[int]) -> list[TrendPoint]:
        """Score a lead of the store as it was known at several moments.

        Args:
            item: The lead, with what the store has of it.
            moments: Epoch seconds.

        Returns:
            The scores in the order of ``moments``, without those at which the lead did not exist yet.
        """
        requests = [self._read.earlier(item, as_of) for as_of in moments]
        return [
            TrendPoint(
                as_of=request.as_of,
                **{name: fields[name] for name in ("probability", "points", "grade")},
            )
            for request in requests
            if request is not None
            for score in [self.model.score(self.feature_row(request), request.record.lead_id, request.as_of)]
            for fields in [_score_fields(score, request, ())]
        ]

    def feature_row(self, request: ScoringRequest) -> dict[str, Value]:
        """The features of a parsed lead by name."""
        return self._plan(request.record, request.as_of)

    def _with_account_doubt(self, score: Score, request: ScoringRequest, lang: str = "en") -> Score:
        """The score; not to be relied on where colleagues count and the request does not tell of them."""
        if request.has_account or not self._counts_colleagues or score.insufficient is not None:
            return score
        message = translate("insufficient.no_account", lang)
        return replace(score, insufficient=InsufficientEvidence("no_account", None, message))

    def _answers(
        self,
        leads: Sequence[object],
        answer: Callable[[Sequence[ScoringRequest]], Iterator[Answer]],
        now: float | None,
    ) -> list[Answer | LeadFailure]:
        read = self._read.for_one_request(time.time() if now is None else now)
        entries = [self._parse_or_fail(item, read) for item in leads]
        answers = answer([entry for entry in entries if isinstance(entry, ScoringRequest)])
        return [next(answers) if isinstance(entry, ScoringRequest) else entry for entry in entries]

    def _parse_or_fail(self, item: object, read: LeadParser | None = None) -> ScoringRequest | LeadFailure:
        try:
            return (read or self._read)(item)
        except InvalidLead as refused:
            return LeadFailure(lead_id=_lead_id_or_none(item), error=refused.error)

    def _scores(
        self, requests: Sequence[ScoringRequest], *, with_parts: bool
    ) -> Iterator[tuple[Score, tuple[ScorePart, ...], Mapping[str, Value]]]:
        """Each lead's score with its parts, if they are wanted, and its feature row."""
        rows = [self.feature_row(request) for request in requests]
        if len(requests) < MANY:
            for request, row in zip(requests, rows, strict=True):
                lead_id, as_of = request.record.lead_id, request.as_of
                if with_parts:
                    yield *self.model.score_with_parts(row, lead_id, as_of), row
                else:
                    yield self.model.score(row, lead_id, as_of), (), row
            return
        keys = [{"lead_id": request.record.lead_id, "as_of": request.as_of} for request in requests]
        frame = pl.DataFrame([key | row for key, row in zip(keys, rows, strict=True)], self._schema)
        if with_parts:
            scored = self.model.score_many_with_parts(frame)
        else:
            scored = [(score, ()) for score in self.model.score_many(frame)]
        for (score, parts), row in zip(scored, rows, strict=True):
            yield score, parts, row


def _lead_id_or_none(item: object) -> str | None:
    """The lead's id if it is text of a valid length, so that an error names its lead."""
    if isinstance(item, LeadById):
        lead_id = item.lead_id
    else:
        fields = item.beginning if isinstance(item, OversizedItem) else item
        lead_id = fields.get("lead_id") if isinstance(fields, dict) else None
    return lead_id if isinstance(lead_id, str) and len(lead_id) <= MAX_NAME else None


def _score_fields(score: Score, request: ScoringRequest, parts: tuple[ScorePart, ...]) -> dict[str, Any]:
    """The fields that scores and explanations share."""
    why = score.insufficient
    withheld = why is not None and why.withheld
    visible = {} if withheld else {part.part: part for part in parts}
    return {
        "lead_id": score.lead_id,
        "probability": None if withheld else score.probability,
        "points": None if withheld else score.points,
        "grade": None if withheld else score.grade,
        "interval": score.interval,
        "sufficient": why is None,
        "insufficient": why,
        "fit": visible.get("fit"),
        "engagement": visible.get("engagement"),
        "combined_grade": combine_grades(tuple(visible.values())),
        "as_of": request.as_of,
        "known_until": request.known_until,
    }


def _explain_result(
    explanation: Explanation, reasons: tuple[Reason, ...], request: ScoringRequest, change: ScoreChange | None
) -> ExplainResult:
    names = {reason.feature for reason in reasons}
    left_out = [reason.contribution for reason in explanation.reasons if reason.feature not in names]
    return ExplainResult(
        **_score_fields(explanation.score, request, explanation.parts),
        log_odds=explanation.score.log_odds,
        base=explanation.base,
        rest=fsum([*left_out, *(contribution for _, contribution in explanation.rest)]),
        reasons=reasons,
        families=explanation.families,
        change=change,
    )
