"""What a look at a model in use came to, and where watching and retraining begin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from training.past.judgement import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.metrics import Interval

State = Literal["healthy", "watch", "retrain"]
STATES: tuple[State, ...] = ("healthy", "watch", "retrain")
EXIT_CODES: dict[State, int] = {"healthy": 0, "watch": 3, "retrain": 4}


@dataclass(frozen=True, slots=True)
class Limits:
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
class Reason:
    """One thing that speaks for watching or retraining, by a code and in words."""

    state: State
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Drifted:
    """A column's stability index, and how large chance makes it."""

    column: str
    psi: float
    chance: float


@dataclass(frozen=True, slots=True)
class Group:
    """Scored leads with an outcome: a grade's, a month's or all. ``beyond`` counts standard errors.

    ``forecast`` and ``observed`` are rates, the latter with its Wilson interval; ``ratio`` is conversions
    that came for each that was forecast.
    """

    name: str
    rows: int
    forecast: float
    observed: Interval
    ratio: float
    beyond: float

    @property
    def enough(self) -> float:
        """The larger one of conversions forecast and come."""
        return self.rows * max(self.forecast, self.observed.value)


@dataclass(frozen=True)
class Monitored:
    """What a look came to. ``unknown`` says, by what is missing, why.

    ``insufficient`` is the share of scores that said not to be relied on, by the code why.
    """

    model_version: str
    scored: int
    reasons: tuple[Reason, ...]
    score_drift: Drifted | None
    feature_drift: tuple[Drifted, ...]
    without_data: float | None
    total: Group | None
    grades: tuple[Group, ...]
    months: tuple[Group, ...]
    roc_auc: Interval | None
    unknown: dict[str, str]
    insufficient: dict[str, float] | None = None

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
        ranking = None if self.roc_auc is None else plain(self.roc_auc)
        return {"state": self.state, "exit_code": self.exit_code} | asdict(self) | {"roc_auc": ranking}

    def in_words(self) -> Iterator[str]:
        """A line for each figure, then one for each reason, the verdict last."""
        if self.score_drift:
            psi, chance = self.score_drift.psi, self.score_drift.chance
            yield f"score drift (PSI) {psi:.3f} over {self.scored:,} scores; chance up to {chance:.3f}"
        for group in (*((self.total,) if self.total else ()), *self.grades, *self.months):
            came = f"{group.observed.value:.1%} ({group.observed.low:.1%} to {group.observed.high:.1%})"
            yield f"{group.name:8} {group.rows:7,} leads  forecast {group.forecast:.1%}  came {came}"
        for what, why in self.unknown.items():
            yield f"{what}: not known, {why}"
        for reason in self.reasons:
            yield f"{reason.state}: {reason.message}"
        yield f"verdict: {self.state}"
