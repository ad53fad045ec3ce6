"""The catalogue of features, by family: what practitioners score leads on, each with its sentence.

``build_feature_set(history)`` takes from it what a history can fill, and adds the company's own columns, its
overwritten attributes and its own kinds of touchpoint. The sentences are in ``locale/<lang>/features.po``, in
the form "label: value", which needs no plural in any language.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from features.display_names import DisplayNames, humanise_name
from features.history import ACCOUNT_PREFIX
from features.messages import LANGUAGES, Message, translate
from features.number_marks import missing_word_cells
from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    FeatureSpec,
    Unit,
    attribute,
    count,
    distinct,
    earliest,
    extracted_attribute,
    history_attribute,
    latest,
    lead_age,
    recency,
    span,
    tenure,
    total,
    trend,
)
from features.word_lists import heading_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from features.extraction import ColumnExtraction, Part
    from features.history import LeadHistory
    from features.messages import Value

WINDOWS = (1, 7, 30, 90)
REQUESTS = ("demo_request", "price_request", "availability_request", "contact_request")
CONVERSIONS = ("form", "download", "webinar", *REQUESTS)

# kind: family. Counted in all, in windows where it says so, and since when.
KINDS: dict[str, str] = {
    "visit": "behaviour",
    "page_view": "behaviour",
    "product_view": "behaviour",
    "pricing_view": "behaviour",
    "download": "behaviour",
    "webinar": "behaviour",
    "cart": "behaviour",
    "form": "conversions",
    "demo_request": "intent",
    "price_request": "intent",
    "availability_request": "intent",
    "contact_request": "intent",
    "email_open": "email",
    "email_click": "email",
    "email_subscribe": "email",
    "email_unsubscribe": "email",
    "social_follow": "social",
    "social_reaction": "social",
    "ad_click": "social",
    "signup": "product",
    "product_use": "product",
    "milestone": "product",
    "limit_hit": "product",
    "plan_change": "product",
}
_FIRST_VALUES, _NUMERIC = 20, 0.95
_KINDS_WITH_WINDOWS = frozenset(
    {"visit", "page_view", "product_view", "pricing_view", "email_open", "email_click"}
)
_KINDS_WITH_MONTH = frozenset({*REQUESTS, "form", "download", "product_use"})
MOST_WINDOWED_KINDS, MOST_COUNTED_KINDS = 20, 100
"""Of a company's own kinds, those that most leads have are counted in windows, further ones in all."""
_MOST_NAMED_VALUES = 1_000
_OFFER_STAGES = ("awareness", "consideration", "decision")
_FAMILIES_BY_NAME = ("qualification", "channel", "email")


def build_feature_set(  # noqa: PLR0913 - what a company tells of its history
    history: LeadHistory,
    *,
    target: str = "sql",
    closed: Sequence[str] = ("disqualified",),
    units: Mapping[str, Unit] | None = None,
    names: DisplayNames | None = None,
    extractions: Sequence[ColumnExtraction] = (),
) -> FeatureSet:
    """Choose every feature that ``history`` can fill: catalogue, own columns, own kinds of touchpoint.

    Args:
        history: What the CRM knows. A channel, an offer or an account that it never names gets no feature.
        target: The stage that is predicted. No open lead has entered it, so it says nothing of one.
        closed: The stages that end a lead's way; the same holds for them.
        units: Units of own Float64 columns that are no plain numbers, such as ``{"newsletter": "flag"}``.
        names: What people call columns, values, kinds and stages. Default: their own names, made readable.
        extractions: How columns of leads and accounts were read out of others.

    Returns:
        The features in the order of families; String columns are categories.
    """
    names = names or DisplayNames()
    read_out = {each.name: each for each in extractions}
    plain = [name for name in history.lead_columns if name not in read_out]
    sources = dict.fromkeys(name for each in extractions for name in each.columns)
    overwritten = [name for name in history.attributes["name"].unique().sort() if name not in read_out]
    wording = _Wording(names, names.columns_apart(dict.fromkeys([*plain, *sources, *overwritten])))
    specs = [
        *_lead_column_specs(history, units or {}, read_out, wording),
        *_history_attribute_specs(history, read_out, wording),
    ]
    if history.touchpoints.height or history.transitions.height:
        specs += [lead_age(_write_sentence("lead_age"))]
    kinds = history.touchpoints["kind"].unique().drop_nulls().sort().to_list()
    if kinds:
        specs += [
            *_touchpoint_specs(kinds, rank_own_kinds(history), names),
            *_channel_specs(history),
            *_offer_specs(history),
            *_total_specs(history),
            *_tempo_specs(),
        ]
        specs += _account_specs(history, target, names)
    specs += _stage_specs(history, {target, *closed}, names)
    return FeatureSet(tuple(_name_values(specs, history, names)))


