"""Pairwise interactions of features, estimated from contributions.

A feature's contribution differs between leads with the same value only where the model lets it depend on
other features. So what depends on each feature's value alone is subtracted from the contributions of two
features; where the mean of the rest depends on both values together by more than with shuffled values, they
interact. The interaction is the model's: correlated features may share an effect in more than one way.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.intp]

LOOKED_AT = 8
SHOWN = 3
SHUFFLES = 20
# Groups of values for the interaction, and for the effect of each feature alone; categories have more levels.
_COARSE_GROUPS, _FINE_GROUPS = 3, 20
_MIN_LEVELS = 5
# Leads that a cell needs, and points below which an interaction is not reported.
_MIN_LEADS = 15
_MIN_POINTS = 1.0


@dataclass(frozen=True, slots=True)
class InteractionCell:
    """Leads with certain values of two features.

    Attributes:
        rows: Number of leads.
        first: A typical value of the first feature.
        second: A typical value of the second.
        points: Their mean points from the interaction.
    """

    rows: int
    first: float | str
    second: float | str
    points: float


@dataclass(frozen=True, slots=True)
class Interaction:
    """Two interacting features.

    Attributes:
        first: One feature.
        second: The other.
        points: Root mean square of the interaction over the leads.
        most: The cell with the most points.
        least: The cell with the fewest.
    """

    first: FeatureSpec
    second: FeatureSpec
    points: float
    most: InteractionCell
    least: InteractionCell


@dataclass(frozen=True, eq=False)
class _Feature:
    """One feature's values, their groups, and its points beyond the mean of its value."""

    spec: FeatureSpec
    values: pl.Series
    group: Codes
    residual: Floats


def find_interactions(
    specs: Sequence[FeatureSpec], rows: pl.DataFrame, points: Floats, seed: int = 0
) -> tuple[Interaction, ...]:
    """Find the strongest interactions among features.

    Args:
        specs: The k features, the most important first; the first ``LOOKED_AT`` are tested.
        rows: (n,) their values.
        points: (n, k) contributions in points.
        seed: Seed of the shuffles.

    Returns:
        At most ``SHOWN`` interactions, the strongest first.
    """
    random = np.random.default_rng(seed)
    features = [
        _make_feature(spec, rows[spec.name], points[:, i]) for i, spec in enumerate(specs[:LOOKED_AT])
    ]
    interactions = [
        interaction for pair in combinations(features, 2) for interaction in _test_pair(*pair, random)
    ]
    return tuple(
        sorted(
            interactions,
            key=lambda interaction: (-interaction.points, interaction.first.name, interaction.second.name),
        )[:SHOWN]
    )


def _make_feature(spec: FeatureSpec, values: pl.Series, points: Floats) -> _Feature:
    fine_groups = _group_codes(values, _FINE_GROUPS)
    return _Feature(
        spec,
        values,
        _group_codes(values, _COARSE_GROUPS),
        points - _group_means(fine_groups, points)[fine_groups],
    )


def _group_codes(values: pl.Series, most: int) -> Codes:
    """(n,) group numbers: frequent levels, or ranges of similar size; missing values are group 0."""
    if values.dtype == pl.String:
        counts = (
            values.drop_nulls().value_counts(name="rows").sort("rows", values.name, descending=[True, False])
        )
        number = {level: i for i, level in enumerate(counts[values.name].head(max(_MIN_LEVELS, most)), 1)}
        return np.array([0 if x is None else number.get(x, len(number) + 1) for x in values], dtype=np.intp)
    known = values.drop_nulls().to_numpy()
    edges = np.unique(np.quantile(known, np.arange(1, most) / most)) if len(known) else np.empty(0)
    group = np.searchsorted(edges, values.fill_null(0.0).to_numpy(), side="left") + 1
    return np.where(values.is_null().to_numpy(), 0, group).astype(np.intp)


def _group_means(group: Codes, values: Floats) -> Floats:
    """The mean of each group by its number; 0 for a number without rows."""
    rows = np.bincount(group)
    return np.bincount(group, values) / np.maximum(rows, 1)


def _test_pair(feature: _Feature, partner: _Feature, random: np.random.Generator) -> Iterator[Interaction]:
    """The pair, if its interaction exceeds that of every shuffle of the second feature's values."""
    width = int(partner.group.max()) + 1
    residual = feature.residual + partner.residual
    size = _root_mean_square(feature.group * width + partner.group, residual)
    chance = max(
        _root_mean_square(feature.group * width + random.permutation(partner.group), residual)
        for _ in range(SHUFFLES)
    )
    cells = sorted(_interaction_cells(feature, partner, residual), key=lambda cell: cell.points)
    if size > max(chance, _MIN_POINTS) and cells:
        yield Interaction(feature.spec, partner.spec, size, cells[-1], cells[0])


def _root_mean_square(cell: Codes, residual: Floats) -> float:
    return float(np.sqrt(np.mean(_group_means(cell, residual)[cell] ** 2)))


def _interaction_cells(left: _Feature, partner: _Feature, residual: Floats) -> Iterator[InteractionCell]:
    """The mean interaction of every pair of groups that enough leads are in."""
    for first in np.unique(left.group):
        for second in np.unique(partner.group):
            rows = (left.group == first) & (partner.group == second)
            in_cell = left.values.is_not_null().to_numpy() & partner.values.is_not_null().to_numpy() & rows
            if in_cell.sum() >= _MIN_LEADS:
                usual = [
                    _typical_value(feature.values.filter(pl.Series(in_cell))) for feature in (left, partner)
                ]
                yield InteractionCell(int(in_cell.sum()), usual[0], usual[1], float(residual[in_cell].mean()))


def _typical_value(values: pl.Series) -> float | str:
    """The median, or the most frequent level."""
    if values.dtype == pl.String:
        return str(values.mode().sort()[0])
    return float(values.quantile(0.5, "nearest") or 0.0)
