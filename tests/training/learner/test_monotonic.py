"""More of what a company names never lowers a score, whatever a noisy past says; nothing else changes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.spec import DisplayText, EventSelection, FeatureSet, attribute, count, recency
from models.additive import PiecewiseLinearTerm
from training.backtesting.candidates import TrainingWindow
from training.backtesting.challengers import plain_lightgbm
from training.data.monotone_constraints import MonotoneError, monotone_constraints
from training.data.training_rows import TrainingRows
from training.learner.fit import fit_every_recipe
from training.learner.monotonic import isotonic_effect

SAYS = DisplayText("{value}", "{value}")
DEMOS = EventSelection("intent", "touchpoints", ("demo_request",))
REQUESTS = EventSelection("intent", "touchpoints", ("demo_request", "price_request"), label="request")
FEATURES = FeatureSet(
    (
        count(DEMOS, SAYS),
        count(DEMOS.last(30), SAYS),
        recency(DEMOS, SAYS),
        count(REQUESTS, SAYS),
        attribute("employees", family="fit", says=SAYS, unit="number"),
        attribute("industry", family="fit", says=SAYS),
    )
)


def rows(signs, seed=0):
    """In this past many demo requests went with failure, and a few with success."""
    random = np.random.default_rng(seed)
    demos, x = random.poisson(1.5, 1500).astype(float), random.normal(size=1500)
    odds = x - 1.5 * (demos > 2) + 0.7 * (demos > 0) - 0.5
    y = (random.random(1500) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    return TrainingRows(pl.DataFrame({"demos": demos, "x": x}), y, monotone=signs)


def leads(x=0.0):
    """Leads that differ in nothing but how many demos they asked for."""
    return pl.DataFrame({"demos": np.arange(12.0), "x": np.full(12, x)})


@pytest.mark.parametrize("sign", [1, -1])
def test_more_demo_requests_never_lower_the_score_of_the_default_or_any_part_of_it(sign):
    _, each = fit_every_recipe(rows({"demos": sign}))
    for fitted in each.values():
        predictor = fitted.predictor
        for x in (-2.0, 0.0, 2.0):
            log_odds = predictor.log_odds(predictor.encodings.encode(leads(x)))
            assert (sign * np.diff(log_odds) >= -1e-9).all()


def test_without_the_constraint_this_past_lowers_it():
    _, each = fit_every_recipe(rows({}))
    predictor = each["additive + trees"].predictor
    assert (np.diff(predictor.log_odds(predictor.encodings.encode(leads()))) < -0.1).any()


def test_more_demo_requests_never_lower_what_lightgbm_says():
    keys = pl.DataFrame({"lead_id": map(str, range(1500)), "as_of": [1] * 1500})
    (free,) = plain_lightgbm().learn(TrainingWindow(rows({}), keys, None, 0)).values()
    (bound,) = plain_lightgbm().learn(TrainingWindow(rows({"demos": 1}), keys, None, 0)).values()
    assert (np.diff(free(leads())) < -0.01).any()
    assert (np.diff(bound(leads())) >= 0).all()


def test_a_kind_a_family_and_a_feature_stand_for_what_is_counted_in_them():
    assert monotone_constraints(FEATURES, ["demo_request"]) == {
        "demo_request.count": 1,
        "demo_request.count.30d": 1,
        "request.count": 1,
    }
    assert set(monotone_constraints(FEATURES, ["intent"])) == set(
        monotone_constraints(FEATURES, ["demo_request"])
    )
    assert monotone_constraints(FEATURES, ["-employees"]) == {"employees": -1}


@pytest.mark.parametrize("name", ["demo_requests", "demo_request.recency", "industry"])
def test_what_cannot_rise_is_refused(name):
    with pytest.raises(MonotoneError, match=f"no feature counts '{name}'"):
        monotone_constraints(FEATURES, [name])


def test_an_effect_that_rises_already_is_left_alone():
    rising = PiecewiseLinearTerm((0.0, 1.0, 2.0), (-1.0, 0.5, 2.0), -3.0)
    assert isotonic_effect(rising, 1) == rising
    assert isotonic_effect(rising, 0) is rising
    assert isotonic_effect(rising, -1).values == pytest.approx([0.5, 0.5, 0.5])
