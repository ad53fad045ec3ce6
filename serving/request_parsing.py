"""Parses a lead of a request into the record that features are computed from, in the model's types."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from features.clock import DAY
from features.extraction import as_cell_text, extract_lag, make_extractor
from features.history import ACCOUNT_PREFIX
from features.number_marks import as_marked_number
from features.parsing import FALSE, MISSING, TRUE, as_category, as_flag, clean_text
from features.point_in_time import is_visible
from features.record import LeadRecord
from features.suggestions import suggest
from serving.body_splitter import OversizedItem
from serving.problems import InvalidLead, invalid_lead, oversized, refuse_surplus_fields
from serving.schemas import LEAD_ID, MAX_NAME, NEWEST, Account, Lead, LeadError, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from features.extraction import ColumnExtraction, Extract
    from features.number_marks import NumberMarks
    from features.record import Value
    from features.spec import FeatureSet, FeatureSpec, Source
    from serving.lead_store.stored_leads import StoredLead, StoredRows
    from serving.schemas import Touchpoint

    Parse = Callable[[Any], Value]
    Event = dict[str, Any]

_Sent = TypeVar("_Sent", bound="Touchpoint")
# The sources of features that count what the other leads of an account did.
COLLEAGUES: frozenset[Source] = frozenset({"account_touchpoints", "account_transitions"})
_NO_ACCOUNT = Account.model_validate({})
_NO_CONSENT = LeadError(
    code="no_consent", field="consent", message="the lead does not consent to profiling: it is not scored"
)
# A message quotes what was sent, and what was sent may be a novel.
_LONGEST = 200
_LONGEST_FIELD = len("account.attributes.") + MAX_NAME
# A CRM's clock may run ahead of ours by so many seconds: what it tells in that time has happened.
CLOCK_SKEW = 60
# Misspelt attributes of one request for which the nearest name is looked for.
_MAX_HINTS = 20


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """A parsed lead and the moment to score it at.

    Attributes:
        record: The lead with its events.
        as_of: Epoch seconds; what was known before then counts.
        known_until: The newest time that counts of what was sent, in epoch seconds; None where none was sent.
        since: An earlier moment to compare with, if any.
        has_account: Whether the request tells of the lead's account, be it that there is none.
        earlier: The lead as it was known before ``since``, where that is not the same record.
    """

    record: LeadRecord
    as_of: int
    known_until: int | None = None
    since: int | None = None
    has_account: bool = True
    earlier: ScoringRequest | None = None


@dataclass(frozen=True, slots=True)
class LeadById:
    """A lead of the store that a request asks for by its id, instead of sending it.

    Attributes:
        lead_id: What the request holds, which may be no id at all.
        rows: The events of all leads of the request.
        similar: The lead that is meant, perhaps, where there is none of that id.
        as_of: As the request has it.
        since: As the request has it.
    """

    lead_id: object
    rows: StoredRows
    similar: str | None = None
    as_of: int | str | None = None
    since: int | None = None


class LeadParser:
    """Parses leads for one model, whose feature specs say which attributes there are and of what type.

    Args:
        features: The model's features.
        ignored: Columns of the training data that the model does not use; a request may carry them.
        missing: The words that stood for a missing value in the training data.
        marks: What the marks in the numbers of each plain column meant in the training data.
    """

    def __init__(
        self,
        features: FeatureSet,
        ignored: Iterable[str] = (),
        missing: Collection[str] = MISSING,
        marks: Mapping[str, NumberMarks] | None = None,
    ) -> None:
        known_marks = marks or {}
        self._plain = {
            spec.of: _parse(spec, missing, known_marks.get(spec.of))
            for spec in features.specs
            if spec.source == "leads" and spec.of and spec.extraction is None
        }
        self._extractors = _extractors(each for each in features.extractions if not each.other)
        self._lags = tuple(each for each in features.extractions if each.other)
        dates = frozenset(name for each in self._lags for name in each.columns)
        self._text = partial(as_cell_text, missing=missing)
        self._plain_or_none = {name: _or_none(parse) for name, parse in self._plain.items()}
        self._overwritten = {
            name: _parse(spec, missing) if spec.is_category else partial(_number_or_flag, missing=missing)
            for spec in features.specs
            if spec.source == "attributes" and spec.extraction is None
            for name in spec.kind
        }
        self._history_extractors = _extractors(features.history_extractions)
        self._extracted = {spec.of: _parse(spec, missing) for spec in features.specs if _is_extracted(spec)}
        self._extracted_changes = {
            name: _parse(spec, missing) if spec.is_category else partial(_number_or_flag, missing=missing)
            for spec in features.specs
            if spec.source == "attributes" and spec.extraction is not None
            for name in spec.kind
        }
        self._extracted_or_none = {name: _or_none(parse) for name, parse in self._extracted.items()}
        self._changes_or_none = {
            name: _or_none(parse) for name, parse in (self._extracted_changes | self._overwritten).items()
        }
        # What may change of the plain attributes of a stored lead; of most columns nothing does.
        self._changing = (self._changes_or_none.keys() | self._history_extractors.keys()).difference(
            self._plain, self._extractors
        )
        self._number_changes = frozenset(
            name
            for spec in features.specs
            if spec.source == "attributes" and not spec.is_category
            for name in spec.kind
        )
        self._ignored = frozenset(ignored)
        self._accepted = (
            self._plain,
            self._overwritten,
            self._ignored,
            self._extractors,
            self._history_extractors,
            dates,
        )
        self._known = len(frozenset().union(*self._accepted))
        # Leads of one request tend to share a misspelt column; looking for its nearest name is slow.
        self._nearest = lru_cache(maxsize=256)(self._find_nearest)
        self._suggested: dict[str, str] | None = None
        self._now: float | None = None

    def for_one_request(self, now: float) -> LeadParser:
        """The same parser for the leads of one request.

        Args:
            now: The moment, in epoch seconds, at which leads without ``as_of`` are scored.

        Returns:
            A parser that suggests names for a few misspelt attributes and then for no more.
        """
        parser = copy(self)
        vars(parser).update(_suggested={}, _now=now)
        return parser

    def __call__(self, item: object) -> ScoringRequest:
        """Parse a lead of a request. Raises InvalidLead, which names the field."""
        if isinstance(item, LeadById):
            return self._read_stored(item)
        if isinstance(item, OversizedItem):
            self._refuse_surplus(item.beginning)
            raise oversized(item, "lead")
        self._refuse_surplus(item)
        try:
            lead = Lead.model_validate(item)
        except ValidationError as error:
            raise invalid_lead(error) from None
        if lead.consent is False:
            raise InvalidLead(_NO_CONSENT)
        clock = self._clock()
        created = _creation_time(lead, clock)
        record = LeadRecord(lead.lead_id, created, self._attributes(lead), self._events(lead, created))
        as_of = _score_time(lead.as_of, record, clock)
        _check_moments(record, lead.as_of, as_of, lead.since)
        known_until = _known_until(lead.created_at, record, as_of)
        return ScoringRequest(record, as_of, known_until, lead.since, lead.account is not None)

    def _clock(self) -> int:
        """The second after now: what is known by now counts."""
        return int(time.time() if self._now is None else self._now) + 1

    def _read_stored(self, item: LeadById) -> ScoringRequest:
        """A lead of the store. Raises InvalidLead where there is none of this id."""
        lead_id = _check_id(item.lead_id)
        record = self._record(item.rows.lead(lead_id), item)
        as_of = _score_time(item.as_of, record, self._clock())
        if not item.rows.is_changeless:
            record = self._record(item.rows.lead(lead_id, as_of), item)
        _check_moments(record, item.as_of, as_of, item.since)
        known_until = _known_until(record.created_at, record, as_of)
        changed = item.since is not None and not item.rows.is_changeless
        earlier = self.earlier(item, item.since) if changed and item.since is not None else None
        return ScoringRequest(record, as_of, known_until, item.since, earlier=earlier)

    def earlier(self, item: LeadById, as_of: int) -> ScoringRequest | None:
        """A lead of the store as it was known before ``as_of``; None where it did not exist yet."""
        stored = item.rows.lead(str(item.lead_id), as_of)
        if stored is None:
            return None
        record = self._record(stored, item)
        known_at = record.created_at if record.known_at is None else record.known_at
        return ScoringRequest(record, as_of) if is_visible(record.created_at, known_at, as_of) else None

    def _record(self, stored: StoredLead | None, item: LeadById) -> LeadRecord:
        """The record of a stored lead; what the model does not know of it, or cannot read, is left out."""
        if stored is None:
            hint = "" if item.similar is None else f"; did you mean {item.similar!r}?"
            message = f"the store knows no lead {str(item.lead_id)[:40]!r}{hint}"
            raise InvalidLead(LeadError(code="unknown_lead", field="lead_id", message=message))
        values, changes = self.read_attributes(stored)
        events: dict[Source, Sequence[Event]] = {
            "touchpoints": stored.events["touchpoint"],
            "transitions": stored.events["transition"],
            "attributes": changes,
            "account_touchpoints": stored.colleagues["touchpoint"],
            "account_transitions": stored.colleagues["transition"],
        }
        return LeadRecord(stored.lead_id, stored.created_at, values, events, stored.known_at)

    def read_attributes(self, stored: StoredLead) -> tuple[dict[str, Value], list[Event]]:
        """Read the attributes of a lead of the store in the model's types.

        Args:
            stored: The lead; of its events only the changes of attributes count.

        Returns:
            Its plain attributes and its account's by column name, and the changes of overwritten ones.
        """
        values: dict[str, Value] = {}
        changes: list[Event] = []
        for known_at, attributes in stored.attributes:
            values = self._stored_values(attributes, "")
            moment = max(known_at, stored.created_at)
            changes += [
                change
                for name, value in attributes.items()
                if name in self._changing
                for change in self._stored_change(name, moment, {"value": value})
            ]
        for row in stored.events["attribute"]:
            changes += self._stored_change(row["name"], row["known_at"], row)
        return values | self._stored_values(stored.account_attributes, ACCOUNT_PREFIX), changes

    def _stored_values(self, attributes: Mapping[str, Any], prefix: str) -> dict[str, Value]:
        """Plain attributes by column name, as ``_parse_attributes`` reads them; unreadable ones are None."""
        values: dict[str, Value] = {}
        for name, value in attributes.items():
            column = prefix + name
            if column in self._plain_or_none:
                values[column] = self._plain_or_none[column](value)
            elif column in self._extracted_or_none:
                values[column] = self._extracted_or_none[column](value)
            if column in self._extractors:
                text = _value_or_none(self._text, value, several=True)
                values |= {extracted: extract(text) for extracted, extract in self._extractors[column]}
        return values

    def _stored_change(self, name: str, known_at: int, row: Mapping[str, Any]) -> Iterator[Event]:
        """The change of an overwritten attribute; one that was read from a table has its number beside it."""
        value = row.get("value")
        if name in self._changes_or_none:
            is_number = "number" in row and name in self._number_changes
            yield _change(name, known_at, row["number"] if is_number else self._changes_or_none[name](value))
        if name in self._history_extractors:
            text = _value_or_none(self._text, value, several=True)
            for extracted, extract in self._history_extractors[name]:
                yield _change(extracted, known_at, extract(text))

    def _refuse_surplus(self, item: object) -> None:
        """Raise InvalidLead where there are more fields, or more attributes, than any valid lead can have."""
        refuse_surplus_fields(item)
        if not isinstance(item, dict):
            return
        account = item.get("account")
        attributes = account.get("attributes") if isinstance(account, dict) else None
        self._refuse_surplus_attributes(item.get("attributes"), ("attributes.", ""))
        self._refuse_surplus_attributes(attributes, ("account.attributes.", ACCOUNT_PREFIX))

    def _refuse_surplus_attributes(self, attributes: object, where: tuple[str, str]) -> None:
        # Of more attributes than the model knows one is unknown; it is found before any value is checked.
        if isinstance(attributes, dict) and len(attributes) > self._known:
            for name in attributes:
                self._check_name(where[1] + name, where[0] + name)

    def _attributes(self, lead: Lead) -> dict[str, Value]:
        account_attributes = lead.account.attributes if lead.account else {}
        lead_attributes = self._parse_attributes(lead.attributes, ("attributes.", ""))
        return lead_attributes | self._parse_attributes(
            account_attributes, ("account.attributes.", ACCOUNT_PREFIX)
        )

    def _parse_attributes(self, attributes: Mapping[str, Any], where: tuple[str, str]) -> dict[str, Value]:
        """The plain attributes by column name; ``where`` holds the prefixes of fields and of columns."""
        path, prefix = where
        for name in attributes:
            self._check_name(prefix + clean_text(name), path + name)
        values: dict[str, Value] = {}
        for name, value in attributes.items():
            column = prefix + clean_text(name)
            if column in self._plain:
                values[column] = _parse_value(self._plain[column], value, path + name)
            if column in self._extractors:
                # The cell itself is forgotten here.
                text = _parse_value(self._text, value, path + name, several=True)
                values |= {extracted: extract(text) for extracted, extract in self._extractors[column]}
        return values | self._parse_lags(attributes, where)

    def _parse_lags(self, attributes: Mapping[str, Any], where: tuple[str, str]) -> dict[str, Value]:
        """How far apart the dates of a lead are; the dates themselves are forgotten here."""
        path, prefix = where
        wanted = {name for each in self._lags for name in each.columns}
        texts = {
            column: _parse_value(self._text, value, path + name, several=True)
            for name, value in attributes.items()
            for column in [prefix + clean_text(name)]
            if column in wanted
        }
        return {
            each.name: extract_lag(each, texts[each.column], texts[each.other])
            for each in self._lags
            if texts.keys() >= {*each.columns}
        }

    def _events(self, lead: Lead, created: int) -> dict[Source, Sequence[Event]]:
        account = lead.account or _NO_ACCOUNT
        return {
            "touchpoints": [_event(row) for row in _each_once(lead.touchpoints)],
            "transitions": [_event(row) for row in lead.transitions],
            "attributes": [*self._at_creation(lead, created), *self._changes(lead)],
            "account_touchpoints": [
                _event(row) | {"colleague": row["lead_id"]} for row in _each_once(account.touchpoints)
            ],
            "account_transitions": [
                _event(row) | {"colleague": row["lead_id"]} for row in account.transitions
            ],
        }

    def _at_creation(self, lead: Lead, created: int) -> Iterator[Event]:
        """The overwritten attributes that were sent as plain ones, as changes at creation."""
        for name, value in lead.attributes.items():
            column = clean_text(name)
            if column in self._plain or column in self._extractors:
                continue
            yield from self._parse_change(column, created, value, f"attributes.{name}")

    def _changes(self, lead: Lead) -> Iterator[Event]:
        for i, row in enumerate(lead.attribute_history):
            name = clean_text(row["name"])
            is_plain = name in self._plain or name in self._extractors
            if is_plain and name not in self._overwritten and name not in self._history_extractors:
                message = f"{name!r} is not overwritten in this model; send it in attributes"
                raise _refusal(message, f"attribute_history.{i}.name")
            self._check_name(name, f"attribute_history.{i}.name")
            yield from self._parse_change(name, row["known_at"], row["value"], f"attribute_history.{i}.value")

    def _parse_change(self, name: str, known_at: int, value: Any, field: str) -> Iterator[Event]:
        """The change of an overwritten attribute, and of all that is read out of it."""
        if name in self._overwritten:
            yield _change(name, known_at, _parse_value(self._overwritten[name], value, field))
        if name in self._history_extractors:
            text = _parse_value(self._text, value, field, several=True)
            for extracted, extract in self._history_extractors[name]:
                yield _change(extracted, known_at, extract(text))

    def _check_name(self, name: str, field: str) -> None:
        if not any(name in known for known in self._accepted):
            message = f"the model knows no attribute {name[:40]!r}{self._hint(name[:MAX_NAME])}"
            raise InvalidLead(LeadError(code="unknown_attribute", field=_cut(field), message=message))

    def _hint(self, name: str) -> str:
        if self._suggested is None:
            return self._nearest(name)
        if name not in self._suggested and len(self._suggested) >= _MAX_HINTS:
            return ""
        return self._suggested.setdefault(name, self._nearest(name))

    def _find_nearest(self, name: str) -> str:
        read = (self._plain, self._overwritten, self._extractors, self._history_extractors)
        return suggest(name, [known for names in read for known in names])


def _is_extracted(spec: FeatureSpec) -> bool:
    return spec.source == "leads" and bool(spec.of) and spec.extraction is not None


def _check_id(value: object) -> str:
    """The id of a lead in a request. Raises InvalidLead where it can be none."""
    try:
        return LEAD_ID.validate_python(value, strict=True)
    except ValidationError as error:
        refused = invalid_lead(error).error
        raise InvalidLead(refused.model_copy(update={"field": "lead_id"})) from None


def _check_moments(record: LeadRecord, wished: int | str | None, as_of: int, since: int | None) -> None:
    """Raise InvalidLead where the lead did not exist at ``as_of``, or not at ``since``, or that is later."""
    created = record.created_at
    known = created if record.known_at is None else record.known_at
    if not is_visible(created, known, as_of):
        moment = "now, by the clock of this service" if wished is None else "as_of"
        message = f"the lead did not exist yet: created_at must be before {moment}"
        raise _refusal(message, "created_at")
    if since is not None and not (since < as_of and is_visible(created, known, since)):
        message = "nothing to compare with: since must be after created_at and before as_of"
        raise _refusal(message, "since")


def _value_or_none(parse: Callable[[Any], Any], value: Any, *, several: bool = False) -> Any:
    """The value in the model's type; None where it cannot be read, as in a file."""
    if isinstance(value, list) and not several:
        return None
    try:
        return parse(value)
    except ValueError:
        return None


