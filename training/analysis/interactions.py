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
_FEWEST = 15
_WORTH_SAYING = 1.0


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
    looked_at = [_feature(spec, rows[spec.name], points[:, i]) for i, spec in enumerate(specs[:LOOKED_AT])]
    found = [one for pair in combinations(looked_at, 2) for one in _together(*pair, random)]
    return tuple(sorted(found, key=lambda one: (-one.points, one.first.name, one.second.name))[:SHOWN])


def _feature(spec: FeatureSpec, values: pl.Series, points: Floats) -> _Feature:
    alone = _groups(values, _FINE)
    return _Feature(spec, values, _groups(values, _COARSE), points - _means(alone, points)[alone])


def _groups(values: pl.Series, most: int) -> Codes:
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


def _means(group: Codes, values: Floats) -> Floats:
    """The mean of each group, by its number; 0 for a number that no row has."""
    rows = np.bincount(group)
    return np.bincount(group, values) / np.maximum(rows, 1)


def _together(one: _Feature, other: _Feature, random: np.random.Generator) -> Iterator[Interaction]:
    """The pair, if it goes with both values by more than any shuffle of the other's does."""
    width = int(other.group.max()) + 1
    beyond = one.beyond + other.beyond
    size = _size(one.group * width + other.group, beyond)
    chance = max(_size(one.group * width + random.permutation(other.group), beyond) for _ in range(SHUFFLES))
    meetings = sorted(_meetings(one, other, beyond), key=lambda meeting: meeting.points)
    if size > max(chance, _WORTH_SAYING) and meetings:
        yield Interaction(one.spec, other.spec, size, meetings[-1], meetings[0])


def _size(cell: Codes, beyond: Floats) -> float:
    return float(np.sqrt(np.mean(_means(cell, beyond)[cell] ** 2)))


def _meetings(one: _Feature, other: _Feature, beyond: Floats) -> Iterator[InteractionCell]:
    """The points on top of every pair of groups that enough leads with both values are in."""
    for first in np.unique(one.group):
        for second in np.unique(other.group):
            rows = (one.group == first) & (other.group == second)
            known = one.values.is_not_null().to_numpy() & other.values.is_not_null().to_numpy() & rows
            if known.sum() >= _FEWEST:
                usual = [_usual(feature.values.filter(pl.Series(known))) for feature in (one, other)]
                yield InteractionCell(int(known.sum()), usual[0], usual[1], float(beyond[known].mean()))


def _usual(values: pl.Series) -> float | str:
    """A value that is neither rare nor extreme: the middle one, or the most frequent level."""
    if values.dtype == pl.String:
        return str(values.mode().sort()[0])
    return float(values.quantile(0.5, "nearest") or 0.0)
