"""The interactive page of a run's figures: Vega's own page, whose charts show values and can be zoomed.

The page loads nothing from elsewhere: Vega's script is in it, which vl-convert brings along.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import vl_convert

from training.report.charts.vega import GUIDE, PALETTE, mark, nominal, ordinal, quantitative

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.analysis.calibration import CalibrationGroup
    from training.learner.fit import RecipeScore
    from training.report.charts.vega import Rows, Spec
    from training.report.report import Report
    from training.trained_model import TrainedModel

# Vega reads a grid of charts as Vega-Lite by this name only; it fetches nothing from there.
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_OWN_COLOURS = {"scale": {"color": "independent"}}
_PLACEHOLDER = "leadloop-specification"
# They fit beside MLflow's list of files.
_WIDTH, _HEIGHT = 420, 280
_MOST_DOTS = 50
_SHARE: Spec = {"format": ".1%"}
_LOSS: Spec = {"format": ".4f"}


def draw_interactive_page(report: Report, fitted: TrainedModel) -> str:
    """An HTML page with gains, calibration, and the log-loss by round and by recipe.

    Args:
        report: The data of the report.
        fitted: What training returned, with the curves of its cross-validation.

    Returns:
        The page; pointing at a mark shows its values, the wheel zooms and a double click puts that back.
    """
    charts = [
        _gains(report.worth.gains),
        _calibration(report.calibration.bins),
        *_rounds(fitted),
        *_recipes(fitted),
    ]
    spec = {
        "$schema": _SCHEMA,
        "columns": 1,
        "concat": charts,
        "background": "white",
        "resolve": _OWN_COLOURS,
    }
    # Names come from data: a script element would end at a "</script>" among them.
    text = json.dumps(spec).replace("<", "\\u003c")
    return _empty_page().replace(json.dumps({"description": _PLACEHOLDER}, separators=(",", ":")), text)


@cache
def _empty_page() -> str:
    """Vega's page around a placeholder; bundling its script takes a second."""
    return str(vl_convert.vegalite_to_html({"description": _PLACEHOLDER}, bundle=True))


def _chart(title: str, *layers: Spec) -> Spec:
    return {"title": title, "width": _WIDTH, "height": _HEIGHT, "layer": list(layers)}


def _zoomable(layer: Spec) -> Spec:
    return layer | {"params": [{"name": "zoom", "select": "interval", "bind": "scales"}]}


def _line(rows: Rows, x: Spec, y: Spec, tooltip: Sequence[Spec]) -> Spec:
    """A line whose points show their values; many points are drawn as the line alone."""
    point = "transparent" if len(rows) > _MOST_DOTS else {"filled": True, "color": PALETTE["accent"]}
    encoding: dict[str, Any] = {"x": x, "y": y, "tooltip": list(tooltip)}
    return _zoomable(mark("line", rows, encoding, color=PALETTE["accent"], point=point))


def _gains(curve: Sequence[tuple[float, float]]) -> Spec:
    rows: Rows = [{"called": called, "captured": captured} for called, captured in [(0.0, 0.0), *curve]]
    x = quantitative("called", title="share of leads called", axis=_SHARE)
    y = quantitative("captured", title="share of conversions among them", axis=_SHARE)
    tooltip = [quantitative("called", **_SHARE), quantitative("captured", **_SHARE)]
    return _chart("Gains on held-out leads", _diagonal(1.0), _line(rows, x, y, tooltip))


def _calibration(bins: Sequence[CalibrationGroup]) -> Spec:
    rows: Rows = [
        {
            "predicted": group.forecast,
            "observed": group.observed.value,
            "low": group.observed.low,
            "high": group.observed.high,
            "rows": group.rows,
        }
        for group in bins
    ]
    x = quantitative("predicted", title="mean predicted probability", axis=_SHARE)
    y = quantitative("observed", title="observed rate with its 95 % interval", axis=_SHARE)
    shares = [quantitative(name, **_SHARE) for name in ("predicted", "observed", "low", "high")]
    encoding: dict[str, Any] = {"x": x, "y": y, "tooltip": [*shares, quantitative("rows")]}
    spans = {"x": x, "y": quantitative("low", title=None), "y2": {"field": "high"}}
    top = max(max(group.observed.high, group.forecast) for group in bins)
    return _chart(
        "Calibration on held-out leads",
        _diagonal(top),
        mark("rule", rows, spans, color=PALETTE["accent"]),
        _zoomable(mark("point", rows, encoding, color=PALETTE["accent"], filled=True, size=70)),
    )


def _diagonal(top: float) -> Spec:
    rows: Rows = [{"x": 0.0, "y": 0.0}, {"x": top, "y": top}]
    return mark("line", rows, {"x": quantitative("x"), "y": quantitative("y")}, **GUIDE)


def _rounds(fitted: TrainedModel) -> Iterator[Spec]:
    rows: Rows = [{"rounds": rounds, "log-loss": loss} for rounds, loss in fitted.round_log_losses.items()]
    if rows:
        x = quantitative("rounds", title="boosting rounds")
        y = quantitative("log-loss", title="cross-validated log-loss", scale={"zero": False})
        tooltip = [quantitative("rounds"), quantitative("log-loss", **_LOSS)]
        yield _chart("Trees alone, by boosting round", _line(rows, x, y, tooltip))


def _recipes(fitted: TrainedModel) -> Iterator[Spec]:
    rows: Rows = [row for score in fitted.choice for row in _fold_rows(score)]
    if rows:
        encoding: dict[str, Any] = {
            "x": ordinal("fold", axis={"labelAngle": 0}),
            "y": quantitative("log-loss", title="log-loss of the held-out fold", scale={"zero": False}),
            "color": nominal("recipe", sort=None, legend={"orient": "bottom"}),
            "tooltip": [nominal("recipe"), ordinal("fold"), quantitative("log-loss", **_LOSS)],
        }
        yield _chart("Recipes, by fold", mark("line", rows, encoding, point={"size": 36}))


def _fold_rows(score: RecipeScore) -> Rows:
    return [
        {"recipe": score.name, "fold": fold, "log-loss": loss}
        for fold, loss in enumerate(score.fold_log_losses, 1)
    ]
