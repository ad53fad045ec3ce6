"""A rolling-origin backtest: had we trained back then, how would each candidate have done since?

At each origin every candidate learns from what was known by that day and is judged by the rows that came
until the next one, all by the same rows. What they said is kept on disk at once, and all figures are worked
out from that, so an interrupted backtest goes on where it was and ends as if nothing had happened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from features.clock import format_order
from models.metrics import log_loss
from training.backtesting.candidates import TrainingWindow, default_learner
from training.backtesting.checkpoint import Checkpoint
from training.backtesting.evaluation import TestRows, evaluate_candidates
from training.backtesting.results import (
    BacktestResult,
    OriginResult,
    SplitResult,
    choose_candidate,
    level_adjusted_log_loss,
    paired_differences,
    regrets,
)
from training.backtesting.splits import (
    bootstrap_blocks,
    group_split,
    is_usable,
    learning_rows,
    random_split,
    rolling_origins,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.backtesting.candidates import BacktestCandidate
    from training.backtesting.checkpoint import Said
    from training.backtesting.evaluation import CandidateMetrics
    from training.backtesting.splits import BacktestSplit
    from training.data.dataset import Dataset
    from training.stats.plugin_metrics import PluginMetric

    Say = Callable[[str], None]

RANDOM, TEMPORAL, GROUPED = "random", "temporal", "grouped"
NO_ORDER = (
    "nothing is known of time (--time names a column that orders the rows): one random split is all there "
    "is, and it flatters wherever the future differs from the past"
)
COARSE = (
    "no day in the past has enough rows with a final outcome before it and enough to be judged by after it: "
    "one random split is all there is"
)
TOO_FEW = "too few rows of both outcomes for such a split"
NO_ACCOUNTS = "no lead in these rows belongs to an account"
FEW = 30
CHANCE = "only {n} of the rows that judge are positive: whatever is better here may be so by chance"
EARLY = "rows whose window is not over teach, under weights; none of them judges"


class BacktestError(ValueError):
    """There is nothing to judge by; the message says what is missing."""


@dataclass(frozen=True)
class BacktestSettings:
    """How many origins, the seed of all that is drawn, and the share of leads that sales can call.

    ``metrics`` of plug-ins are measured beside leadloop's own.
    """

    origins: int = 5
    seed: int = 0
    capacity: float = 0.1
    metrics: Mapping[str, PluginMetric] = field(default_factory=dict)


def backtest_candidates(
    dataset: Dataset,
    settings: BacktestSettings | None = None,
    others: Sequence[BacktestCandidate] = (),
    folder: Path | None = None,
    say: Say = lambda _: None,
) -> BacktestResult:
    """Judge the default learner and ``others`` on ``dataset``; what is finished is kept in ``folder``.

    Raises BacktestError when the rows allow neither an origin nor a random split.
    """
    settings = settings or BacktestSettings()
    trials = (default_learner(), *others)
    told = {"origins": settings.origins, "seed": settings.seed}
    kept = Checkpoint.of(folder, dataset, told, [trial.key for trial in trials])
    run = _Run(dataset, settings, trials, rolling_origins(dataset, settings.origins), _Asking(kept, say))
    return run.result()


@dataclass(frozen=True)
class _Asking:
    """Where answers are kept, and who hears what is going on."""

    kept: Checkpoint
    say: Say


@dataclass(frozen=True, eq=False)
class _Round:
    """One set of judged rows, and what every candidate said of them."""

    split: BacktestSplit
    judges: TestRows
    said: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class _Run:
    """A backtest under way; ``made`` are its origins, the oldest first."""

    dataset: Dataset
    settings: BacktestSettings
    trials: tuple[BacktestCandidate, ...]
    made: tuple[BacktestSplit, ...]
    asking: _Asking

    def result(self) -> BacktestResult:
        said = [self._rolled(number) for number in range(len(self.made))]
        rounds = [self._round(split, answers[0]) for split, answers in zip(self.made, said, strict=True)]
        reports = tuple(
            self._origin(one, said[0][number] if number else None) for number, one in enumerate(rounds)
        )
        random = self._shuffled(RANDOM, random_split(self.dataset, self._like, self.settings.seed))
        decisive = rounds or self._needed(random)
        losses = [{name: log_loss(one.judges.y, p) for name, p in one.said.items()} for one in decisive]
        even = [
            {name: level_adjusted_log_loss(one.judges.y, p) for name, p in one.said.items()}
            for one in decisive
        ]
        regret = regrets(losses)
        paired = paired_differences([(one.judges, one.said) for one in decisive], self.settings.seed)
        return BacktestResult(
            question=self.dataset.question,
            time_ordered=bool(self.made),
            origins=reports,
            splits={
                RANDOM: self._split(random),
                TEMPORAL: _temporal(reports) if reports else SplitResult(self._untimed),
                GROUPED: self._grouped(),
            },
            chosen=choose_candidate(regret, paired),
            regrets=regret,
            differences=paired,
            levelled=regrets(even),
            has_dates=self.dataset.ordered_by_dates,
            notes=tuple(self._notes(int(sum(one.judges.y.sum() for one in decisive)))),
        )

    @property
    def _like(self) -> BacktestSplit | None:
        """The newest origin: other kinds of split get as many rows on each side."""
        return self.made[-1] if self.made else None

    @property
    def _untimed(self) -> str:
        return NO_ORDER if self.dataset.order is None else COARSE

    def _rolled(self, number: int) -> Said:
        """What the candidates of one origin say of its rows; those of the oldest of all later rows too."""
        split = self.made[number]
        asked = self.made if number == 0 else (split,)
        day = format_order(split.start, dated=self.dataset.ordered_by_dates)
        called = f"origin {number + 1} of {len(self.made)}, before {day}"
        return self._kept(f"origin-{number + 1}", called, asked, self.trials)

    def _shuffled(self, kind: str, split: BacktestSplit) -> _Round | None:
        """What is said on a split that is no origin: by all, or beside origins by the default's."""
        if not is_usable(self.dataset, split):
            return None
        trials = self.trials[:1] if self.made else self.trials
        return self._round(split, self._kept(kind, f"{kind} split", (split,), trials)[0])

    def _kept(
        self, name: str, called: str, asked: Sequence[BacktestSplit], trials: Sequence[BacktestCandidate]
    ) -> Said:
        """What candidates that learned from the first split say of the rows of all: as kept, or asked now."""

        def ask() -> Said:
            split = asked[0]
            self.asking.say(f"{called}: {len(split.train):,} rows teach, {len(split.test):,} judge")
            past = self._past(split)
            tell = {name: predict for trial in trials for name, predict in trial.learn(past).items()}
            frames = [self.dataset.rows[each.test] for each in asked]
            return [{name: predict(frame).tolist() for name, predict in tell.items()} for frame in frames]

        return self.asking.kept.load_or_compute(name, ask)

    def _past(self, split: BacktestSplit) -> TrainingWindow:
        keys = self.dataset.rows[split.train].select("lead_id", "as_of")
        today = split.start if self.dataset.has_dates and split.end else None
        return TrainingWindow(learning_rows(self.dataset, split), keys, today, self.settings.seed)

    def _round(self, split: BacktestSplit, said: Mapping[str, list[float]]) -> _Round:
        data = self.dataset
        called, block = bootstrap_blocks(data, split.test)
        moments = data.order[split.test] if data.has_dates and data.order is not None else None
        judges = TestRows(data.label[split.test].astype(np.float64), block, called, moments)
        return _Round(split, judges, {name: np.array(p) for name, p in said.items()})

    def _judged(self, one: _Round) -> dict[str, CandidateMetrics]:
        return evaluate_candidates(
            one.judges, one.said, self.settings.capacity, self.settings.seed, self.settings.metrics
        )

    def _origin(self, refitted: _Round, static: Mapping[str, list[float]] | None) -> OriginResult:
        split, judges = refitted.split, refitted.judges
        return OriginResult(
            start=split.start,
            end=split.end,
            trained=len(split.train),
            tested=len(split.test),
            positives=int(judges.y.sum()),
            block=judges.called,
            candidates=self._judged(refitted),
            static=self._judged(self._round(split, static)) if static else {},
        )

    def _needed(self, random: _Round | None) -> list[_Round]:
        if random is None:
            found = f"{len(self.dataset):,} rows, {int(self.dataset.label.sum()):,} of them positive"
            msg = f"{found}, are too few to learn from some of them and judge by others"
            raise BacktestError(msg)
        return [random]

    def _split(self, one: _Round | None) -> SplitResult:
        if one is None:
            return SplitResult(TOO_FEW)
        return SplitResult("", len(one.split.train), len(one.split.test), self._judged(one))

    def _grouped(self) -> SplitResult:
        accounts = self.dataset.accounts
        if accounts is None:
            return SplitResult(NO_ACCOUNTS)
        split = group_split(self.dataset, accounts, self._like, self.settings.seed)
        return self._split(self._shuffled(GROUPED, split))

    def _notes(self, positives: int) -> Iterator[str]:
        if not self.made:
            yield self._untimed
        elif len(self.made) < self.settings.origins:
            yield f"{len(self.made)} of {self.settings.origins} origins have enough rows on both sides"
        if self.dataset.weights is not None:
            yield EARLY
        yield from (trial.note for trial in self.trials if trial.note)
        if positives < FEW:
            yield CHANCE.format(n=positives)


def _temporal(reports: Sequence[OriginResult]) -> SplitResult:
    newest = reports[-1]
    return SplitResult("", newest.trained, newest.tested, newest.candidates)
