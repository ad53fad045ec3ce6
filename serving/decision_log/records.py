"""The records of the decision log as plain values, one type per table."""

from __future__ import annotations

import time

# The contract shows these records, and pydantic reads their annotations when it starts.
from collections.abc import Mapping, Sequence  # noqa: TC003
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from features.record import Value  # noqa: TC001
from models.explanation import Reason, Score  # noqa: TC001
from models.uncertainty import WITHHELD, InsufficiencyCode

if TYPE_CHECKING:
    from models.handover_selection import HandoverRequest

OutcomeKind = Literal["accepted", "qualified", "rejected", "disqualified", "won", "lost", "withdrawn"]
ACCEPTED: OutcomeKind = "accepted"
WITHDRAWN: OutcomeKind = "withdrawn"
# What ends a lead whatever else is asked of it; who was won may still renew.
GIVEN_UP: tuple[OutcomeKind, ...] = ("rejected", "disqualified", "lost")
DecidedBy = Literal["person", "system"]
OverrideAction = Literal["hand_over", "take_off", "withdraw"]
OutcomeStatus = Literal["recorded", "repeated", "key_conflict", "other_lead", "circle"]


def _now() -> float:
    return time.time()


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A decision that is not logged yet.

    Attributes:
        score: The score of the lead, with the numbers that an answer may withhold.
        row: The value of each feature that the score was computed from, by name.
        reasons: The reasons in the answer, the weightiest first. Default: None, no reasons were asked for.
    """

    score: Score
    row: Mapping[str, Value]
    reasons: tuple[Reason, ...] | None = None


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The request that decisions were made for, the same for all of its leads.

    ``shadow``: by a challenger, answered to nobody. ``explored``: handed over by lot, not by probability.
    ``tenant``: the label that the key is bound to, "" where it is bound to none. ``received_at``: when it
    came, in epoch seconds; leads that were erased since are not logged. ``model``: the name of the model that
    was asked for, "" for the default one, whose decisions alone rank leads.
    """

    endpoint: str
    request_id: str | None = None
    key_id: str | None = None
    shadow: bool = False
    explored: bool = False
    tenant: str = ""
    received_at: float = field(default_factory=_now)
    model: str = ""


@dataclass(frozen=True, slots=True)
class DecisionSummary:
    """A logged decision about a lead, without its feature row and reasons.

    ``insufficient`` is the code of insufficient evidence, if any. Where the number was withheld from the
    answer for it, the log has the computed number all the same, so that the decision can be replayed.
    """

    id: int
    decided_at: int
    lead_id: str
    as_of: int
    endpoint: str
    model_version: str
    probability: float
    log_odds: float
    points: int
    grade: str
    shadow: bool
    explored: bool
    insufficient: InsufficiencyCode | None
    tenant: str
    model: str

    @property
    def withheld(self) -> bool:
        """Whether probability, points and grade were computed and left out of the answer."""
        return self.insufficient in WITHHELD


