"""The learner behind scikit-learn's interface is a scikit-learn estimator, and the same learner."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from training.estimator import LeadClassifier, LeadModel
from training.learner.fit import fit


def leads(rows=400, seed=0):
    random = np.random.default_rng(seed)
    visits = random.poisson(3, rows).astype(float)
    visits[::7] = np.nan
    source = random.choice(["ads", "talk", "mail"], rows)
    odds = -2 + 0.5 * np.nan_to_num(visits) + (source == "talk")
    y = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(int)
    return pl.DataFrame({"visits": visits, "source": source}).with_columns(pl.col("visits").fill_nan(None)), y


# A row of weight two is one row: it is on one side of a fold, and a leaf counts it once.
UNEQUAL = {"check_sample_weight_equivalence_on_dense_data": "a weight is not as many rows of their own"}


@parametrize_with_checks([LeadClassifier()], expected_failed_checks=lambda _: UNEQUAL)
def test_it_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_its_first_name_still_imports():
    assert LeadModel is LeadClassifier


def test_it_is_the_default_learner():
    frame, y = leads()
    fitted = fit(frame, y, seed=3).predictor
    expected = fitted.probability(fitted.log_odds(fitted.encodings.encode(frame)))
    np.testing.assert_array_equal(LeadClassifier(seed=3).fit(frame, y).predict_proba(frame)[:, 1], expected)


def test_pandas_and_polars_give_the_same():
    frame, y = leads()
    learned = LeadClassifier().fit(frame, y)
    twin = clone(learned).fit(frame.to_pandas(), y)
    np.testing.assert_array_equal(learned.predict_proba(frame), twin.predict_proba(frame.to_pandas()))


def test_contributions_add_up_to_the_decision_function():
    frame, y = leads()
    model = LeadClassifier().fit(frame, y)
    base, weights = model.explain(frame)
    assert weights.columns == ["visits", "source"]
    np.testing.assert_allclose(
        base + weights.to_numpy().sum(axis=1), model.decision_function(frame), rtol=0, atol=1e-9
    )


def test_it_ranks_in_a_pipeline_under_cross_validation():
    frame, y = leads()
    model = make_pipeline(FunctionTransformer(), LeadClassifier())
    assert cross_val_score(model, frame.to_pandas(), y, cv=3, scoring="roc_auc").mean() > 0.6


def test_an_order_makes_it_choose_on_later_rows():
    frame, y = leads()
    assert LeadClassifier().fit(frame, y, order=np.arange(len(y))).fitted_.time_ordered
    assert not LeadClassifier().fit(frame, y).fitted_.time_ordered


def test_classes_keep_their_names():
    frame, y = leads()
    names = np.where(y == 1, "won", "lost")
    model = LeadClassifier().fit(frame, names)
    assert model.classes_.tolist() == ["lost", "won"]
    assert set(model.predict(frame)) <= {"lost", "won"}


@pytest.mark.parametrize("make", [pl.DataFrame, pd.DataFrame])
def test_a_column_of_times_is_refused_with_what_to_do(make):
    frame = make({"day": pd.date_range("2026-01-01", periods=4).to_pydatetime().tolist(), "n": [1, 2, 3, 4]})
    with pytest.raises(ValueError, match="column 'day' holds times"):
        LeadClassifier().fit(frame, [0, 1, 0, 1])
