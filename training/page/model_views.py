"""What the page shows of the model itself: its worth, whether it is true, what drives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.page import charts, charts_rows, tables
from training.page.charts import drawn
from training.page.reliability import off

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.page.drivers import Driver
    from training.page.reliability import Group
    from training.page.words import Words
    from training.report import Report

    View = dict[str, Any]
    Named = Sequence[tuple[str, Group]]

SHOWN = 12


def worth(report: Report, t: Words) -> View:
    """The gains curve, what the slider needs to tell it, and what today's rule does."""
    at, today = report.summary.at_capacity, report.worth.today
    now = None if today is None else (today.share, today.captured)
    curve = report.worth.gains
    return {
        "gains": drawn(charts.gains(curve, (at.share, at.captured), now, t)),
        "slider": {
            "captured": [round(captured, 5) for _, captured in curve],
            "positives": report.summary.positives,
            "rows": report.summary.rows,
            "weekly": report.worth.weekly,
            "share": at.share,
            "width": charts.WIDTH,
            "height": charts.HEIGHT,
        },
    }


def calibration(report: Report, t: Words) -> View:
    """Forecast beside outcome by forecast, month and segment, and how many groups are off."""
    found = report.calibration
    months, segments = tables.named_months(report, t), tables.named_segments(report, t)
    return {
        "bins": drawn(charts.reliability(found.bins, t)),
        "months": _outcomes(months, t),
        "months_off": _off(months),
        "segments": _outcomes(segments, t),
        "segments_off": _off(segments),
        "by": t.title(found.segments.by) if found.segments else "",
    }


def drivers(report: Report, t: Words) -> View:
    """The weight of families and features, how their points are spread, and the shape of each."""
    found, first = report.drivers, shown(report)
    families = [(t.named("families", family.name), family.importance) for family in found.families]
    return {
        "shown": first,
        "families": drawn(charts.bars(families, t, signed=False)),
        "features": drawn(charts.bars([(t.title(d.spec), d.importance) for d in first], t, signed=False)),
        "spreads": drawn(charts_rows.spreads([(t.title(d.spec), d.spread) for d in first], t)),
        "shapes": [
            drawn(charts.bars([(t.part(driver.spec, part), part.points) for part in driver.shape], t))
            for driver in first
        ],
    }


def shown(report: Report) -> tuple[Driver, ...]:
    """The features that are looked at one by one: the weightiest that weigh anything, but never none."""
    first = report.drivers.features[:SHOWN]
    return tuple(driver for driver in first if driver.direction != "none") or first[:1]


def _outcomes(named: Named, t: Words) -> str | None:
    return drawn(charts_rows.outcomes(named, t)) if named else None


def _off(named: Named) -> int:
    """Of how many groups the forecast lies outside the interval of what came."""
    return sum(off(group) for _, group in named)