@dataclass(frozen=True, slots=True)
class Decision(DecisionSummary):
    """What was said about a lead, to whom, and from which feature row; reasons where they were told.

    Attributes:
        id: The number of the decision in the log; later decisions have larger ones.
        decided_at: When it was made, in epoch seconds.
        lead_id: The lead.
        as_of: The time of the snapshot, in epoch seconds; the score saw what was known before.
        endpoint: The route of the request, such as "/v1/score".
        model_version: The fingerprint of the model.
        probability: The probability of a conversion, 0 to 1.
        log_odds: The calibrated log-odds.
        points: The log-odds in points.
        grade: "A" to "D".
        shadow: Whether a challenger made it, whose score no answer contains.
        explored: Whether the lead was handed over by lot, not by its probability.
        insufficient: The code of insufficient evidence; None where the evidence suffices.
        tenant: The label that the key of the request was bound to; "" where it was bound to none.
        model: The name of the model that was asked for; "" for the default one.
        request_id: The ``X-Request-ID`` of the response; None where there was no request.
        key_id: The name of the API key; None where the service has no keys.
        row: The value of each feature by name.
        reasons: The reasons in the answer as JSON objects, the weightiest first; None where none were asked
            for.
    """

    request_id: str | None
    key_id: str | None
    row: Mapping[str, Value]
    reasons: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a lead, as it was reported under a ``key`` of the reporter's; it may correct another.

    Attributes:
        key: The reporter's own id of the event; repeated under the same key it counts once.
        lead_id: The lead.
        outcome: What happened: accepted, qualified, rejected, disqualified, won or lost; or withdrawn, which
            takes back the outcome that it corrects, as if that had never been reported.
        reason: Why, in the reporter's words; None where none was reported.
        occurred_at: When it happened, in epoch seconds.
        corrects: The key of the outcome that this one replaces. Default: None.
        recorded_at: When the log recorded it, in epoch seconds. Default: 0, not recorded yet.
        tenant: The label that the reporter's key is bound to. Default: "", none.
        decided_by: Whether a person decided it, or a system by itself. Default: None, not reported.
        model: The name of the model whose question it answers. Default: "", the default one.
    """

    key: str
    lead_id: str
    outcome: OutcomeKind
    reason: str | None
    occurred_at: int
    corrects: str | None = None
    recorded_at: int = 0
    tenant: str = ""
    decided_by: DecidedBy | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class ErasedCounts:
    """How many decisions, outcomes and events of the lead store were removed."""

    decisions: int
    outcomes: int
    events: int = 0


@dataclass(frozen=True, slots=True)
class ErasedLead:
    """How many records of a lead were removed, and whether they are overwritten on disk."""

    decisions: int
    outcomes: int
    overwritten: bool
    events: int = 0


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What makes a request the same as an earlier one.

    Attributes:
        caller: Whoever asks: the name of the API key, and its tenant.
        key: The header ``Idempotency-Key``.
        path: The path of the request.
        body_sha256: The hash of its body, in hexadecimal digits.
        tenant: The tenant that the API key is bound to.
    """

    caller: str
    key: str
    path: str
    body_sha256: str
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer that was given under a key; ``matches`` says whether to the same request."""

    answer: bytes
    matches: bool


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer that is to be kept.

    Attributes:
        request: The key and the request it was sent with.
        compressed: The answer, compressed by zlib.
        leads: The ids of all leads that it names.
        received_at: When the request came, in epoch seconds.
    """

    request: IdempotencyKey
    compressed: bytes
    leads: frozenset[str]
    received_at: float


@dataclass(frozen=True, slots=True)
class Override:
    """What a person decided about a lead.

    Attributes:
        lead_id: The lead.
        action: "hand_over" although the model did not choose it, "take_off" every list, or "withdraw" what
            was decided before.
        reason: Why, in the person's words.
        decided_by: Who decided it.
        recorded_at: When it was reported, in epoch seconds.
        until: Until when it counts, in epoch seconds.
        owner: On whose list the lead is put; "" is on every one without an owner.
        key_id: The name of the API key that it was reported with; None without keys.
        tenant: Whose lead it is; "" without tenants.
        model: The name of the model whose lists it is about; "" for the default one.
    """

    lead_id: str
    action: OverrideAction
    reason: str
    decided_by: str
    recorded_at: int
    until: int
    owner: str = ""
    key_id: str | None = None
    tenant: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class HandoverLead:
    """A lead of a list or its reserve, with the decision that it was ranked by.

    ``propensity`` is None of the reserve, and of leads that people handed over beside the model's choice.
    """

    rank: int
    decision: DecisionSummary
    worth: float
    value: float | None
    explored: bool
    propensity: float | None


@dataclass(frozen=True, slots=True)
class Handover:
    """A hand-over as it was logged; the counts are those of ``models.handover_selection.Selection``.

    ``control`` counts the leads of the control group that are not on the list and would have been;
    ``excluded`` by reason those that would have been candidates, and ``nobodys`` those of no owner.
    """

    request: HandoverRequest
    open: int
    tied: int
    tied_taken: int
    leads: tuple[HandoverLead, ...] = ()
    control: int = 0
    reserve: tuple[HandoverLead, ...] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    nobodys: Mapping[str, int] = field(default_factory=dict)
