"""The REST contract: every request and response of the service as pydantic types.

One bad lead never fails the others: the envelope is validated first (``ScoreRequest``, ``OutcomesRequest``),
then each ``Lead`` or ``OutcomeReport`` alone. In the order of the loop: leads and their scores, the hand-over
of a day, outcomes and what was decided about a lead. The docstrings of these types are the descriptions in
the OpenAPI document.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, NotRequired, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
    with_config,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import any_schema
from typing_extensions import TypedDict

from features.clock import to_epoch
from features.messages import Lang
from features.parsing import as_category, clean_text

# pydantic reads the annotations of these when the classes are made.
from models.explanation import FamilyContribution, Reason, ScoreChange, ScorePart
from models.handover_plan import MAX_CAPACITY
from models.uncertainty import InsufficiencyCode, InsufficientEvidence, ScoreInterval
from serving.current_scores.records import LeadState  # pydantic reads annotations
from serving.decision_log.records import DecidedBy, Decision, Outcome, OutcomeKind, OverrideAction

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

MAX_LEADS = 1_000
MAX_EVENTS = 10_000
MAX_NAME = 200
MAX_TEXT = 10_000
# An account of the longest id is 3,300 characters long there; an address of more than 64 KiB is not read.
_MAX_PAGE_END = 4_000
MAX_CHOICES = 1_000

MAX_PAGE = 1_000
_MOST = 10**14
_FINITE = 1.7976931348623157e308
_LAST_NUMBER = 2**63 - 1

# 1900-01-02 and 2200: the years 1 and 9999 and the first day of 1900 are some system's "never", as in files;
# milliseconds lead to the year 50,000.
EARLIEST, LATEST = -2_208_902_400, 7_258_118_400

_MILLISECONDS = 10**11

# Without control characters, which no CRM has in an id, and which not every address and database can hold.
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"

_TIME = {
    "title": "Time",
    "description": "ISO 8601 with an offset, or whole seconds since 1970",
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}],
}

NEWEST: Final = "newest"
_AS_OF = {
    "title": "As Of",
    "anyOf": [*_TIME["anyOf"], {"const": NEWEST}],
}

_VALUE = {
    "title": "Value",
    "anyOf": [
        {"type": "string", "maxLength": MAX_TEXT},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
        {
            "type": "array",
            "description": "several choices; only for a column that held some in the training data",
            "items": {
                "anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]
            },
            "maxItems": MAX_CHOICES,
        },
    ],
}

_EXACT = ConfigDict(extra="forbid", strict=True, frozen=True)

# Events are dictionaries already: as objects they would have to be taken apart again for the features.
_exactly = with_config(_EXACT)


def parse_time(value: object) -> int:
    """Parse a time of a request.

    Args:
        value: ISO 8601 text with an offset, or whole seconds since 1970.

    Returns:
        Epoch seconds in ``[EARLIEST, LATEST)``, from 1900-01-02 until 2200.

    Raises:
        ValueError: It is neither, has no offset, or lies outside of these years; pydantic reports it as the
            error of the field.

    >>> parse_time("1970-01-02T01:00:00+01:00"), parse_time(86400)
    (86400, 86400)
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        msg = "a time is ISO 8601 text with an offset, or whole seconds since 1970"
        raise ValueError(msg)  # noqa: TRY004  # pydantic reports ValueError as the field's own error
    seconds = value if isinstance(value, int) else _iso(value)
    if not EARLIEST <= seconds < LATEST:
        never = "; where there is no date, leave the field out: 1900-01-01 and 9999-12-31 stand for none"
        is_number = isinstance(value, int) and abs(seconds) >= _MILLISECONDS
        hint = "; are these milliseconds? send seconds" if is_number else never
        msg = f"a time must lie between the years 1900 and 2200{hint}"
        raise ValueError(msg)
    return seconds


def _iso(text: str) -> int:
    try:
        parsed = datetime.fromisoformat(text[:MAX_NAME])
    except ValueError:
        msg = f"{text[:40]!r} is not an ISO 8601 time such as 2026-05-01T10:00:00+02:00"
        if text.startswith("0000-00-00"):
            msg += "; where there is no date, leave the field out"
        raise ValueError(msg) from None
    if parsed.tzinfo is None:
        msg = (
            f"{text[:40]!r} has no offset; add one (2026-05-01T10:00:00Z): leadloop does not guess time zones"
        )
        raise ValueError(msg)
    return to_epoch(parsed)


def parse_as_of(value: object) -> int | str:
    """Parse the moment to score a lead at: a time as ``parse_time`` reads it, or "newest".

    Raises:
        ValueError: It is neither; pydantic reports it as the error of the field.
    """
    if value == NEWEST:
        return NEWEST
    try:
        return parse_time(value)
    except ValueError as error:
        msg = f'{error}; as_of may also be left out, for now, or be "newest", after the newest event'
        raise ValueError(msg) from None


