"""Computes the current scores of leads of the store.

A few leads are scored by the code that answers requests for them, many by the engine that scores files, which
costs less than half: the features of both are equal to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from features.batch import compute_features
from features.closings import is_closed
from features.cohort import MERGED, CohortRule, Snapshots, open_lead_snapshots
from features.history import ATTRIBUTE_SCHEMA, LEAD_KNOWN_AT, LEAD_SCHEMA, LeadHistory
from models.score_parts import combine_grades
from models.uncertainty import DORMANT
from serving.current_scores.records import CurrentScore
from serving.current_scores.writing import ScoredLead
from serving.decision_log.records import NewDecision
from serving.lead_store.lead_details import LeadActivity, describe_lead
from serving.lead_store.stored_tables import last_activities
from serving.request_parsing import LeadById
from serving.schemas import LeadFailure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from features.record import Value
    from models.explanation import Score, ScorePart
    from serving.lead_store.lead_details import LeadDetails
    from serving.lead_store.stored_leads import StoredLead, StoredRows
    from serving.lead_store.stored_tables import StoredTables
    from serving.request_parsing import ScoringRequest
    from serving.scorer import Scorer


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


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Many leads of one tenant as they were read from the store, all of which exist at ``as_of``.

    Attributes:
        tenant: Whose they are.
        leads: The leads by their ids, without their events.
        tables: What they are read out of, with their colleagues.
        ended: Those whose end was reported as an outcome.
        now: The moment as of which they are scored, in epoch seconds: when they were read.
    """

    tenant: str
    leads: Mapping[str, StoredLead]
    tables: StoredTables
    ended: Collection[str]
    now: float

    @property
    def as_of(self) -> int:
        """The second after now: what is known by now counts."""
        return int(self.now) + 1


def rescore_together(scorer: Scorer, batch: TableBatch) -> list[ScoredLead]:
    """Score many leads as of when they were read, by the engine that scores files.

    Args:
        scorer: The scorer of the model in charge.
        batch: The leads.

    Returns:
        What ``rescore`` says of each, to the bit.
    """
    card, as_of = scorer.model.card, batch.as_of
    history = _history(scorer, batch)
    rule = CohortRule(closed=(*card.closed_stages, MERGED), reopen=card.reopen_stages)
    snapshots = open_lead_snapshots(history, rule).frame
    due = batch.leads.keys() - set(batch.ended)
    is_due = snapshots["lead_id"].cast(pl.String).is_in(sorted(due))
    rows: pl.DataFrame = compute_features(
        scorer.model.features, history, Snapshots(snapshots.filter(is_due))
    ).collect()
    rows = rows.with_columns(pl.col("lead_id").cast(pl.String))
    names = scorer.model.features.names
    scores = {
        score.lead_id: (score, parts, features)
        for (score, parts), features in zip(
            scorer.score_features(rows), rows.select(names).iter_rows(), strict=True
        )
    }
    activities = last_activities(history.touchpoints, history.transitions, as_of)
    scored: list[ScoredLead] = []
    moments = _Moments(batch.tenant, as_of, int(batch.now), scorer.model.version)
    for lead_id, stored in batch.leads.items():
        details = describe_lead(stored, as_of, activities.get(lead_id, _SILENT))
        if lead_id not in scores:
            scored.append(ScoredLead(_current(moments, lead_id, details)))
            continue
        score, parts, features = scores[lead_id]
        current = _current(moments, lead_id, details, score, parts)
        scored.append(ScoredLead(current, partial(_decide, score, names, features)))
    return scored


_SILENT = LeadActivity()


def _decide(score: Score, names: Sequence[str], features: tuple[Value, ...]) -> NewDecision:
    return NewDecision(score, dict(zip(names, features, strict=True)))


