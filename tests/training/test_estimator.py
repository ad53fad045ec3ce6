"""The learner behind scikit-learn's interface is a scikit-learn estimator, and the same learner."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from training.estimator import LeadClassifier, LeadModel, _moments
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


def test_arrow_gives_the_same_as_polars():
    frame, y = leads(120)
    learned = LeadClassifier().fit(frame.to_arrow(), y)
    assert learned.feature_names_in_.tolist() == frame.columns
    np.testing.assert_array_equal(
        learned.predict_proba(frame.to_arrow()), LeadClassifier().fit(frame, y).predict_proba(frame)
    )


DAYS = np.datetime64("2026-01-01") + np.arange(120).astype("timedelta64[D]")


@pytest.mark.parametrize(
    "order",
    [
        DAYS,
        pd.Series(DAYS),
        pd.DatetimeIndex(DAYS, tz="UTC"),
        pl.Series(DAYS).cast(pl.Datetime("ns")),
        pl.Series(DAYS).to_arrow(),
        DAYS.astype(str).tolist(),
        [f"{day}T12:00:00Z" for day in DAYS],
        DAYS.tolist(),
        np.linspace(0, 1, 120),
        pl.Series(range(120)),
    ],
    ids=["numpy", "pandas", "zoned", "polars", "arrow", "days", "iso", "dates", "floats", "numbers"],
)
def test_times_of_every_kind_are_an_order(order):
    moments = _moments(order)
    assert moments.dtype == np.int64
    assert (np.diff(moments) > 0).all()


@pytest.mark.parametrize(
    "order", [["2026-01-01", "soon"], [None, 1], [np.nan, 1.0], pd.to_datetime([None, "2026-01-01"])]
)
def test_an_order_with_a_gap_is_refused_with_its_row(order):
    with pytest.raises(ValueError, match=r"order is not a time or number in row [01]"):
        _moments(order)


def test_timestamps_make_it_choose_on_later_rows():
    frame, y = leads(120)
    by_day = LeadClassifier().fit(frame, y, order=pd.Series(DAYS))
    by_rank = LeadClassifier().fit(frame, y, order=np.arange(120))
    assert by_day.fitted_.time_ordered
    np.testing.assert_array_equal(by_day.predict_proba(frame), by_rank.predict_proba(frame))


def test_a_monotone_column_never_lowers_a_probability():
    """Against the data, in which more visits are worse."""
    random = np.random.default_rng(4)
    frame = pl.DataFrame({"visits": random.integers(0, 9, 300).astype(float)})
    y = (random.random(300) < 0.9 - 0.1 * frame["visits"].to_numpy()).astype(int)
    ladder = pl.DataFrame({"visits": [float(n) for n in range(9)]})
    free = LeadClassifier().fit(frame, y).predict_proba(ladder)[:, 1]
    rising = LeadClassifier(monotone={"visits": 1}).fit(frame, y).predict_proba(ladder)[:, 1]
    assert free[0] > free[-1]
    assert (np.diff(rising) >= -1e-12).all()


@pytest.mark.parametrize(
    ("monotone", "message"),
    [
        ({"visit": 1}, "did you mean 'visits'"),
        ({"source": 1}, "no number column"),
        ({"visits": 2}, "use 1 for"),
    ],
)
def test_a_constraint_that_cannot_hold_is_refused(monotone, message):
    frame, y = leads(60)
    with pytest.raises(ValueError, match=message):
        LeadClassifier(monotone=monotone).fit(frame, y)


@pytest.fixture(scope="module")
def fitted():
    frame, y = leads(300)
    return LeadClassifier().fit(frame.with_columns(constant=pl.lit(1.0)), y)


def test_importances_are_mean_absolute_contributions(fitted):
    frame = leads(300)[0].with_columns(constant=pl.lit(1.0))
    _, weights = fitted.explain(frame)
    assert weights.columns == ["visits", "source", "constant"]
    expected = weights.to_numpy().__abs__().mean(axis=0)
    np.testing.assert_allclose(fitted.feature_importances_, expected, rtol=1e-12)
    assert fitted.feature_importances_[0] > fitted.feature_importances_[2] == 0


def test_contributions_are_features_with_names_in_the_frame_of_choice(fitted):
    frame = leads(300)[0].with_columns(constant=pl.lit(1.0))
    assert fitted.get_feature_names_out().tolist() == frame.columns
    out = clone(fitted).set_output(transform="polars").fit(frame, leads(300)[1]).transform(frame)
    assert isinstance(out, pl.DataFrame)
    assert out.columns == frame.columns
    np.testing.assert_array_equal(out.to_numpy(), fitted.explain(frame)[1].to_numpy())


def test_the_order_is_routed_through_cross_validation():
    """As scikit-learn routes metadata: the order of each fold's rows reaches ``fit``."""
    frame, y = leads(240)
    days = np.datetime64("2026-01-01") + np.arange(240).astype("timedelta64[D]")
    with config_context(enable_metadata_routing=True):
        model = LeadClassifier().set_fit_request(order=True, sample_weight=False)
        found = cross_validate(
            model, frame.to_pandas(), y, cv=2, params={"order": days}, return_estimator=True
        )
    assert [each.fitted_.time_ordered for each in found["estimator"]] == [True, True]
