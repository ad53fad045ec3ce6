"""What a look at a model in use came to, and where watching and retraining begin."""

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
    """Where watching and retraining begin.

    The two for the population stability index are the convention of credit scoring (Siddiqi 2006): below 0.1
    nothing happened, above 0.25 much did. The others are ours: ``off`` is the distance of conversions from
    what was forecast, as a part of it; ``unseen`` the share of leads with fewer features filled than nineteen
    of twenty had in training (where it is 5 %); ``fewest`` the conversions, forecast or come, that it takes;
    ``doubted`` the share of scores that said of themselves not to be relied on.
    """

    psi: tuple[float, float] = (0.1, 0.25)
    off: tuple[float, float] = (0.25, 0.5)
    unseen: tuple[float, float] = (0.15, 0.4)
    fewest: float = 10.0
    doubted: float = 0.4


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that speaks for watching or retraining, by a code and in words."""

    state: State
    code: str
    message: Message


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """A column's stability index, and how large chance makes it."""

    column: str
    psi: float
    chance: float


@dataclass(frozen=True, slots=True)
class GroupCalibration:
    """Scored leads with an outcome: a grade's, a month's or all. ``beyond`` counts standard errors.

    ``forecast`` and ``observed`` are rates, the latter with an interval that counts a lead once; ``ratio`` is
    conversions that came for each that was forecast. ``enough`` is the larger one of conversions forecast and
    come, a lead that was scored several times counting once.
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

    ``drift`` is how far scores are from those that judged the model, ``since`` from those of the window
    before, and ``outcome`` what came of those whose outcome is known.
    """

    name: str
    scored: int
    drift: ColumnDrift | None
    since: ColumnDrift | None
    outcome: GroupCalibration | None

    def in_words(self) -> str:
        """One line."""
        drifts = {"": self.drift, " since the window before": self.since}
        told = "".join(
            f"  PSI{of} {one.psi:.3f} (chance {one.chance:.3f})" for of, one in drifts.items() if one
        )
        came = self.outcome
        ratio = f"  came {came.ratio:.2f} of each forecast ({came.rows:,} outcomes)" if came else ""
        return f"{self.name:13} {self.scored:7,} scores{told}{ratio}"


@dataclass(frozen=True, slots=True)
class InterceptUpdate:
    """By how much the level of a model is to move, in log-odds, by what recently came.

    ``gain`` is by how much smaller the log-loss gets, judged by ``rows`` outcomes whose level came from
    others: from earlier ones, where there are dates.
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
    """What a look came to. ``unknown`` says, by what is missing, why.

    ``windows`` are months, or the last days and all before; ``repair`` is there where outcomes are enough for
    it, whether or not the level is off. ``insufficient`` is the share of scores that said not to be relied
    on, by the code why.
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

    @property
    def state(self) -> State:
        """The gravest of the reasons, healthy without any."""
        return max((reason.state for reason in self.reasons), key=STATES.index, default="healthy")

    @property
    def exit_code(self) -> int:
        """0 healthy, 3 watch, 4 retrain; 1 and 2 stay with what failed."""
        return EXIT_CODES[self.state]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for a script."""
        ranking = None if self.roc_auc is None else interval_to_json(self.roc_auc)
        return {"state": self.state, "exit_code": self.exit_code} | asdict(self) | {"roc_auc": ranking}

    @property
    def suggestions(self) -> tuple[str, ...]:
        """What a repair of the level would do, in a line, if the level is off."""
        off = any(reason.code == "base_rate" for reason in self.reasons)
        return (self.repair.in_words(),) if self.repair and off else ()

    def in_words(self) -> Iterator[str]:
        """A line for each figure, then one for each reason, the verdict last."""
        if self.score_drift:
            psi, chance = self.score_drift.psi, self.score_drift.chance
            yield f"score drift (PSI) {psi:.3f} over {self.scored:,} scores; chance up to {chance:.3f}"
        for group in (*((self.total,) if self.total else ()), *self.grades, *self.months):
            came = f"{group.observed.value:.1%} ({group.observed.low:.1%} to {group.observed.high:.1%})"
            yield f"{group.name:8} {group.rows:7,} leads  forecast {group.forecast:.1%}  came {came}"
        yield from (window.in_words() for window in self.windows)
        yield from self.suggestions
        for what, why in self.unknown.items():
            yield f"{what}: not known, {why}"
        for reason in self.reasons:
            yield f"{reason.state}: {reason.message}"
        yield f"verdict: {self.state}"