def infer_family(column: str) -> str:
    """Infer the family of a company's own column from its name.

    Args:
        column: The name as the company has it; columns of accounts start with ``account.``.

    Returns:
        ``"account"``, ``"qualification"``, ``"channel"`` or ``"email"`` where the name says so, else
        ``"fit"``.

    >>> infer_family("Budget range"), infer_family("Lead Source"), infer_family("Specialization")
    ('qualification', 'channel', 'fit')
    >>> infer_family("Entscheider"), infer_family("Campaña"), infer_family("Branche")
    ('qualification', 'channel', 'fit')
    """
    if column.lower().startswith(ACCOUNT_PREFIX):
        return "account"
    return next((name for name in _FAMILIES_BY_NAME if heading_pattern(name).search(column)), "fit")


_EXTRACTED_FAMILIES: dict[Part, str] = {
    "words": "intent",
    **dict.fromkeys(
        ("date_weekday", "date_month", "date_age", "date_lag", "clock_time", "clock_lag"), "tempo"
    ),
}


@dataclass(frozen=True)
class _Wording:
    """How sentences call columns: the names of values, and those of columns, none of which are alike."""

    names: DisplayNames
    columns: Mapping[str, DisplayText]

    def of_column(self, column: str) -> DisplayText:
        """The sentence of a column."""
        return _write_sentence("column", column=self.columns[column])

    def of_extraction(self, extraction: ColumnExtraction) -> DisplayText:
        """The sentence of what is read out of a column."""
        choice = self.names.value(extraction.column, extraction.choice)
        other = self.columns[extraction.other] if extraction.other else ""
        return _write_sentence(
            extraction.part, column=self.columns[extraction.column], choice=choice, other=other
        )


def _extracted_family(extraction: ColumnExtraction) -> str:
    """The family of what is read out of a column."""
    family = infer_family(extraction.column)
    if family == "fit":
        family = _EXTRACTED_FAMILIES.get(extraction.part, family)
    # An address says who the lead is, whatever it subscribed to.
    is_address = extraction.part.startswith("email") and family == "email"
    return "fit" if is_address else family


def _lead_column_specs(
    history: LeadHistory,
    units: Mapping[str, Unit],
    read_out: Mapping[str, ColumnExtraction],
    wording: _Wording,
) -> Iterator[FeatureSpec]:
    """Specs of plain columns, but for those with a history, of which they hold only the newest value."""
    dtypes = dict(history.leads.schema)
    dtypes |= {ACCOUNT_PREFIX + name: dtype for name, dtype in history.accounts.schema.items()}
    overwritten = set(history.attributes["name"].unique())
    for column in history.lead_columns:
        extraction = read_out.get(column)
        if column in overwritten or (extraction is not None and extraction.column in overwritten):
            continue
        if extraction is not None:
            family, says = _extracted_family(extraction), wording.of_extraction(extraction)
            yield extracted_attribute(extraction, family=family, says=says)
            continue
        unit: Unit = "category" if dtypes[column] == pl.String else units.get(column, "number")
        yield attribute(column, family=infer_family(column), says=wording.of_column(column), unit=unit)


def _history_attribute_specs(
    history: LeadHistory, read_out: Mapping[str, ColumnExtraction], wording: _Wording
) -> Iterator[FeatureSpec]:
    """Specs of overwritten attributes; one is a number if all but one in 20 of its first values are.

    The first 20 that the CRM knew decide, without the one word that stands where a number is missing: no
    word of a later day may change what earlier days mean. Where a number is a word after all, the feature is
    missing.
    """
    known = history.attributes.filter(pl.col("value").is_not_null() | pl.col("number").is_not_null())
    first = known.sort("known_at", "value").group_by("name", maintain_order=True).head(_FIRST_VALUES)
    numbers = {
        name: _are_numbers(values) for (name,), values in first.partition_by("name", as_dict=True).items()
    }
    for name in history.attributes["name"].unique().sort():
        if (extraction := read_out.get(name)) is not None:
            family, says = _extracted_family(extraction), wording.of_extraction(extraction)
            yield history_attribute(
                name, family=family, says=says, unit=extraction.unit, extraction=extraction
            )
            continue
        is_number = numbers.get(name, True)
        unit: Unit = "number" if is_number else "category"
        yield history_attribute(name, family=infer_family(name), says=wording.of_column(name), unit=unit)


