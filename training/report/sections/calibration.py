"""The section on calibration: predictions beside outcomes by probability, grade, month and segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.calibration import is_miscalibrated
from training.report.charts import curves
from training.report.charts.forest import ForestRow, rate_forest
from training.report.charts.vega import chart_markup
from training.report.table import Row, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from training.analysis.calibration import CalibrationGroup
    from training.report.report import Report
    from training.report.translator import Translator

    Named = Sequence[tuple[str, CalibrationGroup]]


_CAPTIONS = {
    "group": "calibration.table",
    "grade": "calibration.grades_table",
    "month": "calibration.months_table",
    "segment": "calibration.segments_table",
}
_LISTS = {"group": "bins", "grade": "grades", "month": "months", "segment": "segments"}


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``calibration.html``.

    Returns:
        bins, months and segments (charts; the last two may be None) with bins_table, months_table and
        segments_table; grades (table); months_off and segments_off (miscalibrated groups); by (the feature of
        the segments, or "").
    """
    calibration = report.calibration
    months, segments = _named_months(report, t), _named_segments(report, t)
    return {
        "bins": chart_markup(curves.calibration_chart(calibration.bins, t)),
        "bins_table": _bins(report, t),
        "grades": _table("grade", [(group.name, group) for group in calibration.grades], report, t),
        "months": _outcomes(months, t),
        "months_off": _count_miscalibrated(months),
        "months_table": _table("month", months, report, t),
        "segments": _outcomes(segments, t),
        "segments_off": _count_miscalibrated(segments),
        "segments_table": _table("segment", segments, report, t),
        "by": t.title(calibration.segments.by) if calibration.segments else "",
    }


def _bins(report: Report, t: Translator) -> Table:
    """The ten bins by probability, and all rows together."""
    calibration = report.calibration
    named = [(group.name, group) for group in calibration.bins]
    return _table("group", [*named, (t("calibration.all"), calibration.total)], report, t)


def _table(what: str, named: Named, report: Report, t: Translator) -> Table:
    """Prediction and outcome of groups; ``what`` is the kind of group."""
    head = tuple(t(f"calibration.{name}") for name in (what, "rows", "forecast", "outcome"))
    rows = tuple(_group(name, group, t) for name, group in named)
    leads = report.lead_lists.get(f"calibration.{_LISTS[what]}", ())
    return Table(t(_CAPTIONS[what]), head, rows, leads=leads)


def _named_months(report: Report, t: Translator) -> Named:
    """The months by their names."""
    return [(t.month(group.name), group) for group in report.calibration.months]


def _named_segments(report: Report, t: Translator) -> Named:
    """The segments by their values, and all others."""
    segments = report.calibration.segments
    if segments is None:
        return []
    rest = [] if segments.others is None else [(t("calibration.others"), segments.others)]
    return [*((t.value(segments.by, group.name), group) for group in segments.groups), *rest]


def _outcomes(named: Named, t: Translator) -> Markup | None:
    marks = [
        ForestRow(name, t.percent(group.observed.value, 1), group.observed, "more", group.forecast)
        for name, group in named
    ]
    return chart_markup(rate_forest(marks, None, t)) if marks else None


def _count_miscalibrated(named: Named) -> int:
    """The number of groups whose prediction lies outside the interval of the outcome."""
    return sum(is_miscalibrated(group) for _, group in named)


def _group(name: str, group: CalibrationGroup, t: Translator) -> Row:
    return name, t.number(group.rows), t.percent(group.forecast, 1), t.rate(group.observed)
