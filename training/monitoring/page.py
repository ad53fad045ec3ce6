"""What a look at a model in use came to, as one HTML page that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from training.report.render import environment, style
from training.report.table import Table
from training.report.translator import translator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.messages import Lang
    from training.monitoring.results import ColumnDrift, GroupCalibration, MonitoringReport, Window
    from training.report.translator import Translator

_SHOWN = 20


def monitor_page(found: MonitoringReport, lang: Lang = "en") -> str:
    """The verdict, its reasons, and the figures behind them, in ``lang``. What came from data is escaped."""
    t = translator(lang)
    return (
        environment()
        .get_template("monitor.html")
        .render(
            found=found,
            t=t,
            repair=_repair(found, t),
            reasons=[(t(f"monitor.{one.state}"), t.message(one.message)) for one in found.reasons],
            unknown=[
                (t.label("unknown", what.replace(" ", "_")), t.message(why))
                for what, why in found.unknown.items()
            ],
            tiles=tuple(_tiles(found, t)),
            tables=tuple(table for table in _tables(found, t) if table.rows),
            style=Markup(style()),  # noqa: S704  # our own file, no data in it
        )
    )


def _tiles(found: MonitoringReport, t: Translator) -> Iterator[tuple[str, str]]:
    yield t("monitor.scored"), t.number(found.scored)
    if found.total is not None:
        yield t("monitor.known"), t.number(found.total.rows)
        yield t("monitor.converted"), t.percent(found.total.observed.value, 1)
        yield t("monitor.forecast"), t.percent(found.total.forecast, 1)
    if found.roc_auc is not None:
        yield t("worth.roc_auc"), t.interval(found.roc_auc)
    if found.score_drift is not None:
        yield t("monitor.score_drift"), t.number(found.score_drift.psi, 2)
    if found.without_data is not None:
        yield t("monitor.without_data"), t.percent(found.without_data, 1)


def _tables(found: MonitoringReport, t: Translator) -> Iterator[Table]:
    yield _groups("grade", found.grades, t)
    yield _groups("month", found.months, t)
    yield _windows(found.windows, t)
    doubts = tuple(
        (t.get_or_default(code, f"doubts.{code}"), t.percent(share, 1))
        for code, share in (found.insufficient or {}).items()
    )
    yield Table(t("monitor.doubts"), (t("health.why"), t("monitor.share")), doubts)
    yield _drifts(found.feature_drift[:_SHOWN], t)


def _groups(what: str, groups: Sequence[GroupCalibration], t: Translator) -> Table:
    rows = tuple(
        (
            one.name,
            t.number(one.rows),
            t.percent(one.forecast, 1),
            t.rate(one.observed),
            t.number(one.ratio, 2),
        )
        for one in groups
    )
    heads = ("calibration.rows", "calibration.forecast", "calibration.outcome", "monitor.ratio")
    head = (t(f"calibration.{what}"), *(t(name) for name in heads))
    return Table(t(f"monitor.by_{what}"), head, rows)


def _windows(windows: Sequence[Window], t: Translator) -> Table:
    rows = tuple(
        (
            t.message(one.name),
            t.number(one.scored),
            *("" if psi is None else t.number(psi.psi, 3) for psi in (one.drift, one.since)),
            "" if one.outcome is None else t.number(one.outcome.ratio, 2),
        )
        for one in windows
    )
    heads = ("window", "scores", "drift", "since", "ratio")
    return Table(t("monitor.by_window"), tuple(t(f"monitor.{name}") for name in heads), rows)


def _repair(found: MonitoringReport, t: Translator) -> str:
    """What moving the level would do, if it is off."""
    if not found.suggestions or found.repair is None:
        return ""
    return t(
        "monitor.repair",
        moved=t.signed(found.repair.moved, 2),
        gain=t.number(found.repair.gain.value, 4),
        low=t.number(found.repair.gain.low, 4),
        high=t.number(found.repair.gain.high, 4),
        rows=t.number(found.repair.rows),
    )


def _drifts(drifts: Sequence[ColumnDrift], t: Translator) -> Table:
    rows = tuple((one.column, t.number(one.psi, 3), t.number(one.chance, 3)) for one in drifts)
    head = (t("drivers.feature"), t("monitor.drift"), t("monitor.chance"))
    return Table(t("monitor.features"), head, rows)
