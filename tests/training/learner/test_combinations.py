"""Combinations of columns: found where there are any, never where there are none, exact in what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.encoding import FeatureEncoder
from training.data.training_rows import TrainingRows
from training.learner.boosting import SMALL
from training.learner.combinations import fit_combinations
from training.learner.fit import fit_learning_rows
from training.learner.recipes import BLEND, fit_additive_part, fit_parts
from training.learner.stacking import StackingWeights

ACCOUNTS, PRODUCTS = 150, 8


def world_of_codes(rows, seed, *, together=2.0, alone=0.0, later=1.0):
    """Each account buys two products whose effects cancel: only account and product together decide."""
    random = np.random.default_rng(seed)
    account = random.choice(ACCOUNTS, rows, p=np.arange(ACCOUNTS, 0, -1) / (ACCOUNTS * (ACCOUNTS + 1) / 2))
    products = np.array([random.choice(PRODUCTS, 2, replace=False) for _ in range(ACCOUNTS)])
    side = random.integers(0, 2, rows)
    effect = together * random.choice([-1, 1], ACCOUNTS)[account] * np.where(side == 0, 1, -1)
    effect = np.where(np.arange(rows) < rows / 2, effect, later * effect)
    effect += alone * (
        random.normal(size=ACCOUNTS)[account] + random.normal(size=PRODUCTS)[products[account, side]]
    )
    y = (random.random(rows) < 1 / (1 + np.exp(1 - effect))).astype(float)
    frame = pl.DataFrame(
        {
            "account": 10_000.0 + random.permutation(ACCOUNTS)[account],
            "product": 100.0 + products[account, side],
            "visits": random.normal(size=rows),
        }
    )
    return TrainingRows(frame, y)


def as_text(rows):
    return replace(
        rows, frame=rows.frame.with_columns(pl.col("account", "product").cast(pl.Int64).cast(pl.String))
    )


def chosen(rows):
    encodings, _, _ = fit_additive_part(rows, 0)
    return [set(each.parts) for each in encodings.combinations]


@pytest.fixture(scope="module")
def rows():
    return as_text(world_of_codes(4000, 1))


@pytest.fixture(scope="module")
def predictor(rows):
    return fit_parts(rows, 20, 0, SMALL).predictor(BLEND, StackingWeights(np.array([0.6, 0.5]), 0.1))


def test_a_pair_that_decides_together_is_found(rows):
    assert chosen(rows) == [{"account", "product"}]


def test_whole_numbers_that_are_codes_take_part():
    assert chosen(world_of_codes(4000, 1)) == [{"account", "product"}]


def test_a_pair_tells_leads_apart_that_its_parts_do_not():
    fresh = as_text(world_of_codes(8000, 1)).take(np.arange(4000, 8000))
    learned = as_text(world_of_codes(8000, 1)).take(np.arange(4000))
    losses = []
    for combinations in ([], None):
        encodings, _, linear = fit_additive_part(learned, 0, combinations)
        log_odds = linear.log_odds(encodings.encode(fresh.frame))
        losses.append(np.mean(np.logaddexp(0, log_odds) - fresh.y * log_odds))
    assert losses[1] < losses[0] - 0.05


def test_a_combination_of_a_single_lead_tells_of_the_next_as_it_did_in_training():
    """Half of the pairs have one lead to learn from; in training as many were told by one other lead."""
    random = np.random.default_rng(0)
    pairs = 4000
    effect = 2.5 * random.choice([-1, 1], pairs)
    pair = np.repeat(np.arange(pairs), np.where(np.arange(pairs) < pairs // 2, 1, 2))
    fresh = np.arange(pairs)
    y, later = (
        (random.random(len(each)) < 1 / (1 + np.exp(-effect[each]))).astype(float) for each in (pair, fresh)
    )
    frame, others = (
        pl.DataFrame({"a": each // 20, "b": each % 20}).cast(pl.String) for each in (pair, fresh)
    )
    (fitted,) = fit_combinations(TrainingRows(frame, y), [("a", "b")], np.zeros(len(y)), 0)
    said = fitted.encoding.effects_of(others)
    known_by_two = pair >= pairs // 2
    in_training = np.mean(np.sign(fitted.cross_fitted[known_by_two]) == 2 * y[known_by_two] - 1)
    of_single = np.mean(np.sign(said[: pairs // 2]) == 2 * later[: pairs // 2] - 1)
    # Some rows of training had the other row in their own fold, and were told nothing.
    assert of_single >= in_training
    assert np.abs(said[: pairs // 2]).min() > 0


def test_no_value_of_a_single_lead_is_in_a_combination_whatever_snapshots_it_has():
    lead = np.arange(300).repeat(3)
    town = np.where(lead == 7, "Hinterobernau", np.char.add("town ", (lead % 20).astype(str)))
    frame = pl.DataFrame({"town": town, "product": (lead % 7).astype(str)})
    rows = TrainingRows(frame, (lead % 2).astype(float), groups=lead)
    (fitted,) = fit_combinations(rows, [("town", "product")], np.zeros(len(lead)), 0)
    assert len(fitted.encoding.levels) == 140
    assert not [level for level in fitted.encoding.levels if "Hinterobernau" in level]


@pytest.mark.parametrize("alone", [0.0, 1.0])
def test_no_pair_is_chosen_where_parts_only_add_up(alone):
    found = [chosen(as_text(world_of_codes(1500, seed, together=0.0, alone=alone))) for seed in range(15)]
    assert sum(map(bool, found)) <= 1


def test_snapshots_of_a_lead_are_no_further_evidence():
    """Each lead has an account and a product of its own making; seen ten times it still is one lead."""
    found = []
    for seed in range(10):
        leads = as_text(world_of_codes(400, seed, together=0.0))
        ten_times = np.repeat(np.arange(400), 10)
        found += chosen(replace(leads.take(ten_times), groups=ten_times))
    assert not found


def test_a_pair_that_later_leads_contradict_is_not_chosen():
    contradicted = replace(as_text(world_of_codes(4000, 1, later=-1.0)), order=np.arange(4000))
    assert chosen(contradicted) == []
    steady = replace(as_text(world_of_codes(4000, 1)), order=np.arange(4000))
    assert chosen(steady) == [{"account", "product"}]


def test_three_columns_that_decide_together_are_one_combination():
    random = np.random.default_rng(0)
    account, product, team = random.integers(0, (12, 8, 6), size=(8000, 3)).T
    pair, triple = random.normal(0, 1, (12, 8)), random.normal(0, 1.5, (12, 8, 6))
    log_odds = pair[account, product] + triple[account, product, team]
    frame = pl.DataFrame({"account": account, "product": product, "team": team}).cast(pl.String)
    y = (random.random(8000) < 1 / (1 + np.exp(-log_odds))).astype(float)
    assert {"account", "product", "team"} in chosen(TrainingRows(frame, y))


def test_reasons_with_a_pair_add_up(rows, predictor):
    matrix = predictor.encodings.encode(rows.frame)
    base, contributions = predictor.contributions(matrix)
    assert predictor.feature_names[-1] == "account x product"
    assert np.abs(contributions[:, -1]).max() > 0.5
    assert np.abs(base + contributions.sum(axis=1) - predictor.log_odds(matrix)).max() < 1e-9


def test_one_lead_gets_the_bits_that_it_gets_among_many(rows, predictor):
    unknown = pl.DataFrame(
        {"account": [None, "new", "10003"], "product": ["101", None, "new"], "visits": [None, 1.0, 2.0]}
    )
    frame = pl.concat([rows.frame.head(200), unknown])
    many = predictor.log_odds(predictor.encodings.encode(frame))
    matrices = [predictor.encodings.encode_row(row) for row in frame.iter_rows(named=True)]
    assert [float(predictor.log_odds(matrix)[0]) for matrix in matrices] == many.tolist()


@pytest.mark.parametrize("value", [None, float("nan"), 2.5, -3.0, 1e300, float("inf"), 10003.0])
def test_a_code_of_any_number_has_the_same_key_in_a_file_and_in_a_request(value):
    encodings, _, _ = fit_additive_part(world_of_codes(4000, 1), 0)
    row = {"account": value, "product": 101.0, "visits": 0.0}
    many = encodings.encode(pl.DataFrame([row], schema=dict.fromkeys(row, pl.Float64)))
    assert np.array_equal(many, encodings.encode_row(row), equal_nan=True)


def test_combinations_are_stored_as_text_and_models_without_them_as_before(predictor):
    encodings = predictor.encodings
    assert FeatureEncoder.from_json(encodings.to_json()) == encodings
    without = FeatureEncoder(encodings.features)
    assert without.to_json().startswith("[")
    assert FeatureEncoder.from_json(without.to_json()) == without


def test_a_refit_has_the_same_combinations(rows):
    fitted = fit_learning_rows(rows.take(np.arange(3000)), 0)
    few = rows.take(np.arange(300))
    refit = fitted.refit(few, 1)
    assert refit.feature_names == fitted.predictor.feature_names
    assert len(refit.feature_names) == 4