def _are_numbers(values: pl.DataFrame) -> bool:
    has_number = values["number"].is_not_null()
    is_word = missing_word_cells(values["value"])
    return bool((has_number.filter(~is_word).mean() or 0.0) >= _NUMERIC)  # type: ignore[operator]


def _name_values(
    specs: Sequence[FeatureSpec], history: LeadHistory, names: DisplayNames
) -> Iterator[FeatureSpec]:
    """The specs, those of categories with what people call values, where the values do not show it."""
    known: dict[tuple[str, str], tuple[tuple[str, DisplayText], ...]] = {}
    for spec in specs:
        if spec.unit != "category" or spec.of is None or spec.extraction is not None:
            yield spec
            continue
        column = spec.kind[0] if spec.source == "attributes" else spec.of
        if (spec.source, column) not in known:
            values = category_values(spec, history).drop_nulls().unique().sort().head(_MOST_NAMED_VALUES)
            known[spec.source, column] = names.values_apart(column, values, channels=spec.family == "channel")
        yield replace(spec, value_names=known[spec.source, column])


def category_values(spec: FeatureSpec, history: LeadHistory) -> pl.Series:
    """The values that a category can have, in the table that it reads."""
    column = spec.of or ""
    if spec.source == "attributes":
        return history.attributes.filter(pl.col("name").is_in(spec.kind))[column]
    if spec.source == "leads":
        own = column.removeprefix(ACCOUNT_PREFIX)
        return history.leads[column] if own == column else history.accounts[own]
    return history.touchpoints[column]


def rank_own_kinds(history: LeadHistory) -> list[str]:
    """The company's own kinds of touchpoint, those that most leads have first.

    Args:
        history: What the CRM knows.

    Returns:
        The kinds that are not among ``KINDS``; those that as many leads have are in the order of their names.
    """
    own = sorted(set(history.touchpoints["kind"].drop_nulls().unique()) - KINDS.keys())
    if len(own) <= MOST_WINDOWED_KINDS:
        return own
    rows = history.touchpoints.filter(pl.col("kind").is_in(own))
    leads = rows.group_by("kind").agg(leads=pl.col("lead_id").n_unique())
    return leads.sort(["leads", "kind"], descending=[True, False])["kind"].to_list()


def own_kinds_notice(history: LeadHistory) -> Message | None:
    """The sentence on own kinds that have fewer features than others, or none; None where all have all."""
    own = len(rank_own_kinds(history))
    if own <= MOST_WINDOWED_KINDS:
        return None
    limits = {"own": own, "windowed": MOST_WINDOWED_KINDS, "counted": MOST_COUNTED_KINDS}
    return Message(
        "ingest.many_own_kinds" if own <= MOST_COUNTED_KINDS else "ingest.too_many_own_kinds", **limits
    )


def _touchpoint_specs(kinds: list[str], own: list[str], names: DisplayNames) -> Iterator[FeatureSpec]:
    windowed, uncounted = set(own[:MOST_WINDOWED_KINDS]), set(own[MOST_COUNTED_KINDS:])
    for kind in kinds:
        if kind in uncounted:
            continue
        events = names.texts.get(f"kind.{kind}") or (
            Message(f"touchpoints.{kind}")
            if kind in KINDS
            else Message("touchpoints.own_kind", kind=humanise_name(kind))
        )
        rows = EventSelection(KINDS.get(kind, "behaviour"), "touchpoints", (kind,))
        has_windows = kind in _KINDS_WITH_WINDOWS or kind in windowed
        windows = WINDOWS if has_windows else (30,) if kind in _KINDS_WITH_MONTH else ()
        yield from _count_specs(rows, events, windows)
    groups = {"request": ("intent", REQUESTS), "conversion": ("conversions", CONVERSIONS)}
    for label, (family, members) in groups.items():
        present = tuple(kind for kind in members if kind in kinds)
        if len(present) > 1:
            rows = EventSelection(family, "touchpoints", present, label=label)
            yield from _count_specs(rows, Message(f"touchpoints.{label}"), (30,))
    if "visit" in kinds:
        yield tenure(EventSelection("behaviour", "touchpoints", ("visit",)), _write_sentence("first_visit"))
    if "signup" in kinds:
        yield tenure(EventSelection("product", "touchpoints", ("signup",)), _write_sentence("signed_up"))


def _count_specs(
    rows: EventSelection, events: Message | DisplayText, windows: tuple[int, ...]
) -> Iterator[FeatureSpec]:
    yield count(rows, _write_sentence("count", what=events))
    for days in windows:
        yield count(rows.last(days), _window_sentence(events, days))
    yield recency(rows, _write_sentence("recency", what=events))


