"""The words of texts as columns: whether each text has each word that enough leads have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A word of fewer leads says little, and may say who somebody is.
FEWEST_LEADS = 10


def frequent_words(texts: pl.Series, lead: NDArray[np.integer], most: int) -> tuple[str, ...]:
    """The words that at least ``FEWEST_LEADS`` leads have, the ``most`` frequent of them, sorted."""
    pairs = pl.DataFrame({"word": texts.str.split(" "), "lead": lead}).explode("word").unique()
    counts = pairs.filter(pl.col("word").str.len_chars() > 0).group_by("word").len()
    frequent = counts.filter(pl.col("len") >= FEWEST_LEADS).sort("len", "word", descending=[True, False])
    return tuple(frequent["word"].head(most).sort())


def word_matrix(texts: pl.Series, words: tuple[str, ...]) -> NDArray[np.float32]:
    """(n, words + 1) whether each text has each word, and a column of ones."""
    place = {word: index for index, word in enumerate(words)}
    present = np.zeros((len(texts), len(words) + 1), dtype=np.float32)
    present[:, -1] = 1
    pairs = pl.DataFrame({"word": texts.str.split(" ")}).with_row_index("row").explode("word")
    known = pairs.drop_nulls().filter(pl.col("word").is_in(list(words)))
    columns = known["word"].replace_strict(place, return_dtype=pl.Int64) if known.height else known["row"]
    present[known["row"].to_numpy(), columns.to_numpy()] = 1
    return present
