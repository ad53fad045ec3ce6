"""Learning from a service's log: labels held to a plain count, models to those of the same history."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.clock import DAY
from features.labels import LabelSpec
from features.spec import DisplayText, FeatureSet, attribute
from models.model_card import ModelCard
from training.data.dataset import NoLabelledRowsError
from training.data.log_dataset import (
    LOST,
    WON,
    DecisionLogFrames,
    EmptyLogError,
    NoHorizonError,
    OtherTargetError,
    OutcomeDefinition,
    dataset_from_log,
    label_decisions,
    outcome_definition,
)

FEATURES = FeatureSet(
    (attribute("size", family="fit", says=DisplayText("{value}", "{value}"), unit="number"),)
)
CARD = ModelCard("sql within 30 days", "2026-11-22", rows=1, positives=1, time_ordered=True, recipe="r")
ASKED = outcome_definition(CARD)
T = 20_000 * DAY


def log(decisions, outcomes, **columns):
    """``decisions`` (lead, day[, complete]); ``outcomes`` (lead, what, day): days since ``T``."""
    frame = pl.DataFrame(
        {
            "lead_id": [decision[0] for decision in decisions],
            "as_of": [T + round(decision[1] * DAY) for decision in decisions],
            "decided_at": [T + round(decision[1] * DAY) + 5 for decision in decisions],
            "complete": [decision[2] if len(decision) > 2 else True for decision in decisions],
            "features": [{"size": float(number)} for number, _ in enumerate(decisions)],
        },
        schema={
            "lead_id": pl.String,
            "as_of": pl.Int64,
            "decided_at": pl.Int64,
            "complete": pl.Boolean,
            "features": pl.Struct({"size": pl.Float64}),
        },
    )
    outcome_frame = pl.DataFrame(
        [(lead, what, T + round(day * DAY)) for lead, what, day in outcomes],
        {"lead_id": pl.String, "outcome": pl.String, "occurred_at": pl.Int64},
        orient="row",
    )
    return DecisionLogFrames(frame.with_columns(**columns), outcome_frame, FEATURES)


def by_hand(decisions, outcomes, horizon, *, ipcw=False):
    """Each decision's label as a person would count it; None while nobody knows."""
    until = max([day for _, _, day in outcomes], default=-1e9)
    labels = {}
    for lead, at, *_ in decisions:
        ends = sorted((day, what) for who, what, day in outcomes if who == lead and what != "accepted")
        if (ends and ends[0][0] < at) or (lead, at) in labels:
            continue
        inside = [(day, what in LOST, what) for day, what in ends if at <= day < at + horizon]
        over = at + horizon <= until + 1 / DAY
        first = min(inside, default=None)
        label = None if first is None and not over else int(first is not None and first[2] in WON)
        labels[lead, at] = label if over or ipcw else None
    return {key: label for key, label in labels.items() if label is not None}


KINDS = st.sampled_from(["accepted", *WON, *LOST])
LEADS, DAYS = st.sampled_from("abc"), st.integers(0, 120)


@given(st.lists(st.tuples(LEADS, DAYS), max_size=8), st.lists(st.tuples(LEADS, KINDS, DAYS), max_size=6))
def test_labels_are_what_a_person_counts(decisions, outcomes):
    rows = label_decisions(log(decisions, outcomes), ASKED).rows
    known = {
        (lead, (at - T) / DAY): label for lead, at, label in rows.select("lead_id", "at", "label").rows()
    }
    matured = {key for key, ripe in zip(known, rows["matured"], strict=True) if ripe}
    assert {k: v for k, v in known.items() if v is not None} == by_hand(decisions, outcomes, 30, ipcw=True)
    assert {k: known[k] for k in matured} == by_hand(decisions, outcomes, 30)


MIXED = [("a", 0), ("b", 0), ("c", 0), ("d", 80)]
CAME = [("a", "won", 3), ("b", "lost", 4), ("d", "qualified", 85), ("e", "accepted", 90)]


def test_matured_rows_alone_count_unless_early_ones_are_weighted():
    whole, early = (
        dataset_from_log(log(MIXED, CAME), ASKED, CARD, weights) for weights in ("matured", "ipcw")
    )
    assert whole.rows["lead_id"].to_list() == ["a", "b", "c"]
    assert (whole.label.tolist(), whole.weights, whole.immature) == ([1, 0, 0], None, 1)
    assert early.rows["lead_id"].to_list() == ["a", "b", "c", "d"]
    assert (early.label.tolist(), early.matured.tolist()) == ([1, 0, 0, 1], [True, True, True, False])


def test_rows_are_as_they_were_served_in_the_order_of_time():
    data = dataset_from_log(log([("b", 2), ("a", 1), ("c", 0)], CAME), ASKED, CARD)
    assert data.rows.rows() == [("c", T, 2.0), ("a", T + DAY, 1.0), ("b", T + 2 * DAY, 0.0)]
    assert data.order.tolist() == [T, T + DAY, T + 2 * DAY]
    assert (data.question, data.gap) == ("sql within 30 days", 30 * DAY)


