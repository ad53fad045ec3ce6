"""What the words for "missing" took away from columns of words, so that a region called NA is not lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from features.parsing import NO_DATES, clean_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_LISTED = 5


@dataclass
class MissingWords:
    """Counts, by column, the cells with a word that was taken as missing; blank cells are nothing to tell."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, raw: pl.Series, stripped: pl.Series) -> None:
        """Count the cells of a column that have a value in ``raw`` and none in ``stripped``."""
        if raw.dtype != pl.String or raw.null_count() == stripped.null_count():
            return
        gone = raw.is_not_null() & stripped.is_null()
        if gone.any():
            words = clean_column(raw.filter(gone)).value_counts(name="cells")
            self.counts.update(
                {(raw.name, word): cells for word, cells in words.iter_rows() if word not in {"", *NO_DATES}}
            )

    def notices(self, columns: Iterable[str], section: str) -> Iterator[str]:
        """A sentence on each of the ``columns`` that lost words, the most first."""
        listed = set(columns)
        lost = [(key, cells) for key, cells in self.counts.most_common() if key[0] in listed]
        for (column, word), cells in lost[:_MAX_LISTED]:
            yield (
                f"column {column!r}: {cells:,} cells with {word!r} were taken as missing; if that is a value "
                f'of its own, name the words that do mean missing: missing = [""] in [{section}] of '
                "leadloop.toml"
            )
        if more := lost[_MAX_LISTED:]:
            cells, others = sum(each for _, each in more), {name for (name, _), _ in more}
            yield f"{cells:,} more cells of words were taken as missing, in {len(others)} columns"
