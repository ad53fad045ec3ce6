"""Computes the current scores of leads of the store, by the code that answers requests for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.closings import is_closed
from features.cohort import MERGED
from models.score_parts import combine_grades
from models.uncertainty import DORMANT
from serving.current_scores.records import CurrentScore
from serving.current_scores.writing import ScoredLead
from serving.decision_log.records import NewDecision
from serving.lead_store.lead_details import describe_lead
from serving.request_parsing import LeadById
from serving.schemas import LeadFailure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from serving.lead_store.lead_details import LeadDetails
    from serving.lead_store.stored_leads import StoredLead, StoredRows
    from serving.request_parsing import ScoringRequest
    from serving.scorer import ParsedScore, Scorer


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """Some leads of one tenant as they were read from the store.

    Attributes:
        tenant: Whose they are.
        lead_ids: The leads.
        rows: All that they are read out of.
        ended: Those whose end was reported as an outcome.
        now: The moment as of which they are scored, in epoch seconds: when they were read.
    """

    tenant: str
    lead_ids: Sequence[str]
    rows: StoredRows
    ended: Collection[str]
    now: float


def rescore(scorer: Scorer, batch: StoredBatch) -> tuple[list[ScoredLead], list[tuple[str, str]]]:
    """Score leads as of when they were read.

    Args:
        scorer: The scorer of the model in charge.
        batch: The leads.

    Returns:
        The score of each, or its state where it is closed or cannot be scored; and tenant and id of those
        that the store does not have (any more).
    """
    items = [LeadById(lead_id, batch.rows) for lead_id in batch.lead_ids if batch.rows.has(lead_id)]
    gone = [(batch.tenant, lead_id) for lead_id in batch.lead_ids if not batch.rows.has(lead_id)]
    parsed = scorer.parse(items, batch.now)
    scored = [
        unscorable(batch.tenant, str(item.lead_id), scorer.model.version, request.error.code, batch.now)
        for item, request in zip(items, parsed, strict=True)
        if isinstance(request, LeadFailure)
    ]
    requests = [request for request in parsed if not isinstance(request, LeadFailure)]
    scored += _score_requests(scorer, batch, requests)
    return scored, gone


def _score_requests(
    scorer: Scorer, batch: StoredBatch, requests: Sequence[ScoringRequest]
) -> Iterator[ScoredLead]:
    """The current scores of parsed leads: numbers only of those that are open."""
    card = scorer.model.card
    closed, reopen = {*card.closed_stages, MERGED}, card.reopen_stages
    open_leads: list[tuple[ScoringRequest, LeadDetails]] = []
    for request in requests:
        stored = batch.rows.lead(request.record.lead_id, request.as_of)
        if stored is None:
            continue
        details = describe_lead(stored, request.as_of)
        if stored.lead_id in batch.ended or _is_closed(stored, request.as_of, closed, reopen):
            yield ScoredLead(_current(batch, request, details, scorer.model.version))
        else:
            open_leads.append((request, details))
    results = scorer.score_parsed([request for request, _ in open_leads])
    for (request, details), result in zip(open_leads, results, strict=True):
        current = _current(batch, request, details, scorer.model.version, result)
        yield ScoredLead(current, NewDecision(result.score, result.row))


def _is_closed(stored: StoredLead, as_of: int, closed: Collection[str], reopen: Collection[str]) -> bool:
    return is_closed(stored.events["transition"], as_of, closed, reopen)


def _current(
    batch: StoredBatch,
    request: ScoringRequest,
    details: LeadDetails,
    version: str,
    result: ParsedScore | None = None,
) -> CurrentScore:
    """The current score of a lead; without a result it is closed."""
    known: dict[str, Any] = {name: getattr(details, name) for name in _DETAILS}
    known |= {"as_of": request.as_of, "scored_at": int(batch.now), "changed_at": request.as_of}
    if result is None:
        return CurrentScore(request.record.lead_id, batch.tenant, version, state="closed", **known)
    score, why = result.score, result.score.insufficient
    is_withheld = why is not None and why.withheld
    parts = {} if is_withheld else {part.part: part.percentile for part in result.parts}
    return CurrentScore(
        request.record.lead_id,
        batch.tenant,
        version,
        state="dormant" if why is not None and why.code == DORMANT else "open",
        probability=None if is_withheld else score.probability,
        points=None if is_withheld else score.points,
        grade=None if is_withheld else score.grade,
        interval_low=None if score.interval is None else score.interval.low,
        interval_high=None if score.interval is None else score.interval.high,
        insufficient=None if why is None else why.code,
        fit=parts.get("fit"),
        engagement=parts.get("engagement"),
        combined_grade=None if is_withheld else combine_grades(result.parts),
        **known,
    )


_DETAILS = (
    *("name", "account_id", "owner", "channel", "stage"),
    *("created_at", "last_activity_at", "attributes"),
)


def unscorable(tenant: str, lead_id: str, version: str, code: str, at: float) -> ScoredLead:
    """The current score of a lead that cannot be scored, and the code why."""
    now = int(at)
    score = CurrentScore(
        lead_id, tenant, version, now, now, now, state="unscorable", name=lead_id, problem=code
    )
    return ScoredLead(score)
