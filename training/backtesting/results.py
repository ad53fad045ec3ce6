"""The result of a backtest, the choice of a candidate, and views of it as a frame and as a notebook table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.special import expit, logit

from features.clock import format_order
from features.notebook_html import html_card, html_strong, html_table
from models.metrics import (
    calibration_intercept,
    log_loss,
    log_loss_terms,
    mean_interval,
    poisson_weight_matrix,
)
from training.backtesting.candidates import DEFAULT
from training.backtesting.evaluation import RESAMPLES, interval_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from models.metrics import Interval
    from training.backtesting.evaluation import CandidateMetrics, TestRows

_RANDOM_SPLIT = "random split"


@dataclass(frozen=True)
class OriginResult:
    """The metrics of every candidate at one origin.

    Attributes:
        start: Where test rows begin (inclusive) in the order of time.
        end: Where they end (exclusive).
        trained: Number of training rows.
        tested: Number of test rows.
        positives: Conversions among the test rows.
        block: What intervals resample: "week", "day", "lead" or "row".
        candidates: Metrics of candidates trained at this origin.
        static: Metrics of those trained at the oldest origin and never refitted.
    """

    start: int
    end: int
    trained: int
    tested: int
    positives: int
    block: str
    candidates: Mapping[str, CandidateMetrics]
    static: Mapping[str, CandidateMetrics] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return vars(self) | {
            "candidates": {name: metrics.to_dict() for name, metrics in self.candidates.items()},
            "static": {name: metrics.to_dict() for name, metrics in self.static.items()},
        }


@dataclass(frozen=True)
class SplitResult:
    """The metrics of one kind of split, or the ``reason`` why it cannot be made."""

    reason: str = ""
    trained: int = 0
    tested: int = 0
    candidates: Mapping[str, CandidateMetrics] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON: the default's metrics at the top, every candidate's below."""
        default = self.candidates[DEFAULT].to_dict() if self.candidates else {}
        return (
            default
            | vars(self)
            | {
                "applicable": not self.reason,
                "candidates": {name: metrics.to_dict() for name, metrics in self.candidates.items()},
            }
        )


@dataclass(frozen=True)
class BacktestResult:
    """The result of a backtest.

    Attributes:
        question: What is predicted, e.g. "sql within 60 days".
        time_ordered: Whether there are origins; without an order one random split stands for them.
        origins: One per origin, the oldest first.
        splits: The newest origin, and a random and a grouped split of as many rows, by name.
        chosen: The candidate to use.
        regrets: By candidate, log-loss relative to the best one's minus 1, averaged over origins.
        differences: By candidate, mean log-loss minus the default's over the test rows of all origins.
        levelled: The regrets after each candidate's base rate was set to that of the test rows, which leaves
            out base-rate shift.
        has_dates: Whether the order of time is in epoch seconds.
        notes: What a reader should know.
    """

    question: str
    time_ordered: bool
    origins: tuple[OriginResult, ...]
    splits: Mapping[str, SplitResult]
    chosen: str
    regrets: Mapping[str, float]
    differences: Mapping[str, Interval]
    levelled: Mapping[str, float] = field(default_factory=dict)
    has_dates: bool = False
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Backtest({self.question}: {len(self.origins)} origins, chosen {self.chosen})"

    def _repr_html_(self) -> str:
        return to_html(self)

    def when(self, order: int) -> str:
        """Format a position in the order of time: a day, or a rank where there are no dates."""
        return format_order(order, dated=self.has_dates)

    def to_frame(self) -> pl.DataFrame:
        """Convert to a frame with a row per origin and candidate, with all metrics and their intervals."""
        return to_frame(self)

    @property
    def regret(self) -> float:
        """The regret of the chosen candidate."""
        return self.regrets[self.chosen]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return vars(self) | {
            "origins": [origin.to_dict() for origin in self.origins],
            "splits": {kind: split.to_dict() for kind, split in self.splits.items()},
            "regret": self.regret,
            "regrets": dict(self.regrets),
            "levelled": dict(self.levelled),
            "differences": {
                name: interval_to_json(difference) for name, difference in self.differences.items()
            },
            "notes": list(self.notes),
        }


