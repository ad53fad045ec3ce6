"""The current score of a lead as a plain value, and what lists of them filter by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping  # noqa: TC003 - the types of a named tuple are read at run time
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json, to_json

from models.uncertainty import InsufficiencyCode  # noqa: TC001 - see above

LeadState = Literal["open", "dormant", "closed", "unscorable"]

# Nobody reads a list to its end that is longer; to count a million leads takes seconds.
MOST_COUNTED = 10_000


class CurrentScore(NamedTuple):
    """What is true now of a lead of the store; its fields are the columns of ``current_scores``.

    Attributes:
        lead_id: The lead.
        tenant: Whose it is; "" without tenants.
        model_version: The model that scored it.
        as_of: What was known before counts, in epoch seconds.
        scored_at: When it was computed, in epoch seconds.
        changed_at: Since when grade, points and state are these, in epoch seconds.
        state: Whether it is open, dormant (older or silent for longer than any lead in training), closed, or
            cannot be scored.
        name: What a person calls it: its name, company or e-mail address where there is one, else its id.
        probability: Its probability; None where the model gives no number, or it cannot be scored.
        points: The same in points.
        grade: "A" to "D".
        interval_low: The lower end of its 90 % interval; None without one.
        interval_high: The upper end.
        insufficient: The code why the score is not to be relied on; None where it is.
        problem: The code why it cannot be scored; None where it is.
        fit: How well it fits, 0 to 100; None where the model does not say.
        engagement: How much it engages, 0 to 100.
        combined_grade: The grades of both, such as "B1".
        decision_id: The logged decision about this score; None before there is one.
        model: The name of the model; "" for the default one.
        account_id: Its account; None without one.
        owner: Whose lead it is, by its attributes.
        channel: Where it last came from.
        stage: The stage that it entered last.
        created_at: When it came to be, in epoch seconds.
        last_activity_at: When it last did or received something, in epoch seconds.
        attributes: Its plain and overwritten attributes, by name.
        decided_points: The points of the decision.
    """

    lead_id: str
    tenant: str
    model_version: str
    as_of: int
    scored_at: int
    changed_at: int
    state: LeadState
    name: str
    probability: float | None = None
    points: int | None = None
    grade: str | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    insufficient: InsufficiencyCode | None = None
    problem: str | None = None
    fit: int | None = None
    engagement: int | None = None
    combined_grade: str | None = None
    decision_id: int | None = None
    model: str = ""
    account_id: str | None = None
    owner: str | None = None
    channel: str | None = None
    stage: str | None = None
    created_at: int | None = None
    last_activity_at: int | None = None
    attributes: Mapping[str, Any] = MappingProxyType({})
    decided_points: int | None = None

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> CurrentScore:
        """The current score in a row of ``current_scores``."""
        return cls(**{**row, "attributes": from_json(row["attributes"])})

    @classmethod
    def from_values(cls, values: Iterable[Any]) -> CurrentScore:
        """The current score in the values of such a row, in the order of the fields."""
        columns = [*values]
        columns[_ATTRIBUTES] = from_json(columns[_ATTRIBUTES])
        return cls(*columns)

    @property
    def values(self) -> tuple[Any, ...]:
        """What ``from_values`` reads."""
        columns: list[Any] = [*self]
        columns[_ATTRIBUTES] = to_json(dict(self.attributes)).decode()
        return tuple(columns)


_ATTRIBUTES = CurrentScore._fields.index("attributes")


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """A lead's score as it was at a moment.

    Attributes:
        as_of: The moment, in epoch seconds.
        probability: The probability then.
        points: The same in points.
        grade: "A" to "D".
        model_version: The model that scored it.
    """

    as_of: int
    probability: float
    points: int
    grade: str
    model_version: str


@dataclass(frozen=True, slots=True)
class ScoreFilter:
    """Which leads a list shows; what is not named is not asked for.

    Attributes:
        states: The states; none means all.
        grades: The grades.
        channel: Where they last came from.
        owner: Whose leads.
        account_id: Of which account.
        stage: The stage that they entered last.
        attribute: The name of an attribute and the text of its value.
        text: Text in name, id, account or owner, in capitals or not.
        undecided: Whether only leads count that no outcome was reported of.
    """

    states: tuple[LeadState, ...] = ("open",)
    grades: tuple[str, ...] = ()
    channel: str | None = None
    owner: str | None = None
    account_id: str | None = None
    stage: str | None = None
    attribute: tuple[str, str] | None = None
    text: str = ""
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class PageEnd:
    """The last lead of a page, after which the next page begins."""

    probability: float | None
    lead_id: str

    @classmethod
    def of(cls, score: CurrentScore) -> PageEnd:
        """The end of a page whose last lead this is."""
        return cls(score.probability, score.lead_id)