def validate_attribute(value: object) -> object:
    """Check the value of an attribute.

    Args:
        value: What a request holds: text of up to ``MAX_TEXT`` characters, a finite number, true, false,
            null, or a list of at most ``MAX_CHOICES`` of these.

    Returns:
        ``value`` itself.

    Raises:
        ValueError: It is longer, not finite, a list in a list or an object.
    """
    if isinstance(value, list):
        if len(value) > MAX_CHOICES or sum(len(each) for each in value if isinstance(each, str)) > MAX_TEXT:
            msg = f"at most {MAX_CHOICES:,} choices of {MAX_TEXT:,} characters together are read"
            raise ValueError(msg)
        for each in value:
            _validate_single(each)
        return value
    return _validate_single(value)


def _validate_single(value: object) -> object:
    """The value, if it is no list. Raises ValueError as ``validate_attribute`` does."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            msg = f"text of {len(value):,} characters; at most {MAX_TEXT:,} are read"
            raise ValueError(msg)
    elif isinstance(value, int | float):
        if not -_FINITE <= value <= _FINITE:
            msg = "not a finite number; leave the attribute out or send null when it is missing"
            raise ValueError(msg)
    elif value is not None:
        msg = "an attribute is text, a number, true, false, null or a list of these"
        raise ValueError(msg)
    return value


Moment = Annotated[int, BeforeValidator(parse_time), WithJsonSchema(_TIME)]
AsOf = Annotated[int | Literal["newest"], BeforeValidator(parse_as_of), WithJsonSchema(_AS_OF)]
Value = Annotated[Any, BeforeValidator(validate_attribute), WithJsonSchema(_VALUE)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]

# Kinds, stages and channels lose the blanks and the words for "missing" that they would lose in a file. They
# are few words, each sent again and again.
_clean_text, _as_category = lru_cache(maxsize=1_000)(clean_text), lru_cache(maxsize=1_000)(as_category)
Word = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_clean_text)]

Text = Annotated[Annotated[str, Field(max_length=MAX_NAME)] | None, AfterValidator(_as_category)]


def _without_blanks_around(text: str | None) -> str | None:
    """What a person wrote, as she wrote it; None where it is empty or a word for "missing"."""
    return None if text is None or as_category(text) is None else text.strip()


# Prose is shown to people again, and no column of a model: no mark in it is left out.
Prose = Annotated[Annotated[str, Field(max_length=MAX_NAME)] | None, AfterValidator(_without_blanks_around)]

LeadId = Annotated[Name, Field(pattern=_NO_CONTROLS)]

Attributes = Annotated[dict[Name, Value], Field(max_length=MAX_EVENTS)]
KnownAt = Annotated[Moment | None, Field(description="when the CRM learned of it; else when it occurred")]


class StrictModel(BaseModel):
    """Exactly the named fields, of exactly their types: "5" is not 5, a misspelt field is an error."""

    model_config = _EXACT


@_exactly
class Touchpoint(TypedDict):
    """Something the lead did or received."""

    occurred_at: Moment
    kind: Word
    known_at: NotRequired[KnownAt]
    channel: NotRequired[Text]
    campaign: NotRequired[Text]
    offer: NotRequired[Text]
    offer_stage: NotRequired[Annotated[Text, Field(description="awareness, consideration or decision")]]
    amount: NotRequired[Annotated[int, Field(ge=-_MOST, le=_MOST, description="minor units: cents")] | None]
    seconds: NotRequired[Annotated[int, Field(ge=0, le=_MOST)] | None]


@_exactly
class Transition(TypedDict):
    """The entry into a stage of the funnel."""

    occurred_at: Moment
    stage: Word
    known_at: NotRequired[KnownAt]
    reason: NotRequired[Text]


@_exactly
class AttributeChange(TypedDict):
    """One value of an attribute that the CRM overwrites, and since when it knew it."""

    name: Name
    known_at: Moment
    value: Value


@_exactly
class ColleagueTouchpoint(Touchpoint):
    """A touchpoint of another lead of the same account."""

    lead_id: Name


@_exactly
class ColleagueTransition(Transition):
    """A transition of another lead of the same account."""

    lead_id: Name


class Account(StrictModel):
    """What is known of the lead's company, and what its colleagues did."""

    attributes: Attributes = {}
    touchpoints: list[ColleagueTouchpoint] = Field([], max_length=MAX_EVENTS, fail_fast=True)
    transitions: list[ColleagueTransition] = Field([], max_length=MAX_EVENTS, fail_fast=True)


