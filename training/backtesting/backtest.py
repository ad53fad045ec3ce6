"""A rolling-origin backtest: candidates trained as of past days, evaluated on the rows that came later.

At each origin every candidate is trained on what was known by that day and evaluated on the rows up to the
next origin, all on the same rows. Predictions are stored at once and all figures are computed from them, so
an interrupted backtest resumes where it was and gives the same result as an uninterrupted one.
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
from training.config.defaults import SEED
from training.progress import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.backtesting.candidates import BacktestCandidate
    from training.backtesting.checkpoint import Predictions
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
    """The rows allow no split to evaluate on; the message says what is missing."""


@dataclass(frozen=True)
class BacktestSettings:
    """The settings of a backtest.

    Attributes:
        origins: Most origins.
        seed: Seed of splits, training and resamples.
        capacity: Share of leads that sales can call, in (0, 1].
        metrics: Metrics of plug-ins by name, computed beside leadloop's own. Default: none.
    """

    origins: int = 5
    seed: int = SEED
    capacity: float = 0.1
    metrics: Mapping[str, PluginMetric] = field(default_factory=dict)


def backtest_candidates(
    dataset: Dataset,
    settings: BacktestSettings | None = None,
    others: Sequence[BacktestCandidate] = (),
    folder: Path | None = None,
    say: Say = lambda _: None,
) -> BacktestResult:
    """Evaluate the default learner and ``others`` on ``dataset``.

    Args:
        dataset: The rows.
        settings: Default five origins, the seed of the command line, a capacity of 10 %.
        others: Candidates beside the default learner.
        folder: Where the predictions of finished origins are stored; None stores nothing.
        say: Called with a line of text at each step.

    Returns:
        Metrics by origin, the splits by other rules, and the candidate with the least regret.

    Raises:
        BacktestError: The rows allow neither an origin nor a random split.
    """
    settings = settings or BacktestSettings()
    candidates = (default_learner(), *others)
    checkpoint_settings = {"origins": settings.origins, "seed": settings.seed}
    checkpoint = Checkpoint.of(
        folder, dataset, checkpoint_settings, [candidate.key for candidate in candidates]
    )
    run = _Run(
        dataset, settings, candidates, rolling_origins(dataset, settings.origins), _Context(checkpoint, say)
    )
    return run.result()


@dataclass(frozen=True)
class _Context:
    """Where predictions are stored, and where progress is reported."""

    checkpoint: Checkpoint
    say: Say


@dataclass(frozen=True, eq=False)
class _Round:
    """One set of test rows, and every candidate's predictions of them."""

    split: BacktestSplit
    test_rows: TestRows
    predictions: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class _Run:
    """A backtest in progress; ``splits`` are its origins, the oldest first."""

    dataset: Dataset
    settings: BacktestSettings
    candidates: tuple[BacktestCandidate, ...]
    splits: tuple[BacktestSplit, ...]
    context: _Context

    def result(self) -> BacktestResult:
        predictions = [self._predict_origin(number) for number in range(len(self.splits))]
        rounds = [
            self._make_round(split, predicted[0])
            for split, predicted in zip(self.splits, predictions, strict=True)
        ]
        origin_results = tuple(
            self._origin_result(round_, predictions[0][number] if number else None)
            for number, round_ in enumerate(rounds)
        )
        random = self._predict_split(
            RANDOM, random_split(self.dataset, self._reference_split, self.settings.seed)
        )
        decisive = rounds or self._require_round(random)
        losses = [
            {name: log_loss(round_.test_rows.y, p) for name, p in round_.predictions.items()}
            for round_ in decisive
        ]
        adjusted_losses = [
            {name: level_adjusted_log_loss(round_.test_rows.y, p) for name, p in round_.predictions.items()}
            for round_ in decisive
        ]
        regret = regrets(losses)
        paired = paired_differences(
            [(round_.test_rows, round_.predictions) for round_ in decisive], self.settings.seed
        )
        return BacktestResult(
            question=self.dataset.question,
            time_ordered=bool(self.splits),
            origins=origin_results,
            splits={
                RANDOM: self._split_result(random),
                TEMPORAL: _temporal_result(origin_results)
                if origin_results
                else SplitResult(self._no_origins_reason),
                GROUPED: self._group_split_result(),
            },
            chosen=choose_candidate(regret, paired),
            regrets=regret,
            differences=paired,
            levelled=regrets(adjusted_losses),
            has_dates=self.dataset.ordered_by_dates,
            notes=tuple(self._notes(int(sum(round_.test_rows.y.sum() for round_ in decisive)))),
        )

    @property
    def _reference_split(self) -> BacktestSplit | None:
        """The newest origin, whose numbers of rows other kinds of split share; None without origins."""
        return self.splits[-1] if self.splits else None

    @property
    def _no_origins_reason(self) -> str:
        return NO_ORDER if self.dataset.order is None else COARSE

    def _predict_origin(self, number: int) -> Predictions:
        """Predictions at one origin; candidates of the oldest predict the test rows of all origins."""
        split = self.splits[number]
        splits = self.splits if number == 0 else (split,)
        day = format_order(split.start, dated=self.dataset.ordered_by_dates)
        title = f"origin {number + 1} of {len(self.splits)}, before {day}"
        return self._load_or_predict(number, f"origin-{number + 1}", title, splits, self.candidates)

    def _predict_split(self, kind: str, split: BacktestSplit) -> _Round | None:
        """Predictions on a split that is no origin: by all candidates, or by the default beside origins."""
        if not is_usable(self.dataset, split):
            return None
        candidates = self.candidates[:1] if self.splits else self.candidates
        return self._make_round(
            split, self._load_or_predict(len(self.splits), kind, f"{kind} split", (split,), candidates)[0]
        )

    def _load_or_predict(
        self,
        number: int,
        name: str,
        title: str,
        splits: Sequence[BacktestSplit],
        candidates: Sequence[BacktestCandidate],
    ) -> Predictions:
        """Predictions of the test rows of all ``splits`` by candidates trained on the first one."""

        def compute() -> Predictions:
            split = splits[0]
            line = f"{title}: trained on {len(split.train):,} rows, measured on {len(split.test):,}"
            self.context.say(Step(line, done=number, total=len(self.splits) + 1))
            window = self._training_window(split)
            predictors = {
                name: predict for candidate in candidates for name, predict in candidate.learn(window).items()
            }
            frames = [self.dataset.rows[other.test] for other in splits]
            return [
                {name: predict(frame).tolist() for name, predict in predictors.items()} for frame in frames
            ]

        return self.context.checkpoint.load_or_compute(name, compute)

    def _training_window(self, split: BacktestSplit) -> TrainingWindow:
        keys = self.dataset.rows[split.train].select("lead_id", "as_of")
        today = split.start if self.dataset.has_dates and split.end else None
        return TrainingWindow(learning_rows(self.dataset, split), keys, today, self.settings.seed)

    def _make_round(self, split: BacktestSplit, predictions: Mapping[str, list[float]]) -> _Round:
        data = self.dataset
        block_name, block = bootstrap_blocks(data, split.test)
        moments = data.order[split.test] if data.has_dates and data.order is not None else None
        test_rows = TestRows(data.label[split.test].astype(np.float64), block, block_name, moments)
        return _Round(split, test_rows, {name: np.array(p) for name, p in predictions.items()})

    def _evaluate(self, round_: _Round) -> dict[str, CandidateMetrics]:
        settings = self.settings
        return evaluate_candidates(
            round_.test_rows, round_.predictions, settings.capacity, settings.seed, settings.metrics
        )

    def _origin_result(self, refitted: _Round, static: Mapping[str, list[float]] | None) -> OriginResult:
        split, test_rows = refitted.split, refitted.test_rows
        return OriginResult(
            start=split.start,
            end=split.end,
            trained=len(split.train),
            tested=len(split.test),
            positives=int(test_rows.y.sum()),
            block=test_rows.block_name,
            candidates=self._evaluate(refitted),
            static=self._evaluate(self._make_round(split, static)) if static else {},
        )

    def _require_round(self, random: _Round | None) -> list[_Round]:
        if random is None:
            counts = f"{len(self.dataset):,} rows, {int(self.dataset.label.sum()):,} of them positive"
            msg = f"{counts}, are too few to learn from some of them and judge by others"
            raise BacktestError(msg)
        return [random]

    def _split_result(self, round_: _Round | None) -> SplitResult:
        if round_ is None:
            return SplitResult(TOO_FEW)
        return SplitResult("", len(round_.split.train), len(round_.split.test), self._evaluate(round_))

    def _group_split_result(self) -> SplitResult:
        accounts = self.dataset.accounts
        if accounts is None:
            return SplitResult(NO_ACCOUNTS)
        split = group_split(self.dataset, accounts, self._reference_split, self.settings.seed)
        return self._split_result(self._predict_split(GROUPED, split))

    def _notes(self, positives: int) -> Iterator[str]:
        if not self.splits:
            yield self._no_origins_reason
        elif len(self.splits) < self.settings.origins:
            yield f"{len(self.splits)} of {self.settings.origins} origins have enough rows on both sides"
        if self.dataset.weights is not None:
            yield EARLY
        yield from (candidate.note for candidate in self.candidates if candidate.note)
        if positives < FEW:
            yield CHANCE.format(n=positives)


def _temporal_result(origin_results: Sequence[OriginResult]) -> SplitResult:
    newest = origin_results[-1]
    return SplitResult("", newest.trained, newest.tested, newest.candidates)
