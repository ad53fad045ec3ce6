"""The section on the model's worth: gains curve with slider, lifts and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.part_matrix import FEWEST_IN_CELL, PartMatrix
from training.report.charts import curves
from training.report.charts.vega import HEIGHT, WIDTH, chart_markup
from training.report.sections.summary import looks
from training.report.table import Row, Table

if TYPE_CHECKING:
    from training.analysis.part_matrix import PartCell
    from training.report.report import Report
    from training.report.translator import Translator

_STEP = 20
# Any other metric of the card is a plug-in's.
_OWN_METRICS = frozenset({"roc_auc", "average_precision", "log_loss", "brier", "calibration_error"})


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``worth.html``.

    Returns:
        gains (chart), looks (sentence), table, lifts and measures (tables), slider (the data of its script),
        parts and parts_table (the matrix of fit and engagement, and a row for each of its cells; None where
        there are none).
    """
    capacity = report.summary.at_capacity
    curve = report.worth.gains
    return {
        "gains": chart_markup(curves.gains_chart(curve, (capacity.share, capacity.captured), t)),
        "looks": t("worth.looks", rows=t.number(report.summary.rows)) if looks(report, t) else "",
        "table": _gains(report, t),
        "lifts": _lifts(report, t),
        "measures": _measures(report, t),
        **_parts(report, t),
        "slider": {
            "captured": [round(captured, 5) for _, captured in curve],
            "positives": report.summary.positives,
            "rows": report.summary.rows,
            "weekly": report.worth.weekly,
            "share": capacity.share,
            "width": WIDTH,
            "height": HEIGHT,
        },
    }


def _parts(report: Report, t: Translator) -> dict[str, Any]:
    """The matrix of fit and engagement; a cell has its rate, the interval of it, and the number of leads."""
    matrix = report.insights.part_matrix
    if not isinstance(matrix, PartMatrix):
        return {"parts": None, "parts_table": None}
    rows = [
        (fit, [_part_cell(matrix.cell(fit, engagement), t) for engagement in matrix.engagements])
        for fit in matrix.fits
    ]
    counted = [cell for cell in matrix.cells if cell.rate is not None]
    return {
        "parts": {"head": matrix.engagements, "rows": rows},
        "parts_table": Table(
            t("worth.parts_table"),
            tuple(t(f"worth.{name}") for name in ("combined_grade", "leads", "looks_at", "hits", "of_these")),
            tuple(
                (
                    cell.grade,
                    t.number(cell.leads),
                    t.number(cell.rows),
                    t.number(cell.converted),
                    t.rate(cell.rate),
                )
                for cell in counted
                if cell.rate is not None
            ),
            muted_rows=frozenset(i for i, cell in enumerate(counted) if cell.leads < FEWEST_IN_CELL),
        ),
    }


def _part_cell(cell: PartCell, t: Translator) -> dict[str, Any]:
    rate = cell.rate
    return {
        "grade": cell.grade,
        "rate": "" if rate is None else t.percent(rate.value),
        "ends": "" if rate is None else f"{t.number(100 * rate.low)}\N{EN DASH}{t.percent(rate.high)}",
        "leads": t.plural("page.leads", cell.leads),
        "is_small": cell.leads < FEWEST_IN_CELL,
    }


def _gains(report: Report, t: Translator) -> Table:
    """The gains curve in steps of a tenth, per week where rows have dates."""
    worth, weekly = report.worth, report.worth.weekly or 0.0
    points = [(share, captured) for share, captured in worth.gains[_STEP - 1 :: _STEP]]
    head = [t("worth.share"), t("worth.captured")]
    rows: list[Row] = [(t.percent(share), t.percent(captured, 1)) for share, captured in points]
    if weekly:
        converted = weekly * report.summary.base_rate
        head += [t("worth.calls_a_week"), t("worth.hits_a_week")]
        rows = [
            (*row, t.number(share * weekly, 1), t.number(captured * converted, 1))
            for row, (share, captured) in zip(rows, points, strict=True)
        ]
    return Table(t("worth.gains_table"), tuple(head), tuple(rows))


def _lifts(report: Report, t: Translator) -> Table:
    """The lift at the usual shares and at capacity."""
    capacity = report.summary.at_capacity.share
    rows = tuple(
        (
            t.share(lift.share) + (f" ({t('worth.capacity')})" if lift.share == capacity else ""),
            t.number(lift.leads),
            t.number(lift.hits),
            t.rate(lift.rate),
            f"{t.number(lift.lift, 1)}×",  # noqa: RUF001  # the multiplication sign is meant
            t.percent(lift.captured),
        )
        for lift in report.worth.lifts
    )
    head = ("share", "leads", "hits", "rate", "lift", "captured")
    leads = report.lead_lists.get("worth.lifts", ())
    return Table(t("worth.lift_table"), tuple(t(f"worth.{name}") for name in head), rows, leads=leads)


def _measures(report: Report, t: Translator) -> Table:
    """The metrics beside those of a model without skill."""
    worth, base = report.worth, report.summary.base_rate
    rows = (
        (t("worth.roc_auc"), t.interval(worth.roc_auc), t.number(0.5, 3)),
        (t("worth.average_precision"), t.interval(worth.average_precision), t.number(base, 3)),
        (t("worth.log_loss"), t.interval(worth.log_loss), t.number(worth.constant, 3)),
        *((name, t.interval(x), "") for name, x in report.card.metrics.items() if name not in _OWN_METRICS),
    )
    return Table(t("worth.measures"), (t("worth.measure"), t("worth.value"), t("worth.without")), rows)
