"""Which rows of a table count: those whose columns hold the values that ``where`` names."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.ingest.mapping import CellValues

# How files and databases write what TOML calls true and false.
TRUTH_WORDS = {True: ("true", "t", "yes", "y", "1"), False: ("false", "f", "no", "n", "0")}


def matching_rows(frame: pl.DataFrame, where: Mapping[str, CellValues]) -> pl.Series:
    """Whether each row holds one of the values in each column of ``where``, compared as text.

    >>> frame = pl.DataFrame({"field": ["Status", "Owner", "Status"], "deleted": [False, False, True]})
    >>> matching_rows(frame, {"field": ("Status",), "deleted": (False,)}).to_list()
    [True, False, False]
    """
    masks = (_holds(frame[column], values) for column, values in where.items())
    return reduce(and_, masks, pl.Series([True]).new_from_index(0, frame.height))


def _holds(column: pl.Series, values: CellValues) -> pl.Series:
    text = column.cast(pl.String, strict=False)
    words = [value for value in values if isinstance(value, str)]
    truth = [word for value in values if isinstance(value, bool) for word in TRUTH_WORDS[value]]
    holds = text.is_in(words) | text.str.to_lowercase().is_in(truth)
    empty = text.is_null() | (text == "").fill_null(value=True)
    return holds.fill_null(value=False) | (empty if "" in words else pl.Series([False]))