class Lead(StrictModel):
    """One lead with its history. For a model of a flat export, the attributes are all there is to send."""

    lead_id: LeadId
    consent: bool | None = Field(None, description="to be profiled; a lead with `false` is not scored")
    created_at: Moment | None = Field(None, description="else the time of the earliest event, or now")
    as_of: AsOf | None = Field(
        None,
        description="score the lead as known just before this time, else as known now; "
        "`newest` is one second after the newest event",
    )
    since: Moment | None = Field(None, description="explain: what has changed from how it was known then")
    attributes: Attributes = Field(
        {}, description="by the names of the training data; missing or null: unknown"
    )
    attribute_history: list[AttributeChange] = Field([], max_length=MAX_EVENTS, fail_fast=True)
    touchpoints: list[Touchpoint] = Field([], max_length=MAX_EVENTS, fail_fast=True)
    transitions: list[Transition] = Field([], max_length=MAX_EVENTS, fail_fast=True)
    account: Account | None = Field(
        None, description="`{}` for a lead without a company; without it, a score may be `no_account`"
    )


class UncheckedItem:
    """Anything at all where an ``item`` should be: it is read as one later, so that it can fail alone."""

    item: ClassVar[type[BaseModel]]

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> CoreSchema:
        return any_schema()

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, show: GetJsonSchemaHandler) -> dict[str, Any]:
        return show(cls.item.__pydantic_core_schema__)


class RawLead(UncheckedItem):
    """A lead that is checked alone."""

    item = Lead


# Of what every model can read: attributes are each model's own, see `serving.openapi`.
_LEAD_EXAMPLE: dict[str, Any] = {
    "lead_id": "0012",
    "as_of": "2026-05-05T08:00:00Z",
    "touchpoints": [
        {"occurred_at": "2026-05-01T10:00:00+02:00", "kind": "webinar", "channel": "linkedin"},
        {"occurred_at": "2026-05-04T08:30:00+02:00", "kind": "demo_request", "offer_stage": "decision"},
    ],
    "transitions": [{"occurred_at": "2026-05-01T10:00:00+02:00", "stage": "mql"}],
}


LEAD_ID: TypeAdapter[str] = TypeAdapter(LeadId)


class RawLeadId(UncheckedItem):
    """The id of a lead of the store, which is checked alone."""

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return LEAD_ID.json_schema()


_ONE_OF = [{"required": ["leads"]}, {"required": ["lead_ids"]}]
_LEADS, _LEAD_IDS = "leads", "lead_ids"
_BOTH = "send leads in full or the ids of leads that the store knows, not both in one request"


class LeadsRequest(StrictModel):
    """Leads, 1 to 1,000 at once, in full or by id; each is answered on its own."""

    leads: list[RawLead] = Field([], min_length=1, max_length=MAX_LEADS)
    lead_ids: list[RawLeadId] = Field(
        [], min_length=1, max_length=MAX_LEADS, description="of leads that `/v1/events` or a sync told of"
    )
    as_of: AsOf | None = Field(
        None,
        description="of `lead_ids`: score them as known just before this time, else as known now; "
        "`newest` is one second after the newest event of each",
    )

    model_config = ConfigDict(
        json_schema_extra={"example": {"leads": [_LEAD_EXAMPLE]}, "oneOf": _ONE_OF}  # type: ignore[dict-item]
    )

    @model_validator(mode="after")
    def _refuse_mixture(self) -> Self:
        if self.leads and self.lead_ids:
            raise _field_error(_LEAD_IDS, _BOTH)
        if not self.leads and not self.lead_ids:
            raise _missing_field(_LEADS)
        for name in ("as_of", "since"):
            if self.leads and getattr(self, name, None) is not None:
                msg = f"beside leads in full there is no {name} of all; write it into each lead"
                raise _field_error(name, msg)
        return self


def _field_error(field: str, message: str) -> ValidationError:
    """An error of one field that only the others explain."""
    error = PydanticCustomError("value_error", message)
    return ValidationError.from_exception_data("", [{"type": error, "loc": (field,), "input": None}])


def _missing_field(field: str) -> ValidationError:
    return ValidationError.from_exception_data("", [{"type": "missing", "loc": (field,), "input": None}])


class ScoreRequest(LeadsRequest):
    """Leads to score, 1 to 1,000 at once, in full or by id; each is answered on its own."""

    parts: bool = Field(
        default=False, description="also split each score into fit and engagement; as slow as to explain it"
    )


class ExplainRequest(LeadsRequest):
    """Leads to score and explain; ``top`` keeps the weightiest reasons and adds the others up in ``rest``."""

    lang: Lang = "en"
    top: int | None = Field(None, ge=1)
    top_each: int | None = Field(None, ge=1, description="so many for and as many against, within `top`")
    since: Moment | None = Field(
        None, description="of `lead_ids`: what has changed from how each was known then"
    )

    model_config = ConfigDict(
        json_schema_extra={"example": {"leads": [_LEAD_EXAMPLE], "lang": "en", "top": 5}, "oneOf": _ONE_OF}  # type: ignore[dict-item]
    )


_OfLead = Literal["missing_field", "unknown_field", "invalid_value", "unknown_attribute", "no_consent"]
LeadErrorCode = _OfLead | Literal["key_conflict", "in_the_future", "unknown_lead", "forgotten", "unmapped"]


