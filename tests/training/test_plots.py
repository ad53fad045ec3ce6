"""Each picture is one call, and shows the figures that it is named after."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from report_inputs import rows, specs
from small_model import build_small_model

from models.metrics import gains_curve
from training.plots import plot_beeswarm, plot_gains, plot_reliability, plot_waterfall
from training.shap_values import explain_rows

shap = pytest.importorskip("shap", reason="shap is in the extra `notebooks`")
plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is in the extra `notebooks`")


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def scored():
    random = np.random.default_rng(1)
    p = random.random(500)
    return (random.random(500) < p).astype(int), p


@pytest.fixture(scope="module")
def leads():
    return rows(np.random.default_rng(1), 40).with_columns(
        lead_id=pl.lit("a"), as_of=pl.lit(1_760_000_000, pl.Int64)
    )


@pytest.fixture(scope="module")
def model(leads):
    return build_small_model(specs(), leads)


def test_reliability_shows_ten_groups_of_equal_size(scored):
    y, p = scored
    diagonal, points = plot_reliability(y, p).get_lines()[:2]
    assert len(points.get_xdata()) == 10
    assert np.mean(points.get_xdata()) == pytest.approx(p.mean())
    assert np.mean(points.get_ydata()) == pytest.approx(y.mean())
    assert diagonal.get_xdata()[0] == diagonal.get_ydata()[0] == 0


def test_gains_are_those_of_the_report(scored):
    axes = plot_gains(*scored)
    _, curve = axes.get_lines()
    called, captured = gains_curve(np.asarray(scored[0], dtype=float), scored[1])
    np.testing.assert_array_equal(curve.get_xdata(), called)
    np.testing.assert_array_equal(curve.get_ydata(), captured)
    assert plot_gains(*scored, ax=axes) is axes


def test_a_waterfall_is_of_one_lead(model, leads):
    assert plot_waterfall(model, leads[:1]).get_yticklabels()
    with pytest.raises(ValueError, match="one lead, and these are 2 rows"):
        plot_waterfall(model, leads[:2])


@pytest.mark.slow
def test_a_beeswarm_names_the_features(model, leads):
    names = {label.get_text() for label in plot_beeswarm(model, leads, most=20).get_yticklabels()}
    assert set(model.reason_features.names) <= names


def test_families_add_up_to_the_same_log_odds(model, leads):
    by_feature, by_family = explain_rows(model, leads), explain_rows(model, leads, families=True)
    assert set(by_family.feature_names) == set(model.reason_families)
    np.testing.assert_allclose(by_family.values.sum(axis=1), by_feature.values.sum(axis=1), atol=1e-9)
    fit = [place for place, family in enumerate(model.reason_families) if family == "fit"]
    of_fit = by_family.values[:, by_family.feature_names.index("fit")]
    np.testing.assert_allclose(of_fit, by_feature.values[:, fit].sum(axis=1), atol=1e-12)


def test_one_lead_is_a_row_of_many(model, leads):
    np.testing.assert_array_equal(
        explain_rows(model, leads[3:4])[0].values, explain_rows(model, leads)[3].values
    )
