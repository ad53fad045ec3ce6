"""Features as data: a FeatureSpec is one column of the training matrix, written down once.

Because a spec is a record, it can be interpreted twice, for many snapshots (``features.batch``) and for one
lead (``features.online``), saved with the model and shown to marketing, and still be one definition. Each
spec reduces over ``age = as_of - occurred_at`` of what is visible, so its author cannot name a future row.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

from features.clock import DAY
from features.extraction import ColumnExtraction
from features.messages import LANGUAGES, join_items, translate

Source = Literal[
    "leads",
    "touchpoints",
    "transitions",
    "attributes",
    "account_touchpoints",
    "account_transitions",
    "derived",
]
Reduce = Literal[
    "value",
    "count",
    "total",
    "recency",
    "tenure",
    "span",
    "distinct",
    "latest",
    "earliest",
    "trend",
    "ratio",
    "difference",
    "combination",
]
Unit = Literal["count", "seconds", "money", "number", "flag", "category", "words"]

SOURCES: tuple[Source, ...] = tuple(source for source in get_args(Source) if source != "derived")
OPTIONAL: frozenset[str] = frozenset({"inputs", "value_names", "extraction", "other", "other_mark"})
"""The fields of a spec and of its extraction that most have not; their records leave them out."""
DERIVATIONS: frozenset[str] = frozenset({"ratio", "difference"})
# Whole numbers on every engine before the cast to Float64, so that one IEEE 754 operation on two of them is
# correctly rounded and the same everywhere.
WHOLE: frozenset[str] = frozenset({"count", "total", "distinct", "trend", "recency", "tenure", "span"})
ADDITIVE: frozenset[str] = frozenset({"count", "total", "distinct", "trend"})
TREND_RECENT = 7 * DAY
TREND_BEFORE = 30 * DAY


@dataclass(frozen=True, slots=True)
class DisplayText:
    """The sentence of a feature in each language; ``{value}`` is the place of the lead's own value.

    Attributes:
        en: The English sentence.
        de: The German sentence.
    """

    en: str
    de: str

    def render(self, lang: str) -> str:
        """The sentence in ``lang``, ``"en"`` or ``"de"``."""
        return self.de if lang == "de" else self.en


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One feature: a column of the training matrix, as data that both engines interpret.

    A lead without any matching row gets 0 where rows are added up and null elsewhere: "never" is not the same
    as "at once".

    Attributes:
        name: The column's name, unique in a set.
        family: What reasons are grouped by: fit, channel, behaviour, intent, ...
        source: The table whose rows are folded; ``account_*`` are those of the lead's colleagues.
        reduce: How the rows become one value, e.g. ``"count"`` or ``"recency"``.
        says: The sentence of reasons and reports.
        unit: What the value is counted in; ``"category"`` makes a String column, and so does ``"words"``, the
            words of a text; all else Float64.
        of: The column that is read of each row, where ``reduce`` needs one.
        kind: Kinds (or stages) of the rows that count; empty for all.
        where: Further conditions on the rows, pairs of column and value.
        within: Only rows with ``0 < age < within`` seconds count; None for no limit.
        value_names: What people call values of a category, where that is not to be seen from the value.
        inputs: The features of a derived one, with ``source="derived"``, that reads no rows: the two of a
            ratio or difference, which need not be columns themselves, or those of a combination, which a
            model makes and no feature set folds. Empty for all others.
        extraction: How ``of`` is read out of another column, such as the domain out of an e-mail address;
            None for a column that is there as it is.

    Raises:
        ValueError: ``reduce`` lacks a column to read, or the parts contradict each other.

    >>> demos = EventSelection("intent", "touchpoints", ("demo_request",))
    >>> count(demos.last(30), DisplayText("Demo requests: {value}", "Demo-Anfragen: {value}")).name
    'demo_request.count.30d'
    """

    name: str
    family: str
    source: Source
    reduce: Reduce
    says: DisplayText
    unit: Unit = "count"
    of: str | None = None
    kind: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    within: int | None = None
    inputs: tuple[FeatureSpec, ...] = ()
    value_names: tuple[tuple[str, DisplayText], ...] = ()
    extraction: ColumnExtraction | None = None

    def __post_init__(self) -> None:
        if self.reduce == "combination":
            _check_combination(self)
        elif self.inputs or self.source == "derived" or self.reduce in DERIVATIONS:
            _check_derived(self)
        if self.reduce in {"value", "total", "distinct", "latest", "earliest"} and self.of is None:
            msg = f"{self.name}: {self.reduce} needs a column to read (of=...)"
            raise ValueError(msg)
        if self.reduce == "trend" and self.within is not None:
            msg = f"{self.name}: a trend has its own two windows; leave out within"
            raise ValueError(msg)
        if (self.source == "leads") != (self.reduce == "value" or self.name == "lead.age"):
            msg = f"{self.name}: a lead is one row; read it with attribute() or lead_age()"
            raise ValueError(msg)

    @property
    def is_category(self) -> bool:
        """Whether the column holds words (String) rather than numbers (Float64)."""
        return self.unit in {"category", "words"}

    @property
    def column(self) -> str:
        """The column of the source that it reads, or of which ``of`` is read out; else its name."""
        return (self.of or self.name) if self.extraction is None else self.extraction.column

    @property
    def definition(self) -> tuple[object, ...]:
        """What its values depend on: two specs that differ in words only have the same."""
        inputs = tuple(each.definition for each in self.inputs)
        extraction = () if self.extraction is None else (self.extraction,)
        return self.source, self.reduce, self.of, self.kind, self.where, self.within, inputs, *extraction

    @property
    def empty(self) -> float | None:
        """What a lead without any matching row gets."""
        return 0.0 if self.reduce in ADDITIVE else None