class LeadError(StrictModel):
    """Why a lead (or an outcome) was not taken: ``code`` for programs, ``message`` for people."""

    code: LeadErrorCode
    field: str
    message: str


class LeadFailure(StrictModel):
    """A lead that could not be scored; ``lead_id`` is null where not even that could be read."""

    lead_id: str | None
    error: LeadError


class ScoreResult(StrictModel):
    """A lead's chance to convert. 20 points double the odds, 200 are even odds; grades follow capacity."""

    lead_id: str
    probability: float | None = Field(description="null, as points and grade, with `too_few_outcomes`")
    points: int | None
    grade: Literal["A", "B", "C", "D"] | None
    interval: ScoreInterval | None = Field(description="nine times in ten the true probability is in it")
    sufficient: bool
    insufficient: InsufficientEvidence | None
    fit: ScorePart | None = Field(
        description="who the lead is and where it came from; null where `parts` was not asked for, or the "
        "model has none"
    )
    engagement: ScorePart | None = Field(description="what the lead and its colleagues do; null as `fit`")
    combined_grade: str | None = Field(
        description='the grades of both in one word, such as "B1": fit A to D, engagement 1 to 4'
    )
    as_of: int = Field(description="epoch seconds: what was known before then was taken into account")
    known_until: int | None = Field(description="the newest of it; null where the request names no time")


class ExplainResult(ScoreResult):
    """A score taken apart: ``base`` + all contributions + ``rest`` = ``log_odds``."""

    log_odds: float
    base: float
    rest: float = Field(description="the sum of the contributions that `top` and `top_each` left out")
    reasons: tuple[Reason, ...]
    families: tuple[FamilyContribution, ...] = Field(description="all contributions, added up by family")
    change: ScoreChange | None = Field(description="against the same lead as known before `since`")


class ScoreResponse(StrictModel):
    """One result per lead, in the order of the request."""

    model_version: str
    results: list[ScoreResult | LeadFailure]


class ExplainResponse(StrictModel):
    """One result per lead, in the order of the request."""

    model_version: str
    results: list[ExplainResult | LeadFailure]


Capacity = Annotated[int, Field(ge=1, le=MAX_CAPACITY)]
_MOST_OWNERS = 200


ModelName = Annotated[
    Name | None,
    Field(description="which model answers, where the service has several; `GET /v1/model` lists them"),
]


class HandoverChoice(StrictModel):
    """How many leads sales can take, and how to choose them."""

    capacity: Capacity | None = Field(
        None,
        description="how many leads sales can take today, or the owner; with a plan each owner has its own",
    )
    owner: Name | None = Field(
        None, pattern=_NO_CONTROLS, description="only the list of this owner; null: one of all leads, or all"
    )
    reserve: int | None = Field(
        None,
        ge=0,
        le=MAX_CAPACITY,
        description="how many of the next leads to name beside a list; else as the plan has it",
    )
    dormant: bool = Field(
        default=False,
        description="whether leads are handed over that are silent for longer than any the model knows",
    )
    explore: float | None = Field(
        None,
        ge=0,
        le=1,
        description="the share of them to draw by lot from below the cut; else as configured",
    )
    value: Name | None = Field(
        None,
        pattern=_NO_CONTROLS,
        description="the feature with what a lead is worth: rank by probability times value",
    )
    stale_days: int = Field(14, ge=1, le=36_500, description="a score as of so long ago is stale")

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class HandoverQuery(HandoverChoice):
    """How many leads sales can take, how to choose them, and by which model."""

    model: ModelName = None


class HandoverOrder(HandoverChoice):
    """How many leads sales can take, and how to choose them; ``owners`` gives each one a list."""

    owners: Annotated[dict[Name, Capacity], Field(min_length=1, max_length=_MOST_OWNERS)] | None = Field(
        None, description="how many leads each of these owners, and nobody else, can take today"
    )


class KeyResponse(StrictModel):
    """What the key of a request may do."""

    name: str | None = Field(description="the key's name; null: this service has no keys")
    scopes: list[str] = Field(description="what it opens: score, handover, outcomes, events, admin")
    tenant: str = Field(description="the tenant whose leads alone it sees; empty: it is bound to none")
    models: list[str] = Field(
        description="the models of this service that it may ask, `default` the one without a name"
    )


class HandoverOverrideIn(StrictModel):
    """What a person decides about a lead beside the model's choice, why, and for how long."""

    lead_id: LeadId
    action: OverrideAction = Field(
        description="`hand_over` although the model did not choose it, `take_off` every list, or `withdraw` "
        "what was decided before"
    )
    reason: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] = Field(description="why")
    decided_by: Name = Field(pattern=_NO_CONTROLS, description="who decides it")
    owner: Name | None = Field(
        None, pattern=_NO_CONTROLS, description="on whose list a lead is put; null: its own owner's"
    )
    days: int = Field(1, ge=1, le=366, description="for how many days it counts, today included")


