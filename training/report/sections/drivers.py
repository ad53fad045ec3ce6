"""The section on drivers: importance of families and features, spread of points, and shape of each effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.drivers import NEGLIGIBLE, QUANTILES, SHOWN
from training.report.charts import bars
from training.report.charts.beeswarm import beeswarm
from training.report.charts.vega import chart_markup
from training.report.table import Table

if TYPE_CHECKING:
    from markupsafe import Markup

    from models.metrics import Interval
    from training.analysis.drivers import Driver
    from training.analysis.interactions import Interaction, InteractionCell
    from training.report.report import Report
    from training.report.translator import Translator


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``drivers.html``.

    Returns:
        shown, directions and shapes (one item per feature shown), charts and tables of families, features and
        spreads, and the table of interplays.
    """
    weighty = [family for family in report.drivers.families if family.importance >= NEGLIGIBLE]
    families = [
        _interval_bar(t.label("families", family.name), family.likely, t)
        for family in weighty or report.drivers.families
    ]
    first = shown(report)
    titled = [(t.title(driver.spec), driver) for driver in first]
    return {
        "shown": first,
        "directions": [direction(driver, t) for driver in first],
        "families": chart_markup(bars.interval_bars(families)),
        "families_table": _families(report, t),
        "features": chart_markup(
            bars.interval_bars([_interval_bar(name, driver.likely, t) for name, driver in titled])
        ),
        "features_table": _features(report, t),
        "spreads": chart_markup(beeswarm([(name, driver.dots) for name, driver in titled], t)),
        "spreads_table": _spreads(report, t),
        "interplays": _interplays(report, t),
        "shapes": [(_bars(driver, t), _shape(driver, t)) for driver in first],
    }


def shown(report: Report) -> tuple[Driver, ...]:
    """The features with a chart of their own: the most important that have any effect, but at least one."""
    first = report.drivers.features[:SHOWN]
    return tuple(driver for driver in first if driver.direction != "none") or first[:1]


def _interval_bar(name: str, likely: Interval, t: Translator) -> tuple[str, Interval, str]:
    return name, likely, t.number(likely.value, 1)


def _bars(driver: Driver, t: Translator) -> Markup:
    return chart_markup(
        bars.bar_chart([(t.part(driver.spec, part), part.points) for part in driver.shape], t)
    )


def _families(report: Report, t: Translator) -> Table:
    """Every family by importance."""
    table = tuple(
        (t.label("families", family.name), t.interval(family.likely, 1), t.number(family.features))
        for family in report.drivers.families
    )
    return Table(
        t("drivers.families_title"), (t("drivers.family"), t("drivers.points"), t("drivers.count")), table
    )


def _features(report: Report, t: Translator) -> Table:
    """Every feature by importance."""
    table = tuple(
        (
            t.title(driver.spec),
            t.label("families", driver.spec.family),
            t.interval(driver.likely, 1),
            direction(driver, t),
        )
        for driver in report.drivers.features
    )
    head = ("feature", "family", "points", "direction")
    return Table(
        t("drivers.features_title"), tuple(t(f"drivers.{name}") for name in head), table, is_text=True
    )


def direction(driver: Driver, t: Translator) -> str:
    """Describe the direction of a feature, whether refits agree, and whether it is only the lead's age."""
    remarks = [t("drivers.unsteady")] if driver.steady is False else []
    remarks += [t("drivers.age")] if driver.is_age else []
    text = t(f"directions.{driver.direction}")
    return f"{text} ({'; '.join(remarks)})" if remarks else text


def _spreads(report: Report, t: Translator) -> Table:
    """The quantiles of the points for each feature."""
    table = tuple(
        (t.title(driver.spec), *(t.signed(points) for points in driver.spread))
        for driver in report.drivers.features
    )
    head = (t("drivers.feature"), *(t.percent(share) for share in QUANTILES))
    return Table(t("drivers.spreads_table"), head, table)


def _interplays(report: Report, t: Translator) -> Table:
    """The strongest interactions."""
    table = tuple(
        (
            f"{t.title(pair.first)} × {t.title(pair.second)}",  # noqa: RUF001
            t.number(pair.points, 1),
            *(_describe_cell(pair, cell, t) for cell in (pair.most, pair.least)),
        )
        for pair in report.drivers.interplays
    )
    head = tuple(t(f"drivers.{name}") for name in ("pair", "points", "more", "less"))
    return Table(t("drivers.interplays_title"), head, table, is_text=True)


def _describe_cell(pair: Interaction, cell: InteractionCell, t: Translator) -> str:
    first, second = t.example(pair.first, cell.first), t.example(pair.second, cell.second)
    return t("drivers.meeting", first=first, second=second, points=t.signed(cell.points))


def _shape(driver: Driver, t: Translator) -> Table:
    """The mean points of one feature by value."""
    table = tuple(
        (t.part(driver.spec, part), t.number(part.rows), t.signed(part.points)) for part in driver.shape
    )
    caption = t("drivers.shape_table", feature=t.title(driver.spec))
    return Table(caption, (t("drivers.value"), t("drivers.rows"), t("drivers.points")), table)