def _check_combination(spec: FeatureSpec) -> None:
    """Raise ValueError unless ``spec`` has the values of two features or more."""
    if spec.source != "derived" or len(spec.inputs) < 2 or not spec.is_category:  # noqa: PLR2004
        msg = (
            f"{spec.name}: a combination has the values of two features or more; write it with combination()"
        )
        raise ValueError(msg)


def _check_derived(spec: FeatureSpec) -> None:
    """Raise ValueError unless ``spec`` is two features that read whole numbers, and nothing else."""
    if spec.source != "derived" or spec.reduce not in DERIVATIONS or len(spec.inputs) != 2:  # noqa: PLR2004
        msg = f"{spec.name}: a derived feature has two inputs; write it with ratio() or difference()"
        raise ValueError(msg)
    if spec.kind or spec.where or spec.of is not None or spec.within is not None or spec.is_category:
        msg = f"{spec.name}: a derived feature reads no rows; its inputs say which rows they fold"
        raise ValueError(msg)
    if wrong := [each for each in spec.inputs if each.reduce not in WHOLE or each.is_category]:
        msg = (
            f"{spec.name}: {wrong[0].name} is folded by {wrong[0].reduce}; a ratio or difference takes whole "
            f"numbers: {', '.join(sorted(WHOLE))}"
        )
        raise ValueError(msg)