class HandoverOverrideOut(StrictModel):
    """What a person decided about a lead, as it is logged."""

    lead_id: str
    action: OverrideAction
    reason: str
    decided_by: str
    owner: str | None = Field(description="on whose list the lead is; null: on each one of all leads")
    recorded_at: int
    until: int = Field(description="until when it counts, in epoch seconds")
    tenant: str


class HandoverOverridesResponse(StrictModel):
    """What people decided that counts now, in the order in which it was reported."""

    overrides: list[HandoverOverrideOut]


class HandoverLeadOut(StrictModel):
    """A lead to hand over, and the newest decision about it."""

    rank: int
    lead_id: str
    probability: float
    points: int
    grade: str
    worth: float = Field(description="what it is ranked by: its probability, times its value where asked for")
    value: float | None = Field(description="as the feature that was asked for has it; null: not known")
    explored: bool = Field(description="drawn by lot from below the cut, not for its probability")
    propensity: float | None = Field(
        description="its chance to be handed over, before any lot was cast; null: people handed it over, or "
        "it is in reserve"
    )
    decision: int = Field(description="the id of the decision, as /v1/leads/{lead_id}/decisions has it")
    model_version: str
    insufficient: InsufficiencyCode | None = Field(description="why the score is not to be relied on, if so")
    as_of: int
    decided_at: int
    age_days: int = Field(description="whole days since `as_of`, on the day of the hand-over")
    stale: bool = Field(description="older than `stale_days`: score it again")
    tenant: str = Field(description="the tenant that the lead belongs to; empty without tenants")
    owner: str | None = Field(None, description="whose list it is on; null: one of all leads")
    override: HandoverOverrideOut | None = Field(
        None, description="what people decided about it beside the model's choice"
    )


class ExpectedConversions(StrictModel):
    """The sum of the probabilities; the number of conversions is in `[low, high]` nine times in ten."""

    conversions: float
    low: int
    high: int
    worth: float = Field(description="the sum of what the leads are worth")


class HandoverExclusion(StrictModel):
    """How many leads are on no list, and why."""

    reason: str = Field(
        description="as the plan names it; `no_owner`: nobody takes it, `taken_off`: people decided so"
    )
    leads: int


class OwnerListOut(StrictModel):
    """The list of an owner: a draw of its own among the leads that are this owner's."""

    owner: str
    capacity: int
    open: int
    tied: int
    tied_taken: int
    handed_over: int
    explored: int
    control: int
    expected: ExpectedConversions
    excluded: list[HandoverExclusion]


class HandoverResponse(StrictModel):
    """The leads of a day, best first, those drawn by lot last. Made again on the same day it is the same."""

    day: str = Field(description="the day of this list, which ends at midnight UTC")
    capacity: int
    explore: float
    value: str | None
    model: str = Field(description="the name of the model that ranks; `default` is the one without a name")
    open: int = Field(description="how many leads were open and ranked")
    tied: int = Field(
        description="how many of them rank equal with the last one above the cut, itself included"
    )
    tied_taken: int = Field(description="how many of these are above the cut; drawn by lot")
    handed_over: int
    explored: int
    control_share: float = Field(
        description="the share of all leads that no list has, to measure what calls do; as configured"
    )
    control: int = Field(
        description="how many of these would be on the list; who they are is in the log alone"
    )
    expected: ExpectedConversions
    leads: list[HandoverLeadOut]
    owners: list[OwnerListOut] = Field([], description="the list of each owner, where owners have lists")
    reserve: list[HandoverLeadOut] = Field(
        [], description="the next leads, best first: for one that cannot be called"
    )
    taken_off: list[HandoverOverrideOut] = Field(
        [], description="leads that people took off since the list was made"
    )
    excluded: list[HandoverExclusion] = Field([], description="how many open leads were on no list, and why")


class OutcomeReport(StrictModel):
    """What became of a lead. Sent again under the same key it counts once."""

    key: LeadId = Field(description="the CRM's own id of this event")
    lead_id: LeadId
    outcome: OutcomeKind
    reason: Prose = Field(None, description="why; required of `rejected`")
    occurred_at: Moment
    corrects: LeadId | None = Field(None, description="the key of an outcome that this one replaces")
    decided_by: DecidedBy | None = Field(
        None, description="whether a person decided it, or a system by itself; null: not known"
    )


class RawOutcomeReport(UncheckedItem):
    """A report that is checked alone."""

    item = OutcomeReport


_OUTCOME_EXAMPLE: dict[str, Any] = {
    "key": "crm-4711",
    "lead_id": "0012",
    "outcome": "rejected",
    "reason": "no budget",
    "occurred_at": "2026-05-06T09:00:00+02:00",
}


class OutcomesRequest(StrictModel):
    """Outcomes of leads, 1 to 1,000 at once, in any order and however late; each is answered on its own."""

    outcomes: list[RawOutcomeReport] = Field(min_length=1, max_length=MAX_LEADS)

    model_config = ConfigDict(json_schema_extra={"example": {"outcomes": [_OUTCOME_EXAMPLE]}})


