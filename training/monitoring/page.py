"""The monitoring report as one HTML page without external files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from features.messages import Message
from training.report.render import environment, style
from training.report.table import Table
from training.report.translator import translator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from features.messages import Lang
    from training.monitoring.results import ColumnDrift, GroupCalibration, MonitoringReport, Window
    from training.report.translator import Translator

_SHOWN = 20


def monitor_page(report: MonitoringReport, lang: Lang = "en", titles: Mapping[str, str] | None = None) -> str:
    """The page of a monitoring report.

    Args:
        report: The report.
        lang: The language of the page.
        titles: What features are called for people in this language, by name. Default: their names.

    Returns:
        HTML; text from the data is escaped.
    """
    t, titles = translator(lang), titles or {}
    return (
        environment()
        .get_template("monitor.html")
        .render(
            found=report,
            t=t,
            repair=_repair(report, t),
            reasons=[
                (t(f"monitor.{alert.state}"), t.message(_with_title(alert.message, titles)))
                for alert in report.reasons
            ],
            unknown=[
                (t.label("unknown", what.replace(" ", "_")), t.message(why))
                for what, why in report.unknown.items()
            ],
            tiles=tuple(_tiles(report, t)),
            tables=tuple(table for table in _tables(report, t, titles) if table.rows),
            style=Markup(style()),  # noqa: S704  # our own file, no data in it
        )
    )


def _with_title(message: Message, titles: Mapping[str, str]) -> Message:
    """The message with the title of the feature that it is about."""
    title = titles.get(str(message.values.get("column")))
    return message if title is None else Message(message.key, **{**message.values, "column": title})


def _tiles(report: MonitoringReport, t: Translator) -> Iterator[tuple[str, str]]:
    yield t("monitor.scored"), t.number(report.scored)
    if report.total is not None:
        yield t("monitor.known"), t.number(report.total.rows)
        yield t("monitor.converted"), t.percent(report.total.observed.value, 1)
        yield t("monitor.forecast"), t.percent(report.total.forecast, 1)
    if report.roc_auc is not None:
        low, high = (t.number(end, 3) for end in (report.roc_auc.low, report.roc_auc.high))
        yield t("monitor.roc_auc", low=low, high=high), t.number(report.roc_auc.value, 3)
    if report.score_drift is not None:
        yield t("monitor.score_drift"), t.number(report.score_drift.psi, 2)
    if report.without_data is not None:
        yield t("monitor.without_data"), t.percent(report.without_data, 1)


def _tables(report: MonitoringReport, t: Translator, titles: Mapping[str, str]) -> Iterator[Table]:
    yield _groups("grade", report.grades, t)
    yield _groups("month", report.months, t)
    yield _windows(report.windows, t)
    doubts = tuple(
        (t.get_or_default(code, f"doubts.{code}"), t.percent(share, 1))
        for code, share in (report.insufficient or {}).items()
    )
    yield Table(t("monitor.doubts"), (t("health.why"), t("monitor.share")), doubts)
    yield _drifts(report.feature_drift[:_SHOWN], t, titles)


def _groups(what: str, groups: Sequence[GroupCalibration], t: Translator) -> Table:
    rows = tuple(
        (
            group.name,
            t.number(group.rows),
            t.percent(group.forecast, 1),
            t.rate(group.observed),
            t.number(group.ratio, 2),
        )
        for group in groups
    )
    heads = ("calibration.rows", "calibration.forecast", "calibration.outcome", "monitor.ratio")
    head = (t(f"calibration.{what}"), *(t(name) for name in heads))
    return Table(t(f"monitor.by_{what}"), head, rows)


def _windows(windows: Sequence[Window], t: Translator) -> Table:
    rows = tuple(
        (
            t.message(window.name),
            t.number(window.scored),
            *("" if psi is None else t.number(psi.psi, 3) for psi in (window.drift, window.since)),
            "" if window.outcome is None else t.number(window.outcome.ratio, 2),
        )
        for window in windows
    )
    heads = ("window", "scores", "drift", "since", "ratio")
    return Table(t("monitor.by_window"), tuple(t(f"monitor.{name}") for name in heads), rows)


def _repair(report: MonitoringReport, t: Translator) -> str:
    """The sentence on recalibration, where the base rate is off; else ""."""
    if not report.suggestions or report.repair is None:
        return ""
    return t(
        "monitor.repair",
        moved=t.signed(report.repair.moved, 2),
        gain=t.number(report.repair.gain.value, 4),
        low=t.number(report.repair.gain.low, 4),
        high=t.number(report.repair.gain.high, 4),
        rows=t.number(report.repair.rows),
    )


def _drifts(drifts: Sequence[ColumnDrift], t: Translator, titles: Mapping[str, str]) -> Table:
    rows = tuple(
        (titles.get(drift.column, drift.column), t.number(drift.psi, 3), t.number(drift.chance, 3))
        for drift in drifts
    )
    head = (t("drivers.feature"), t("monitor.drift"), t("monitor.chance"))
    return Table(t("monitor.features"), head, rows)
