"""Drift: how far the distribution of values is from that of the rows a model was evaluated on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.special import chdtri

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


PARTS = 10

# A share of nothing has no logarithm; this is the least that the index takes for one.
LEAST = 1e-4

_CHANCE_LEVEL = 0.001


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a distribution is from its reference.

    Attributes:
        psi: Population stability index; by custom below 0.1 is stable and above 0.25 has shifted.
        chance: What the index stays below by chance 999 times in 1,000, given the numbers of rows.
    """

    psi: float
    chance: float


@dataclass(frozen=True, slots=True)
class ReferenceDistribution:
    """The distribution of a column, binned, that later values are compared with.

    Attributes:
        rows: How many independent values it stands for.
        shares: Share of missing values, then of each bin.
        edges: Of numbers, the bins ``(edge before, edge]``; the last bin has no upper bound.
        levels: Of text, the value of each bin; one more bin is all other values. None for numbers.
    """

    rows: int
    shares: tuple[float, ...]
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        column: pl.Series,
        effective_size: float | None = None,
        lead: NDArray[np.integer] | None = None,
        fewest: int = 1,
    ) -> ReferenceDistribution:
        """Bin a column: deciles of numbers, the nine most frequent values of text.

        Args:
            column: The values; null is missing.
            effective_size: How many independent values they are worth. Default their number.
            lead: (n,) the lead of each row. Default: each row is one.
            fewest: How many leads a text must have for a bin: one of fewer may point at persons. Default 1.

        Returns:
            The distribution.

        >>> ReferenceDistribution.of(pl.Series(["Ads", "Ads", None, "Fair"])).shares
        (0.25, 0.5, 0.25, 0.0)
        """
        if column.dtype == pl.String:
            table = pl.DataFrame({"level": column, "lead": range(len(column)) if lead is None else lead})
            tally = table.drop_nulls("level").group_by("level").agg(pl.len(), pl.col("lead").n_unique())
            common = tally.filter(pl.col("lead") >= fewest)
            levels = common.sort("len", "level", descending=True)["level"].head(PARTS - 1)
            template = cls(len(column), (), levels=tuple(levels))
        else:
            values = column.drop_nulls().to_numpy()
            inner = np.arange(1, PARTS) / PARTS
            cuts = np.unique(np.quantile(values, inner, method="lower")) if len(values) else np.zeros(0)
            template = cls(len(column), (), edges=tuple(cuts.tolist()))
        rows = len(column) if effective_size is None else round(effective_size)
        return cls(rows, tuple(template.bin_shares(column).tolist()), template.edges, template.levels)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ReferenceDistribution:
        """The distribution from a ``record`` that ``dataclasses.asdict`` and JSON made of one."""
        levels = None if record["levels"] is None else tuple(record["levels"])
        return cls(record["rows"], tuple(record["shares"]), tuple(record["edges"]), levels)

    def bin_shares(self, column: pl.Series) -> NDArray[np.float64]:
        """Shares of the values of another ``column``: of missing ones, then of each bin."""
        values = column.drop_nulls()
        if self.levels is None:
            indices = np.searchsorted(self.edges, values.cast(pl.Float64).to_numpy(), side="left")
            parts = len(self.edges) + 1
        else:
            values, parts = values.cast(pl.String), len(self.levels) + 1
            index_of = {level: index for index, level in enumerate(self.levels)}
            indices = values.replace_strict(index_of, default=parts - 1, return_dtype=pl.Int64).to_numpy()
        counts = np.append(len(column) - len(values), np.bincount(indices, minlength=parts))
        return np.asarray(counts / max(len(column), 1), dtype=np.float64)

    def drift(self, column: pl.Series, effective_size: float | None = None) -> Drift:
        """Compare another column with this distribution.

        Args:
            column: The later values.
            effective_size: How many independent values they are worth. Default their number.

        Returns:
            The population stability index with what chance allows.
        """
        return self.drift_of(
            self.bin_shares(column), len(column) if effective_size is None else effective_size
        )

    def drift_of(self, shares: NDArray[np.float64], rows: float) -> Drift:
        """Compare shares that were binned already with this distribution.

        Where nothing changed, the index is about ``(1/n + 1/m) * chi2`` with one degree of freedom less than
        there are bins (Yurdakul 2018), so few rows look like drift. An empty bin counts as half a row.

        Args:
            shares: (bins,) shares as ``bin_shares`` gives them.
            rows: How many independent values they stand for.

        Returns:
            The population stability index with what chance allows.
        """
        expected, observed = np.array(self.shares), shares
        n, m = max(self.rows, 1), max(rows, 1)
        # An empty part of few rows is no proof of nothing: it counts as half a row.
        occupied = (expected + observed) > 0
        index = psi(np.maximum(expected, 0.5 / n)[occupied], np.maximum(observed, 0.5 / m)[occupied])
        degrees = max(int(occupied.sum()) - 1, 1)
        return Drift(index, float(chdtri(degrees, _CHANCE_LEVEL)) * (1 / n + 1 / m))


def psi(expected: Iterable[float], actual: Iterable[float]) -> float:
    """Population stability index: the sum of ``(actual - expected) * ln(actual / expected)`` over bins.

    Args:
        expected: Share of each bin in the reference.
        actual: Share of each bin now; shares below 1e-4 count as that.

    Returns:
        The index; 0 where both are equal.

    >>> round(psi([0.5, 0.5], [0.6, 0.4]), 5)
    0.04055
    """
    e, a = (np.maximum(np.array(list(shares)), LEAST) for shares in (expected, actual))
    return float(((a - e) * np.log(a / e)).sum())


def missing_share(rows: pl.DataFrame) -> NDArray[np.float64]:
    """(n,) shares of each row's columns that hold no value."""
    return rows.select(pl.mean_horizontal(pl.all().is_null())).to_series().to_numpy()