class OutcomeRecorded(StrictModel):
    """An outcome that is in the log: since now, or `repeated`, since it was first sent."""

    key: str
    status: Literal["recorded", "repeated"]


class OutcomeRejected(StrictModel):
    """An outcome that was not taken; ``key`` is null where not even that could be read."""

    key: str | None
    error: LeadError


class OutcomesResponse(StrictModel):
    """One result per outcome, in the order of the request."""

    results: list[OutcomeRecorded | OutcomeRejected]


@_exactly
class LeadEvent(TypedDict):
    """A lead as the CRM has it; a later one with the same lead_id replaces it from its ``known_at`` on."""

    id: LeadId
    type: Literal["lead"]
    lead_id: LeadId
    created_at: Moment
    known_at: NotRequired[KnownAt]
    account_id: NotRequired[LeadId | None]
    attributes: NotRequired[Attributes]


@_exactly
class AccountEvent(TypedDict):
    """A company as the CRM has it; a later one replaces it from its ``known_at`` on."""

    id: LeadId
    type: Literal["account"]
    account_id: LeadId
    known_at: NotRequired[Annotated[Moment | None, Field(description="else it counts as always known")]]
    attributes: NotRequired[Attributes]


class TouchpointEvent(Touchpoint):
    """Something a lead did or received."""

    id: LeadId
    type: Literal["touchpoint"]
    lead_id: LeadId


class TransitionEvent(Transition):
    """The entry of a lead into a stage of the funnel."""

    id: LeadId
    type: Literal["transition"]
    lead_id: LeadId


class AttributeEvent(AttributeChange):
    """One value of an attribute of a lead that the CRM overwrites, and since when it knew it."""

    id: LeadId
    type: Literal["attribute"]
    lead_id: LeadId


@_exactly
class MergeEvent(TypedDict):
    """A lead that was merged into another one, which has its events from then on."""

    id: LeadId
    type: Literal["merge"]
    lead_id: LeadId
    merged_into: LeadId
    known_at: Moment


@_exactly
class ConsentEvent(TypedDict):
    """Whether a lead consents to being profiled: with `false` all that is known of it is erased."""

    id: LeadId
    type: Literal["consent"]
    lead_id: LeadId
    consent: bool
    known_at: Moment


AnyEvent = Annotated[
    LeadEvent | AccountEvent | TouchpointEvent | TransitionEvent | AttributeEvent | MergeEvent | ConsentEvent,
    Field(discriminator="type"),
]


class StoreEvent(RootModel[AnyEvent]):
    """An event of the lead store; its ``type`` says what else it has."""


class RawStoreEvent(UncheckedItem):
    """An event that is checked alone."""

    item = StoreEvent


_EVENT_EXAMPLES: list[dict[str, Any]] = [
    {
        "id": "crm-lead-0012-1",
        "type": "lead",
        "lead_id": "0012",
        "created_at": "2026-05-01T09:55:00+02:00",
        "account_id": "acme",
        "attributes": {"segment": "mid-market"},
    },
    {
        "id": "crm-touch-98231",
        "type": "touchpoint",
        "lead_id": "0012",
        "occurred_at": "2026-05-04T08:30:00+02:00",
        "kind": "demo_request",
        "offer_stage": "decision",
    },
]


class EventsRequest(StrictModel):
    """What the CRM knows of leads, 1 to 1,000 events at once, in any order; each is answered on its own."""

    events: list[RawStoreEvent] = Field(min_length=1, max_length=MAX_LEADS)

    model_config = ConfigDict(json_schema_extra={"example": {"events": _EVENT_EXAMPLES}})  # type: ignore[dict-item]


@_exactly
class EventTaken(TypedDict):
    """An event that is in the store: since now, or `duplicate`, since it was first sent."""

    id: str
    status: Literal["accepted", "duplicate"]


class EventRejected(StrictModel):
    """An event that was not taken; ``id`` is null where not even that could be read."""

    id: str | None
    status: Literal["rejected"] = "rejected"
    error: LeadError


class EventsResponse(StrictModel):
    """One result per event, in the order of the request."""

    results: list[EventTaken | EventRejected]


class WebhookItem(StrictModel):
    """What became of a part of a CRM's message: an event, or why there is none; ``item`` is its path.

    ``ignored`` is what no rule of the source is about.
    """

    item: str
    id: str | None
    status: Literal["accepted", "duplicate", "rejected", "ignored"]
    error: LeadError | None


class WebhookResponse(StrictModel):
    """One result per event that the message tells of, in its order; SOAP is answered as Salesforce asks."""

    results: list[WebhookItem]


