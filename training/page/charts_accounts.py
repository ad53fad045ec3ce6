"""The chart of accounts: the chance of each lies between its best lead's and that of at least one of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from training.page.charts import PALETTE, ROW, WIDTH, chart, svg
from training.page.charts_funnel import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.insight.accounts import Account
    from training.page.charts import Rows
    from training.page.words import Words


def ranges(accounts: Sequence[Account], words: Words) -> str:
    """One row an account: a dot at its best lead's probability, a line on to the chance of at least one."""
    data: Rows = [
        {
            "row": i,
            "name": one.account,
            "best": one.best,
            "any": one.at_least_one,
            "text": f"{words.percent(one.best)} \N{EN DASH} {words.percent(one.at_least_one)}",
        }
        for i, one in enumerate(accounts)
    ]
    scale = alt.Scale(domain=[0, max(1e-9, *(one.at_least_one for one in accounts))], nice=False)
    base = chart(data).encode(y=alt.Y("row:O", axis=None))
    drawing = alt.layer(
        base.mark_rule(yOffset=6, color=PALETTE["line"], strokeWidth=2).encode(
            x=alt.value(0), x2=alt.value(WIDTH)
        ),
        base.mark_rule(yOffset=6, color=PALETTE["accent"], strokeWidth=4).encode(
            x=alt.X("best:Q", axis=None, scale=scale), x2="any:Q"
        ),
        base.mark_point(yOffset=6, color=PALETTE["accent"], filled=True, size=80, opacity=1).encode(
            x="best:Q"
        ),
        *labels(base),
    )
    return svg(drawing.properties(height=ROW * len(accounts)))
