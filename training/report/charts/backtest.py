"""The chart of a backtest: each candidate's log-loss minus the default's at each origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.report.charts.vega import GUIDE, PALETTE, mark, nominal, ordinal, quantitative, to_svg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.metrics import Interval
    from training.report.charts.vega import Rows


def loss_difference_chart(rounds: Mapping[str, Mapping[str, Interval]]) -> str:
    """Plot differences with their intervals, by round and name; 0 is no difference."""
    rows: Rows = [
        {
            "round": when,
            "name": name,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "zero": 0.0,
        }
        for when, named in rounds.items()
        for name, interval in named.items()
    ]
    names = list(dict.fromkeys(row["name"] for row in rows))
    inks = [PALETTE[name] for name in ("accent", "against", "muted", "ink")]
    colour = nominal(
        "name",
        title=None,
        scale={"domain": names, "range": [inks[i % len(inks)] for i in range(len(names))]},
        legend={"orient": "bottom", "labelColor": PALETTE["muted"], "columns": 2},
    )
    # More names than inks: the mark tells apart what the ink does not.
    shape = nominal("name", title=None, scale={"domain": names})
    x = ordinal("round", title=None, sort=list(rounds), axis={"labelAngle": -30})
    y = quantitative("value", title="log-loss against the default")
    base = {"x": x, "xOffset": nominal("name", sort=names), "y": y, "color": colour}
    spans = mark("rule", rows, {**base, "y2": {"field": "high"}}, strokeWidth=1.6)
    return to_svg(
        mark("rule", rows[:1], {"y": quantitative("zero")}, **GUIDE),
        {**spans, "transform": [{"calculate": "datum.low", "as": "value"}]},
        mark("point", rows, {**base, "shape": shape}, filled=True, size=50, opacity=1),
    )
