"""What a look at a model in use came to, as one HTML page that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from training.page.words import words
from training.render import environment, style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.monitoring.monitored import Drifted, Group, Monitored, Window

    Table = tuple[str, str, Sequence[str], Sequence[Sequence[str]]]

_VERDICTS = {
    "healthy": "The model holds",
    "watch": "The model needs watching",
    "retrain": "The model should be trained again",
}
_SHOWN = 20
_GROUPS = ("scores", "forecast", "converted", "95 % interval", "came for each forecast")
_WINDOW = ("window", "scores", "drift", "since the window before", "came for each forecast")
_DRIFT = ("feature", "drift", "by chance")
_t = words("en")


def monitor_page(found: Monitored) -> str:
    """The verdict, its reasons, and the figures behind them. Whatever came from data is escaped."""
    return (
        environment()
        .get_template("monitor.html")
        .render(
            found=found,
            verdict=_VERDICTS[found.state],
            repair="".join(found.offered),
            tiles=tuple(_tiles(found)),
            tables=tuple(_tables(found)),
            style=Markup(style()),  # noqa: S704  # our own file, no data in it
        )
    )


def _tiles(found: Monitored) -> Iterator[tuple[str, str]]:
    yield "scores looked at", _t.number(found.scored)
    if found.total is not None:
        yield "of them with a known outcome", _t.number(found.total.rows)
        yield "converted", _t.percent(found.total.observed.value, 1)
        yield "were forecast to", _t.percent(found.total.forecast, 1)
    if found.roc_auc is not None:
        yield "ROC AUC", _t.interval(found.roc_auc)
    if found.score_drift is not None:
        yield "drift of scores (PSI)", _t.number(found.score_drift.psi, 2)
    if found.without_data is not None:
        yield "with unusually few features filled", _t.percent(found.without_data, 1)


def _tables(found: Monitored) -> Iterator[Table]:
    yield "By grade", "Conversion by grade, against the forecast", ("grade", *_GROUPS), _groups(found.grades)
    yield "By month", "Conversion by month, against the forecast", ("month", *_GROUPS), _groups(found.months)
    yield "By window", "Scores by window, beside how they were when judged", _WINDOW, _windows(found.windows)
    doubts = [(code, _t.percent(share, 1)) for code, share in (found.insufficient or {}).items()]
    yield "Not to be relied on", "Scores that say so of themselves", ("reason", "share of scores"), doubts
    drift = _drifts(found.feature_drift[:_SHOWN])
    yield "Features", "The features that changed most", _DRIFT, drift


def _groups(groups: Sequence[Group]) -> list[Sequence[str]]:
    return [
        (
            one.name,
            _t.number(one.rows),
            _t.percent(one.forecast, 1),
            _t.percent(one.observed.value, 1),
            f"{_t.percent(one.observed.low, 1)} to {_t.percent(one.observed.high, 1)}",
            _t.number(one.ratio, 2),
        )
        for one in groups
    ]


def _windows(windows: Sequence[Window]) -> list[Sequence[str]]:
    return [
        (
            one.name,
            _t.number(one.scored),
            *("" if psi is None else _t.number(psi.psi, 3) for psi in (one.drift, one.since)),
            "" if one.outcome is None else _t.number(one.outcome.ratio, 2),
        )
        for one in windows
    ]


def _drifts(drifts: Sequence[Drifted]) -> list[Sequence[str]]:
    return [(one.column, _t.number(one.psi, 3), _t.number(one.chance, 3)) for one in drifts]
