"""Records that a stray quote swallowed: a cell that goes on until the next quote, a hundred lines below.

The row that is left is valid, as wide as the header, with the id of the first record and the end of the last.
What gives it away is its cell: line after line as wide as the header.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

# In a narrow table a line of prose may well have as many commas as a record.
_SURE_WIDTH, _MANY_LINES, _NEARLY_ALL = 4, 5, 0.9
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class SwallowedRecords:
    """A cell that holds whole records.

    Attributes:
        row: The number of its row in the frame, from 0.
        column: The number of its column.
        records: How many records it makes into one.
        start: How the cell begins.
    """

    row: int
    column: int
    records: int
    start: str


def find_swallowed_records(frame: pl.DataFrame, delimiter: str) -> Iterator[SwallowedRecords]:
    """The cells of a frame of text, with all columns of its file, that hold whole records."""
    for place, column in enumerate(frame):
        several = column.str.contains("\n", literal=True)
        for row in several.arg_true() if several.any() else ():
            lines = str(column[row]).replace("\r\n", "\n").split("\n")
            if _holds_records(lines, place, frame.width, delimiter):
                yield SwallowedRecords(int(row), place, len(lines), str(column[row])[:_SHOWN])


def _holds_records(lines: list[str], place: int, width: int, delimiter: str) -> bool:
    """Whether the lines of a cell in one place are the end of a record, whole records, the start of one."""
    first, *inner, last = [len(row) for row in csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)]
    if width < _SURE_WIDTH and len(inner) < _MANY_LINES:
        return False
    if not inner:
        sure = width >= 2 * _SURE_WIDTH or first > 1 < last
        return (first, last) == (width - place, place + 1) and sure
    return sum(cells == width for cells in inner) >= _NEARLY_ALL * len(inner) and (
        (first, last) == (width - place, place + 1) or len(inner) >= _MANY_LINES
    )
