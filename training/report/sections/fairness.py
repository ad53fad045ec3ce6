"""The section on fairness: how groups of leads by chosen columns are treated, each beside all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.fairness import Fairness
from training.report.table import Table

if TYPE_CHECKING:
    from training.analysis.fairness import GroupFairness, Measure
    from training.report.report import Report
    from training.report.table import Row
    from training.report.translator import Translator

_HEADS = ("group", "leads", "forecast", "observed", "handed_over", "captured", "roc_auc", "width")
_OWN_NAMES = {
    "yes": "values.yes",
    "no": "values.no",
    "missing": "drivers.missing",
    "others": "calibration.others",
}


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``fairness.html``: tables (one per column), differences (sentences) and small."""
    analysis = report.insights.fairness
    if not isinstance(analysis, Fairness):
        return {}
    return {
        "analysis": analysis,
        "capacity": t.percent(analysis.capacity),
        "tables": tuple(_table(analysis, column, t) for column in analysis.columns),
        "differences": tuple(_difference(group, t) for group in analysis.different),
        "small": any(not group.is_judged for group in analysis.groups),
    }


def _table(analysis: Fairness, column: str, t: Translator) -> Table:
    groups = [group for group in analysis.groups if group.column == column]
    small = frozenset(place for place, group in enumerate(groups) if not group.is_judged)
    head = tuple(t(f"fairness.{name}") for name in _HEADS)
    return Table(t.column(column), head, tuple(_row(group, t) for group in groups), muted_rows=small)


def _row(group: GroupFairness, t: Translator) -> Row:
    small = t("fairness.small")
    return (
        group_name(group, t),
        t.number(group.leads),
        t.percent(group.forecast, 1),
        t.rate(group.observed),
        t.rate(group.handed_over),
        small if group.captured is None else t.rate(group.captured),
        small if group.roc_auc is None else t.interval(group.roc_auc),
        "" if group.width is None else t.percent(group.width, 1),
    )


def _difference(group: GroupFairness, t: Translator) -> str:
    figures = zip(group.differs, group.own, group.others, strict=True)
    what = "; ".join(
        t(f"fairness.differs_{measure}", own=_figure(own, measure, t), others=_figure(others, measure, t))
        for measure, own, others in figures
    )
    return t("fairness.difference", column=t.column(group.column), name=group_name(group, t), what=what)


def _figure(value: float, measure: Measure, t: Translator) -> str:
    """The figure of a measure: a share in percent, points of percent, or a ROC AUC."""
    if measure == "roc_auc":
        return t.number(value, 2)
    return t.signed(100 * value) if measure == "calibration" else t.percent(value, 1)


def group_name(group: GroupFairness, t: Translator) -> str:
    """The name of a group: the company's own for a value, else the value; of numbers their range."""
    if group.ends is not None:
        low, high = (t.number(end, 0 if end.is_integer() else 2) for end in group.ends)
        return t("fairness.range", low=low, high=high).replace(" ", "\N{NO-BREAK SPACE}")
    if group.name in _OWN_NAMES:
        return t(_OWN_NAMES[group.name])
    text = t.names.texts.get(f"{group.column}.{group.name}")
    return group.name if text is None else text.render(t.lang)
