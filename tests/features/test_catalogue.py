"""The catalogue covers what practitioners score leads on, and everything that a company has of its own."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from full_history import CATALOGUE, FULL_HISTORY

from features.catalogue import KINDS, WINDOWS, build_feature_set, infer_family, own_kinds_notice
from features.clock import DAY
from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from models.explanation import render_sentence

FAMILIES = {
    "fit",
    "channel",
    "conversions",
    "behaviour",
    "intent",
    "email",
    "social",
    "product",
    "qualification",
    "account",
    "tempo",
}


def names(features):
    return set(features.names)


def touched(*kinds, **columns):
    """A history of one lead with a touchpoint of each kind."""
    rows = [{"lead_id": "x", "occurred_at": 1, "known_at": 1, "kind": kind, **columns} for kind in kinds]
    return replace(
        LeadHistory.from_leads(pl.DataFrame({"lead_id": ["x"], "created_at": [0]}), 10),
        touchpoints=pl.DataFrame(rows, schema=TOUCHPOINT_SCHEMA),
    )


def test_every_family_is_there_when_the_history_has_everything():
    assert {spec.family for spec in CATALOGUE.specs} == FAMILIES


@pytest.mark.parametrize(
    ("family", "features"),
    [
        ("channel", {"touch.channel.earliest", "touch.channel.latest", "touch.channel.distinct"}),
        ("channel", {"touch.campaign.earliest", "touch.campaign.latest"}),
        ("conversions", {"form.count", "touch.offer.distinct", "touch.offer.latest", "conversion.count"}),
        ("conversions", {"touch.offer_stage.latest", "offer_decision.count", "offer_awareness.count"}),
        ("behaviour", {f"visit.count.{days}d" for days in WINDOWS} | {"visit.count", "visit.tenure"}),
        ("behaviour", {"product_view.count.7d", "pricing_view.count.7d", "download.count", "webinar.count"}),
        ("behaviour", {"cart.count", "touch.seconds.total", "touch.amount.total"}),
        ("intent", {f"{what}_request.count" for what in ("demo", "price", "availability", "contact")}),
        ("intent", {f"{what}_request.recency" for what in ("demo", "price", "availability", "contact")}),
        ("email", {"email_open.count", "email_click.count", "email_unsubscribe.count"}),
        ("email", {"email_subscribe.recency", "email_unsubscribe.recency"}),
        ("social", {"social_follow.count", "social_reaction.count", "ad_click.count"}),
        ("product", {"product_use.count.30d", "milestone.count", "limit_hit.count", "signup.tenure"}),
        ("qualification", {"stage_mql.recency", "stage_sal.recency", "budget"}),
        ("account", {"colleagues.colleague.distinct", "colleagues_conversions.count"}),
        ("account", {"colleagues_requests.count", "colleagues_sql.count", "account.sector"}),
        ("tempo", {"lead.age", "touch.count.7d", "touch.span", "touch.trend", "touch.recency"}),
        ("fit", {"country", "employees"}),
    ],
)
def test_a_family_holds_the_signals_that_the_design_names(family, features):
    assert features <= names(CATALOGUE)
    assert {spec.family for spec in CATALOGUE.specs if spec.name in features} == {family}


def test_every_feature_has_a_sentence_for_its_own_value_in_both_languages():
    for spec in CATALOGUE.specs:
        value = "somewhere" if spec.is_category else 3.0
        for lang in ("en", "de"):
            text = render_sentence(spec, value, lang)
            assert text
            assert "{" not in text


def test_every_known_kind_and_the_companys_own_are_counted_and_dated():
    for kind in [*KINDS, "our own kind"]:
        assert {f"{kind}.count", f"{kind}.recency"} <= names(CATALOGUE)


def test_own_kinds_have_the_windows_of_the_known_ones():
    windows = {name.removeprefix("visit.") for name in names(CATALOGUE) if name.startswith("visit.")}
    own = {f"our own kind.{name}" for name in windows - {"tenure"}}
    assert own == {name for name in names(CATALOGUE) if name.startswith("our own kind.")}
    assert {"our own kind.count.1d", "our own kind.count.90d"} <= own


def test_many_own_kinds_do_not_blow_up_the_features_and_that_is_said():
    kinds = [f"own {number:03}" for number in range(130)]
    rows = [
        {"lead_id": f"lead {lead}", "occurred_at": 2, "known_at": 2, "kind": kind}
        for place, kind in enumerate(kinds)
        for lead in range(2 if place >= 110 else 1)
    ]
    history = replace(FULL_HISTORY, touchpoints=pl.DataFrame(rows, schema=TOUCHPOINT_SCHEMA))
    own = [spec for spec in build_feature_set(history).specs if spec.kind and spec.kind[0] in kinds]
    windowed = [spec.kind[0] for spec in own if spec.within and spec.within == 7 * DAY]
    assert windowed == kinds[110:]
    assert len({spec.kind[0] for spec in own}) == 100
    assert len(own) == 20 * 6 + 80 * 2
    notice = own_kinds_notice(history)
    assert notice is not None
    assert "130" in notice
    assert own_kinds_notice(FULL_HISTORY) is None


def test_kinds_that_never_occur_make_no_features():
    result = names(build_feature_set(touched("visit", "tasting")))
    assert {"visit.count", "tasting.count", "tasting.recency"} <= result
    assert not any(name.startswith(("demo_request", "email_open", "request.")) for name in result)


def test_columns_that_are_never_filled_make_no_features():
    assert not any(
        "channel" in name or "offer" in name for name in names(build_feature_set(touched("visit")))
    )
    filled = names(build_feature_set(touched("visit", channel="ad", offer="guide")))
    assert {"touch.channel.latest", "touch.offer.latest"} <= filled
    assert "touch.campaign.latest" not in filled


def test_own_columns_are_numbers_flags_or_categories_as_they_are_typed():
    leads = pl.DataFrame(
        {"lead_id": ["x"], "created_at": [0], "staff": [3.0], "b2b": [1.0], "city": ["Bonn"]}
    )
    features = build_feature_set(LeadHistory.from_leads(leads, 10), units={"b2b": "flag"})
    units = {spec.name: spec.unit for spec in features.specs}
    assert units == {"staff": "number", "b2b": "flag", "city": "category"}


def test_an_overwritten_attribute_is_a_number_only_if_all_its_values_are():
    units = {spec.name: spec.unit for spec in CATALOGUE.specs if spec.source == "attributes"}
    assert units == {"budget": "category", "seats": "number"}


@pytest.mark.parametrize(
    ("words", "unit"),
    [(["k. A.", "k. a.", "k. A.", "k. A."], "number"), (["small", "large", "small", "small"], "category")],
)
def test_one_word_among_the_numbers_of_an_overwritten_attribute_is_no_value(words, unit):
    values = [*map(str, range(1_000, 16_000, 1_000)), *words]
    rows = [
        {"lead_id": "x", "known_at": day, "name": "sum", "value": value, "number": as_float(value)}
        for day, value in enumerate(values)
    ]
    history = replace(FULL_HISTORY, attributes=pl.DataFrame(rows, schema=ATTRIBUTE_SCHEMA))
    assert {s.unit for s in build_feature_set(history).specs if s.source == "attributes"} == {unit}


def as_float(value):
    return float(value) if value.isdigit() else None


def test_the_target_and_the_ends_of_the_road_say_nothing_of_an_open_lead():
    stages = ["trial", "won", "lost"]
    moves = [{"lead_id": "x", "occurred_at": 2, "known_at": 2, "stage": stage} for stage in stages]
    history = replace(FULL_HISTORY, transitions=pl.DataFrame(moves, schema=TRANSITION_SCHEMA))
    result = names(build_feature_set(history, target="won", closed=("lost",)))
    assert {name for name in result if name.startswith("stage_")} == {"stage_trial.recency"}
    assert "colleagues_won.count" in result


def test_without_accounts_there_are_no_colleagues():
    alone = replace(FULL_HISTORY, leads=FULL_HISTORY.leads.with_columns(account_id=pl.lit(None, pl.String)))
    assert not any(name.startswith("colleagues") for name in names(build_feature_set(alone)))


@pytest.mark.parametrize(
    ("column", "family"),
    [
        ("Budget range", "qualification"),
        ("Decision_Maker", "qualification"),
        ("Lead Source", "channel"),
        ("utm_campaign", "channel"),
        ("landing_page_id", "channel"),
        ("Newsletter", "email"),
        ("account.budget", "account"),
        ("Specialization", "fit"),
    ],
)
def test_the_family_of_a_column_is_told_from_its_name(column, family):
    assert infer_family(column) == family


def test_a_flat_export_has_its_columns_and_nothing_else():
    flat = LeadHistory.from_leads(pl.DataFrame({"lead_id": ["x"], "created_at": [0], "city": ["Bonn"]}), 1)
    assert build_feature_set(flat).names == ("city",)


def test_the_same_history_gives_the_same_features_in_the_same_order():
    assert build_feature_set(FULL_HISTORY).fingerprint == CATALOGUE.fingerprint
    shuffled = replace(
        FULL_HISTORY,
        touchpoints=FULL_HISTORY.touchpoints.reverse(),
        transitions=FULL_HISTORY.transitions.reverse(),
    )
    assert build_feature_set(shuffled).fingerprint == CATALOGUE.fingerprint


def test_of_a_column_and_its_history_the_history_is_read():
    leads = FULL_HISTORY.leads.with_columns(seats=pl.lit(9.0))
    (seats,) = [
        spec for spec in build_feature_set(replace(FULL_HISTORY, leads=leads)).specs if spec.name == "seats"
    ]
    assert seats.source == "attributes"
