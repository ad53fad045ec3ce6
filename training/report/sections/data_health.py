"""The section on data quality: quarantined rows, findings, and how filled each column is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.report.table import Table

if TYPE_CHECKING:
    from training.report.report import Report
    from training.report.translator import Translator

_SPARSE = 0.5


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``health.html``: quarantined, findings, columns, excluded (tables) and reading."""
    return {
        "quarantined": _quarantined(report, t),
        "findings": _findings(report, t),
        "reading": _reading(report, t),
        "columns": _columns(report, t),
        "excluded": _excluded(report, t),
    }


def _quarantined(report: Report, t: Translator) -> Table:
    """Quarantined rows by reason."""
    quarantined = report.health.quarantined
    rows = tuple((report.translate(reason, t.lang), t.number(count)) for reason, count in quarantined)
    return Table(t("health.quarantine"), (t("health.reason"), t("health.rows")), rows)


def _findings(report: Report, t: Translator) -> Table:
    """The findings of the data checks."""
    rows = tuple(
        (
            note.code,
            t.label("severities", note.severity),
            _title(report, note.column, t),
            report.translate(note.message, t.lang),
        )
        for note in report.health.findings
    )
    head = ("code", "severity", "column", "message")
    return Table(t("health.findings"), tuple(t(f"health.{name}") for name in head), rows, is_text=True)


def _title(report: Report, column: str, t: Translator) -> str:
    """A feature by its title, a column of the data by the name that the configuration knows."""
    spec = report.feature(column)
    if spec is None or spec.source in {"leads", "attributes"}:
        return t.column(column)
    return t.title(spec)


def _columns(report: Report, t: Translator) -> Table:
    """How filled each column of the model is."""
    rows = tuple(
        (
            _title(report, column.column, t),
            t.percent(column.missing, 1),
            t.number(column.distinct),
            t(f"states.{column.state}"),
            "" if column.unseen is None else t.percent(column.unseen, 1),
        )
        for column in report.health.columns
    )
    head = ("column", "missing", "distinct", "state", "unseen")
    return Table(t("health.columns"), tuple(t(f"health.{name}") for name in head), rows)


def _excluded(report: Report, t: Translator) -> Table:
    """Columns of the source that the model does not use, with the reason."""
    rows = tuple((t.column(column), report.translate(why, t.lang)) for column, why in report.health.excluded)
    return Table(t("health.excluded"), (t("health.column"), t("health.why")), rows, is_text=True)


def _reading(report: Report, t: Translator) -> str:
    columns = report.health.columns
    return t(
        "health.columns_reading",
        sparse=t.number(sum(column.missing > _SPARSE for column in columns)),
        all=t.number(len(columns)),
        flat=t.number(sum(column.state != "filled" for column in columns)),
    )
