"""Observed conversion rates by the value of a feature: counts beside a reason that can be checked by hand.

They are no contributions: leads with a value may have converted well because of other features.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.cohort import lead_codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from features.record import Value

# A part of fewer leads says little, and may point at persons.
FEWEST = 10
PARTS, MOST_WORDS = 10, 200


@dataclass(frozen=True, slots=True)
class ObservedRate:
    """How the leads with one value of a feature converted in training.

    Attributes:
        n: How many leads had the value.
        converted: How many of them converted.
        rate: ``converted / n``.
        overall: The rate of all leads.
        above: Of a number, the leads are those in ``(above, up_to]``; None without bound, and of words.
        up_to: The other bound.
    """

    n: int
    converted: int
    rate: float
    overall: float
    above: float | None = None
    up_to: float | None = None


@dataclass(frozen=True)
class RateTable:
    """Leads and conversions by the value of one feature. A lead counts once in each part that it was ever in.

    Attributes:
        leads: Leads in each part; the last part is of missing values.
        converted: How many of them converted.
        edges: Of numbers, the parts ``(edge before, edge]``.
        words: Of text, the value of each part; one more part is all other values. None for numbers.
    """

    leads: tuple[int, ...]
    converted: tuple[int, ...]
    edges: tuple[float, ...] = ()
    words: tuple[str, ...] | None = None

    @classmethod
    def of(cls, column: pl.Series, lead: NDArray[np.intp], converted: NDArray[np.bool_]) -> RateTable:
        """Count leads and conversions by the values of a column.

        Args:
            column: (n,) values of the feature.
            lead: (n,) the lead of each row, numbered from 0.
            converted: (n,) whether the lead of the row converted.

        Returns:
            The table.

        >>> column, lead = pl.Series([1.0] * 10 + [2.0] * 15), np.arange(25)
        >>> RateTable.of(column, lead, lead % 5 == 0)
        RateTable(leads=(10, 15, 0), converted=(2, 3, 0), edges=(1.0,), words=None)
        """
        template = (
            cls((), (), words=_common_words(column, lead)) if column.dtype == pl.String else cls((), ())
        )
        if template.words is None:
            template = cls((), (), edges=_decile_edges(column, lead))
        parts = template.places(column)
        leads = _leads_by_part(parts, lead, template.parts).sum(axis=1)
        conversions = _leads_by_part(parts[converted], lead[converted], template.parts).sum(axis=1)
        return cls(tuple(leads.tolist()), tuple(conversions.tolist()), template.edges, template.words)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RateTable:
        """The table from a ``record`` that ``dataclasses.asdict`` and JSON made of one."""
        words = record["words"]
        return cls(
            leads=tuple(record["leads"]),
            converted=tuple(record["converted"]),
            edges=tuple(record["edges"]),
            words=None if words is None else tuple(words),
        )

    @cached_property
    def parts(self) -> int:
        """How many parts there are, that of missing values included."""
        return 2 + len(self.edges if self.words is None else self.words)

    @cached_property
    def _part_of_word(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words or ())}

    def place(self, value: Value) -> int:
        """The part that a ``value`` belongs to, numbered from 0."""
        if value is None or value != value:  # noqa: PLR0124  # NaN
            return self.parts - 1
        if isinstance(value, str):
            return self._part_of_word.get(value, self.parts - 2)
        return bisect_left(self.edges, value)

    def places(self, column: pl.Series) -> NDArray[np.int64]:
        """(n,) parts of the values of a ``column``."""
        if self.words is not None:
            words = column.replace_strict(self._part_of_word, default=self.parts - 2, return_dtype=pl.Int64)
            return np.where(column.is_null().to_numpy(), self.parts - 1, words.to_numpy())
        x = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return np.where(np.isnan(x), self.parts - 1, np.searchsorted(self.edges, x, side="left"))

    def bounds(self, place: int) -> tuple[float | None, float | None]:
        """The bounds ``(above, up_to]`` of the part of numbers at ``place``; None without bound."""
        if self.words is not None or place == self.parts - 1:
            return None, None
        edges = (None, *self.edges, None)
        return edges[place], edges[place + 1]


@dataclass(frozen=True)
class ObservedRates:
    """How leads converted in training by the values of each feature: the evidence of reasons.

    Attributes:
        leads: How many leads there were.
        converted: How many of them converted.
        tallies: The table of each feature.
    """

    leads: int = 0
    converted: int = 0
    tallies: Mapping[str, RateTable] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pl.DataFrame, lead: pl.Series, label: NDArray[np.number]) -> ObservedRates:
        """Count leads and conversions by the values of every feature.

        Args:
            rows: n feature rows.
            lead: (n,) the lead of each row.
            label: (n,) outcomes, 1 or 0; a lead converted if any of its rows did.

        Returns:
            The table of each column of ``rows``.
        """
        number = lead_codes(lead)
        converted = np.asarray(label == 1)
        return cls(
            leads=int(number.max()) + 1,
            converted=len(np.unique(number[converted])),
            tallies={column.name: RateTable.of(column, number, converted) for column in rows},
        )

    def evidence(self, feature: str, value: Value) -> ObservedRate | None:
        """How leads with this value converted.

        Args:
            feature: The feature's name.
            value: A lead's value, None where it is missing.

        Returns:
            Counts and rates, or None where fewer than ten leads had the value or nothing was counted.
        """
        tally = self.tallies.get(feature)
        return None if tally is None else self._rates_by_part[feature][tally.place(value)]

    @cached_property
    def _rates_by_part(self) -> dict[str, tuple[ObservedRate | None, ...]]:
        """The rate of each part of each feature, computed once."""
        return {
            name: tuple(self._part_rate(tally, place) for place in range(tally.parts))
            for name, tally in self.tallies.items()
        }

    def _part_rate(self, tally: RateTable, place: int) -> ObservedRate | None:
        n, converted = tally.leads[place], tally.converted[place]
        if n < FEWEST:
            return None
        return ObservedRate(n, converted, converted / n, self.converted / self.leads, *tally.bounds(place))

    def to_json(self) -> str:
        """As JSON text; ``from_json`` gives back an equal record. Parts of too few leads are left empty."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ObservedRates:
        """The record that ``to_json`` wrote."""
        record = json.loads(text)
        tallies = {name: RateTable.from_record(tally) for name, tally in record["tallies"].items()}
        return cls(record["leads"], record["converted"], tallies)


