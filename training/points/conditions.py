"""The conditions that the rows of a learned points table may have."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import polars as pl

from features.clock import DAY, HOUR, MINUTE
from features.messages import translate
from features.spec import DisplayText, FeatureSpec
from models.explanation import render_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from features.spec import FeatureSet

Test = Literal["is", "at_least", "at_most", "missing"]
FEWEST, LEAST_SHARE = 10, 0.005
EDGES, LEVELS = 12, 30
_DURATIONS = (
    *(minutes * MINUTE for minutes in (1, 5, 10, 30)),
    *(hours * HOUR for hours in (1, 3, 6, 12)),
    *(days * DAY for days in (1, 2, 3, 7, 14, 30, 60, 90, 180, 365, 730)),
)
_HOURS = tuple(hours * HOUR for hours in range(1, 24))
_VALUE = DisplayText("{value}", "{value}")


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one feature; a missing value passes no test but "missing"."""

    spec: FeatureSpec
    test: Test
    value: float | str | None = None

    @property
    def met(self) -> pl.Expr:
        """Whether a feature row meets the condition."""
        column = pl.col(self.spec.name)
        if self.test == "missing":
            return column.is_null()
        value = pl.lit(self.value)
        tests = {"is": column == value, "at_least": column >= value, "at_most": column <= value}
        return tests[self.test].fill_null(value=False)

    def says(self, lang: str = "en") -> str:
        """The condition as a sentence.

        >>> visits = FeatureSpec(
        ...     "v",
        ...     "fit",
        ...     "leads",
        ...     "value",
        ...     DisplayText("Visits: {value}", "Besuche: {value}"),
        ...     "number",
        ...     "v",
        ... )
        >>> Condition(visits, "at_least", 3.0).says(), Condition(visits, "at_most", 3.0).says("de")
        ('Visits: 3 or more', 'Besuche: höchstens 3')
        """
        value_text = render_sentence(replace(self.spec, says=_VALUE), self.value, lang)
        phrase = translate(f"conditions.{self._wording}", lang, value=value_text)
        return self.spec.says.render(lang).replace("{value}", phrase)

    @property
    def _wording(self) -> str:
        """The key of its phrase: a time of day is not "or more", but "or later"."""
        return f"{self.test}_clock" if self.spec.unit == "clock" and self.test == "at_least" else self.test


def candidate_conditions(features: FeatureSet, rows: pl.DataFrame) -> tuple[Condition, ...]:
    """The conditions that at least 10 rows, and 0.5 % of them, meet, and as many do not."""
    candidates = [condition for spec in features.specs for condition in _of(spec, rows[spec.name])]
    fewest = max(FEWEST, math.ceil(LEAST_SHARE * len(rows)))
    meeting = condition_matrix(candidates, rows).sum(axis=0)
    return tuple(c for c, n in zip(candidates, meeting, strict=True) if fewest <= n <= len(rows) - fewest)


def condition_matrix(conditions: Sequence[Condition], rows: pl.DataFrame) -> NDArray[np.bool_]:
    """(n, conditions) which feature rows meet which conditions."""
    met = rows.select(condition.met.alias(str(place)) for place, condition in enumerate(conditions))
    return met.to_numpy().reshape(len(rows), len(conditions))


def _of(spec: FeatureSpec, values: pl.Series) -> Iterator[Condition]:
    if spec.source in {"leads", "attributes"}:
        yield Condition(spec, "missing")
    if spec.unit == "words":
        return
    if spec.is_category:
        levels = (
            values.drop_nulls().value_counts(name="rows").sort("rows", values.name, descending=[True, False])
        )
        yield from (Condition(spec, "is", level) for level in levels[values.name].head(LEVELS).to_list())
    elif spec.unit == "flag":
        yield Condition(spec, "is", 1.0)
    else:
        test: Test = "at_most" if spec.reduce == "recency" else "at_least"
        yield from (Condition(spec, test, edge) for edge in _edges(spec, values))


def _edges(spec: FeatureSpec, values: pl.Series) -> list[float]:
    """Round numbers at which a number is cut: of durations usual ones such as a week, of a day its hours."""
    known = values.drop_nulls().drop_nans()
    if spec.unit == "seconds":
        return [float(seconds) for seconds in _DURATIONS]
    if spec.unit == "clock":
        return [float(seconds) for seconds in _HOURS]
    distinct = cut = known.unique().sort().to_list()
    if len(distinct) > EDGES:
        cut = [float(known.quantile(i / EDGES, "nearest") or 0.0) for i in range(1, EDGES)]
    edges = (_rounded(value, whole=spec.unit == "count") for value in cut)
    # Every known value is at least the least one, and the test "missing" says that better.
    return sorted({edge for edge in edges if edge > distinct[0]})


def _rounded(value: float, *, whole: bool) -> float:
    """The value with two significant digits; with ``whole``, rounded up to a whole number.

    >>> _rounded(1234.0, whole=False), _rounded(0.0371, whole=False), _rounded(7.0, whole=True)
    (1200.0, 0.037, 7.0)
    """
    if not value:
        return 0.0
    rounded = round(value, 1 - math.floor(math.log10(abs(value))))
    return float(math.ceil(rounded)) if whole else float(rounded)
