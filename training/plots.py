"""The usual pictures of a model by one call each, with matplotlib and shap; for notebooks.

Reliability and gains take outcomes and probabilities; beeswarm and waterfall take a model with its rows, or a
fitted ``LeadClassifier`` with a frame, and draw the model's own contributions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.metrics import gains_curve
from training.shap_values import explain_rows
from training.stats.intervals import wilson_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from models.conversion import ConversionModel
    from training.estimator import LeadClassifier

_BINS = 10


def plot_reliability(label: ArrayLike, probability: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Plot observed rates against predictions, in ten groups of equal size.

    Args:
        label: (n,) outcomes, 0 or 1.
        probability: (n,) predicted probabilities.
        ax: Where to draw. Default: new axes.

    Returns:
        The axes: a point a group with the 95 % Wilson interval of its rate; on the diagonal the predictions
        are right.
    """
    y, p = _outcomes(label, probability)
    axes = _axes(ax)
    groups = [group for group in np.array_split(np.argsort(p, kind="stable"), _BINS) if len(group)]
    predicted = np.array([p[group].mean() for group in groups])
    rates = [wilson_interval(float(y[group].sum()), len(group)) for group in groups]
    observed = np.array([rate.value for rate in rates])
    spread = [observed - [rate.low for rate in rates], [rate.high for rate in rates] - observed]
    top = max(float(predicted.max()), *(rate.high for rate in rates))
    axes.plot([0, top], [0, top], "--", color="grey", linewidth=1)
    axes.errorbar(predicted, observed, spread, fmt="o", capsize=3)
    axes.set(xlabel="mean predicted probability", ylabel="observed rate, with 95 % interval")
    return axes


def plot_gains(label: ArrayLike, probability: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Plot the share of all conversions that the best leads hold, by how many of them are called.

    Args:
        label: (n,) outcomes, 0 or 1, of both kinds.
        probability: (n,) predicted probabilities.
        ax: Where to draw. Default: new axes.

    Returns:
        The axes; the diagonal is what calling leads at random finds.
    """
    axes = _axes(ax)
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    axes.plot(*gains_curve(*_outcomes(label, probability)))
    axes.set(
        xlabel="share of leads called", ylabel="share of conversions among them", xlim=(0, 1), ylim=(0, 1.01)
    )
    return axes


def plot_beeswarm(model: ConversionModel | LeadClassifier, rows: Any, *, most: int = 12) -> Axes:
    """Plot the contributions of each feature for many leads, with shap.

    Args:
        model: A model, or a fitted classifier.
        rows: What it scores: feature rows such as ``Dataset.rows``, or a frame.
        most: The number of features. Default: 12.

    Returns:
        The axes: a dot is a lead, red is a high value, and to the right speaks for converting.
    """
    import shap  # noqa: PLC0415  # takes seconds, and only notebooks install it

    return shap.plots.beeswarm(explain_rows(model, rows), max_display=most, show=False)  # type: ignore[no-any-return]


def plot_waterfall(model: ConversionModel | LeadClassifier, row: Any, *, most: int = 12) -> Axes:
    """Plot how the contributions of one lead lead from the base to the log-odds of its score, with shap.

    Args:
        model: A model, or a fitted classifier.
        row: A frame of one row.
        most: The number of features. Default: 12.

    Returns:
        The axes, from the base at the bottom to the score at the top.

    Raises:
        ValueError: There is not one row.
    """
    import shap  # noqa: PLC0415  # takes seconds, and only notebooks install it

    if len(row) != 1:
        msg = f"plot_waterfall draws one lead, and these are {len(row)} rows; select one"
        raise ValueError(msg)
    return shap.plots.waterfall(explain_rows(model, row)[0], max_display=most, show=False)  # type: ignore[no-any-return]


def _outcomes(label: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(label, dtype=np.float64), np.asarray(probability, dtype=np.float64)


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt  # noqa: PLC0415  # only notebooks install it

    return plt.subplots(figsize=(5, 4))[1]
