"""How many scores of a run are not to be relied on, why, and which values of theirs training hardly had."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.similar_words import fold_words
from models.uncertainty import DORMANT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.conversion import ConversionModel

_MOST_FEATURES, _MOST_VALUES, _MOST_CHARACTERS = 5, 3, 40
_REASONS = {
    "unseen_value": "have a value that training hardly had",
    "outside_range": "have a number outside of the range in training",
    "too_wide": "have an interval as wide as most scores differ, which leaves open if they are an A",
    "no_signal": "are the base rate, as no feature separates the leads",
    "too_few_outcomes": "are withheld, as training had too few conversions",
    "no_account": "lack what colleagues did",
}
_SCHEMA = {"feature": pl.String, "value": pl.String, "known": pl.String, "leads": pl.Int64}


def find_unusual_values(model: ConversionModel, rows: pl.DataFrame, insufficient: pl.Series) -> pl.DataFrame:
    """The values that make scores insufficient, of the features that matter for the model's doubt.

    Args:
        model: The model.
        rows: (n, ...) feature rows.
        insufficient: (n,) codes of why a score is not to be relied on; null where it is.

    Returns:
        ``feature``, ``value`` (null where the lead has none, and for numbers), ``known`` (the value of the
        training that ``fold_words`` makes the same; null without one) and how many
        ``leads``, the most first.
    """
    doubtful = rows.filter(insufficient.is_in(["unseen_value", "outside_range"]))
    if doubtful.is_empty() or model.uncertainty is None:
        return pl.DataFrame(schema=_SCHEMA)
    encodings = {each.name: each for each in model.predictor.encodings.features}
    matrix = model.predictor.encodings.encode(doubtful)
    counts = list[tuple[str, str | None, str | None, int]]()
    for support in model.uncertainty.watched:
        unusual = support.unusual(matrix[:, support.source])
        if not unusual.any() or support.feature not in encodings:
            continue
        if support.other is None:
            counts.append((support.feature, None, None, int(unusual.sum())))
            continue
        levels = pl.Series(map(str, encodings[support.feature].levels), dtype=pl.String)
        known = dict(zip(fold_words(levels).reverse(), levels.reverse(), strict=True))
        values = doubtful[support.feature].filter(pl.Series(unusual)).cast(pl.String).alias("value")
        found = values.value_counts(name="leads")
        counts += [
            (support.feature, value, known.get(folded), leads)
            for (value, leads), folded in zip(found.iter_rows(), fold_words(found["value"]), strict=True)
        ]
    return pl.DataFrame(counts, schema=_SCHEMA, orient="row").sort("leads", descending=True)


@dataclass
class InsufficientScores:
    """The scores of a run that are not to be relied on.

    Attributes:
        leads: How many leads were scored.
        codes: How many of them have each code of ``insufficient``.
        values: How many leads have which unusual value of a feature, as ``find_unusual_values`` gives them.
    """

    leads: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    values: Counter[tuple[str, str | None, str | None]] = field(default_factory=Counter)

    def add(self, insufficient: pl.Series, unusual: pl.DataFrame | None) -> None:
        """Count the scores of some more leads."""
        self.leads += len(insufficient)
        known = insufficient.drop_nulls().value_counts(name="leads")
        self.codes.update(dict(known.iter_rows()))
        if unusual is not None:
            self.values.update({(f, v, k): leads for f, v, k, leads in unusual.iter_rows()})

    def in_words(self) -> Iterator[str]:
        """Lines for a terminal; none where all scores can be relied on."""
        doubts = Counter({code: leads for code, leads in self.codes.items() if code != DORMANT})
        if doubts:
            why = "; ".join(f"{leads:,} {_REASONS.get(code, code)}" for code, leads in doubts.most_common())
            yield f"{doubts.total():,} of {self.leads:,} scores are not to be relied on (insufficient): {why}"
        if dormant := self.codes[DORMANT]:
            verb = "are" if dormant > 1 else "is"
            yield f"{_count(dormant)} {verb} dormant: older, or silent for longer, than those in training"
        by_feature = Counter[str]()
        for (feature, _, _), leads in self.values.items():
            by_feature[feature] += leads
        for feature, leads in by_feature.most_common(_MOST_FEATURES):
            yield f"{feature}: {self._values_in_words(feature, leads)}"

    def _values_in_words(self, feature: str, leads: int) -> str:
        values = [
            (value, known, count)
            for (name, value, known), count in self.values.most_common()
            if name == feature and value is not None
        ]
        if not values:
            return f"outside of the range in training, or missing where it never was ({_count(leads)})"
        named = [
            f"{_shorten(value)} ({_count(count)}" + (f"; training had {_shorten(known)})" if known else ")")
            for value, known, count in values[:_MOST_VALUES]
        ]
        if more := values[_MOST_VALUES:]:
            named.append(f"{len(more):,} more ({_count(sum(count for *_, count in more))})")
        return ", ".join(named)


def _count(leads: int) -> str:
    return f"{leads:,} lead{'s' if leads > 1 else ''}"


def _shorten(value: str) -> str:
    return repr(value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]}...")