def test_what_is_left_out_is_counted():
    decisions = [*MIXED, ("a", 5), ("x", 1, False)]
    assert dataset_from_log(log(decisions, CAME), ASKED, CARD).notices == (
        "1 decisions have no outcome yet, and their time is not over: left out",
        "1 decisions were made from other features: left out",
        "1 decisions were about leads whose outcome was there before: left out",
    )


@pytest.mark.parametrize("name", ["by_hand", "taken_off"])
def test_what_people_chose_is_no_choice_of_the_model_and_is_counted(name):
    decisions = log(MIXED, CAME, **{name: pl.col("lead_id") == "b"})
    data = dataset_from_log(decisions, ASKED, CARD)
    assert "b" not in data.rows["lead_id"]
    why = "were about leads that people handed over or took off beside the model's choice"
    assert f"1 decisions {why}: left out" in data.notices


def test_a_flat_lead_is_seen_when_it_was_scored():
    flat = log(MIXED, CAME, as_of=pl.lit(1, pl.Int64))
    data = dataset_from_log(flat, ASKED, CARD)
    assert data.order.tolist() == [T + 5] * 3
    assert data.label.tolist() == [1, 0, 0]


def test_the_horizon_is_named_or_configured_or_on_the_card():
    spec = LabelSpec("sql", 14 * DAY, lead_time=DAY, closed=("gone",), settle=2 * DAY)
    assert OutcomeDefinition("sql within 30 days", LabelSpec("won", 30 * DAY, closed=("lost",))) == ASKED
    assert outcome_definition(CARD, spec) == OutcomeDefinition(
        "sql within 14 days", LabelSpec("won", 14 * DAY, DAY, ("lost",), 2 * DAY)
    )
    assert outcome_definition(CARD, spec, 7 * DAY).label.horizon == 7 * DAY
    assert outcome_definition(SimpleNamespace(label="Converted"), None, 7 * DAY).text == "Converted"
    with pytest.raises(NoHorizonError, match=r"'Converted'.*--horizon"):
        outcome_definition(SimpleNamespace(label="Converted"))


def test_outcomes_of_one_stage_are_not_taken_for_those_of_another():
    with pytest.raises(OtherTargetError, match=r"predicts 'opportunity'.*predicts 'sql'"):
        outcome_definition(CARD, LabelSpec("opportunity", 14 * DAY))


@pytest.mark.parametrize(
    ("decisions", "outcomes", "why"),
    [
        ([], CAME, "no decision"),
        (MIXED, [], "no outcome"),
        ([("a", 80)], CAME, "no decision is 30 days older than the newest outcome"),
    ],
)
def test_a_log_that_teaches_nothing_says_what_is_missing(decisions, outcomes, why):
    with pytest.raises(EmptyLogError, match=why):
        dataset_from_log(log(decisions, outcomes), ASKED, CARD)


def test_outcomes_of_one_kind_teach_nothing_either():
    with pytest.raises(NoLabelledRowsError, match="1 rows with and 0 without"):
        dataset_from_log(log([("a", 0)], CAME), ASKED, CARD)


def test_early_outcomes_alone_would_make_fast_leads_look_common():
    random = np.random.default_rng(3)
    n, today = 40_000, 60
    when = random.uniform(0, today, n)
    wins = random.random(n) < 0.3
    took = np.where(wins, random.exponential(5, n), random.exponential(25, n))
    names = [str(i) for i in range(n)]
    outcomes = [
        (lead, "qualified" if won else "lost", day)
        for lead, won, day in zip(names, wins, when + took, strict=True)
        if day < today
    ]
    logged = log(list(zip(names, when, strict=True)), [*outcomes, ("last", "accepted", today)])
    true = float((wins & (took < 30)).mean())
    rows = label_decisions(logged, ASKED).rows
    naive = float(rows["label"].drop_nulls().mean())
    matured, weighted = (dataset_from_log(logged, ASKED, CARD, how) for how in ("matured", "ipcw"))
    assert naive > true + 0.02
    assert float(matured.label.mean()) == pytest.approx(true, abs=0.01)
    assert float(np.average(weighted.label, weights=weighted.weights)) == pytest.approx(true, abs=0.01)


# Columns that the log, its labels and its weights have, and a CRM may have, too.
TAKEN = ("grade", "probability", "tenant", "label", "weight", "at", "matured", "decided_at", "propensity")


@pytest.mark.parametrize("weights", ["matured", "ipcw"])
def test_a_feature_may_be_called_like_a_column_of_the_log(weights):
    says = DisplayText("{value}", "{value}")
    features = FeatureSet(
        tuple(attribute(name, family="fit", says=says, unit="number") for name in (*TAKEN, "size"))
    )
    frames = log([("a", 1), ("b", 2)], [("a", "won", 5), ("b", "lost", 90)])
    values = pl.DataFrame({name: [1.0, 2.0] for name in features.names}).to_struct("features")
    frames = DecisionLogFrames(frames.decisions.with_columns(values), frames.outcomes, features)
    dataset = dataset_from_log(frames, ASKED, CARD, weights)
    assert dataset.label.tolist() == [1, 0]
    assert dataset.rows.select(features.names).rows() == [(each,) * len(features) for each in (1.0, 2.0)]
