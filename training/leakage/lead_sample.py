"""One row for each lead, chosen whatever became of it, so that leads count once in a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

from training.stats.exact_tests import odds_ratio_above, rate_above

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    from features.spec import FeatureSpec
    from training.data.dataset import Dataset

    Flags = NDArray[np.bool_]

_AGES, _AGE = 10, "lead.age"
# A strong and honest signal may multiply the odds by so much; of few leads it may be right about so many.
HONEST_ODDS = 8.0
FEW_LEADS_ODDS, FEW_LEADS_RATE = 4.0, 0.5
SURE_ODDS, SURE_RATE, SURELY = 30.0, 0.9, 0.001
SIGNIFICANT = 0.05
SETTLED = 0.95
FEWEST_ALIKE, ALIKE = 5, 0.995


def age_strata(dataset: Dataset) -> NDArray[np.intp]:
    """(n,) the stratum of the lead's age at each row: tenths of the ages of rows that convert.

    Leads that win do so young, and the others grow old: whatever grows with age tells them apart, and nothing
    follows from that.
    """
    age = _ages(dataset)
    if age is None:
        return np.zeros(len(dataset), np.intp)
    edges = np.unique(np.quantile(age[dataset.label == 1], np.linspace(0, 1, _AGES + 1), method="lower"))
    return np.searchsorted(edges, age, side="left")


def _ages(dataset: Dataset) -> NDArray[np.number] | None:
    """(n,) the lead's age at each row; None of a flat export.

    Rows of a log, or of a table that a warehouse made, have no history, but the age as a feature.
    """
    if dataset.history is not None:
        created = dataset.history.leads.select("lead_id", "created_at")
        rows = dataset.rows.select("lead_id", "as_of").join(created, "lead_id", "left", maintain_order="left")
        return (rows["as_of"] - rows["created_at"]).to_numpy()
    is_known = any(spec.name == _AGE and spec.reduce != "value" for spec in dataset.features.specs)
    return dataset.rows[_AGE].fill_null(0).to_numpy() if is_known else None


@dataclass(frozen=True)
class LeadSample:
    """One row for each lead, drawn at random from its rows.

    A lead's last row is no random one: it is that before the lead converts, or the oldest of one that never
    does.

    Attributes:
        rows: (leads,) rows of features.
        label: (leads,) whether the row's outcome is 1.
        ever: (leads,) whether the outcome of any row of the lead is 1.
        stratum: (leads,) the stratum of the lead's age at the row.
        positions: (leads,) the rows' positions in the data set.
    """

    rows: pl.DataFrame
    label: Flags
    ever: Flags
    stratum: NDArray[np.intp]
    positions: NDArray[np.intp]

    @classmethod
    def draw(cls, dataset: Dataset, seed: int = 0) -> LeadSample:
        """One row of each lead of a data set, the same for the same seed."""
        shuffled = np.random.default_rng(seed).permutation(len(dataset))
        positions = np.sort(shuffled[np.unique(dataset.lead[shuffled], return_index=True)[1]])
        ever = np.bincount(dataset.lead, weights=dataset.label) > 0
        return cls(
            dataset.rows[positions],
            dataset.label[positions] == 1,
            ever[dataset.lead[positions]],
            age_strata(dataset)[positions],
            positions,
        )

    def converted(self, spec: FeatureSpec) -> Flags:
        """(leads,) the outcome to compare a feature with; a plain column is the same in all of its rows."""
        return self.ever if spec.reduce == "value" else self.label

    def strata(self, spec: FeatureSpec) -> NDArray[np.intp]:
        """(leads,) the strata to compare a feature within; a plain column does not grow with age."""
        return np.zeros_like(self.stratum) if spec.reduce == "value" else self.stratum


@dataclass(frozen=True)
class ValueCounts:
    """How many leads have a value, how many of them converted, and the same of all leads, by stratum.

    Attributes:
        hits: (strata,) leads with the value that converted.
        rows: (strata,) leads with the value.
        all_hits: (strata,) leads that converted.
        all_rows: (strata,) leads.
    """

    hits: NDArray[np.int64]
    rows: NDArray[np.int64]
    all_hits: NDArray[np.int64]
    all_rows: NDArray[np.int64]

    @classmethod
    def of(cls, selected: Flags, won: Flags, stratum: NDArray[np.intp]) -> ValueCounts:
        """Count the ``selected`` leads."""
        size = int(stratum.max()) + 1
        hits, rows, all_hits, all_rows = (
            np.bincount(stratum[flags], minlength=size)
            for flags in (selected & won, selected, won, np.ones_like(won))
        )
        return cls(hits, rows, all_hits, all_rows)

    @property
    def inverse(self) -> ValueCounts:
        """The same with converting and not converting exchanged."""
        misses, all_misses = self.rows - self.hits, self.all_rows - self.all_hits
        return ValueCounts(misses, self.rows, all_misses, self.all_rows)

    @property
    def share(self) -> float:
        """The share of leads with the value that converted."""
        return float(self.hits.sum() / max(self.rows.sum(), 1))

    @property
    def odds_ratio(self) -> float:
        """The odds of leads with the value over the others', half a lead added to each (Haldane 1956)."""
        hits, rows = int(self.hits.sum()), int(self.rows.sum())
        others, rest = int(self.all_hits.sum()) - hits, int(self.all_rows.sum()) - rows
        return (hits + 0.5) * (rest - others + 0.5) / ((rows - hits + 0.5) * (others + 0.5))

    def odds_above(self, bound: float) -> float:
        """The p-value of odds at most ``bound`` times the others'."""
        return odds_ratio_above(self.hits, self.rows, self.all_hits, self.all_rows, bound)

    def alike_by_chance(self, odds: float = FEW_LEADS_ODDS, rate: float = FEW_LEADS_RATE) -> float:
        """The p-value of a value that is strong, but no more than ``odds`` and ``rate`` allow."""
        return max(self.odds_above(odds), rate_above(int(self.hits.sum()), int(self.rows.sum()), rate))

    def is_certain(self, tests: int) -> bool:
        """Whether not even a very strong honest value explains how many leads it settles, among ``tests``."""
        return self.share >= SETTLED and self.alike_by_chance(SURE_ODDS, SURE_RATE) * tests <= SURELY


def significant(p_values: Sequence[float], tests: int) -> Flags:
    """(n,) which p-values are significant among ``tests`` in all, at a false discovery rate of 5 %.

    Those that were not computed count as 1 (Benjamini and Hochberg 1995).
    """
    every = np.ones(max(tests, len(p_values), 1))
    every[: len(p_values)] = p_values
    return np.asarray(false_discovery_control(every)[: len(p_values)] <= SIGNIFICANT)
