"""What a backtest came to, as plain records, and how a candidate is chosen from it.

A backtest as a frame for whoever goes on with it, and as a table for whoever reads it in a notebook.
"""

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


_RANDOM = "random split"


def to_frame(result: BacktestResult) -> pl.DataFrame:
    """``origin``, ``trained``, ``tested``, ``candidate`` and a column a figure, with its ``_low``, ``_high``.

    A row for each origin and candidate, or for each candidate of the random split where there is no origin.
    """
    return pl.DataFrame(
        [
            {"origin": when, "trained": trained, "tested": tested, "candidate": name} | _flat_figures(metrics)
            for when, trained, tested, candidates in _iter_rounds(result)
            for name, metrics in candidates
        ]
    )


def to_html(result: BacktestResult) -> str:
    """A column for each origin, a row for each candidate, the one with the least regret first."""
    rounds = list(_iter_rounds(result))
    tables = [dict(candidates) for *_, candidates in rounds]
    lowest = [min(item.figures["log_loss"].value for item in round_.values()) for round_ in tables]
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
        yield _RANDOM, split.trained, split.tested, list(split.candidates.items())


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


@dataclass(frozen=True)
class OriginResult:
    """One origin: what was learned from, what judged, and what each candidate came to.

    Judged are the rows in [``start``, ``end``) of the order of time. ``candidates`` were refitted here;
    ``static`` are those of the oldest origin, never refitted. Intervals draw whole blocks, called ``block``.
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
        """As plain values."""
        return vars(self) | {
            "candidates": {name: metrics.to_dict() for name, metrics in self.candidates.items()},
            "static": {name: metrics.to_dict() for name, metrics in self.static.items()},
        }


@dataclass(frozen=True)
class SplitResult:
    """What one kind of split would have you believe, or the ``reason`` why it cannot be made here."""

    reason: str = ""
    trained: int = 0
    tested: int = 0
    candidates: Mapping[str, CandidateMetrics] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; the default's figures stand at the top, every candidate's below."""
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
    """What came out.

    ``regrets`` say by which share each candidate's log-loss lies above the best one's, averaged over origins;
    ``levelled`` the same had each known the base rate of the rows that judge, so what is left is not drift of
    the base rate; ``paired_differences`` how much larger its log-loss is than the default's on all judged
    rows together. Where nothing is known of time, one random split stands for the origins.
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
        """A moment in the order of time as a reader knows it: a day, or a place where there are no dates."""
        return format_order(order, dated=self.has_dates)

    def to_frame(self) -> pl.DataFrame:
        """A row for each origin and candidate, with all figures and their intervals."""
        return to_frame(self)

    @property
    def regret(self) -> float:
        """That of the chosen candidate."""
        return self.regrets[self.chosen]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON."""
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
    """By which share each candidate's log-loss lies above the best one's, averaged over rounds.

    >>> regrets([{"a": 0.5, "b": 0.55}, {"a": 0.44, "b": 0.4}])
    {'a': 0.05, 'b': 0.05}
    """
    return {
        name: float(np.mean([losses[name] / min(losses.values()) - 1 for losses in rounds])).__round__(12)
        for name in rounds[0]
    }


def level_adjusted_log_loss(y: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    """The log-loss of ``p`` after the shift in log-odds that brings its mean to that of ``y``.

    A candidate that was lucky or unlucky with the base rate of a period is so in log-loss, too: this is what
    it knew of the differences between leads.
    """
    odds = logit(np.clip(p, 1e-15, 1 - 1e-15))
    return log_loss(y, np.asarray(expit(odds + calibration_intercept(y, p)), dtype=np.float64))


def choose_candidate(regret: Mapping[str, float], differences: Mapping[str, Interval]) -> str:
    """The candidate with the least regret among the default and those that beat it by more than chance.

    Being best by luck is no reason to change: the whole interval of the paired difference must lie below 0.
    """
    eligible = [name for name in regret if name == DEFAULT or differences[name].high < 0]
    return min(eligible, key=lambda name: (regret[name], name != DEFAULT))


def paired_differences(
    rounds: Sequence[tuple[TestRows, Mapping[str, NDArray[np.float64]]]], seed: int
) -> dict[str, Interval]:
    """How much larger each candidate's log-loss is than the default's, on the rows of all rounds together."""
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
