"""What a backtest came to, as plain records, and how a candidate is chosen from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from features.clock import moment
from models.metrics import log_loss, log_loss_terms, mean_interval, poisson_weight_matrix
from models.reliability import calibration_intercept
from training.past.candidates import DEFAULT
from training.past.judgement import RESAMPLES, plain
from training.past.shown import frame, html

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from models.metrics import Interval
    from training.past.judgement import Judgement, Judges


@dataclass(frozen=True)
class Origin:
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
    candidates: Mapping[str, Judgement]
    static: Mapping[str, Judgement] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return vars(self) | {
            "candidates": {name: one.to_dict() for name, one in self.candidates.items()},
            "static": {name: one.to_dict() for name, one in self.static.items()},
        }


@dataclass(frozen=True)
class SplitReport:
    """What one kind of split would have you believe, or the ``reason`` why it cannot be made here."""

    reason: str = ""
    trained: int = 0
    tested: int = 0
    candidates: Mapping[str, Judgement] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; the default's figures stand at the top, every candidate's below."""
        default = self.candidates[DEFAULT].to_dict() if self.candidates else {}
        return (
            default
            | vars(self)
            | {
                "applicable": not self.reason,
                "candidates": {name: one.to_dict() for name, one in self.candidates.items()},
            }
        )


@dataclass(frozen=True)
class Backtest:
    """What came out.

    ``regrets`` say by which share each candidate's log-loss lies above the best one's, averaged over origins;
    ``levelled`` the same had each known the base rate of the rows that judge, so what is left is not drift of
    the base rate; ``differences`` how much larger its log-loss is than the default's on all judged rows
    together. Where nothing is known of time, one random split stands for the origins.
    """

    question: str
    time_ordered: bool
    origins: tuple[Origin, ...]
    splits: Mapping[str, SplitReport]
    chosen: str
    regrets: Mapping[str, float]
    differences: Mapping[str, Interval]
    levelled: Mapping[str, float] = field(default_factory=dict)
    has_dates: bool = False
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Backtest({self.question}: {len(self.origins)} origins, chosen {self.chosen})"

    def _repr_html_(self) -> str:
        return html(self)

    def when(self, order: int) -> str:
        """A moment in the order of time as a reader knows it: a day, or a place where there are no dates."""
        return moment(order, dated=self.has_dates)

    def to_frame(self) -> pl.DataFrame:
        """A row for each origin and candidate, with all figures and their intervals."""
        return frame(self)

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
            "differences": {name: plain(difference) for name, difference in self.differences.items()},
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


def levelled_loss(y: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    """The log-loss of ``p`` after the shift in log-odds that brings its mean to that of ``y``.

    A candidate that was lucky or unlucky with the base rate of a period is so in log-loss, too: this is what
    it knew of the differences between leads.
    """
    odds = logit(np.clip(p, 1e-15, 1 - 1e-15))
    return log_loss(y, np.asarray(expit(odds + calibration_intercept(y, p)), dtype=np.float64))


def chosen(regret: Mapping[str, float], differences: Mapping[str, Interval]) -> str:
    """The candidate with the least regret among the default and those that beat it by more than chance.

    Being best by luck is no reason to change: the whole interval of the paired difference must lie below 0.
    """
    able = [name for name in regret if name == DEFAULT or differences[name].high < 0]
    return min(able, key=lambda name: (regret[name], name != DEFAULT))


def differences(
    rounds: Sequence[tuple[Judges, Mapping[str, NDArray[np.float64]]]], seed: int
) -> dict[str, Interval]:
    """How much larger each candidate's log-loss is than the default's, on the rows of all rounds together."""
    first = np.cumsum([0, *(int(judges.block.max()) + 1 for judges, _ in rounds)])
    block = np.concatenate([judges.block + start for (judges, _), start in zip(rounds, first, strict=False)])
    weights = poisson_weight_matrix(int(block.max()) + 1, RESAMPLES, seed)
    loss = {
        name: np.concatenate([log_loss_terms(judges.y, said[name]) for judges, said in rounds])
        for name in rounds[0][1]
    }
    return {name: mean_interval(each - loss[DEFAULT], block, weights) for name, each in loss.items()}
