"""How values were spread when a model was judged, and how far from that they are now."""

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
    """The population stability index, and how large it may be by chance (once in a thousand comparisons)."""

    psi: float
    chance: float


@dataclass(frozen=True, slots=True)
class ReferenceDistribution:
    """The ``shares`` of values that are worth ``rows``: first of the missing ones, then of each part.

    Numbers are parted by ``edges``, a part being ``(edge before, edge]``; words by ``levels``, the last part
    being every other word.
    """

    rows: int
    shares: tuple[float, ...]
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] | None = None

    @classmethod
    def of(cls, column: pl.Series, effective_size: float | None = None) -> ReferenceDistribution:
        """The profile of a column: deciles of numbers, the commonest words of text.

        Its values are ``worth`` so many independent ones, else as many as they are.

        >>> ReferenceDistribution.of(pl.Series(["Ads", "Ads", None, "Fair"])).shares
        (0.25, 0.5, 0.25, 0.0)
        """
        if column.dtype == pl.String:
            common = column.drop_nulls().value_counts(sort=True).sort("count", column.name, descending=True)
            template = cls(len(column), (), levels=tuple(common[column.name].head(PARTS - 1)))
        else:
            values = column.drop_nulls().to_numpy()
            inner = np.arange(1, PARTS) / PARTS
            cuts = np.unique(np.quantile(values, inner, method="lower")) if len(values) else np.zeros(0)
            template = cls(len(column), (), edges=tuple(cuts.tolist()))
        rows = len(column) if effective_size is None else round(effective_size)
        return cls(rows, tuple(template.bin_shares(column).tolist()), template.edges, template.levels)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ReferenceDistribution:
        """The profile that ``dataclasses.asdict`` and JSON made plain."""
        levels = None if record["levels"] is None else tuple(record["levels"])
        return cls(record["rows"], tuple(record["shares"]), tuple(record["edges"]), levels)

    def bin_shares(self, column: pl.Series) -> NDArray[np.float64]:
        """The shares of another column's values in the same parts."""
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
        """How far the values of ``column``, ``worth`` so many independent ones, are from this profile."""
        return self.drift_of(
            self.bin_shares(column), len(column) if effective_size is None else effective_size
        )

    def drift_of(self, shares: NDArray[np.float64], rows: float) -> Drift:
        """How far other ``rows`` values with these ``shares`` in the same parts are from this profile.

        Where nothing changed, the index is about ``(1/n + 1/m) * chi2`` with one degree of freedom less than
        there are parts (Yurdakul 2018), so that few rows look like drift; ``chance`` says how much.
        """
        expected, observed = np.array(self.shares), shares
        n, m = max(self.rows, 1), max(rows, 1)
        # An empty part of few rows is no proof of nothing: it counts as half a row.
        occupied = (expected + observed) > 0
        index = psi(np.maximum(expected, 0.5 / n)[occupied], np.maximum(observed, 0.5 / m)[occupied])
        degrees = max(int(occupied.sum()) - 1, 1)
        return Drift(index, float(chdtri(degrees, _CHANCE_LEVEL)) * (1 / n + 1 / m))


def psi(expected: Iterable[float], actual: Iterable[float]) -> float:
    """The population stability index: the sum of ``(actual - expected) * ln(actual / expected)``.

    >>> round(psi([0.5, 0.5], [0.6, 0.4]), 5)
    0.04055
    """
    e, a = (np.maximum(np.array(list(shares)), LEAST) for shares in (expected, actual))
    return float(((a - e) * np.log(a / e)).sum())


def missing_share(rows: pl.DataFrame) -> NDArray[np.float64]:
    """(n,) shares of each row's columns that hold no value."""
    return rows.select(pl.mean_horizontal(pl.all().is_null())).to_series().to_numpy()
