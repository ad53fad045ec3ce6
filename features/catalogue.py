"""THE list of features, by family: what practitioners score leads on, each with its one sentence.

``features_of(history)`` takes from it what a history can fill, and adds the company's own columns, its
overwritten attributes and its own kinds of touchpoint. Sentences are "label: value", which needs no plural in
any language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.history import ACCOUNT_PREFIX
from features.spec import (
    FeatureSet,
    FeatureSpec,
    Rows,
    Says,
    Unit,
    attribute,
    count,
    distinct,
    earliest,
    history_attribute,
    latest,
    lead_age,
    recency,
    span,
    tenure,
    total,
    trend,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from features.history import LeadHistory

WINDOWS = (1, 7, 30, 90)
REQUESTS = ("demo_request", "price_request", "availability_request", "contact_request")
CONVERSIONS = ("form", "download", "webinar", *REQUESTS)
PAGES = ("page_view", "product_view", "pricing_view")

# kind: (family, English plural, German plural). Counted in all, in windows where it says so, and since when.
KINDS: dict[str, tuple[str, str, str]] = {
    "visit": ("behaviour", "Visits", "Besuche"),
    "page_view": ("behaviour", "Page views", "Seitenaufrufe"),
    "product_view": ("behaviour", "Product page views", "Aufrufe von Produktseiten"),
    "pricing_view": ("behaviour", "Pricing page views", "Aufrufe der Preisseite"),
    "download": ("behaviour", "Downloads", "Downloads"),
    "webinar": ("behaviour", "Webinars attended", "Besuchte Webinare"),
    "cart": ("behaviour", "Articles put in the cart", "Artikel im Warenkorb"),
    "form": ("conversions", "Forms filled in", "Ausgefüllte Formulare"),
    "demo_request": ("intent", "Demo requests", "Demo-Anfragen"),
    "price_request": ("intent", "Price requests", "Preisanfragen"),
    "availability_request": ("intent", "Availability requests", "Verfügbarkeitsanfragen"),
    "contact_request": ("intent", "Contact requests", "Kontaktanfragen"),
    "email_open": ("email", "E-mails opened", "Geöffnete E-Mails"),
    "email_click": ("email", "Links clicked in e-mails", "Klicks in E-Mails"),
    "email_subscribe": ("email", "Newsletter subscriptions", "Newsletter-Anmeldungen"),
    "email_unsubscribe": ("email", "Newsletter cancellations", "Newsletter-Abmeldungen"),
    "social_follow": ("social", "Follows", "Follows"),
    "social_reaction": ("social", "Reactions in social media", "Reaktionen in sozialen Medien"),
    "ad_click": ("social", "Clicks on adverts", "Klicks auf Anzeigen"),
    "signup": ("product", "Product sign-ups", "Produkt-Anmeldungen"),
    "product_use": ("product", "Uses of the product", "Nutzungen des Produkts"),
    "milestone": ("product", "Product milestones reached", "Erreichte Produkt-Meilensteine"),
    "limit_hit": ("product", "Times a product limit was hit", "Erreichte Produkt-Limits"),
    "plan_change": ("product", "Changes of the product plan", "Wechsel des Produkt-Tarifs"),
}
_WINDOWED = frozenset({"visit", "page_view", "product_view", "pricing_view", "email_open", "email_click"})
_WINDOWED_MONTH = frozenset({*REQUESTS, "form", "download", "product_use"})
_OFFER_STAGES = {
    "awareness": ("awareness", "Aufmerksamkeit"),
    "consideration": ("consideration", "Abwägung"),
    "decision": ("decision", "Entscheidung"),
}
_ROLES: dict[str, tuple[str, ...]] = {
    "qualification": ("budget", "authority", "need", "timeline", "decision_maker", "location"),
    "channel": ("channel", "source", "origin", "campaign", "medium", "referrer", "landing"),
    "email": ("subscri", "newsletter", "opt_in", "optin", "do not email"),
}


def features_of(
    history: LeadHistory,
    *,
    target: str = "sql",
    closed: Sequence[str] = ("disqualified",),
    units: Mapping[str, Unit] | None = None,
) -> FeatureSet:
    """Every feature that ``history`` can fill: catalogue, own columns, own kinds.

    An open lead has entered neither ``target`` nor a ``closed`` stage, so only the other stages say anything
    of it. ``units`` names columns that are flags; other Float64 columns are numbers, String ones categories.
    """
    specs = [*_columns(history, units or {}), *_overwritten(history)]
    if history.touchpoints.height or history.transitions.height:
        specs += [lead_age(Says("Lead known for: {value}", "Lead bekannt seit: {value}"))]
    kinds = history.touchpoints["kind"].unique().drop_nulls().sort().to_list()
    if kinds:
        specs += [*_touches(kinds), *_channels(history), *_offers(history), *_sums(history), *_tempo()]
        specs += _account(history, target)
    specs += _stages(history, {target, *closed})
    return FeatureSet(tuple(specs))


def family_of(column: str) -> str:
    """The family of a company's own column, told from its name; fit where nothing else speaks for itself.

    >>> family_of("Budget range"), family_of("Lead Source"), family_of("Specialization")
    ('qualification', 'channel', 'fit')
    """
    name = column.lower()
    if name.startswith(ACCOUNT_PREFIX):
        return "account"
    return next((family for family, words in _ROLES.items() if any(w in name for w in words)), "fit")


def _own(column: str) -> Says:
    return Says(f"{column}: {{value}}", f"{column}: {{value}}")


def _columns(history: LeadHistory, units: Mapping[str, Unit]) -> Iterator[FeatureSpec]:
    """Plain columns, but for those whose history is known too: they hold what was written last."""
    dtypes = dict(history.leads.schema)
    dtypes |= {ACCOUNT_PREFIX + name: dtype for name, dtype in history.accounts.schema.items()}
    overwritten = set(history.attributes["name"].unique())
    for column in history.lead_columns:
        if column in overwritten:
            continue
        unit: Unit = "category" if dtypes[column] == pl.String else units.get(column, "number")
        yield attribute(column, family=family_of(column), says=_own(column), unit=unit)


def _overwritten(history: LeadHistory) -> Iterator[FeatureSpec]:
    """An overwritten attribute is a number if all its values are."""
    numeric = pl.col("number").is_not_null() | pl.col("value").is_null()
    names = history.attributes.group_by("name").agg(numeric=numeric.all()).sort("name")
    for name, is_number in names.iter_rows():
        unit: Unit = "number" if is_number else "category"
        yield history_attribute(name, family=family_of(name), says=_own(name), unit=unit)


def _touches(kinds: list[str]) -> Iterator[FeatureSpec]:
    for kind in kinds:
        family, english, german = KINDS.get(kind, ("behaviour", f"{kind!r}", f"„{kind}“"))
        rows = Rows(family, "touchpoints", (kind,))
        windows = WINDOWS if kind in _WINDOWED else (30,) if kind in _WINDOWED_MONTH else ()
        yield count(rows, Says(f"{english} so far: {{value}}", f"{german} bisher: {{value}}"))
        for days in windows:
            yield count(rows.within(days), _window(english, german, days))
        yield recency(rows, Says(f"{english}, last: {{value}} ago", f"{german}, zuletzt vor: {{value}}"))
    groups = {"request": ("intent", REQUESTS), "conversion": ("conversions", CONVERSIONS)}
    for label, (family, members) in groups.items():
        present = tuple(kind for kind in members if kind in kinds)
        if len(present) > 1:
            yield from _group(Rows(family, "touchpoints", present, label=label))
    if "visit" in kinds:
        rows = Rows("behaviour", "touchpoints", ("visit",))
        yield tenure(rows, Says("First visit: {value} ago", "Erster Besuch vor: {value}"))
    if "signup" in kinds:
        rows = Rows("product", "touchpoints", ("signup",))
        yield tenure(rows, Says("Signed up: {value} ago", "Angemeldet vor: {value}"))


def _window(english: str, german: str, days: int) -> Says:
    if days == 1:
        return Says(f"{english} in the last day: {{value}}", f"{german} am letzten Tag: {{value}}")
    return Says(
        f"{english} in the last {days} days: {{value}}", f"{german} in den letzten {days} Tagen: {{value}}"
    )


_GROUPS = {
    "request": ("Requests of any kind", "Anfragen jeder Art"),
    "conversion": ("Conversions", "Conversions"),
}


def _group(rows: Rows) -> Iterator[FeatureSpec]:
    english, german = _GROUPS[rows.label]
    yield count(rows, Says(f"{english} so far: {{value}}", f"{german} bisher: {{value}}"))
    yield count(rows.within(30), _window(english, german, 30))
    yield recency(rows, Says(f"{english}, last: {{value}} ago", f"{german}, zuletzt vor: {{value}}"))


def _has(history: LeadHistory, column: str) -> bool:
    return history.touchpoints[column].null_count() < history.touchpoints.height


def _channels(history: LeadHistory) -> Iterator[FeatureSpec]:
    rows = Rows("channel", "touchpoints", label="touch")
    if _has(history, "channel"):
        yield earliest(rows, "channel", Says("First channel: {value}", "Erster Kanal: {value}"))
        yield latest(rows, "channel", Says("Last channel: {value}", "Letzter Kanal: {value}"))
        yield distinct(rows, "channel", Says("Different channels: {value}", "Verschiedene Kanäle: {value}"))
    if _has(history, "campaign"):
        yield earliest(rows, "campaign", Says("First campaign: {value}", "Erste Kampagne: {value}"))
        yield latest(rows, "campaign", Says("Last campaign: {value}", "Letzte Kampagne: {value}"))


def _offers(history: LeadHistory) -> Iterator[FeatureSpec]:
    rows = Rows("conversions", "touchpoints", label="touch")
    if _has(history, "offer"):
        yield distinct(rows, "offer", Says("Different offers: {value}", "Verschiedene Angebote: {value}"))
        yield latest(rows, "offer", Says("Last offer: {value}", "Letztes Angebot: {value}"))
    if _has(history, "offer_stage"):
        yield latest(
            rows,
            "offer_stage",
            Says("Stage of the last offer: {value}", "Stufe des letzten Angebots: {value}"),
        )
        for stage, (english, german) in _OFFER_STAGES.items():
            staged = Rows(
                "conversions", "touchpoints", where=(("offer_stage", stage),), label=f"offer_{stage}"
            )
            yield count(
                staged,
                Says(f"Offers of the {english} stage: {{value}}", f"Angebote der Stufe {german}: {{value}}"),
            )


def _sums(history: LeadHistory) -> Iterator[FeatureSpec]:
    rows = Rows("behaviour", "touchpoints", label="touch")
    if _has(history, "seconds"):
        yield total(
            rows, "seconds", Says("Time on site: {value}", "Zeit auf der Website: {value}"), "seconds"
        )
    if _has(history, "amount"):
        yield total(rows, "amount", Says("Value of what it did: {value}", "Wert seiner Aktionen: {value}"))


def _tempo() -> Iterator[FeatureSpec]:
    rows = Rows("tempo", "touchpoints", label="touch")
    yield count(rows, Says("Touchpoints so far: {value}", "Kontaktpunkte bisher: {value}"))
    for days in WINDOWS:
        yield count(rows.within(days), _window("Touchpoints", "Kontaktpunkte", days))
    yield recency(rows, Says("Last touchpoint: {value} ago", "Letzter Kontaktpunkt vor: {value}"))
    yield span(
        rows, Says("From first to last touchpoint: {value}", "Vom ersten zum letzten Kontaktpunkt: {value}")
    )
    yield distinct(rows, "kind", Says("Kinds of touchpoint: {value}", "Arten von Kontaktpunkten: {value}"))
    yield trend(
        rows, Says("Activity against the month before: {value}", "Aktivität gegen den Vormonat: {value}")
    )


def _stages(history: LeadHistory, never: set[str]) -> Iterator[FeatureSpec]:
    stages = set(history.transitions["stage"].drop_nulls()) - never
    for stage in sorted(stages):
        rows = Rows("qualification", "transitions", (stage,), label=f"stage_{stage}")
        yield recency(rows, Says(f"In stage {stage} for: {{value}}", f"In Stufe {stage} seit: {{value}}"))


def _account(history: LeadHistory, target: str) -> Iterator[FeatureSpec]:
    if history.leads["account_id"].null_count() == history.leads.height:
        return
    rows = Rows("account", "account_touchpoints", label="colleagues")
    asked = Rows("account", "account_touchpoints", REQUESTS, label="colleagues_requests")
    converted = Rows("account", "account_touchpoints", CONVERSIONS, label="colleagues_conversions")
    yield distinct(rows, "colleague", Says("Active colleagues: {value}", "Aktive Kollegen: {value}"))
    yield count(rows.within(30), _window("Colleagues' touchpoints", "Kontaktpunkte der Kollegen", 30))
    yield count(converted, Says("Colleagues' conversions: {value}", "Conversions der Kollegen: {value}"))
    yield count(asked, Says("Colleagues' requests: {value}", "Anfragen der Kollegen: {value}"))
    won = Rows("account", "account_transitions", (target,), label=f"colleagues_{target}")
    yield count(
        won, Says(f"Colleagues in stage {target}: {{value}}", f"Kollegen in Stufe {target}: {{value}}")
    )