def _history(scorer: Scorer, batch: TableBatch) -> LeadHistory:
    """The leads and their colleagues as the engine reads them: values and changes of those to score alone."""
    values: dict[str, Mapping[str, Value]] = {}
    changes: list[tuple[Any, ...]] = []
    for lead_id, stored in batch.leads.items():
        values[lead_id], own = scorer.read_attributes(stored)
        changes += ((lead_id, *map(change.get, _CHANGE)) for change in own)
    columns: dict[str, Any] = {
        spec.of: pl.String if spec.is_category else pl.Float64
        for spec in scorer.model.features.folds
        if spec.source == "leads" and spec.of
    }
    none: Mapping[str, Value] = {}
    rows = (
        (each.lead_id, each.created_at, each.account_id, each.known_at, *map(own.get, columns))
        for each in batch.tables.members(batch.as_of, batch.leads)
        for own in [values.get(each.lead_id, none)]
    )
    leads = _frame(rows, {**LEAD_SCHEMA, LEAD_KNOWN_AT: pl.Int64, **columns})
    ids = pl.Enum(leads["lead_id"])
    history = LeadHistory(
        leads,
        batch.tables.events_at("touchpoint", batch.as_of),
        batch.tables.events_at("transition", batch.as_of),
        batch.as_of,
        _frame(changes, ATTRIBUTE_SCHEMA),
    )
    # Joins and groups by an Enum cost half as much; who is no lead (yet) has events without a lead.
    return history.map_frames(lambda frame: frame.with_columns(pl.col("^lead_id$").cast(ids, strict=False)))


_CHANGE = tuple(name for name in ATTRIBUTE_SCHEMA if name != "lead_id")


def _frame(rows: Iterable[tuple[Any, ...]], schema: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema, orient="row")


def _score_requests(
    scorer: Scorer, batch: StoredBatch, requests: Sequence[ScoringRequest]
) -> Iterator[ScoredLead]:
    """The current scores of parsed leads: numbers only of those that are open."""
    card = scorer.model.card
    closed, reopen = {*card.closed_stages, MERGED}, card.reopen_stages
    open_leads: list[tuple[ScoringRequest, LeadDetails]] = []

    def moments(request: ScoringRequest) -> _Moments:
        return _Moments(batch.tenant, request.as_of, int(batch.now), scorer.model.version)

    for request in requests:
        stored = batch.rows.lead(request.record.lead_id, request.as_of)
        if stored is None:
            continue
        details = describe_lead(stored, request.as_of)
        if stored.lead_id in batch.ended or _is_closed(stored, request.as_of, closed, reopen):
            yield ScoredLead(_current(moments(request), stored.lead_id, details))
        else:
            open_leads.append((request, details))
    results = scorer.score_parsed([request for request, _ in open_leads])
    for (request, details), result in zip(open_leads, results, strict=True):
        current = _current(moments(request), result.score.lead_id, details, result.score, result.parts)
        yield ScoredLead(current, partial(NewDecision, result.score, result.row))


def _is_closed(stored: StoredLead, as_of: int, closed: Collection[str], reopen: Collection[str]) -> bool:
    return is_closed(stored.events["transition"], as_of, closed, reopen)


@dataclass(frozen=True, slots=True)
class _Moments:
    """Whose lead is scored as of when, by which version of the model."""

    tenant: str
    as_of: int
    scored_at: int
    version: str


def _current(
    moments: _Moments,
    lead_id: str,
    details: LeadDetails,
    score: Score | None = None,
    parts: Sequence[ScorePart] = (),
) -> CurrentScore:
    """The current score of a lead; without a score it is closed."""
    known: dict[str, Any] = {
        "as_of": moments.as_of,
        "scored_at": moments.scored_at,
        "changed_at": moments.as_of,
        "name": details.name,
        "account_id": details.account_id,
        "owner": details.owner,
        "channel": details.channel,
        "stage": details.stage,
        "created_at": details.created_at,
        "last_activity_at": details.last_activity_at,
        "attributes": details.attributes,
    }
    if score is None:
        return CurrentScore(lead_id, moments.tenant, moments.version, state="closed", **known)
    why = score.insufficient
    is_withheld = why is not None and why.withheld
    percentiles = {} if is_withheld else {part.part: part.percentile for part in parts}
    return CurrentScore(
        lead_id,
        moments.tenant,
        moments.version,
        state="dormant" if why is not None and why.code == DORMANT else "open",
        probability=None if is_withheld else score.probability,
        points=None if is_withheld else score.points,
        grade=None if is_withheld else score.grade,
        interval_low=None if score.interval is None else score.interval.low,
        interval_high=None if score.interval is None else score.interval.high,
        insufficient=None if why is None else why.code,
        fit=percentiles.get("fit"),
        engagement=percentiles.get("engagement"),
        combined_grade=None if is_withheld else combine_grades(parts),
        **known,
    )


def unscorable(tenant: str, lead_id: str, version: str, code: str, at: float) -> ScoredLead:
    """The current score of a lead that cannot be scored, and the code why."""
    now = int(at)
    score = CurrentScore(
        lead_id, tenant, version, now, now, now, state="unscorable", name=lead_id, problem=code
    )
    return ScoredLead(score)
