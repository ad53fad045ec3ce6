"""The monitoring report, its parts, and the thresholds of alerts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from training.backtesting.evaluation import interval_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.messages import Message
    from models.metrics import Interval

State = Literal["healthy", "watch", "retrain"]
STATES: tuple[State, ...] = ("healthy", "watch", "retrain")
EXIT_CODES: dict[State, int] = {"healthy": 0, "watch": 3, "retrain": 4}


@dataclass(frozen=True, slots=True)
class AlertThresholds:
    """Thresholds of alerts; of a pair the first is for "watch", the second for "retrain".

    Those of the population stability index are the convention of credit scoring (Siddiqi 2006); the others
    are ours.

    Attributes:
        psi: Population stability index of scores or of a feature.
        ratio_distance: Distance of the ratio of observed to forecast conversions from 1.
        unseen: Share of leads with more features missing than 95 % of rows had in training.
        fewest: Conversions, forecast or observed, that an alert on calibration takes.
        doubted: Share of scores with insufficient evidence.
    """

    psi: tuple[float, float] = (0.1, 0.25)
    ratio_distance: tuple[float, float] = (0.25, 0.5)
    unseen: tuple[float, float] = (0.15, 0.4)
    fewest: float = 10.0
    doubted: float = 0.4


@dataclass(frozen=True, slots=True)
class Alert:
    """One reason for watching or retraining: its state, code and message."""

    state: State
    code: str
    message: Message


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """The population stability index of a column, and how large chance alone makes it."""

    column: str
    psi: float
    chance: float


@dataclass(frozen=True, slots=True)
class GroupCalibration:
    """Forecast and outcome of a group of scored leads: of a grade, of a month, or of all.

    Attributes:
        name: The group.
        rows: Scores with an outcome.
        forecast: The mean probability.
        observed: The rate of conversions, with an interval that is clustered by lead.
        ratio: Observed over forecast conversions.
        beyond: Their difference in standard errors.
        enough: The larger of forecast and observed conversions, each lead counting once.
    """

    name: str
    rows: int
    forecast: float
    observed: Interval
    ratio: float
    beyond: float
    enough: float


@dataclass(frozen=True, slots=True)
class Window:
    """The scores of a month, or of the last days.

    Attributes:
        name: The window.
        scored: How many scores it has.
        drift: Drift of the scores from those held out in training.
        since: Drift from those of the window before.
        outcome: Forecast and outcome, where outcomes are known.
    """

    name: str
    scored: int
    drift: ColumnDrift | None
    since: ColumnDrift | None
    outcome: GroupCalibration | None

    def in_words(self) -> str:
        """One line."""
        drifts = {"": self.drift, " since the window before": self.since}
        drift_text = "".join(
            f"  PSI{of} {drift.psi:.3f} (chance {drift.chance:.3f})" for of, drift in drifts.items() if drift
        )
        outcome = self.outcome
        ratio = f"  came {outcome.ratio:.2f} of each forecast ({outcome.rows:,} outcomes)" if outcome else ""
        return f"{self.name:13} {self.scored:7,} scores{drift_text}{ratio}"


@dataclass(frozen=True, slots=True)
class InterceptUpdate:
    """The shift of a model's intercept that recent outcomes ask for.

    Attributes:
        moved: The shift in log-odds.
        standard_error: Its standard error, clustered by lead.
        rows: The outcomes that ``gain`` is measured on; others decided the shift for them, earlier ones where
            there are dates.
        gain: How much smaller the log-loss gets.
    """

    moved: float
    standard_error: float
    rows: int
    gain: Interval

    def in_words(self) -> str:
        """One line."""
        better = f"{self.gain.value:+.4f} ({self.gain.low:+.4f} to {self.gain.high:+.4f})"
        return (
            f"repair: moving the level by {self.moved:+.2f} log-odds (+-{self.standard_error:.2f}) lowers "
            f"the log-loss by {better} on {self.rows:,} rows that did not decide it"
        )


@dataclass(frozen=True)
class MonitoringReport:
    """The result of monitoring a model.

    Attributes:
        model_version: The model.
        scored: How many scores there were.
        reasons: The alerts, the gravest first.
        score_drift: Drift of the scores; None where the card has no reference.
        feature_drift: Drift of the features, the largest first.
        without_data: Share of leads with unusually many missing features; None where there are no features.
        total: Forecast and outcome of all leads; None without outcomes.
        grades: The same by grade.
        months: The same by month.
        roc_auc: With its interval; None unless there are both outcomes.
        unknown: What could not be computed, and why.
        insufficient: Share of scores by code of insufficient evidence; None where scores have no such column.
        windows: Months, or the last days and all before.
        repair: What recalibration would do; None where there are too few outcomes.
        unmatched: How many outcomes fit no scored lead.
    """

    model_version: str
    scored: int
    reasons: tuple[Alert, ...]
    score_drift: ColumnDrift | None
    feature_drift: tuple[ColumnDrift, ...]
    without_data: float | None
    total: GroupCalibration | None
    grades: tuple[GroupCalibration, ...]
    months: tuple[GroupCalibration, ...]
    roc_auc: Interval | None
    unknown: dict[str, Message]
    insufficient: dict[str, float] | None = None
    windows: tuple[Window, ...] = ()
    repair: InterceptUpdate | None = None
    unmatched: int = 0

    @property
    def state(self) -> State:
        """The gravest state of the alerts, "healthy" without any."""
        return max((reason.state for reason in self.reasons), key=STATES.index, default="healthy")

    @property
    def exit_code(self) -> int:
        """0 healthy, 3 watch, 4 retrain; 1 and 2 are those of failures."""
        return EXIT_CODES[self.state]

    def to_dict(self) -> dict[str, Any]:
        """The report as ``monitor --json`` writes it."""
        ranking = None if self.roc_auc is None else interval_to_json(self.roc_auc)
        return {"state": self.state, "exit_code": self.exit_code} | asdict(self) | {"roc_auc": ranking}

    @property
    def suggestions(self) -> tuple[str, ...]:
        """The line on recalibration, where the base rate is off; else empty."""
        base_rate_alert = any(reason.code == "base_rate" for reason in self.reasons)
        return (self.repair.in_words(),) if self.repair and base_rate_alert else ()

    def in_words(self) -> Iterator[str]:
        """Lines for a terminal: the figures, the alerts, and the verdict last."""
        if self.score_drift:
            psi, chance = self.score_drift.psi, self.score_drift.chance
            yield f"score drift (PSI) {psi:.3f} over {self.scored:,} scores; chance up to {chance:.3f}"
        for group in (*((self.total,) if self.total else ()), *self.grades, *self.months):
            observed = f"{group.observed.value:.1%} ({group.observed.low:.1%} to {group.observed.high:.1%})"
            yield f"{group.name:8} {group.rows:7,} leads  forecast {group.forecast:.1%}  came {observed}"
        yield from (window.in_words() for window in self.windows)
        yield from self.suggestions
        for what, why in self.unknown.items():
            yield f"{what}: not known, {why}"
        for reason in self.reasons:
            yield f"{reason.state}: {reason.message}"
        yield f"verdict: {self.state}"