class SubscriptionOut(StrictModel):
    """Who is told by webhooks, and how many messages wait or were given up.

    ``host`` and ``tenant`` are null, and ``events`` is empty, where messages are left of a subscription that
    the file has no more. ``oldest`` is since when the oldest message waits, in epoch seconds.
    """

    name: str
    host: str | None
    events: list[str]
    grades: list[str]
    tenant: str | None
    waiting: int
    given_up: int
    oldest: int | None


class SubscriptionsResponse(StrictModel):
    """The subscriptions to webhooks by their names, and what waits for each."""

    subscriptions: list[SubscriptionOut]


class DeadLetterOut(StrictModel):
    """A message to a webhook that was given up, without its content."""

    id: int
    subscription: str
    tenant: str
    lead_id: str
    type: str
    created_at: int
    attempts: int
    error: str | None


class DeadLettersResponse(StrictModel):
    """Messages that were given up, the oldest first; ``next`` is ``after`` of the following page, if any."""

    dead_letters: list[DeadLetterOut]
    next: int | None


class DeadLetterQuery(StrictModel):
    """Whose dead letters, and which part of them: ``limit`` after the number that a page ended with."""

    subscription: Name | None = None
    after: int = Field(0, ge=0, le=_LAST_NUMBER)
    limit: int = Field(100, ge=1, le=MAX_PAGE)

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class ResendOrder(StrictModel):
    """Which dead letters are sent again: those of a subscription, some by number, or all of them."""

    subscription: Name | None = None
    ids: Annotated[list[Annotated[int, Field(ge=1, le=_LAST_NUMBER)]], Field(max_length=MAX_PAGE)] = []


class ResendResponse(StrictModel):
    """How many messages are to be sent again."""

    messages: int


class PageQuery(StrictModel):
    """Which part of a listing: the newest ``limit``, or those before the number a page ended with."""

    before: int | None = Field(None, ge=1, le=_LAST_NUMBER)
    limit: int = Field(100, ge=1, le=MAX_PAGE)

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class LeadQuery(StrictModel):
    """In which language a lead is told of, with how many reasons, and by which model."""

    lang: Lang = "en"
    top: int = Field(5, ge=1, le=MAX_PAGE)
    model: ModelName = None

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class TrendPoint(StrictModel):
    """What the lead's score was then; of moments before it was kept, what the model in charge makes of it."""

    as_of: int
    probability: float | None
    points: int | None
    grade: Literal["A", "B", "C", "D"] | None
    model_version: str | None = Field(None, description="the model that gave it, of a score that was kept")


class TimelineEvent(StrictModel):
    """Something that happened: a touchpoint, the entry into a stage, or a change of an attribute."""

    type: Literal["touchpoint", "transition", "attribute"]
    occurred_at: int
    known_at: int
    what: str = Field(description="the kind, the stage, or the name of the attribute")
    details: dict[str, Any]
    colleague: str | None = Field(None, description="whose it was, if not the lead's own")


class PossibleValue(StrictModel):
    """A value that leads in training had, in words, and the lead's probability if it had it."""

    text: str
    probability: float


class MissingFact(StrictModel):
    """Something that is not known of a lead, and what the model would say if it were: an association."""

    name: str = Field(description="the attribute, as events call it; `consent` for the consent of the person")
    kind: Literal["qualification", "contact", "consent", "profile"] = Field(
        description="budget, authority, need and time; how to reach the lead; consent; all else"
    )
    title: str = Field(description="what people call it")
    lowest: PossibleValue | None = Field(description="null where the model says the same of all values")
    highest: PossibleValue | None


class NextOfferOut(StrictModel):
    """An offer that similar leads took next. Whoever takes one more is keener; it says nothing of a cause."""

    offer: str
    offer_stage: str | None
    leads: int = Field(description="how many of the similar leads took it next")
    settled: int = Field(description="those of them whose time to convert is over")
    converted: int
    rate: float
    low: float = Field(description="lower end of the 95 % interval (Wilson)")
    high: float


class NextOffersOut(StrictModel):
    """Which offers past leads with the same last offer took next: counts of at least ten leads."""

    by: Literal["offer", "offer_stage", "no_offer"] = Field(
        description="what the similar leads share: the last offer, its stage, or that they had taken none"
    )
    name: str = Field(description="that offer or stage; empty where they had taken none")
    leads: int = Field(description="how many such leads there were")
    days: float = Field(description="a conversion counts within so many days after the offer")
    offers: list[NextOfferOut]


NoCurrentScore = Literal["waiting", "off"]


