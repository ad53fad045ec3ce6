"""What is told to whom: changes of scores, hand-overs and outcomes as messages to subscriptions.

A message names a lead by its id alone; beside it stand figures, the sentences of three reasons, and where to
read on. Attributes, names and addresses are not sent.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import select

from features.clock import DAY, to_datetime
from serving.decision_log.tables import DECISIONS
from serving.settings import DEFAULT_MODEL
from serving.webhooks.outbox import NewMessage, add_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from models.conversion import ConversionModel
    from models.handover_plan import HandoverPlan
    from models.handover_selection import HandoverRequest
    from serving.decision_log.records import Outcome
    from serving.webhooks.settings import EventType, Subscription

_REASONS = 3
_BATCH = 500
# A first score is news only of a lead that is new itself: not where scores are made anew for all of them.
_NEW_FOR = DAY


@dataclass(frozen=True, slots=True)
class ScoreFigures:
    """A score as messages tell it; the attributes are those of a current score."""

    lead_id: str
    tenant: str
    state: str
    as_of: int
    model_version: str
    probability: float | None = None
    points: int | None = None
    grade: str | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    insufficient: str | None = None
    decision_id: int | None = None
    created_at: int | None = None
    model: str = ""

    @classmethod
    def of(cls, score: Any) -> ScoreFigures:
        """The figures of a current score."""
        return cls(**{name: getattr(score, name) for name in cls.__slots__})

    @property
    def figures(self) -> dict[str, Any]:
        """The figures as a message has them."""
        has_interval = self.interval_low is not None and self.interval_high is not None
        return {
            "probability": self.probability,
            "points": self.points,
            "grade": self.grade,
            "interval": [self.interval_low, self.interval_high] if has_interval else None,
            "insufficient": self.insufficient,
            "as_of": self.as_of,
            "model_version": self.model_version,
        }


def score_events(before: ScoreFigures | None, after: ScoreFigures, jump: int) -> Iterator[EventType]:
    """The types of events that a change of a score is.

    Args:
        before: The score before; None for the first one.
        after: The score now.
        jump: How many points it has to move for ``score.jumped``.

    Yields:
        The types, in the order in which they are told.
    """
    if before is not None and before.state == "open" and after.state == "dormant":
        yield "score.stale"
    if after.state != "open" or after.grade is None:
        return
    is_new = before is None and after.created_at is not None and after.as_of - after.created_at <= _NEW_FOR
    if is_new or (before is not None and before.grade != after.grade):
        yield "score.grade_entered"
    if before is None or before.points is None or after.points is None:
        return
    if abs(after.points - before.points) >= jump:
        yield "score.jumped"


class WebhookWriter:
    """Writes messages into the outbox, in the transactions of what they tell of.

    Args:
        subscriptions: Who is told of what.
        find_model: The model in charge under a name, "" for the default one, which gives the reasons of
            decisions that were logged without; None while there is none. Default: there never is.
        find_plan: The hand-over plan as it is now, which knows the teams of an owner; None without one.
    """

    def __init__(
        self,
        subscriptions: Iterable[Subscription],
        find_model: Callable[[str], ConversionModel | None] = lambda _: None,
        find_plan: Callable[[], HandoverPlan | None] = lambda: None,
    ) -> None:
        self._subscriptions = tuple(subscriptions)
        self._find_model, self._find_plan = find_model, find_plan

    def write_score_change(self, connection: Connection, before: Any, after: Any) -> None:
        """Tell of a change of a current score; ``before`` is None for the first one."""
        new = ScoreFigures.of(after)
        old = None if before is None else ScoreFigures.of(before)
        due = [
            (subscription, kind)
            for subscription in self._subscriptions
            if _is_of(subscription, new.tenant) and (new.model or DEFAULT_MODEL) in subscription.models
            for kind in score_events(old, new, subscription.jump)
            if kind in subscription.events and _has_grade(subscription, kind, new.grade)
        ]
        if not due:
            return
        data = {
            "lead_id": new.lead_id,
            "tenant": new.tenant,
            "model": new.model or DEFAULT_MODEL,
            **new.figures,
            "before": old and old.figures,
            "reasons": self._reasons(connection, new.decision_id, new.model),
            "decision": new.decision_id,
        }
        now = time.time()
        add_messages(connection, [_message(subscription, kind, data, now) for subscription, kind in due], now)

    def write_handover(
        self, connection: Connection, request: HandoverRequest, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Tell of leads that were handed over; ``rows`` are those of ``handed_over``."""
        model = request.model or DEFAULT_MODEL
        due = [
            each for each in self._subscriptions if "lead.handed_over" in each.events and model in each.models
        ]
        if not due:
            return
        now, plan = time.time(), self._find_plan()
        shared = {
            "model": model,
            "day": f"{to_datetime(request.day):%Y-%m-%d}",
            "owner": request.owner or None,
            "teams": list(plan.teams_of(request.owner)) if plan and request.owner else [],
        }
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            decisions = _decisions(connection, [row["decision_id"] for row in part])
            messages = [
                _message(
                    subscription,
                    "lead.handed_over",
                    _handed_over(row, decisions[row["decision_id"]]) | shared,
                    now,
                )
                for row in part
                if row["decision_id"] in decisions
                for subscription in due
                if _is_of(subscription, row["tenant"])
                and _has_grade(subscription, "lead.handed_over", decisions[row["decision_id"]]["grade"])
            ]
            add_messages(connection, messages, now)

    def write_outcomes(
        self, connection: Connection, outcomes: Sequence[Outcome], received_at: float | None
    ) -> None:
        """Tell of outcomes that were recorded, of a request that came at ``received_at``."""
        now = time.time()
        messages = [
            _message(subscription, "outcome.recorded", _outcome(outcome), now)
            for outcome in outcomes
            for subscription in self._subscriptions
            if "outcome.recorded" in subscription.events
            and _is_of(subscription, outcome.tenant)
            and (outcome.model or DEFAULT_MODEL) in subscription.models
        ]
        add_messages(connection, messages, now, received_at)

    def _reasons(self, connection: Connection, decision_id: int | None, name: str) -> list[dict[str, Any]]:
        """The first reasons of a decision: as it was logged, or by its own model if that is in charge."""
        names = ("reasons", "row", "lead_id", "as_of", "model_version")
        query = select(*(DECISIONS.c[name] for name in names)).where(DECISIONS.c.id == decision_id)
        decision = connection.execute(query).mappings().first()
        if decision is None:
            return []
        model = self._find_model(name)
        if decision["reasons"] is not None or model is None or model.version != decision["model_version"]:
            return _texts(decision["reasons"])
        row = json.loads(decision["row"])
        explanation = model.explain(row, decision["lead_id"], decision["as_of"])
        return [{"text": each.text, "points": each.points} for each in explanation.reasons[:_REASONS]]


