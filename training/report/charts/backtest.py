"""The chart of a backtest: each candidate's log-loss minus the default's at each origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from training.report.charts.vega import GUIDE, PALETTE, chart, to_svg

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
    colour = alt.Color(
        "name:N",
        title=None,
        scale=alt.Scale(domain=names, range=[inks[i % len(inks)] for i in range(len(names))]),
        legend=alt.Legend(orient="bottom", labelColor=PALETTE["muted"], columns=2),
    )
    # More names than inks: the mark tells apart what the ink does not.
    shape = alt.Shape("name:N", title=None, scale=alt.Scale(domain=names))
    x = alt.X("round:O", title=None, sort=list(rounds), axis=alt.Axis(labelAngle=-30))
    y = alt.Y("value:Q", title="log-loss against the default")
    base = chart(rows).encode(x=x, xOffset=alt.XOffset("name:N", sort=names))
    return to_svg(
        chart(rows[:1]).mark_rule(**GUIDE).encode(y="zero:Q")
        + base.mark_rule(strokeWidth=1.6)
        .encode(y=y, y2="high:Q", color=colour)
        .transform_calculate(value="datum.low")
        + base.mark_point(filled=True, size=50, opacity=1).encode(y=y, color=colour, shape=shape)
    )
