"""Pairs of features that count more, or less, together than each on its own: looked for cheaply.

What a feature contributes at one and the same value differs from lead to lead only where the model lets it
depend on other features. So of two features' contributions what goes with the value of each alone is taken
off; where the rest still goes with both values together, by more than with shuffled values, they interact.
That is the model's, not the world's: features that go together may share an effect in more than one way.
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
_COARSE, _FINE = 3, 20
_LEVELS = 5
_MIN_LEADS = 15
_MIN_POINTS = 1.0


@dataclass(frozen=True, slots=True)
class InteractionCell:
    """Leads in which values of two features meet: a value of each that one had, and the points on top."""

    rows: int
    first: float | str
    second: float | str
    points: float


@dataclass(frozen=True, slots=True)
class Interaction:
    """Two features that count otherwise together than alone, by ``points`` (root mean square) a lead."""

    first: FeatureSpec
    second: FeatureSpec
    points: float
    most: InteractionCell
    least: InteractionCell


@dataclass(frozen=True, eq=False)
class _Feature:
    """One feature's values, in groups, and what its points are beyond what its value alone would give."""

    spec: FeatureSpec
    values: pl.Series
    group: Codes
    beyond: Floats


def find_interactions(
    specs: Sequence[FeatureSpec], rows: pl.DataFrame, points: Floats, seed: int = 0
) -> tuple[Interaction, ...]:
    """The strongest pairs among ``specs``, whose (n, len(specs)) ``points`` were given to ``rows``."""
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
    alone = _group_codes(values, _FINE)
    return _Feature(spec, values, _group_codes(values, _COARSE), points - _group_means(alone, points)[alone])


def _group_codes(values: pl.Series, most: int) -> Codes:
    """(n,) numbers of groups: the frequent levels, or ranges that hold about as many; missing is group 0."""
    if values.dtype == pl.String:
        counts = (
            values.drop_nulls().value_counts(name="rows").sort("rows", values.name, descending=[True, False])
        )
        number = {level: i for i, level in enumerate(counts[values.name].head(max(_LEVELS, most)), 1)}
        return np.array([0 if x is None else number.get(x, len(number) + 1) for x in values], dtype=np.intp)
    known = values.drop_nulls().to_numpy()
    edges = np.unique(np.quantile(known, np.arange(1, most) / most)) if len(known) else np.empty(0)
    group = np.searchsorted(edges, values.fill_null(0.0).to_numpy(), side="left") + 1
    return np.where(values.is_null().to_numpy(), 0, group).astype(np.intp)


def _group_means(group: Codes, values: Floats) -> Floats:
    """The mean of each group, by its number; 0 for a number that no row has."""
    rows = np.bincount(group)
    return np.bincount(group, values) / np.maximum(rows, 1)


def _test_pair(feature: _Feature, partner: _Feature, random: np.random.Generator) -> Iterator[Interaction]:
    """The pair, if it goes with both values by more than any shuffle of the other's does."""
    width = int(partner.group.max()) + 1
    beyond = feature.beyond + partner.beyond
    size = _root_mean_square(feature.group * width + partner.group, beyond)
    chance = max(
        _root_mean_square(feature.group * width + random.permutation(partner.group), beyond)
        for _ in range(SHUFFLES)
    )
    cells = sorted(_interaction_cells(feature, partner, beyond), key=lambda cell: cell.points)
    if size > max(chance, _MIN_POINTS) and cells:
        yield Interaction(feature.spec, partner.spec, size, cells[-1], cells[0])


def _root_mean_square(cell: Codes, beyond: Floats) -> float:
    return float(np.sqrt(np.mean(_group_means(cell, beyond)[cell] ** 2)))


def _interaction_cells(left: _Feature, right: _Feature, beyond: Floats) -> Iterator[InteractionCell]:
    """The points on top of every pair of groups that enough leads with both values are in."""
    for first in np.unique(left.group):
        for second in np.unique(right.group):
            rows = (left.group == first) & (right.group == second)
            known = left.values.is_not_null().to_numpy() & right.values.is_not_null().to_numpy() & rows
            if known.sum() >= _MIN_LEADS:
                usual = [_typical_value(feature.values.filter(pl.Series(known))) for feature in (left, right)]
                yield InteractionCell(int(known.sum()), usual[0], usual[1], float(beyond[known].mean()))


def _typical_value(values: pl.Series) -> float | str:
    """A value that is neither rare nor extreme: the middle one, or the most frequent level."""
    if values.dtype == pl.String:
        return str(values.mode().sort()[0])
    return float(values.quantile(0.5, "nearest") or 0.0)