class LeadResponse(StrictModel):
    """A lead as it is now: score, reasons, what changed within a week, the weeks before, its timeline."""

    model_version: str
    result: ExplainResult
    trend: list[TrendPoint] = Field(
        description="the oldest first, the last one now: a point whenever points, grade or model changed, "
        "and one a week of the time before scores were kept"
    )
    state: LeadState | None = Field(
        default=None, description="null where the model has no current score of the lead"
    )
    no_current_score: NoCurrentScore | None = Field(
        default=None,
        description="why it has none: the lead is `waiting` to be scored in the background, or that is `off` "
        "in this service; what this answer says was computed for it either way",
    )
    name: str = Field(description="what a person calls it: its name, company or address, else its id")
    account_id: str | None = Field(description="its account")
    owner: str | None = Field(description="whose it is, by its attributes")
    channel: str | None = Field(description="where it last came from")
    stage: str | None = Field(description="the stage that it entered last")
    timeline: list[TimelineEvent] = Field(description="the newest first, at most 200")
    missing: list[MissingFact] = Field(
        description="what is not known of the lead, that which qualifies it first; an association, no promise"
    )
    next_offers: NextOffersOut | None = Field(
        description="null where the data name no offers, or too few leads were similar"
    )


class AccountQuery(StrictModel):
    """In which language an account is told of, and by which model."""

    lang: Lang = "en"
    model: ModelName = None

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class AccountsQuery(StrictModel):
    """Which part of the list of accounts: the best, or those after the page before."""

    limit: int = Field(50, ge=1, le=MAX_PAGE)
    after: str | None = Field(None, max_length=_MAX_PAGE_END, description="`next` of the page before")
    text: Annotated[str, Field(max_length=MAX_NAME)] | None = Field(
        None, description="only accounts with this text in their id"
    )
    model: ModelName = None

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class AccountChanceOut(StrictModel):
    """The chance that at least one open lead of an account converts.

    Colleagues are not independent: the truth lies between the likeliest lead's own chance and that of
    independent leads. How dependent they are was measured in training, where there were enough accounts.
    """

    value: float | None = Field(
        description="by the dependence of colleagues that was measured in training; null where there are "
        "several leads and it could not be measured"
    )
    low: float = Field(
        description="by the most dependence within its 90 % interval; where none was measured, the chance "
        "of the likeliest lead alone"
    )
    high: float = Field(
        description="by the least dependence within it; where none was measured, as if leads were independent"
    )
    correlation: float | None = Field(
        description="of the latent variables of two colleagues, beyond their scores; null where not "
        "measured, or of one lead"
    )


class AccountLead(StrictModel):
    """A lead of an account by its current score."""

    lead_id: str
    name: str = Field(description="what a person calls it; else its id")
    state: str = Field(description="open, dormant, closed or unscorable")
    probability: float | None
    points: int | None
    grade: str | None
    combined_grade: str | None
    stage: str | None
    owner: str | None
    as_of: int
    last_activity_at: int | None
    active: bool = Field(description="whether it did or received something in the last 30 days")


class AccountSummaryOut(StrictModel):
    """An account in the list: its chance, who of it is open and active, and whom to call."""

    account_id: str
    name: str = Field(description="of its attributes; else its id")
    chance: AccountChanceOut
    best: AccountLead | None = Field(description="whom to call: the open lead with the highest probability")
    open: int = Field(description="how many leads are open")
    active: int = Field(description="how many of these did or received something in the last 30 days")
    dormant: int
    closed: int


class AccountsResponse(StrictModel):
    """Accounts with open leads, those with the highest chance first."""

    accounts: list[AccountSummaryOut]
    count: int = Field(description="how many accounts there are on all pages")
    next: str | None = Field(description="`after` of the next page; null on the last")


class AccountTimelineEvent(TimelineEvent):
    """Something that happened to a lead of the account."""

    lead_id: str


class AccountResponse(AccountSummaryOut):
    """An account as it is now: its leads, whom to call and why, and what happened."""

    model_version: str
    attributes: dict[str, Any]
    leads: list[AccountLead] = Field(description="the likeliest first, at most 200")
    reasons: tuple[Reason, ...] = Field(description="why to call `best`: its weightiest reasons")
    target: str = Field(description="the stage that the model predicts; empty where it predicts none")
    reached: int = Field(description="how many leads entered `target` before")
    unscored: int = Field(description="leads of the account that have no current score yet")
    timeline: list[AccountTimelineEvent] = Field(description="of all leads, the newest first, at most 200")


class DecisionsResponse(StrictModel):
    """All that was said about a lead and why, newest first, and all that was reported about it."""

    lead_id: str
    decisions: list[Decision]
    outcomes: list[Outcome] = Field(description="by the time they occurred, on every page")
    next: int | None = Field(description="`before` of the next page; null on the last")


class SheetQuery(StrictModel):
    """In which language and form the sheet is written."""

    lang: Lang = Field("en", description="the language of its sentences")
    format: Literal["json", "html"] = Field("json", description="json, or html: a page to print")

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class ErasedResponse(StrictModel):
    """How many records of a lead were removed; nothing of them is kept but these numbers.

    And a hash of its id, by which later events of it are refused until it consents again.
    """

    decisions: int
    outcomes: int
    events: int = Field(0, description="of the lead store")
    overwritten: bool = Field(
        description="whether they are overwritten on disk by now; else they will be, on SQLite by the "
        "service itself, on PostgreSQL by `leadloop log vacuum`"
    )