# Of so many texts of a column it is remembered how they read, and of none that is longer.
_REMEMBERED_TEXTS, _LONGEST_REMEMBERED = 1_000, 100


def _or_none(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``_value_or_none`` of one column: most of its texts come again and again, and are read once."""
    remembered = lru_cache(maxsize=_REMEMBERED_TEXTS)(partial(_value_or_none, parse))

    def read(value: Any) -> Any:
        is_short_text = isinstance(value, str) and len(value) <= _LONGEST_REMEMBERED
        return remembered(value) if is_short_text else _value_or_none(parse, value)

    return read


def _extractors(extractions: Iterable[ColumnExtraction]) -> dict[str, list[tuple[str, Extract]]]:
    """By column, what is read out of it and how."""
    by_column: dict[str, list[tuple[str, Extract]]] = {}
    for each in extractions:
        by_column.setdefault(each.column, []).append((each.name, make_extractor(each)))
    return by_column


def _change(name: str, known_at: int, value: Value) -> Event:
    return {"name": name, "known_at": known_at, "value" if isinstance(value, str) else "number": value}


def _parse(spec: FeatureSpec, missing: Collection[str], marks: NumberMarks | None = None) -> Parse:
    number = partial(as_marked_number, marks=marks)
    return partial({"category": as_category, "flag": as_flag}.get(spec.unit, number), missing=missing)


def _number_or_flag(value: Any, *, missing: Collection[str]) -> float | None:
    """The value of an overwritten attribute with numbers, or yes and no, read as in a file."""
    try:
        return as_marked_number(value, None, missing=missing)
    except ValueError:
        if clean_text(str(value)).lower() not in TRUE | FALSE:
            raise
    return as_flag(value, missing=missing)


def _parse_value(parse: Callable[[Any], Any], value: Any, field: str, *, several: bool = False) -> Any:
    """The value in the model's type; a list of choices only where ``several`` of them can be."""
    if isinstance(value, list) and not several:
        message = "a list is read only where the model knows several choices in a cell"
        raise _refusal(message, field)
    try:
        return parse(value)
    except ValueError as error:
        raise _refusal(str(error), field) from None


def _cut(field: str) -> str:
    return field[:_LONGEST_FIELD]


def _refusal(message: str, field: str) -> InvalidLead:
    return InvalidLead(LeadError(code="invalid_value", field=field, message=message[:_LONGEST]))


def _score_time(wished: int | str | None, record: LeadRecord, clock: int) -> int:
    """The moment to score a lead at: the ``as_of`` of the request; without one ``clock``, just after now."""
    after_newest = record.last_known_at + 1
    if isinstance(wished, int):
        return wished
    if wished == NEWEST:
        return after_newest
    return after_newest if clock < after_newest <= clock + CLOCK_SKEW else clock


def _creation_time(lead: Lead, clock: int) -> int:
    """The time of creation: ``created_at``, else the earliest event, at most one second before ``as_of``."""
    if lead.created_at is not None:
        return lead.created_at
    times = [row["occurred_at"] for row in lead.touchpoints]
    times += [row["occurred_at"] for row in lead.transitions]
    times += [row["known_at"] for row in lead.attribute_history]
    if lead.as_of != NEWEST:
        times.append((clock if lead.as_of is None else lead.as_of) - 1)
    return min(times, default=0)


def _known_until(created_at: int | None, record: LeadRecord, as_of: int) -> int | None:
    """The newest time of what is visible at ``as_of``; None where no time was sent."""
    times = [] if created_at is None else [created_at]
    for rows in record.events.values():
        for event in rows:
            happened = event.get("occurred_at", event["known_at"])
            if is_visible(happened, event["known_at"], as_of):
                times.append(max(happened, event["known_at"]))
    return max(times, default=None)


def _each_once(rows: Sequence[_Sent]) -> Iterator[_Sent]:
    """The touchpoints without those that were sent twice: the same in every field, with a time of day.

    Of a table they count once, too; two calls that bear a date alone are two.
    """
    if len({row["occurred_at"] for row in rows}) == len(rows):
        yield from rows
        return
    known: set[frozenset[tuple[str, Any]]] = set()
    for row in rows:
        cells = frozenset(row.items())
        if row["occurred_at"] % DAY == 0 or cells not in known:
            yield row
        known.add(cells)


def _event(row: Touchpoint | Transition) -> Event:
    known_at = row.get("known_at")
    return {**row, "known_at": row["occurred_at"] if known_at is None else known_at}
