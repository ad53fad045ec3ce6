"""Rows that could not be used: where they stand, what they hold, and why they were left out."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

QUARANTINE_SCHEMA = {
    "table": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "column": pl.String,
    "value": pl.String,
    "reason": pl.String,
}
MAX_SHARE = 0.05
_SHOWN = 3


class TooManyBadRowsError(ValueError):
    """So large a share of the rows is unusable that the rest would mislead."""


@dataclass(frozen=True)
class Quarantine:
    """The entries of a quarantine, one a bad row or cell.

    ``row`` is the line of a text file as an editor counts it (a record's first line; the header is line 1)
    and the number of the record elsewhere, the first being 1. ``rows`` counts the rows left out for good: a
    cell that merely became missing has an entry here, while its row goes on.
    """

    frame: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=QUARANTINE_SCHEMA))
    rows: int = 0

    def __add__(self, other: Quarantine) -> Quarantine:
        return Quarantine(pl.concat([self.frame, other.frame]), self.rows + other.rows)

    def __len__(self) -> int:
        return self.frame.height

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """How many entries there are by table and reason, the most frequent first."""
        counted = self.frame.group_by("table", "reason").len().sort("len", "table", "reason", descending=True)
        return {(table, reason): count for table, reason, count in counted.iter_rows()}

    def write(self, path: Path) -> None:
        """Write the entries as CSV: all of them or, when that fails, nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        os.close(handle)
        try:
            self.frame.write_csv(name)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def stop_above(self, share: float, rows: int, path: Path | None = None) -> None:
        """Write the entries to ``path``, if any; raise when more than ``share`` of ``rows`` are left out."""
        if path is not None and len(self):
            self.write(path)
        if self.rows <= share * rows:
            return
        kept = f"all are in {path}" if path is not None else "the first: " + "; ".join(self.examples())
        msg = (
            f"{self.rows:,} of {rows:,} rows cannot be used, more than the {share:.0%} allowed "
            f"(quarantine.max_share); {self.summary()}; {kept}"
        )
        raise TooManyBadRowsError(msg)

    def summary(self) -> str:
        """The reasons with their counts in one line."""
        return ", ".join(f"{table}: {reason} ({count:,})" for (table, reason), count in self.counts.items())

    def examples(self) -> Iterable[str]:
        """The first entries as a reader would say them."""
        for _, file, row, column, value, reason in self.frame.head(_SHOWN).iter_rows():
            yield f"{file}, row {row}, {column or 'row'}: {value!r}: {reason}"