def _leads_by_part(place: NDArray[np.int64], lead: NDArray[np.intp], parts: int) -> NDArray[np.bool_]:
    """(parts, leads) whether each lead was ever in each part."""
    membership = np.zeros((parts, int(lead.max(initial=0)) + 1), dtype=np.bool_)
    membership[place, lead] = True
    return membership


def _common_words(column: pl.Series, lead: NDArray[np.intp]) -> tuple[str, ...]:
    """The most frequent words that at least ``FEWEST`` leads had, sorted."""
    pairs = pl.DataFrame([column.alias("word"), pl.Series("lead", lead)]).drop_nulls().unique()
    common = pairs.group_by("word").len().filter(pl.col("len") >= FEWEST)
    return tuple(common.sort("len", "word", descending=[True, False])["word"].head(MOST_WORDS).sort())


def _decile_edges(column: pl.Series, lead: NDArray[np.intp]) -> tuple[float, ...]:
    """Deciles of the values, without those that would leave fewer than ``FEWEST`` leads in a part."""
    x = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    finite = np.isfinite(x)
    if not finite.any():
        return ()
    cuts = np.unique(np.quantile(x[finite], np.arange(1, PARTS) / PARTS, method="lower"))
    cuts = cuts[cuts < x[finite].max()]
    membership = _leads_by_part(np.searchsorted(cuts, x[finite], side="left"), lead[finite], len(cuts) + 1)
    edges, start = [], 0
    for place, cut in enumerate(cuts.tolist(), start=1):
        part, rest = (int(side.any(axis=0).sum()) for side in (membership[start:place], membership[place:]))
        if part >= FEWEST and rest >= FEWEST:
            edges.append(cut)
            start = place
    return tuple(edges)