@dataclass(frozen=True)
class FeatureSet:
    """An ordered set of features, saved with its model: a later catalogue does not change its columns.

    Attributes:
        specs: The features, in the order of the matrix; names are unique.

    Raises:
        ValueError: two features share a name.
    """

    specs: tuple[FeatureSpec, ...]

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.specs]
        inputs = {(each.name, each.definition) for spec in self.specs for each in spec.inputs}
        names += [name for name, _ in inputs - {(spec.name, spec.definition) for spec in self.specs}]
        if duplicates := sorted({name for name in names if names.count(name) > 1}):
            msg = f"two features share the name {duplicates[0]!r}; names are the columns of the matrix"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.specs)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in the order of the matrix."""
        return tuple(spec.name for spec in self.specs)

    @cached_property
    def folds(self) -> tuple[FeatureSpec, ...]:
        """The specs that read rows, each one once: those of the set, and what its derived features need."""
        own = [spec for spec in self.specs if not spec.inputs]
        needed = [each for spec in self.specs for each in spec.inputs]
        by_name: dict[str, FeatureSpec] = {}
        for spec in (*own, *needed):
            by_name.setdefault(spec.name, spec)
        return tuple(by_name.values())

    @property
    def texts(self) -> frozenset[str]:
        """The names of the features that hold the words of a text."""
        return frozenset(spec.name for spec in self.specs if spec.unit == "words")

    @property
    def aging(self) -> frozenset[str]:
        """The features that grow with a lead's age, and with the time since its last touchpoint."""
        return frozenset(
            spec.name
            for spec in self.specs
            if spec.name == "lead.age"
            or (spec.source, spec.reduce, spec.within, spec.kind, spec.where)
            == ("touchpoints", "recency", None, (), ())
        )

    @property
    def extractions(self) -> tuple[ColumnExtraction, ...]:
        """What is read out of plain columns of the leads and accounts."""
        return tuple(
            spec.extraction for spec in self.specs if spec.extraction is not None and spec.source == "leads"
        )

    @property
    def history_extractions(self) -> tuple[ColumnExtraction, ...]:
        """What is read out of overwritten attributes."""
        return tuple(
            spec.extraction
            for spec in self.specs
            if spec.extraction is not None and spec.source == "attributes"
        )

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change whenever any feature's definition does."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def without(self, names: frozenset[str] | set[str]) -> FeatureSet:
        """The set less the features called ``names``."""
        return FeatureSet(tuple(spec for spec in self.specs if spec.name not in names))

    def to_json(self) -> str:
        """The specs as JSON text; ``from_json`` gives back an equal set."""
        records = [asdict(spec, dict_factory=omit_empty_fields) for spec in self.specs]
        return json.dumps(records, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> FeatureSet:
        """Read the set that ``to_json`` wrote from its ``text``.

        Raises:
            ValueError: the text is no JSON, or a spec is invalid.
            TypeError: a record has fields that a spec does not have.
        """
        return cls(tuple(_spec_from_record(record) for record in json.loads(text)))


def omit_empty_fields(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a record for ``asdict``, without those of ``OPTIONAL`` that hold nothing.

    So sets without such features keep their text and fingerprint from before there were any.
    """
    return {name: value for name, value in fields if name not in OPTIONAL or value}


def _spec_from_record(record: dict[str, Any]) -> FeatureSpec:
    return FeatureSpec(
        **record
        | {
            "inputs": tuple(_spec_from_record(each) for each in record.get("inputs", ())),
            "says": DisplayText(**record["says"]),
            "kind": tuple(record["kind"]),
            "where": tuple((column, value) for column, value in record["where"]),
            "value_names": tuple(
                (value, DisplayText(**text)) for value, text in record.get("value_names", ())
            ),
            "extraction": _extraction_from_record(record.get("extraction")),
        }
    )


def _extraction_from_record(record: dict[str, Any] | None) -> ColumnExtraction | None:
    return None if record is None else ColumnExtraction.from_record(record)


def extracted_attribute(extraction: ColumnExtraction, *, family: str, says: DisplayText) -> FeatureSpec:
    """Read what is read out of a plain column of the lead, or of its account.

    Args:
        extraction: What is read out of which column.
        family: What reasons are grouped by.
        says: The sentence of reasons and reports.

    Returns:
        The feature, called as the extracted column.
    """
    name = extraction.name
    return FeatureSpec(name, family, "leads", "value", says, extraction.unit, of=name, extraction=extraction)


def attribute(column: str, *, family: str, says: DisplayText, unit: Unit = "category") -> FeatureSpec:
    """Read a plain column of the lead, or of its account, known since the lead was created.

    Args:
        column: The column of ``leads``; those of accounts are called ``account.<column>``.
        family: What reasons are grouped by.
        says: The sentence of reasons and reports.
        unit: ``"category"`` for words (default), else what the number is counted in.

    Returns:
        The feature, called as the column.
    """
    return FeatureSpec(column, family, "leads", "value", says, unit, of=column)


def history_attribute(
    name: str,
    *,
    family: str,
    says: DisplayText,
    unit: Unit = "category",
    extraction: ColumnExtraction | None = None,
) -> FeatureSpec:
    """Read an attribute that the CRM overwrites, as it stood at the snapshot.

    Args:
        name: The ``name`` of its rows in ``attributes``.
        family: What reasons are grouped by.
        says: The sentence of reasons and reports.
        unit: ``"category"`` (default) and ``"words"`` read the text, all else the number.
        extraction: How it is read out of another attribute; None for one that is there as it is.

    Returns:
        The feature, called as the attribute.
    """
    of = "value" if unit in {"category", "words"} else "number"
    return FeatureSpec(
        name, family, "attributes", "latest", says, unit, of=of, kind=(name,), extraction=extraction
    )


def lead_age(says: DisplayText) -> FeatureSpec:
    """Measure the seconds since the lead was created.

    Args:
        says: The sentence of reasons and reports.

    Returns:
        The feature ``lead.age`` of the family ``tempo``.
    """
    return FeatureSpec("lead.age", "tempo", "leads", "tenure", says, "seconds")


@dataclass(frozen=True, slots=True)
class EventSelection:
    """Which events a feature folds: what several features of the same events share.

    Attributes:
        family: What reasons are grouped by.
        source: The table of the events.
        kind: Kinds (or stages) that count; empty for all.
        where: Further conditions, pairs of column and value.
        label: First part of the features' names. Default the kinds, or ``any``.
        seconds: Only events younger than this count; None for all.

    >>> EventSelection("intent", "touchpoints", ("demo_request",)).last(7).label
    'demo_request'
    """

    family: str
    source: Source
    kind: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    label: str = ""
    seconds: int | None = None

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", "_or_".join(self.kind) or "any")

    def last(self, days: int) -> EventSelection:
        """The same rows, those younger than ``days`` days."""
        return replace(self, seconds=days * DAY)

    def spec(self, reduce: Reduce, says: DisplayText, unit: Unit, of: str | None = None) -> FeatureSpec:
        """Make a feature of these events; the functions ``count``, ``total``, ``recency``, ... call it.

        Args:
            reduce: How the events become one value.
            says: The sentence of reasons and reports.
            unit: What the value is counted in.
            of: The column that is read, where ``reduce`` needs one.

        Returns:
            The feature, called ``label[.of].reduce[.days d]``.
        """
        column = f".{of}" if of else ""
        window = f".{self.seconds // DAY}d" if self.seconds else ""
        name = f"{self.label}{column}.{reduce}{window}"
        return FeatureSpec(
            name, self.family, self.source, reduce, says, unit, of, self.kind, self.where, self.seconds
        )


def count(rows: EventSelection, says: DisplayText) -> FeatureSpec:
    """Count the events.

    Args:
        rows: Which events.
        says: The sentence of reasons and reports.

    Returns:
        A feature that is 0 where there are none.
    """
    return rows.spec("count", says, "count")


def total(rows: EventSelection, of: str, says: DisplayText, unit: Unit = "money") -> FeatureSpec:
    """Sum an integer column over the events.

    Args:
        rows: Which events.
        of: The column, e.g. ``"amount"`` (minor units) or ``"seconds"``.
        says: The sentence of reasons and reports.
        unit: What the sum is counted in. Default ``"money"``.

    Returns:
        A feature that is 0 where there are none.
    """
    return rows.spec("total", says, unit, of)


def recency(rows: EventSelection, says: DisplayText) -> FeatureSpec:
    """Measure the seconds since the latest event.

    Args:
        rows: Which events.
        says: The sentence of reasons and reports.

    Returns:
        A feature that is null where there are none.
    """
    return rows.spec("recency", says, "seconds")


def tenure(rows: EventSelection, says: DisplayText) -> FeatureSpec:
    """Measure the seconds since the first event.

    Args:
        rows: Which events.
        says: The sentence of reasons and reports.

    Returns:
        A feature that is null where there are none.
    """
    return rows.spec("tenure", says, "seconds")


def span(rows: EventSelection, says: DisplayText) -> FeatureSpec:
    """Measure the seconds between the first event and the latest.

    Args:
        rows: Which events.
        says: The sentence of reasons and reports.

    Returns:
        A feature that is null where there are none.
    """
    return rows.spec("span", says, "seconds")


def distinct(rows: EventSelection, of: str, says: DisplayText) -> FeatureSpec:
    """Count the different values of a column over the events; missing values do not count.

    Args:
        rows: Which events.
        of: The column.
        says: The sentence of reasons and reports.

    Returns:
        A feature that is 0 where there are none.
    """
    return rows.spec("distinct", says, "count", of)


def trend(rows: EventSelection, says: DisplayText) -> FeatureSpec:
    """Compare activity: 30 x events of the last 7 days less 7 x events of the 30 days before.

    Both sides are scaled to the same 210 days, so 0 means "as before", and no division is needed.

    Args:
        rows: Which events; they cannot have a window of their own.
        says: The sentence of reasons and reports.

    Returns:
        A feature that is 0 where there are none.
    """
    return rows.spec("trend", says, "number")


def latest(rows: EventSelection, of: str, says: DisplayText) -> FeatureSpec:
    """Read a column of the latest event with a value; among events of one second, the greatest value.

    Args:
        rows: Which events.
        of: The column, e.g. ``"channel"``.
        says: The sentence of reasons and reports.

    Returns:
        A category that is null where there is no value.
    """
    return rows.spec("latest", says, "category", of)


def earliest(rows: EventSelection, of: str, says: DisplayText) -> FeatureSpec:
    """Read a column of the first event with a value; among events of one second, the greatest value.

    Args:
        rows: Which events.
        of: The column, e.g. ``"channel"``.
        says: The sentence of reasons and reports.

    Returns:
        A category that is null where there is no value.
    """
    return rows.spec("earliest", says, "category", of)


def combination(inputs: tuple[FeatureSpec, ...], name: str) -> FeatureSpec:
    """The values that several features have together, for what a model learned of them.

    A model reads them off its columns, so this is a name for reasons and reports: no engine folds it.

    Args:
        inputs: The features.
        name: The name of the combination.

    Returns:
        A category of the family of the first feature.

    >>> team, product = (attribute(x, family="fit", says=DisplayText(f"{x}: {{value}}", f"{x}: {{value}}"))
    ...                  for x in ("Team", "Product"))
    >>> combination((team, product), "Team x Product").says.render("de")
    'Team und Product zusammen: {value}'
    """
    texts = {
        lang: translate(
            "values.together", lang, columns=join_items("and", [_title(each, lang) for each in inputs])
        )
        for lang in LANGUAGES
    }
    says = DisplayText(**{lang: f"{text}: {{value}}" for lang, text in texts.items()})
    return FeatureSpec(name, inputs[0].family, "derived", "combination", says, "category", inputs=inputs)


def _title(spec: FeatureSpec, lang: str) -> str:
    """The sentence of a feature without the value, or its name where the value is within the sentence."""
    before, value, after = spec.says.render(lang).partition(": {value}")
    return before if value and not after else spec.name


def ratio(
    numerator: FeatureSpec,
    denominator: FeatureSpec,
    says: DisplayText,
    *,
    name: str | None = None,
    family: str | None = None,
) -> FeatureSpec:
    """One feature divided by another; missing where the denominator is 0 or either one is missing.

    Both are whole numbers, so that a single IEEE 754 division gives the same bits on every engine.

    Args:
        numerator: A count, total, distinct, trend, recency, tenure or span.
        denominator: The same.
        says: The sentence of the ratio, in each language.
        name: The column; by default the names of both with ``.per.`` between them.
        family: By default that of the numerator.

    Returns:
        A spec for any feature set. Its inputs are folded for it and need not be in the set themselves.

    Raises:
        ValueError: An input is a category, a plain column, or derived itself.

    >>> mails = EventSelection("email", "touchpoints", ("email_click",))
    >>> opens = EventSelection("email", "touchpoints", ("email_open",))
    >>> text = DisplayText("Clicks per opened e-mail: {value}", "Klicks je geöffneter E-Mail: {value}")
    >>> ratio(count(mails, text), count(opens, text), text).name
    'email_click.count.per.email_open.count'
    """
    column = name or f"{numerator.name}.per.{denominator.name}"
    inputs = (numerator, denominator)
    return FeatureSpec(column, family or numerator.family, "derived", "ratio", says, "number", inputs=inputs)


def difference(
    minuend: FeatureSpec,
    subtrahend: FeatureSpec,
    says: DisplayText,
    *,
    name: str | None = None,
    family: str | None = None,
) -> FeatureSpec:
    """One feature less another of the same unit; missing where either one is.

    Args:
        minuend: A count, total, distinct, trend, recency, tenure or span.
        subtrahend: The same, in the unit of ``minuend``.
        says: The sentence of the difference, in each language.
        name: The column; by default the names of both with ``.less.`` between them.
        family: By default that of the minuend.

    Returns:
        A spec for any feature set. Its inputs are folded for it and need not be in the set themselves.

    Raises:
        ValueError: The units differ, or an input is a category, a plain column, or derived itself.

    >>> visits = EventSelection("behaviour", "touchpoints", ("visit",))
    >>> text = DisplayText("Days between: {value}", "Tage dazwischen: {value}")
    >>> difference(tenure(visits, text), recency(visits, text), text).unit
    'seconds'
    """
    column = name or f"{minuend.name}.less.{subtrahend.name}"
    if minuend.unit != subtrahend.unit:
        msg = f"{column}: {minuend.unit} less {subtrahend.unit} is no quantity; take two of one unit"
        raise ValueError(msg)
    inputs = (minuend, subtrahend)
    return FeatureSpec(
        column, family or minuend.family, "derived", "difference", says, minuend.unit, inputs=inputs
    )
