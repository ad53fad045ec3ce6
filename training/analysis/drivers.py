"""Feature importance and the shape of effects, from the contributions of single leads.

Contributions describe how the model arrives at its scores. They are associations in past data: a driver is
not a lever, and no sentence made from these figures may say so. Importances have intervals over leads
(bootstrap) and over models (delete-a-group jackknife); the points of single leads are kept for a beeswarm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from models.explanation import log_odds_to_points
from models.metrics import Interval
from training.analysis.interactions import LOOKED_AT, Interaction, find_interactions
from training.stats.intervals import jackknife_half_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from features.spec import FeatureSet

    Floats = NDArray[np.float64]

Direction = Literal["raises", "lowers", "mixed", "levels", "none"]

# Dots of a beeswarm, and features that have one.
MOST, SHOWN = 120, 12
# Bootstrap resamples, and the upper end of a 95 % interval.
RESAMPLES, _UPPER = 200, 0.975
# Groups of numbers and of levels in the shape of an effect.
BINS, LEVELS = 6, 6
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Features whose change between models is reported.
TOP = 10
# A rank correlation below this is no direction; an importance below this, in points, is none.
_MIN_CORRELATION, NEGLIGIBLE = 0.3, 0.05
# A feature is the age by another name if so many rows have it and its rank correlation with it is so high.
_MIN_KNOWN, _MIN_LIKE_AGE = 0.8, 0.95


@dataclass(frozen=True, slots=True)
class BeeswarmPoint:
    """One lead's points for a feature.

    Attributes:
        points: The points.
        height: Rank of the lead's value in [0, 1]; None without a value or an order.
    """

    points: float
    height: float | None


@dataclass(frozen=True, slots=True)
class ValueGroup:
    """Leads with similar values of one feature, and their mean points.

    Numbers lie in [low, high], categories have one ``level``; all three are None for missing values.
    """

    rows: int
    points: float
    low: float | None = None
    high: float | None = None
    level: str | None = None

    @property
    def is_missing(self) -> bool:
        """Whether these are the leads without a value."""
        return self.low is None and self.level is None


@dataclass(frozen=True, slots=True)
class Example:
    """The value of a real lead, and its points for it."""

    value: float | str | None
    points: float


@dataclass(frozen=True, slots=True)
class Driver:
    """The importance of one feature and the shape of its effect.

    Attributes:
        spec: The feature.
        importance: Mean absolute contribution, in points.
        likely: The same with its 95 % interval.
        spread: Points at the quantiles ``QUANTILES`` of the leads.
        direction: For numbers the sign of the rank correlation of value and points; categories have "levels".
        correlation: That rank correlation; None for categories and constants.
        shape: Mean points by value.
        examples: The values with the most and the fewest points.
        dots: Single leads, for the ``SHOWN`` most important features.
        steady: Whether every refit has the same direction; None without refits or without a direction.
        is_age: Whether it is only the age of the lead at the snapshot, or goes with it.
    """

    spec: FeatureSpec
    importance: float
    likely: Interval
    spread: tuple[float, ...]
    direction: Direction
    correlation: float | None
    shape: tuple[ValueGroup, ...]
    examples: tuple[Example, ...]
    dots: tuple[BeeswarmPoint, ...] = ()
    steady: bool | None = None
    is_age: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """The importance of a family of features: the mean absolute sum of their contributions, in points."""

    name: str
    importance: float
    features: int
    likely: Interval


@dataclass(frozen=True, slots=True)
class Stability:
    """How similar the importances of two models' common features are.

    Attributes:
        version: The earlier model.
        features: Number of common features.
        correlation: Spearman's rank correlation of their importances.
        arrived: Among the ``TOP`` now, but not for the earlier model.
        left: Among the ``TOP`` of the earlier model, but not now.
    """

    version: str
    features: int
    correlation: float
    arrived: tuple[FeatureSpec, ...]
    left: tuple[FeatureSpec, ...]


@dataclass(frozen=True, slots=True)
class Drivers:
    """The importance of all features and families, the most important first.

    Attributes:
        rows: Number of leads whose contributions were averaged.
        families: Importance by family.
        features: Importance by feature.
        interplays: The strongest interactions.
        stability: Comparison with an earlier model, if any.
        refits: Number of jackknife refits behind the intervals; 0 where they cover these leads only.
    """

    rows: int
    families: tuple[Family, ...]
    features: tuple[Driver, ...]
    interplays: tuple[Interaction, ...]
    stability: Stability | None = None
    refits: int = 0


def feature_importance(  # noqa: PLR0913 - contributions, and how refits differ in them
    features: FeatureSet,
    rows: pl.DataFrame,
    contributions: NDArray[np.float64],
    refitted: Sequence[NDArray[np.float64]] = (),
    share: float = 1.0,
    *,
    refit_places: NDArray[np.intp] | None = None,
) -> Drivers:
    """Summarise contributions by feature and family.

    Args:
        features: The k features.
        rows: (n,) feature rows.
        contributions: (n, k) contributions in log-odds.
        refitted: The same by models that each leave out one group of leads.
        share: The share of all leads that these models were trained on samples of.
        refit_places: The places of the rows of ``refitted``. Default: all n.
    """
    refit_rows = rows if refit_places is None else rows[refit_places]
    points, others = (
        log_odds_to_points(1.0) * contributions,
        [log_odds_to_points(1.0) * refit for refit in refitted],
    )
    intervals = importance_intervals(points, others, share)
    drivers = [
        _make_driver(
            spec,
            rows[spec.name],
            points[:, i],
            [_correlation(spec, refit_rows[spec.name], refit[:, i]) or 0.0 for refit in others],
            intervals[i],
        )
        for i, spec in enumerate(features.specs)
    ]
    ages = _age_features(features, rows)
    drivers = [replace(driver, is_age=driver.spec.name in ages) for driver in drivers]
    ranked = sorted(drivers, key=lambda driver: (-driver.importance, driver.spec.name))
    place = {spec.name: i for i, spec in enumerate(features.specs)}
    weightiest = [driver.spec for driver in ranked if driver.direction != "none"][:LOOKED_AT]
    pairs = find_interactions(weightiest, rows, points[:, [place[spec.name] for spec in weightiest]])
    with_points = [
        replace(
            driver,
            dots=beeswarm_points(
                _value_point_pairs(rows[driver.spec.name], points[:, place[driver.spec.name]])
            ),
        )
        for driver in ranked[:SHOWN]
    ]
    families = _family_importance(features, points, others, share)
    return Drivers(len(rows), families, (*with_points, *ranked[SHOWN:]), pairs, refits=len(others))


def compare_drivers(now: Drivers, before: Drivers, version: str) -> Drivers:
    """Add to ``now`` how its importances compare with those of an earlier model.

    Args:
        now: Importances of the current model.
        before: Importances of the earlier one.
        version: The earlier model's version.
    """
    sizes = [{driver.spec.name: driver.importance for driver in each.features} for each in (now, before)]
    common = sorted(sizes[0].keys() & sizes[1].keys())
    pairs = pl.DataFrame({"now": [sizes[0][x] for x in common], "before": [sizes[1][x] for x in common]})
    if min(pairs["now"].n_unique(), pairs["before"].n_unique()) < 2:  # noqa: PLR2004  # no order in one value
        return now
    alike = float(pairs.select(pl.corr("now", "before", method="spearman")).item())
    top = [{driver.spec.name: driver.spec for driver in each.features[:TOP]} for each in (now, before)]
    arrived = tuple(spec for name, spec in top[0].items() if name not in top[1])
    dropped = tuple(spec for name, spec in top[1].items() if name not in top[0])
    return replace(now, stability=Stability(version, len(common), alike, arrived, dropped))


def _age_features(features: FeatureSet, rows: pl.DataFrame) -> set[str]:
    """The features that are the age of the lead, or are in the order of it, as time in the first stage is."""
    ages = [spec.name for spec in features.specs if spec.source == "leads" and spec.reduce == "tenure"]
    return {
        spec.name
        for age in ages
        for spec in features.specs
        if not spec.is_category and (spec.name in ages or _goes_with(rows, spec.name, age))
    }


def _goes_with(rows: pl.DataFrame, name: str, age: str) -> bool:
    """Whether a feature that most rows have is nearly in the order of the age."""
    known = rows.select(value=pl.col(name), points=pl.col(age)).drop_nulls()
    enough = known.height >= _MIN_KNOWN * rows.height
    return enough and (_rank_correlation(known) or 0.0) >= _MIN_LIKE_AGE


def _family_importance(
    features: FeatureSet, points: NDArray[np.float64], others: Sequence[NDArray[np.float64]], share: float
) -> tuple[Family, ...]:
    """Families by the mean absolute sum of their points: what cancels within a family moves no score."""
    names = sorted({spec.family for spec in features.specs})
    member = np.array([[spec.family == name for name in names] for spec in features.specs], dtype=np.float64)
    intervals = importance_intervals(points @ member, [each @ member for each in others], share)
    counts = member.sum(axis=0).astype(int).tolist()
    families = [
        Family(name, each.value, n, each) for name, n, each in zip(names, counts, intervals, strict=True)
    ]
    return tuple(sorted(families, key=lambda family: (-family.importance, family.name)))


def _make_driver(
    spec: FeatureSpec,
    values: pl.Series,
    points: NDArray[np.float64],
    refit_correlations: Sequence[float],
    likely: Interval,
) -> Driver:
    size, pairs = likely.value, _value_point_pairs(values, points)
    correlation = _correlation(spec, values, points)
    direction = _direction(size, correlation, spec)
    return Driver(
        spec=spec,
        importance=size,
        likely=likely,
        spread=tuple(np.quantile(points, QUANTILES).tolist()),
        direction=direction,
        correlation=correlation,
        shape=_value_groups(spec, pairs),
        examples=_examples(pairs),
        steady=_is_direction_stable(direction, refit_correlations),
    )


def _value_groups(spec: FeatureSpec, pairs: pl.DataFrame) -> tuple[ValueGroup, ...]:
    if spec.unit == "words":
        return _word_groups(pairs)
    return _level_groups(pairs) if spec.is_category else _number_groups(pairs)


def _value_point_pairs(values: pl.Series, points: NDArray[np.float64]) -> pl.DataFrame:
    return pl.DataFrame({"value": values, "points": points})


def _is_direction_stable(direction: Direction, refit_correlations: Sequence[float]) -> bool | None:
    """Whether every refit clearly has the same direction; None where there is no direction."""
    if not refit_correlations or direction not in ("raises", "lowers"):
        return None
    sign = 1 if direction == "raises" else -1
    return all(sign * correlation >= _MIN_CORRELATION for correlation in refit_correlations)


def _correlation(spec: FeatureSpec, values: pl.Series, points: NDArray[np.float64]) -> float | None:
    return None if spec.is_category else _rank_correlation(_value_point_pairs(values, points).drop_nulls())


def _rank_correlation(pairs: pl.DataFrame) -> float | None:
    if pairs["value"].n_unique() < 2 or pairs["points"].n_unique() < 2:  # noqa: PLR2004
        return None
    return float(pairs.select(pl.corr("value", "points", method="spearman")).item())


def _direction(size: float, correlation: float | None, spec: FeatureSpec) -> Direction:
    if size < NEGLIGIBLE:
        return "none"
    if spec.is_category:
        return "levels"
    if correlation is None or abs(correlation) < _MIN_CORRELATION:
        return "mixed"
    return "raises" if correlation > 0 else "lowers"


def _number_groups(pairs: pl.DataFrame) -> tuple[ValueGroup, ...]:
    """A group per value where values are few, else up to ``BINS`` of similar size; missing comes last."""
    known = pairs.drop_nulls()
    group = pl.Series(np.searchsorted(_bin_edges(known["value"]), known["value"].to_numpy(), side="right"))
    value, points = pl.col("value"), pl.col("points")
    parts = known.group_by(group.alias("group")).agg(
        pl.len().alias("rows"), points.mean(), low=value.min(), high=value.max()
    )
    numbers = parts.sort("group").drop("group").iter_rows(named=True)
    return (*(ValueGroup(**number) for number in numbers), *_missing_group(pairs))


def _bin_edges(values: pl.Series) -> list[float]:
    """The lower ends of the groups: each is [edge, next edge)."""
    distinct = values.unique().sort().to_list()
    if len(distinct) <= BINS:
        return distinct
    return sorted({float(values.quantile(i / BINS, "nearest") or 0.0) for i in range(1, BINS)})


def _level_groups(pairs: pl.DataFrame) -> tuple[ValueGroup, ...]:
    """The most frequent levels, from the most points to the least; missing comes last."""
    known = pairs.drop_nulls().group_by("value").agg(pl.len().alias("rows"), pl.col("points").mean())
    frequent = known.sort("rows", "value", descending=[True, False]).head(LEVELS)
    ordered = frequent.sort("points", "value", descending=[True, False]).iter_rows(named=True)
    parts = [ValueGroup(row["rows"], row["points"], level=row["value"]) for row in ordered]
    return (*parts, *_missing_group(pairs))


def _word_groups(pairs: pl.DataFrame) -> tuple[ValueGroup, ...]:
    """The words whose texts have points farthest from the mean of all, in their order; missing comes last."""
    known = pairs.drop_nulls()
    words = known.with_columns(pl.col("value").str.split(" ")).explode("value").filter(pl.col("value") != "")
    parts = words.group_by("value").agg(pl.len().alias("rows"), pl.col("points").mean())
    pull = (pl.col("points") - (known["points"].mean() or 0.0)).abs() * pl.col("rows").sqrt()
    farthest = parts.sort(pull, "value", descending=[True, False]).head(LEVELS)
    ordered = farthest.sort("points", "value", descending=[True, False]).iter_rows(named=True)
    groups = [ValueGroup(row["rows"], row["points"], level=row["value"]) for row in ordered]
    return (*groups, *_missing_group(pairs))


def _missing_group(pairs: pl.DataFrame) -> tuple[ValueGroup, ...]:
    points = pairs.filter(pl.col("value").is_null())["points"].to_numpy()
    return (ValueGroup(len(points), float(points.mean())),) if len(points) else ()


def _examples(pairs: pl.DataFrame) -> tuple[Example, ...]:
    """The values with the most and with the fewest points, each of a real lead."""
    known = pairs.drop_nulls().sort("points", "value")
    if known.is_empty():
        return ()
    (most, best), (least, worst) = known.row(-1), known.row(0)
    return (Example(most, best), Example(least, worst)) if most != least else (Example(most, best),)


def importance_intervals(
    points: Floats, refitted: Sequence[Floats] = (), share: float = 1.0
) -> list[Interval]:
    """Compute the mean absolute value of each column with its 95 % interval.

    Args:
        points: (n, k) contributions.
        refitted: The same by models that each leave out one group of leads; without them the interval covers
            the choice of the rows only.
        share: The share of all leads that these models were trained on samples of.
    """
    size = np.abs(points).mean(axis=0)
    low, high = _bootstrap_interval(points)
    if refitted:
        half_width = np.hypot(
            jackknife_half_width([np.abs(refit).mean(axis=0) for refit in refitted], share), (high - low) / 2
        )
        low, high = np.maximum(size - half_width, 0.0), size + half_width
    return [Interval(*map(float, ends)) for ends in zip(size, low, high, strict=True)]


def _bootstrap_interval(points: Floats) -> Floats:
    """(2, k): the ends of the interval over rows, by a bootstrap (Efron 1979)."""
    size, n = np.abs(points), len(points)
    resampled = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES) @ size / n
    return np.asarray(np.quantile(resampled, (1 - _UPPER, _UPPER), axis=0))


def beeswarm_points(pairs: pl.DataFrame) -> tuple[BeeswarmPoint, ...]:
    """Select at most ``MOST`` of the (value, points) pairs, evenly along their order of points.

    So dots are as dense as leads, and the same leads give the same dots.

    Args:
        pairs: Columns ``value`` and ``points``.
    """
    value = pl.col("value")
    known = value.count()
    ordered = pl.lit(None, pl.Float64)
    if pairs["value"].dtype != pl.String:
        ordered = pl.when(known > 1).then((value.rank("average") - 1) / (known - 1))
    high = pairs.select("points", height=ordered).sort("points", "height", nulls_last=True)
    places = np.unique(np.linspace(0, len(high) - 1, min(MOST, len(high))).round().astype(int))
    return tuple(
        BeeswarmPoint(round(points, 2), None if height is None else round(height, 3))
        for points, height in high[places].iter_rows()
    )