def trial_payload(now: float) -> str:
    """A message that tells of nothing, to try a receiver with."""
    return _payload("webhook.test", {"message": "a test of leadloop; it tells of nobody"}, now)


def _is_of(subscription: Subscription, tenant: str) -> bool:
    return subscription.tenant in {"", tenant}


def _has_grade(subscription: Subscription, kind: EventType, grade: str | None) -> bool:
    counts = kind in {"score.grade_entered", "lead.handed_over"}
    return not (counts and subscription.grades) or grade in subscription.grades


def _message(subscription: Subscription, kind: EventType, data: Mapping[str, Any], now: float) -> NewMessage:
    return NewMessage(subscription.name, data["tenant"], data["lead_id"], kind, _payload(kind, data, now))


def _payload(kind: str, data: Mapping[str, Any], now: float) -> str:
    """A message as Standard Webhooks has it: type, time and data."""
    moment = to_datetime(int(now))
    return to_json({"type": kind, "timestamp": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "data": data}).decode()


def _handed_over(row: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    names = ("probability", "points", "grade", "insufficient", "as_of", "model_version")
    return {
        "lead_id": row["lead_id"],
        "tenant": row["tenant"],
        "rank": row["rank"],
        "explored": bool(row["explored"]),
        **{name: decision[name] for name in names},
        "reasons": _texts(decision["reasons"]),
        "decision": row["decision_id"],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    names = ("lead_id", "tenant", "key", "outcome", "occurred_at", "corrects")
    return {name: getattr(outcome, name) for name in names} | {"model": outcome.model or DEFAULT_MODEL}


def _decisions(connection: Connection, numbers: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    query = select(DECISIONS).where(DECISIONS.c.id.in_(numbers))
    return {row["id"]: dict(row) for row in connection.execute(query).mappings()}


def _texts(reasons: str | None) -> list[dict[str, Any]]:
    """The first reasons of a decision as it was logged; none where it was logged without."""
    logged = json.loads(reasons) if reasons else []
    return [{"text": each["text"], "points": each["points"]} for each in logged[:_REASONS]]
