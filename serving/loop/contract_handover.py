"""What the service takes and gives about a hand-over: which leads sales should call today."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from models.doubt import Code  # noqa: TC001  # pydantic reads the annotations
from serving.contract import Message, Name

# As ids, without control characters: not every database can hold them.
_NAME = r"^[^\x00-\x1f\x7f]*$"

MAX_CAPACITY = 10_000


class HandoverQuery(Message):
    """How many leads sales can take, and how to choose them."""

    capacity: int = Field(ge=1, le=MAX_CAPACITY, description="how many leads sales can take today")
    explore: float | None = Field(
        None,
        ge=0,
        le=1,
        description="the share of them to draw by lot from below the cut; else as configured",
    )
    value: Name | None = Field(
        None,
        pattern=_NAME,
        description="the feature with what a lead is worth: rank by probability times value",
    )
    stale_days: int = Field(14, ge=1, le=36_500, description="a score that was told so long ago is stale")

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class HandedLead(Message):
    """A lead to hand over, and the newest decision about it."""

    rank: int
    lead_id: str
    probability: float
    points: int
    grade: str
    worth: float = Field(description="what it is ranked by: its probability, times its value where asked for")
    value: float | None = Field(description="as the feature that was asked for has it; null: not known")
    explored: bool = Field(description="drawn by lot from below the cut, not for its probability")
    propensity: float = Field(description="its chance to be handed over, before any lot was cast")
    decision: int = Field(description="the id of the decision, as /v1/leads/{lead_id}/decisions has it")
    model_version: str
    insufficient: Code | None = Field(description="why the score is not to be relied on, if so")
    as_of: int
    decided_at: int
    age_days: int = Field(description="whole days since the decision, on the day of the hand-over")
    stale: bool = Field(description="older than `stale_days`: score it again")


class Expected(Message):
    """The sum of the probabilities; the number of conversions is in `[low, high]` nine times in ten."""

    conversions: float
    low: int
    high: int
    worth: float = Field(description="the sum of what the leads are worth")


class HandoverResponse(Message):
    """The leads of a day, best first, those drawn by lot last. Asked again on the same day it is the same."""

    day: str = Field(description="the day of this list, which ends at midnight UTC")
    capacity: int
    explore: float
    value: str | None
    open: int = Field(description="how many leads were open and ranked")
    tied: int = Field(
        description="how many of them rank equal with the last one above the cut, itself included"
    )
    tied_taken: int = Field(description="how many of these are above the cut; drawn by lot")
    handed_over: int
    explored: int
    expected: Expected
    leads: list[HandedLead]
