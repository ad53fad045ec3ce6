"""Encoding of feature columns as numbers, the same for a table of leads and for one lead, to the bit.

A number stays a number, null becoming NaN. A category becomes its code, looked up in small tables: how often
its leads converted (smoothed), how common it is, and a 0/1 column for each level that is common enough. A
number with few whole values may be a code in disguise, so it gets a table of rates as well. Words of a text
become one number: the sum of their weights. A combination of columns becomes one number, too: by how much its
leads converted better than its parts alone tell.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from features.record import Value

    _RowStep = tuple[
        str, bool, dict[Value, int], int, list[list[float]] | None, Callable[[Value], float] | None
    ]

Kind = Literal["number", "category", "words"]

TOGETHER = " x "
"""What stands between the columns of a combination in its name."""
SEPARATOR = "\x1f"
"""What stands between the values of a combination in its key: no text that people write has it."""
# Beyond this a float has no place for each whole number.
_LARGEST_CODE = 2.0**53


@dataclass(frozen=True)
class FeatureEncoding:
    """How one feature becomes matrix columns.

    Attributes:
        name: The feature.
        kind: ``"number"``, ``"category"`` or ``"words"``.
        levels: The known values, each with the code of its place; two more codes follow, for a value that is
            not among them and for a missing one. Of a text, the words that count. A category may be one of
            numbers: codes, which have no order.
        rates: Smoothed conversion rate of each code; empty for no such column.
        counts: How common each code is; empty for no such column.
        alone: The codes that have a 0/1 column.
        weights: Of a text, what each word adds to the log-odds.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] | tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    alone: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def other(self) -> int:
        """The code of a value that is not among the levels; a missing value has the next one."""
        return len(self.levels)

    @cached_property
    def code_of(self) -> dict[Value, int]:
        """The code of each known value, and of None."""
        known: tuple[Value, ...] = self.levels
        return {**{level: code for code, level in enumerate(known)}, None: self.other + 1}

    @cached_property
    def table(self) -> NDArray[np.float64]:
        """(codes, columns): what each code is looked up as; nothing for words."""
        codes = np.arange(len(self.levels) + 2)
        columns = [np.array(column) for column in (self.rates, self.counts) if column]
        columns += [(codes == code).astype(np.float64) for code in self.alone]
        return np.column_stack(columns) if columns else np.empty((len(codes), 0))

    @cached_property
    def width(self) -> int:
        """How many columns the trees see of this feature."""
        return int(self.table.shape[1]) + (self.kind != "category")

    @cached_property
    def weight_of(self) -> dict[str, float]:
        """The weight of each word that counts."""
        return dict(zip(map(str, self.levels), self.weights, strict=False))

    def word_score(self, text: Value) -> float:
        """What the words of a text add up to.

        Args:
            text: Words with blanks between them; None where there is no text.

        Returns:
            The sum of the weights of those that count; NaN without a text.
        """
        if not isinstance(text, str):
            return np.nan
        return math.fsum(self.weight_of[word] for word in text.split() if word in self.weight_of)

    def word_scores(self, texts: pl.Series) -> NDArray[np.float64]:
        """What the words of each text add up to.

        Args:
            texts: n texts as ``word_score`` takes them.

        Returns:
            (n,) sums.
        """
        cells = texts.drop_nulls().unique()
        scores = pl.Series([self.word_score(cell) for cell in cells], dtype=pl.Float64)
        return to_floats(texts.replace_strict(cells, scores, default=None, return_dtype=pl.Float64))

    def deciding_words(self, text: str, contribution: float, most: int = 3) -> tuple[str, ...]:
        """The words of a text that speak for its contribution or, where that is negative, against the lead.

        Args:
            text: Words with blanks between them.
            contribution: What the text adds to the log-odds of a lead.
            most: How many words at most. Default 3.

        Returns:
            The words, the weightiest first.

        >>> words = FeatureEncoding("note", "words", ("budget", "demo"), weights=(-0.5, 1.0))
        >>> words.deciding_words("budget demo now", 0.4)
        ('demo',)
        """
        sign = 1 if contribution >= 0 else -1
        pulls = {word: sign * self.weight_of.get(word, 0.0) for word in text.split()}
        ordered = sorted(pulls, key=lambda word: (-pulls[word], word))
        return tuple(word for word in ordered[:most] if pulls[word] > 0)

    def codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(n,) codes of the ``values`` of a column."""
        if values.dtype.is_numeric():
            return self._codes_of_numbers(to_floats(values))
        missing = values.is_null().to_numpy()
        if not self.levels:
            return missing.astype(np.int64) + self.other
        known = pl.Series(self.levels, dtype=pl.String)
        codes = values.replace_strict(known, np.arange(self.other), default=self.other, return_dtype=pl.Int64)
        return np.where(missing, self.other + 1, codes.to_numpy()).astype(np.int64)

    def _codes_of_numbers(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        levels = np.array(self.levels, dtype=np.float64)
        place = np.minimum(np.searchsorted(levels, x), max(self.other - 1, 0))
        known = levels[place] == x if self.other else np.zeros(len(x), dtype=bool)
        return np.where(np.isnan(x), self.other + 1, np.where(known, place, self.other)).astype(np.int64)


@dataclass(frozen=True)
class CombinationEncoding:
    r"""How the values that two or three columns have together become one number.

    Attributes:
        parts: The columns, categories or whole numbers that are codes.
        levels: The known combinations of values, as ``key`` writes them, sorted.
        effects: By how much each moves the log-odds beyond what its parts do; others move nothing.

    >>> pair = CombinationEncoding(("team", "product"), ("north\x1f7",), (0.4,))
    >>> pair.name, pair.effect({"team": "north", "product": 7.0}), pair.effect({"team": "n", "product": None})
    ('team x product', 0.4, 0.0)
    """

    parts: tuple[str, ...]
    levels: tuple[str, ...] = ()
    effects: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The name of the combination among those of the features."""
        return TOGETHER.join(self.parts)

    @cached_property
    def _effect_of(self) -> dict[str, float]:
        return dict(zip(self.levels, self.effects, strict=True))

    def key(self, row: Mapping[str, Value]) -> str:
        """The values of a ``row`` as one text; a missing one is empty."""
        return SEPARATOR.join(_cell_key(row[part]) for part in self.parts)

    def keys(self, frame: pl.DataFrame) -> pl.Series:
        """(n,) ``key`` of each row of a ``frame``."""
        cells = [_column_keys(frame[part]).alias(str(place)) for place, part in enumerate(self.parts)]
        return pl.DataFrame(cells).select(pl.concat_str(pl.all(), separator=SEPARATOR).alias(self.name))[
            self.name
        ]

    def effect(self, row: Mapping[str, Value]) -> float:
        """The number of one ``row``."""
        return self._effect_of.get(self.key(row), 0.0)

    def effects_of(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """(n,) ``effect`` of each row of a ``frame``."""
        if not self.levels:
            return np.zeros(frame.height)
        levels, effects = pl.Series(self.levels), pl.Series(self.effects)
        row_effects = self.keys(frame).replace_strict(levels, effects, default=0.0, return_dtype=pl.Float64)
        return row_effects.to_numpy()


def _cell_key(value: Value) -> str:
    """A value in the key of a combination: text as it is, a whole number without a point, else nothing."""
    if isinstance(value, str):
        return value
    is_whole = value is not None and abs(value) < _LARGEST_CODE and value == math.floor(value)
    return str(int(value)) if is_whole else ""  # type: ignore[arg-type]


def _column_keys(values: pl.Series) -> pl.Series:
    """``_cell_key`` of a column."""
    if not values.dtype.is_numeric():
        return values.cast(pl.String).fill_null("")
    x = values.cast(pl.Float64)
    whole = x.is_finite() & (x == x.floor()) & (x.abs() < _LARGEST_CODE)
    codes = pl.select(pl.when(whole.fill_null(value=False)).then(x).cast(pl.Int64)).to_series()
    return codes.cast(pl.String).fill_null("")


@dataclass(frozen=True)
class FeatureEncoder:
    """The encoding of each feature, in order: from feature rows to a matrix.

    A matrix has first the columns of the trees, feature after feature and one for each combination
    (``tree_width`` of them), then one column of codes for each category, which the additive part reads.

    Attributes:
        features: One encoding a feature.
        combinations: Those of columns that tell more together than each alone. Default none.

    >>> size = FeatureEncoding("size", "number")
    >>> role = FeatureEncoding("role", "category", ("ceo", "dev"), rates=(0.4, 0.1, 0.2, 0.3))
    >>> FeatureEncoder((size, role)).encode_row({"size": 12.0, "role": "dev"})
    array([[12. ,  0.1,  1. ]])
    """

    features: tuple[FeatureEncoding, ...]
    combinations: tuple[CombinationEncoding, ...] = ()

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The features in the order of contributions, and after them the combinations."""
        return (*(each.name for each in self.features), *(each.name for each in self.combinations))

    @cached_property
    def owner(self) -> tuple[int, ...]:
        """Which feature or combination each tree column belongs to."""
        own = [place for place, feature in enumerate(self.features) for _ in range(feature.width)]
        return (*own, *range(len(self.features), len(self.feature_names)))

    @cached_property
    def tree_width(self) -> int:
        """How many columns the trees see."""
        return len(self.owner)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first tree column of each feature and of each combination."""
        widths = [0, *(feature.width for feature in self.features), *(1 for _ in self.combinations)]
        return tuple(np.cumsum(widths)[:-1].tolist())

    @cached_property
    def sources(self) -> tuple[int, ...]:
        """The column the additive part reads of each: numbers, effects and codes."""
        codes = iter(range(self.tree_width, self.tree_width + len(self.features)))
        features = len(self.features)
        return (
            *(
                next(codes) if feature.kind == "category" else start
                for feature, start in zip(self.features, self.starts[:features], strict=True)
            ),
            *self.starts[features:],
        )

    def encode(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """The (n, columns) matrix of a ``frame`` of n feature rows; other columns of it are ignored."""
        width = self.tree_width + sum(feature.kind == "category" for feature in self.features)
        # Column by column in memory: it is written and, by the additive part, read that way.
        matrix = np.empty((frame.height, width), order="F")
        for combination, start in zip(self.combinations, self.starts[len(self.features) :], strict=True):
            matrix[:, start] = combination.effects_of(frame)
        # The features come first among what starts and sources are of.
        for feature, start, source in zip(self.features, self.starts, self.sources, strict=False):
            values = frame[feature.name]
            if feature.kind == "words":
                matrix[:, source] = feature.word_scores(values)
                continue
            if feature.kind == "number":
                matrix[:, source] = to_floats(values)
            if feature.kind == "category" or feature.levels:
                codes = feature.codes(values)
                first = start + (feature.kind == "number")
                # A column at a time, as the matrix lies in memory: a third of the time of whole rows.
                for place, column in enumerate(feature.table.T, first):
                    matrix[:, place] = column[codes]
                if feature.kind == "category":
                    matrix[:, source] = codes
        return matrix

    def encode_row(self, row: Mapping[str, Value]) -> NDArray[np.float64]:
        """The (1, columns) matrix of one feature ``row``, made without a frame in tens of microseconds."""
        cells: list[float] = []
        codes: list[float] = []
        for name, is_number, code_of, other, lookup, word_score in self._row_plan:
            value = row[name]
            if word_score is not None:
                cells.append(word_score(value))
                continue
            if not isinstance(value, str):
                value = None if value is None or value != value else float(value)  # noqa: PLR0124
            if is_number:
                cells.append(np.nan if value is None or isinstance(value, str) else value)
            if lookup is not None:
                code = code_of.get(value, other)
                cells += lookup[code]
                if not is_number:
                    codes.append(code)
        effects = [combination.effect(row) for combination in self.combinations]
        return np.array([cells + effects + codes])

    @cached_property
    def _row_plan(self) -> list[_RowStep]:
        """What ``encode_row`` needs of each feature, as plain Python values."""
        return [
            (
                f.name,
                f.kind == "number",
                f.code_of,
                f.other,
                f.table.tolist() if has_lookup else None,
                f.word_score if f.kind == "words" else None,
            )
            for f in self.features
            for has_lookup in [f.kind == "category" or bool(f.levels)]
        ]

    def to_json(self) -> str:
        """As JSON text; ``from_json`` gives back equal encodings."""
        features = [asdict(feature, dict_factory=_omit_no_weights) for feature in self.features]
        combinations = [asdict(combination) for combination in self.combinations]
        # Without combinations as before there were any: releases before them can read such models.
        record = {"features": features, "combinations": combinations} if combinations else features
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> FeatureEncoder:
        """The encodings that ``to_json`` wrote."""
        record = json.loads(text)
        features, combinations = (
            (record, ()) if isinstance(record, list) else (record["features"], record["combinations"])
        )
        return cls(
            tuple(_encoding_from_record(each) for each in features),
            tuple(
                CombinationEncoding(tuple(each["parts"]), tuple(each["levels"]), tuple(each["effects"]))
                for each in combinations
            ),
        )


def _omit_no_weights(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a record, without ``weights`` where there are none, as in models without texts."""
    return {name: value for name, value in fields if name != "weights" or value}


def _encoding_from_record(record: dict[str, str | list[float]]) -> FeatureEncoding:
    return FeatureEncoding(**{key: tuple(v) if isinstance(v, list) else v for key, v in record.items()})  # type: ignore[arg-type]


def to_floats(values: pl.Series) -> NDArray[np.float64]:
    """A column as float64, null as NaN.

    Args:
        values: Numbers, or flags as zero and one.

    Returns:
        (n,) the values; not to be written to, as they may lie in the memory of the column.
    """
    return values.cast(pl.Float64).to_numpy()