def regrets(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each candidate's log-loss relative to the best one's, minus 1, over rounds.

    Args:
        rounds: The log-loss by candidate, for each round.

    Example:
        >>> regrets([{"a": 0.5, "b": 0.55}, {"a": 0.44, "b": 0.4}])
        {'a': 0.05, 'b': 0.05}
    """
    return {
        name: float(np.mean([losses[name] / min(losses.values()) - 1 for losses in rounds])).__round__(12)
        for name in rounds[0]
    }


def level_adjusted_log_loss(y: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    """Compute the log-loss after shifting the log-odds so that predictions match the observed rate.

    Log-loss also depends on the base rate of the period; the adjusted one measures how well leads are told
    apart.

    Args:
        y: (n,) outcomes, 0 or 1.
        p: (n,) predicted probabilities.
    """
    odds = logit(np.clip(p, 1e-15, 1 - 1e-15))
    return log_loss(y, np.asarray(expit(odds + calibration_intercept(y, p)), dtype=np.float64))


def paired_differences(
    rounds: Sequence[tuple[TestRows, Mapping[str, NDArray[np.float64]]]], seed: int
) -> dict[str, Interval]:
    """Compare each candidate's log-loss with the default's on the test rows of all rounds together.

    Args:
        rounds: Test rows and (n,) probabilities by candidate, for each round.
        seed: Seed of the block bootstrap.

    Returns:
        By candidate, the mean difference with its 95 % interval; above 0 where the candidate is worse.
    """
    first = np.cumsum([0, *(int(test_rows.block.max()) + 1 for test_rows, _ in rounds)])
    block = np.concatenate(
        [test_rows.block + start for (test_rows, _), start in zip(rounds, first, strict=False)]
    )
    weights = poisson_weight_matrix(int(block.max()) + 1, RESAMPLES, seed)
    loss = {
        name: np.concatenate(
            [log_loss_terms(test_rows.y, predictions[name]) for test_rows, predictions in rounds]
        )
        for name in rounds[0][1]
    }
    return {name: mean_interval(losses - loss[DEFAULT], block, weights) for name, losses in loss.items()}


def choose_candidate(regret: Mapping[str, float], differences: Mapping[str, Interval]) -> str:
    """Choose the candidate with the least regret among the default and those significantly better than it.

    Args:
        regret: By candidate, log-loss relative to the best one's minus 1.
        differences: By candidate, log-loss minus the default's; significant where the interval is below 0.

    Returns:
        The name of the candidate; the default where it has as little regret as another.

    Example:
        >>> from models.metrics import Interval
        >>> differences = {"default": Interval(0, 0, 0), "other": Interval(-0.02, -0.05, 0.01)}
        >>> choose_candidate({"default": 0.03, "other": 0.0}, differences)
        'default'
    """
    eligible = [name for name in regret if name == DEFAULT or differences[name].high < 0]
    return min(eligible, key=lambda name: (regret[name], name != DEFAULT))


def to_frame(result: BacktestResult) -> pl.DataFrame:
    """Convert to a frame with a row per origin and candidate.

    Returns:
        ``origin``, ``trained``, ``tested``, ``candidate``, and each metric with its ``_low`` and ``_high``.
        The rows are of the random split where there is no origin.
    """
    return pl.DataFrame(
        [
            {"origin": when, "trained": trained, "tested": tested, "candidate": name} | _flat_figures(metrics)
            for when, trained, tested, candidates in _iter_rounds(result)
            for name, metrics in candidates
        ]
    )


def to_html(result: BacktestResult) -> str:
    """Render as a notebook table: a row per candidate, the least regret first, a column per origin."""
    rounds = list(_iter_rounds(result))
    tables = [dict(candidates) for *_, candidates in rounds]
    lowest = [min(metrics.figures["log_loss"].value for metrics in round_.values()) for round_ in tables]
    rows = [
        (
            html_strong(name) if name == result.chosen else name,
            *(_format_loss(round_[name], best) for round_, best in zip(tables, lowest, strict=True)),
            f"{result.regrets[name]:.2%}",
            f"{difference.value:+.4f}",
            f"{difference.low:+.4f} to {difference.high:+.4f}",
        )
        for name, difference in sorted(result.differences.items(), key=lambda item: result.regrets[item[0]])
    ]
    heads = [f"{when}: {trained:,} teach, {tested:,} judge" for when, trained, tested, _ in rounds]
    header = ("log-loss", *heads, "regret", "worse by", "95 % interval")
    facts = (
        "lower is better, bold is best; each candidate learned only from what was known by the day of the "
        "column; worse by: than the default, on all these leads"
    )
    return html_card(f"Backtest: {result.question}; chosen: {result.chosen}", facts, html_table(header, rows))


def _iter_rounds(
    result: BacktestResult,
) -> Iterator[tuple[str, int, int, list[tuple[str, CandidateMetrics]]]]:
    for origin in result.origins:
        when = f"from {result.when(origin.start)}"
        yield when, origin.trained, origin.tested, list(origin.candidates.items())
    if not result.origins:
        split = result.splits["random"]
        yield _RANDOM_SPLIT, split.trained, split.tested, list(split.candidates.items())


def _flat_figures(metrics: CandidateMetrics) -> dict[str, float]:
    figures = {**metrics.figures, "against_default": metrics.against_default}
    return {
        name + ending: value
        for name, figure in figures.items()
        for ending, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high))
    }


def _format_loss(metrics: CandidateMetrics, best: float) -> str:
    loss = metrics.figures["log_loss"].value
    return html_strong(f"{loss:.4f}") if loss == best else f"{loss:.4f}"
