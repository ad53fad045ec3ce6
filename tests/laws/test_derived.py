"""Derived features: one float operation on two whole numbers, rounded alike by every engine."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, replace

import polars as pl
import pytest
from full_history import CATALOGUE
from hypothesis import example, given
from hypothesis import strategies as st

from features.cohort import Snapshots
from features.history import TOUCHPOINT_SCHEMA, LeadHistory
from features.online import OnlineFeatures
from features.record import to_records
from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    FeatureSpec,
    attribute,
    count,
    difference,
    latest,
    omit_empty_fields,
    ratio,
    recency,
    total,
)

TEXT = DisplayText("x: {value}", "x: {value}")
GAINS = total(EventSelection("fit", "touchpoints", ("gain",)), "amount", TEXT)
COSTS = total(EventSelection("fit", "touchpoints", ("cost",)), "amount", TEXT)
BOTH = FeatureSet((ratio(GAINS, COSTS, TEXT, name="ratio"), difference(GAINS, COSTS, TEXT, name="less")))
EXACT = 2**53 - 1
whole = st.one_of(st.integers(-EXACT, EXACT), st.integers(-9, 9))


def with_totals(pairs):
    """A lead for each pair of numbers, and these as what it brought in and cost."""
    leads = [str(number) for number in range(len(pairs))]
    touches = [
        {"lead_id": lead, "occurred_at": 1, "known_at": 1, "kind": kind, "amount": amount}
        for lead, pair in zip(leads, pairs, strict=True)
        for kind, amount in zip(("gain", "cost"), pair, strict=True)
    ]
    history = LeadHistory.from_leads(pl.DataFrame({"lead_id": leads, "created_at": [0] * len(leads)}), 9)
    history = replace(history, touchpoints=pl.DataFrame(touches, schema=TOUCHPOINT_SCHEMA))
    keys = pl.DataFrame({"lead_id": leads, "as_of": [5] * len(leads)}, schema_overrides={"as_of": pl.Int64})
    return history, Snapshots(keys)


def bits(value):
    return None if value is None else struct.pack(">d", value)


@given(st.lists(st.tuples(whole, whole), min_size=1, max_size=30))
@example([(EXACT, 3), (1, EXACT), (-EXACT, 7), (0, -5), (0, 0), (1, 0), (EXACT, -EXACT), (5, 5)])
def test_every_engine_and_the_online_path_divide_and_subtract_as_ieee_754_does(compute, pairs):
    history, snaps = with_totals(pairs)
    want = [(a / b if b else None, float(a) - float(b)) for a, b in pairs]
    rows = compute(BOTH, history, snaps).sort(pl.col("lead_id").cast(pl.Int64))
    assert [tuple(map(bits, row)) for row in rows.select("ratio", "less").rows()] == [
        tuple(map(bits, row)) for row in want
    ]
    online = OnlineFeatures(BOTH)
    alone = [tuple(online(lead, 5).values()) for lead in to_records(history)]
    assert [tuple(map(bits, row)) for row in alone] == [tuple(map(bits, row)) for row in want]


def test_nothing_by_nothing_is_missing_and_never_infinite():
    history, _ = with_totals([(1, 0), (0, 0)])
    online = OnlineFeatures(BOTH)
    assert [online(lead, 5)["ratio"] for lead in to_records(history)] == [None, None]
    # Before anything was visible, both totals are 0.
    assert [online(lead, 1)["less"] for lead in to_records(history)] == [0.0, 0.0]


def test_a_derived_spec_survives_json_and_changes_the_fingerprint():
    again = FeatureSet.from_json(BOTH.to_json())
    assert again == BOTH
    assert again.fingerprint == BOTH.fingerprint
    other = FeatureSet((ratio(COSTS, GAINS, TEXT, name="ratio"), BOTH.specs[1]))
    assert other.fingerprint != BOTH.fingerprint
    (record, _) = json.loads(BOTH.to_json())
    assert [each["name"] for each in record["inputs"]] == ["gain.amount.total", "cost.amount.total"]
    assert all("inputs" not in each for each in record["inputs"])


def test_a_set_without_derived_features_is_written_as_before_there_were_any():
    fields = ["name", "family", "source", "reduce", "says", "unit", "of", "kind", "where", "within"]
    records = [asdict(spec) for spec in CATALOGUE.specs]
    plain = [{name: record[name] for name in fields} for record in records]
    text = json.dumps(plain, indent=1, ensure_ascii=False)
    assert CATALOGUE.to_json() == text
    assert CATALOGUE.fingerprint == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert omit_empty_fields([("inputs", ()), ("name", "")]) == {"name": ""}


DEMOS = EventSelection("intent", "touchpoints", ("demo",))


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: ratio(latest(DEMOS, "channel", TEXT), GAINS, TEXT), "is folded by latest"),
        (lambda: ratio(attribute("size", family="fit", says=TEXT, unit="number"), GAINS, TEXT), "by value"),
        (lambda: ratio(BOTH.specs[0], GAINS, TEXT), "ratio is folded by ratio"),
        (lambda: difference(recency(DEMOS, TEXT), count(DEMOS, TEXT), TEXT), "seconds less count"),
        (lambda: FeatureSpec("x", "fit", "derived", "ratio", TEXT, "number"), "has two inputs"),
        (lambda: FeatureSpec("x", "fit", "touchpoints", "count", TEXT, inputs=(GAINS, COSTS)), "two inputs"),
        (lambda: replace(BOTH.specs[0], within=5), "reads no rows"),
        (lambda: FeatureSet((GAINS, ratio(replace(GAINS, within=9), COSTS, TEXT))), "share the name"),
    ],
)
def test_what_is_no_ratio_or_difference_is_refused(build, says):
    with pytest.raises(ValueError, match=says):
        build()


def test_an_input_with_another_sentence_is_the_same_column():
    worded = replace(GAINS, says=DisplayText("Income: {value}", "Einnahmen: {value}"))
    features = FeatureSet((worded, ratio(GAINS, COSTS, TEXT)))
    assert [spec.name for spec in features.folds] == ["gain.amount.total", "cost.amount.total"]