def _write_sentence(name: str, **values: Value | DisplayText) -> DisplayText:
    """The sentence called ``name`` in each language, with ``{value}`` left in it."""

    def write(lang: str) -> str:
        words = {
            key: value.render(lang) if isinstance(value, DisplayText) else value
            for key, value in values.items()
        }
        return translate(f"features.{name}", lang, value="{value}", **words)

    return DisplayText(**{lang: write(lang) for lang in LANGUAGES})


def _window_sentence(events: Message | DisplayText, days: int) -> DisplayText:
    return (
        _write_sentence("count_last_day", what=events)
        if days == 1
        else _write_sentence("count_last_days", what=events, days=days)
    )


def _has_values(history: LeadHistory, column: str) -> bool:
    return history.touchpoints[column].null_count() < history.touchpoints.height


def _channel_specs(history: LeadHistory) -> Iterator[FeatureSpec]:
    rows = EventSelection("channel", "touchpoints", label="touch")
    if _has_values(history, "channel"):
        yield earliest(rows, "channel", _write_sentence("first_channel"))
        yield latest(rows, "channel", _write_sentence("last_channel"))
        yield distinct(rows, "channel", _write_sentence("channels"))
    if _has_values(history, "campaign"):
        yield earliest(rows, "campaign", _write_sentence("first_campaign"))
        yield latest(rows, "campaign", _write_sentence("last_campaign"))


def _offer_specs(history: LeadHistory) -> Iterator[FeatureSpec]:
    rows = EventSelection("conversions", "touchpoints", label="touch")
    if _has_values(history, "offer"):
        yield distinct(rows, "offer", _write_sentence("offers"))
        yield latest(rows, "offer", _write_sentence("last_offer"))
    if _has_values(history, "offer_stage"):
        yield latest(rows, "offer_stage", _write_sentence("last_offer_stage"))
        for stage in _OFFER_STAGES:
            offers = EventSelection(
                "conversions", "touchpoints", where=(("offer_stage", stage),), label=f"offer_{stage}"
            )
            yield count(offers, _write_sentence("offers_of_stage", stage=Message(f"offer_stages.{stage}")))


def _total_specs(history: LeadHistory) -> Iterator[FeatureSpec]:
    rows = EventSelection("behaviour", "touchpoints", label="touch")
    if _has_values(history, "seconds"):
        yield total(rows, "seconds", _write_sentence("time_on_site"), "seconds")
    if _has_values(history, "amount"):
        yield total(rows, "amount", _write_sentence("amount"))


def _tempo_specs() -> Iterator[FeatureSpec]:
    rows, events = EventSelection("tempo", "touchpoints", label="touch"), Message("touchpoints.any")
    yield count(rows, _write_sentence("count", what=events))
    for days in WINDOWS:
        yield count(rows.last(days), _window_sentence(events, days))
    yield recency(rows, _write_sentence("last_touchpoint"))
    yield span(rows, _write_sentence("span"))
    yield distinct(rows, "kind", _write_sentence("kinds"))
    yield trend(rows, _write_sentence("trend"))


def _stage_specs(history: LeadHistory, excluded: set[str], names: DisplayNames) -> Iterator[FeatureSpec]:
    stages = set(history.transitions["stage"].drop_nulls()) - excluded
    for stage in sorted(stages):
        rows = EventSelection("qualification", "transitions", (stage,), label=f"stage_{stage}")
        yield recency(rows, _write_sentence("in_stage", stage=names.stage(stage)))


def _account_specs(history: LeadHistory, target: str, names: DisplayNames) -> Iterator[FeatureSpec]:
    if history.leads["account_id"].null_count() == history.leads.height:
        return
    rows = EventSelection("account", "account_touchpoints", label="colleagues")
    requests = EventSelection("account", "account_touchpoints", REQUESTS, label="colleagues_requests")
    conversions = EventSelection(
        "account", "account_touchpoints", CONVERSIONS, label="colleagues_conversions"
    )
    yield distinct(rows, "colleague", _write_sentence("colleagues"))
    yield count(rows.last(30), _window_sentence(Message("touchpoints.colleagues"), 30))
    yield count(conversions, _write_sentence("colleagues_conversions"))
    yield count(requests, _write_sentence("colleagues_requests"))
    targets = EventSelection("account", "account_transitions", (target,), label=f"colleagues_{target}")
    yield count(targets, _write_sentence("colleagues_in_stage", stage=names.stage(target)))
