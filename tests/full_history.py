"""A history with every kind of event and attribute, so that its feature set is the whole catalogue."""

from __future__ import annotations

import polars as pl

from features.catalogue import KINDS, build_feature_set
from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    count,
    difference,
    distinct,
    lead_age,
    ratio,
    recency,
    span,
    tenure,
    total,
    trend,
)

FULL_HISTORY = LeadHistory(
    leads=pl.DataFrame(
        {"lead_id": ["x"], "created_at": [0], "account_id": ["A"], "country": ["DE"], "employees": [5.0]}
    ),
    touchpoints=pl.DataFrame(
        [
            {
                "lead_id": "x",
                "occurred_at": 1,
                "known_at": 1,
                "kind": kind,
                "channel": "ad",
                "campaign": "c",
                "offer": "o",
                "offer_stage": "decision",
                "amount": 1,
                "seconds": 1,
            }
            for kind in [*KINDS, "our own kind"]
        ],
        schema=TOUCHPOINT_SCHEMA,
    ),
    transitions=pl.DataFrame(
        [{"lead_id": "x", "occurred_at": 2, "known_at": 2, "stage": s} for s in ("mql", "sal", "sql")],
        schema=TRANSITION_SCHEMA,
    ),
    observed_until=10,
    attributes=pl.DataFrame(
        [
            {"lead_id": "x", "known_at": 1, "name": "budget", "value": "a"},
            {"lead_id": "x", "known_at": 1, "name": "seats", "value": "5", "number": 5.0},
        ],
        schema=ATTRIBUTE_SCHEMA,
    ),
    accounts=pl.DataFrame({"account_id": ["A"], "sector": ["steel"]}),
)
CATALOGUE = build_feature_set(FULL_HISTORY)


def _one_per_shape() -> FeatureSet:
    """The first spec of each shape (source, reduction, selection, unit): the laws run often."""
    shapes = {}
    for spec in CATALOGUE.specs:
        kind_count = min(len(spec.kind), 2)
        shape = (
            spec.source,
            spec.name.partition("account.")[1],
            spec.reduce,
            kind_count,
            spec.where,
            spec.within and "window",
            spec.unit,
        )
        shapes.setdefault(shape, spec)
    return FeatureSet((*shapes.values(), *_derived()))


def _derived():
    """Ratios and differences of features that are in the set, and of some that are not."""
    text = DisplayText("Derived: {value}", "Abgeleitet: {value}")
    touches = EventSelection("tempo", "touchpoints")
    demos = EventSelection("intent", "touchpoints", ("demo_request",))
    moves = EventSelection("tempo", "transitions", label="stage")
    theirs = EventSelection("account", "account_touchpoints", label="colleagues")
    amount, seconds = total(touches, "amount", text), total(touches, "seconds", text, "seconds")
    every = count(touches, text)
    return (
        ratio(count(demos.last(30), text), every, text),
        ratio(amount, every, text),
        ratio(seconds, count(moves, text), text, family="behaviour"),
        ratio(recency(touches, text), tenure(touches, text), text),
        ratio(every, trend(touches, text), text),
        ratio(distinct(theirs, "colleague", text), lead_age(text), text),
        difference(tenure(touches, text), recency(moves, text), text),
        difference(every, count(demos, text), text, name="other.touches"),
        difference(span(touches, text), seconds, text),
        difference(lead_age(text), tenure(touches, text), text),
    )


ONE_PER_SHAPE = _one_per_shape()
