"""What a CRM's own message says, as events of the lead store: by JMESPath expressions, item by item."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree as ET

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel, ConfigDict

from features.clock import to_epoch
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jmespath.parser import ParsedResult

Kind = Literal["lead", "touchpoint", "transition", "attribute", "account", "merge", "consent"]
# As many as POST /v1/events takes.
MOST_EVENTS = 1_000
_NO_RULE = "no rule of this source is about it"


class MappingError(ValueError):
    """A mapping that cannot be used, or a message that it cannot read; the message says where and why."""


class EventRule(BaseModel):
    """What one kind of event is made of.

    Attributes:
        type: The event's type, as ``POST /v1/events`` has it.
        when: An expression; where it is false or empty, the rule is not about an item. Default: always.
        each: An expression of a list; the rule makes an event of each entry, which is ``each`` in ``fields``.
        fields: The expression of each field of the event; what is null is left out.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: Kind
    when: str | None = None
    each: str | None = None
    fields: dict[str, str | dict[str, str]]


@dataclass(frozen=True, slots=True)
class MappedEvent:
    """An event as ``POST /v1/events`` takes it, and the path of the item in the message."""

    path: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UnmappedItem:
    """An item that became no event, by its path, and why; ``is_ignored`` where no rule is about it."""

    path: str
    reason: str
    is_ignored: bool = False


