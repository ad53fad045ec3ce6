"""Hand-overs in the decision log: the request of a day, and the leads that were selected for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from features.suggestions import suggest
from serving.decision_log.queries import decisions_of_handover, open_leads, open_rows
from serving.decision_log.tables import HANDED_OVER, HANDOVERS
from serving.handover_selection import HandoverCandidate, NoSuchValueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from features.record import Value
    from serving.decision_log.records import DecisionSummary
    from serving.handover_selection import HandoverRequest, Selection


@dataclass(frozen=True, slots=True)
class HandoverLead:
    """A lead that was handed over, with the decision that it was ranked by."""

    rank: int
    decision: DecisionSummary
    worth: float
    value: float | None
    explored: bool
    propensity: float


@dataclass(frozen=True, slots=True)
class Handover:
    """A hand-over as it was logged; the counts are those of ``serving.handover_selection.Selection``."""

    request: HandoverRequest
    open: int
    tied: int
    tied_taken: int
    leads: tuple[HandoverLead, ...] = ()


def open_candidates(log: Engine, value: str) -> list[HandoverCandidate]:
    """The open leads that were scored, with what they are ranked by.

    Args:
        log: An open log.
        value: The feature with what a lead is worth; "" ranks by probability alone. A lead without a value
            counts with the median of the others.

    Returns:
        One candidate per open lead whose number was not withheld.

    Raises:
        NoSuchValueError: No open lead has a number in ``value``.
    """
    decisions = [decision for decision in open_leads(log) if not decision.withheld]
    if not value or not decisions:
        return [
            HandoverCandidate(decision.lead_id, decision.id, decision.probability) for decision in decisions
        ]
    worth = _lead_values(dict(open_rows(log)), value)
    typical_value = median(worth.values())
    return [
        HandoverCandidate(
            decision.lead_id,
            decision.id,
            decision.probability * worth.get(decision.id, typical_value),
            worth.get(decision.id),
        )
        for decision in decisions
    ]


def _lead_values(rows: Mapping[int, Mapping[str, Value]], name: str) -> dict[int, float]:
    values = {number: row.get(name) for number, row in rows.items()}
    known = {number: float(value) for number, value in values.items() if isinstance(value, int | float)}
    if not known:
        names = {n for row in rows.values() for n, value in row.items() if isinstance(value, int | float)}
        msg = f"no open lead has a number in {name[:40]!r}{suggest(name, names)}"
        raise NoSuchValueError(msg)
    return known


def find_handover(log: Engine, request: HandoverRequest) -> Handover | None:
    """The logged hand-over of a request, without leads that were erased since; None where there is none."""
    conditions = [HANDOVERS.c[name] == value for name, value in asdict(request).items()]
    with log.connect() as connection:
        head = connection.execute(select(HANDOVERS).where(*conditions)).mappings().one_or_none()
        if head is None:
            return None
        query = select(HANDED_OVER).where(HANDED_OVER.c.handover_id == head["id"])
        rows = connection.execute(query.order_by(HANDED_OVER.c.rank)).mappings().all()
    decisions = decisions_of_handover(log, head["id"])
    leads = tuple(
        _handover_lead(row, decisions[row["decision_id"]]) for row in rows if row["decision_id"] in decisions
    )
    return Handover(request, head["open"], head["tied"], head["tied_taken"], leads)


def _handover_lead(row: Mapping[Any, Any], decision: DecisionSummary) -> HandoverLead:
    return HandoverLead(
        row["rank"], decision, row["worth"], row["value"], bool(row["explored"]), row["propensity"]
    )


def add_handover(connection: Connection, request: HandoverRequest, selection: Selection) -> None:
    """Log a selection. Raises IntegrityError where another process has logged one for the same request."""
    head = asdict(request) | {
        "open": selection.open,
        "tied": selection.tied,
        "tied_taken": selection.tied_taken,
    }
    number = connection.execute(insert(HANDOVERS).returning(HANDOVERS.c.id), [head]).scalar_one()
    connection.execute(insert(HANDED_OVER), _lead_rows(number, selection))


def _lead_rows(number: int, selection: Selection) -> Sequence[dict[str, Any]]:
    return [
        {
            "handover_id": number,
            "rank": rank,
            "lead_id": lead.candidate.lead_id,
            "decision_id": lead.candidate.decision_id,
            "worth": lead.candidate.worth,
            "value": lead.candidate.value,
            "explored": int(lead.explored),
            "propensity": lead.propensity,
        }
        for rank, lead in enumerate(selection.leads, 1)
    ]
