"""What shap draws are the model's own contributions: they add up to its scores, lead by lead."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from report_inputs import rows, specs
from small_model import build_small_model

from training.estimator import LeadClassifier
from training.shap_values import from_estimator, from_model

shap = pytest.importorskip("shap", reason="shap is in the extra `notebooks`")
plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is in the extra `notebooks`")


@pytest.fixture(scope="module")
def leads():
    return (
        rows(np.random.default_rng(1), 60)
        .with_row_index("n")
        .with_columns(lead_id=pl.col("n").cast(pl.String), as_of=pl.lit(1_760_000_000, pl.Int64))
    )


@pytest.fixture(scope="module")
def model(leads):
    return build_small_model(specs(), leads)


def test_base_and_values_add_up_to_the_log_odds_of_the_score(model, leads):
    explanation = from_model(model, leads)
    np.testing.assert_allclose(
        explanation.base_values + explanation.values.sum(axis=1),
        model.score_frame(leads)["log_odds"].to_numpy(),
        rtol=0,
        atol=1e-9,
    )


def test_a_lead_has_the_reasons_of_its_explanation_with_their_values(model, leads):
    explanation = from_model(model, leads)[7]
    reasons = {reason.feature: reason for reason in model.explain(leads.row(7, named=True), "7", 0).reasons}
    assert set(explanation.feature_names) == set(reasons)
    for name, value, cell in zip(
        explanation.feature_names, explanation.values, explanation.data, strict=True
    ):
        assert value == pytest.approx(reasons[name].contribution, abs=1e-12)
        held = reasons[name].value
        assert cell == held or (held is None and (cell is None or np.isnan(cell)))


def test_an_estimator_is_drawn_as_it_decides():
    random = np.random.default_rng(2)
    frame = pl.DataFrame(
        {"visits": random.poisson(3, 200).astype(float), "source": random.choice(["ads", "talk"], 200)}
    )
    y = (random.random(200) < 0.2 + 0.1 * frame["visits"].to_numpy() / 3).astype(int)
    learned = LeadClassifier().fit(frame.to_pandas(), y)
    explanation = from_estimator(learned, frame.to_pandas())
    assert list(explanation.feature_names) == ["visits", "source"]
    assert set(explanation.data[:, 1]) == {"ads", "talk"}
    np.testing.assert_allclose(
        explanation.base_values + explanation.values.sum(axis=1),
        learned.decision_function(frame.to_pandas()),
        atol=1e-9,
    )


@pytest.mark.slow
def test_the_usual_plots_take_it(model, leads):
    """Words among the values, and holes, must not stop a plot."""
    plt.switch_backend("agg")
    explanation = from_model(model, leads)
    shap.plots.waterfall(explanation[0], show=False)
    labels = " ".join(label.get_text() for label in plt.gcf().axes[0].get_yticklabels())
    assert model.explain(leads.row(0, named=True), "0", 0).reasons[0].feature in labels
    plt.close("all")
    shap.plots.beeswarm(explanation, show=False)
    assert "employees" in {label.get_text() for label in plt.gca().get_yticklabels()}
    plt.close("all")
    shap.plots.scatter(explanation[:, "page_view.count.30d"], show=False)
    assert plt.gca().get_xlabel() == "page_view.count.30d"
    plt.close("all")