class _Functions(functions.Functions):  # type: ignore[misc]  # published without types
    """What CRMs' bodies need beside JMESPath's own functions."""

    def __init__(self, words: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__()
        self._words = words

    @functions.signature({"types": ["number", "string", "null"]})  # type: ignore[untyped-decorator]
    def _func_milliseconds(self, value: Any) -> int | None:
        """A time in milliseconds since 1970 as whole seconds."""
        return None if value is None else int(value) // 1000

    @functions.signature({"types": ["string", "boolean", "null"]})  # type: ignore[untyped-decorator]
    def _func_utc(self, value: Any) -> int | None:
        """A time without an offset, such as ``2026-01-05 09:00:00``, in UTC; Odoo writes false for none."""
        if not isinstance(value, str) or not value:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            msg = f"{value[:40]!r} is not a time"
            raise MappingError(msg) from None
        return to_epoch(moment if moment.tzinfo else moment.replace(tzinfo=UTC))

    @functions.signature({"types": ["string", "number", "boolean", "null"]})  # type: ignore[untyped-decorator]
    def _func_number(self, value: Any) -> float | int | None:
        """A number that comes as text; null for none."""
        return None if _is_empty(value) else _number(value)

    @functions.signature({"types": ["string", "number", "boolean", "null"]})  # type: ignore[untyped-decorator]
    def _func_text(self, value: Any) -> str | None:
        """A value as text; null for the false that Odoo writes for none, and for an empty text."""
        return None if _is_empty(value) else str(value)

    @functions.signature({"types": ["string"]}, {"types": ["string", "number", "boolean", "null"]})  # type: ignore[untyped-decorator]
    def _func_word(self, table: str, value: Any) -> str | None:
        """The word for a value in a table of the source's ``words``; null without a value."""
        if _is_empty(value):
            return None
        words = self._words.get(table)
        if words is None:
            msg = f"the source has no table [words.{table}]{suggest(table, self._words)}"
            raise MappingError(msg)
        if str(value) not in words:
            msg = f"[words.{table}] has no word for {str(value)[:40]!r}"
            raise MappingError(msg)
        return words[str(value)]

    @functions.signature({"types": ["string"]}, {"types": ["string", "number", "boolean", "null"]})  # type: ignore[untyped-decorator]
    def _func_word_or_same(self, table: str, value: Any) -> str | None:
        """The word for a value in a table of the source's ``words``, or without one the value as text."""
        if _is_empty(value):
            return None
        return self._words.get(table, {}).get(str(value), str(value))


def _is_empty(value: Any) -> bool:
    """Whether a CRM means nothing by a value; zero is a number, false is what Odoo writes for none."""
    return value is None or value is False or value == ""


def _number(value: Any) -> float | int:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        msg = f"{str(value)[:40]!r} is not a number"
        raise MappingError(msg)
    return int(number) if number.is_integer() else number


@dataclass(frozen=True)
class Mapper:
    """Makes events of a source's messages.

    Attributes:
        source: The source's name, with which the ids of its events begin.
        items: The expression of the list of items in a message; a single one may stand without a list.
        body: Whether the body is JSON or a SOAP envelope.
        rules: What an item becomes; each rule that is about it makes events.
        words: Tables of words for the function ``word``.
        numbers: Names of attributes whose values are numbers, though they come as text.

    Raises:
        MappingError: An expression cannot be read.
    """

    source: str
    items: str
    body: Literal["json", "soap"]
    rules: tuple[EventRule, ...]
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    numbers: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _ = self._compiled

    @cached_property
    def _options(self) -> jmespath.Options:
        return jmespath.Options(custom_functions=_Functions(self.words))

    @cached_property
    def _compiled(self) -> dict[str, ParsedResult]:
        expressions = {self.items}
        for rule in self.rules:
            expressions |= {each for each in (rule.when, rule.each) if each is not None}
            for value in rule.fields.values():
                expressions |= set(value.values()) if isinstance(value, dict) else {value}
        return {each: self._compile(each) for each in sorted(expressions)}

    def _compile(self, expression: str) -> ParsedResult:
        try:
            return jmespath.compile(expression)
        except JMESPathError as error:
            reason = str(error).partition("\n")[0]
            msg = f"the source {self.source!r}: {expression!r} is not a JMESPath expression ({reason})"
            raise MappingError(msg) from error

    def _search(self, expression: str, item: Any) -> Any:
        return self._compiled[expression].search(item, self._options)

    def parse(self, body: bytes) -> Any:
        """The content of a body. Raises MappingError where it is none of its kind."""
        try:
            return json.loads(body) if self.body == "json" else parse_soap(body)
        except (ValueError, RecursionError, ET.ParseError) as error:
            kind = "JSON" if self.body == "json" else "a SOAP envelope in UTF-8"
            msg = f"the body is not {kind}"
            raise MappingError(msg) from error

    def events(self, content: Any) -> list[MappedEvent | UnmappedItem]:
        """What becomes of each item of a message, in their order.

        Raises:
            MappingError: The items are not where the mapping looks, or become too many events.
        """
        try:
            items = self._search(self.items, content)
        except JMESPathError as error:
            msg = f"{self.items}: {str(error).partition(chr(10))[0]}"
            raise MappingError(msg) from error
        if items is None:
            msg = f"there is nothing at {self.items!r}"
            raise MappingError(msg)
        results: list[MappedEvent | UnmappedItem] = []
        for number, item in enumerate(items if isinstance(items, list) else [items]):
            results += self._of_item(f"{self.items}[{number}]", item)
            if len(results) > MOST_EVENTS:
                msg = f"at most {MOST_EVENTS:,} events are read at once"
                raise MappingError(msg)
        return results

    def _of_item(self, path: str, item: Any) -> list[MappedEvent | UnmappedItem]:
        """What becomes of one item; a rule that fails does not keep the others from it."""
        if not isinstance(item, dict):
            return [UnmappedItem(path, "an object is expected here")]
        results: list[MappedEvent | UnmappedItem] = []
        for rule in self.rules:
            try:
                results += [MappedEvent(path, event) for event in self._of_rule(rule, item)]
            except (MappingError, JMESPathError, ValueError, TypeError, OverflowError) as error:
                results.append(UnmappedItem(path, f"{rule.type}: {str(error).partition(chr(10))[0]}"))
        return results or [UnmappedItem(path, _NO_RULE, is_ignored=True)]

    def _of_rule(self, rule: EventRule, item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if rule.when is not None and not self._search(rule.when, item):
            return
        entries = [None] if rule.each is None else self._search(rule.each, item)
        for entry in entries or ():
            context = item if rule.each is None else {**item, "each": entry}
            event = {"type": rule.type} | {
                name: value
                for name, expression in rule.fields.items()
                if (value := self._field(expression, context)) is not None
            }
            if rule.type == "attribute":
                value = event.get("value")
                event["value"] = self._value(value) if event.get("name") in self.numbers else value
            yield event | {"id": f"{self.source}-{event['id'] if 'id' in event else _digest(event)}"}

    def _field(self, expression: str | Mapping[str, str], context: Any) -> Any:
        if isinstance(expression, str):
            return self._search(expression, context)
        named = {name: self._search(each, context) for name, each in expression.items()}
        return {name: self._value(value) if name in self.numbers else value for name, value in named.items()}

    @staticmethod
    def _value(value: Any) -> Any:
        return None if _is_empty(value) else _number(value)


def _digest(event: Mapping[str, Any]) -> str:
    """The hash of an event's content: the same message, sent again, makes the same events."""
    text = json.dumps(event, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def parse_soap(body: bytes) -> Any:
    """The content of the Body of a SOAP envelope, without namespaces: texts, objects, lists of repetitions.

    >>> parse_soap(b"<E><Body><n><a>1</a><b><c>2</c></b><b><c/></b></n></Body></E>")
    {'n': {'a': '1', 'b': [{'c': '2'}, {'c': None}]}}
    """
    text = body.decode()
    if "<!" in text.replace("<![CDATA[", ""):
        # SOAP forbids them (section 3 of SOAP 1.1), and entities would be declared in one.
        msg = "a SOAP envelope has no document type"
        raise ValueError(msg)
    envelope = ET.fromstring(text)  # noqa: S314  # without a document type there are no entities
    inner = next((each for each in envelope if _local_name(each.tag) == "Body"), None)
    if inner is None:
        msg = "a SOAP envelope has a Body"
        raise ValueError(msg)
    return _content(inner)


def _content(element: ET.Element) -> Any:
    """An element as an object of its children, or as its text; xsi:type is its ``type``."""
    if not len(element):
        return element.text
    content: dict[str, Any] = {}
    kind = next((value for name, value in element.attrib.items() if _local_name(name) == "type"), None)
    if kind is not None:
        content["type"] = kind.rpartition(":")[2]
    for child in element:
        name, value = _local_name(child.tag), _content(child)
        if name not in content:
            content[name] = value
        elif isinstance(content[name], list):
            content[name].append(value)
        else:
            content[name] = [content[name], value]
    return content


def _local_name(name: str) -> str:
    return name.rpartition("}")[2]
