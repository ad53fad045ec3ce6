"""Hand-overs in the log: what was asked for on a day, and which leads it came to."""

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
    """A lead that was handed over, and the decision by which it was."""

    rank: int
    told: DecisionSummary
    worth: float
    value: float | None
    explored: bool
    propensity: float


@dataclass(frozen=True, slots=True)
class Handover:
    """What a wish came to; see ``serving.handover_selection.Selection``."""

    wish: HandoverRequest
    open: int
    tied: int
    tied_taken: int
    leads: tuple[HandoverLead, ...] = ()


def open_candidates(log: Engine, value: str) -> list[HandoverCandidate]:
    """The open leads with a number to rank them by. Raises NoSuchValueError.

    A lead without a value counts with the median of the others, not knowing being neither best nor worst.
    """
    told = [one for one in open_leads(log) if not one.withheld]
    if not value or not told:
        return [HandoverCandidate(one.lead_id, one.id, one.probability) for one in told]
    worth = _values(dict(open_rows(log)), value)
    usual = median(worth.values())
    return [
        HandoverCandidate(one.lead_id, one.id, one.probability * worth.get(one.id, usual), worth.get(one.id))
        for one in told
    ]


def _values(rows: Mapping[int, Mapping[str, Value]], name: str) -> dict[int, float]:
    found = {number: row.get(name) for number, row in rows.items()}
    known = {number: float(value) for number, value in found.items() if isinstance(value, int | float)}
    if not known:
        names = {n for row in rows.values() for n, value in row.items() if isinstance(value, int | float)}
        msg = f"no open lead has a number in {name[:40]!r}{suggest(name, names)}"
        raise NoSuchValueError(msg)
    return known


def find_handover(log: Engine, wish: HandoverRequest) -> Handover | None:
    """What a wish came to when it was first asked, less the leads of people who were erased since."""
    asked = [HANDOVERS.c[name] == given for name, given in asdict(wish).items()]
    with log.connect() as connection:
        head = connection.execute(select(HANDOVERS).where(*asked)).mappings().one_or_none()
        if head is None:
            return None
        query = select(HANDED_OVER).where(HANDED_OVER.c.handover_id == head["id"])
        rows = connection.execute(query.order_by(HANDED_OVER.c.rank)).mappings().all()
    told = decisions_of_handover(log, head["id"])
    leads = tuple(_handed(row, told[row["decision_id"]]) for row in rows if row["decision_id"] in told)
    return Handover(wish, head["open"], head["tied"], head["tied_taken"], leads)


def _handed(row: Mapping[Any, Any], told: DecisionSummary) -> HandoverLead:
    return HandoverLead(
        row["rank"], told, row["worth"], row["value"], bool(row["explored"]), row["propensity"]
    )


def add_handover(connection: Connection, wish: HandoverRequest, choice: Selection) -> None:
    """Write down what was chosen. Raises IntegrityError where somebody was faster."""
    head = asdict(wish) | {"open": choice.open, "tied": choice.tied, "tied_taken": choice.tied_taken}
    number = connection.execute(insert(HANDOVERS).returning(HANDOVERS.c.id), [head]).scalar_one()
    connection.execute(insert(HANDED_OVER), _rows(number, choice))


def _rows(number: int, choice: Selection) -> Sequence[dict[str, Any]]:
    return [
        {
            "handover_id": number,
            "rank": rank,
            "lead_id": one.candidate.lead_id,
            "decision_id": one.candidate.decision_id,
            "worth": one.candidate.worth,
            "value": one.candidate.value,
            "explored": int(one.explored),
            "propensity": one.propensity,
        }
        for rank, one in enumerate(choice.leads, 1)
    ]
