"""Rows that could not be used: where they stand, what they hold, and why they were left out.

Writes the quarantine down, and stops a run that would leave out too much.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.messages import Message
from features.notebook_html import html_card, html_table
from features.spreadsheet import escape_formulas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

QUARANTINE_SCHEMA = {
    "table": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "column": pl.String,
    "value": pl.String,
    "reason": pl.String,
}

MAX_SHARE = 0.05

_MAX_LISTED = 3


class SourceError(ValueError):
    """A source that cannot be read as a table; the message says which, why, and what to do."""


class TooManyBadRowsError(SourceError):
    """So large a share of the rows is unusable that the rest would mislead."""


@dataclass(frozen=True)
class Quarantine:
    """The rows and cells that could not be used, one entry each.

    Attributes:
        frame: ``table``, ``file``, ``row``, ``column``, ``value`` and ``reason`` of each entry. ``row`` is
            the line of a text file as an editor counts it (a record's first line; the header is line 1) and
            the number of the record elsewhere, the first being 1; null where rows have no order, as in Spark.
        rows: Rows left out for good; a cell that merely became missing has an entry while its row goes on.
        reasons: The messages of the entries by their English text, which is how ``frame`` names them.
    """

    frame: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=QUARANTINE_SCHEMA))
    rows: int = 0
    reasons: Mapping[str, Message] = field(default_factory=dict)

    def __add__(self, other: Quarantine) -> Quarantine:
        frame = pl.concat([self.frame, other.frame])
        return Quarantine(frame, self.rows + other.rows, {**self.reasons, **other.reasons})

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"Quarantine({len(self):,} entries: {self.summary()})"

    def _repr_html_(self) -> str:
        first = self.frame.unique(["table", "reason"], keep="first", maintain_order=True)
        examples = {
            (name, reason): f"{file.rpartition('/')[2]}, row {row}: {column or 'row'} {value!r}"
            for name, file, row, column, value, reason in first.iter_rows()
        }
        rows = [
            (name, reason_text, f"{n:,}", examples[name, reason_text])
            for (name, reason_text), n in self.counts.items()
        ]
        facts = f"{self.rows:,} rows were left out; a cell that merely became missing has an entry, too"
        table = html_table(("table", "reason", "entries", "the first of them"), rows)
        return html_card(f"Quarantine: {len(self):,} entries", facts, table)

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """How many entries there are by table and reason, the most frequent first.

        A reason is its message, if the quarantine knows it, and else the text.
        """
        counted = self.frame.group_by("table", "reason").len().sort("len", "table", "reason", descending=True)
        return {
            (name, self.reasons.get(reason, reason)): count for name, reason, count in counted.iter_rows()
        }

    @property
    def columns(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """By table and reason the columns at fault, at most three, the most frequent first."""
        counted = self.frame.filter(pl.col("column") != "").group_by("table", "reason", "column").len()
        columns: dict[tuple[str, str], tuple[str, ...]] = {}
        for name, reason, column, _ in counted.sort("len", "column", descending=[True, False]).iter_rows():
            columns[name, reason] = (*columns.get((name, reason), ()), column)[:_MAX_LISTED]
        return columns

    def summary(self) -> str:
        """The reasons with their counts and columns in one line."""
        columns = self.columns
        return ", ".join(
            f"{key[0]}: {key[1]} ({format_counts(count, columns.get(key, ()))})"
            for key, count in self.counts.items()
        )

    @property
    def unreadable(self) -> Quarantine:
        """The entries without touchpoints of the future, which are planned and nothing is wrong with."""
        return replace(self, frame=self.frame.filter(~_is_planned()))

    @property
    def planned(self) -> int:
        """How many touchpoints were left out because they are in the future."""
        return len(self) - len(self.unreadable)

    @property
    def total(self) -> str:
        """How many entries could not be read and why, and how many are planned, for the end of a sentence."""
        unreadable, planned = self.unreadable, self.planned
        reasons = f": {unreadable.summary()}" if len(unreadable) else ""
        plans = f"; {planned:,} activities are planned for later and left out" if planned else ""
        return f"{len(unreadable):,} cells or rows could not be read{reasons}{plans}"

    def examples(self) -> Iterator[str]:
        """The first three entries, a line each."""
        for _, file, row, column, value, reason in self.frame.head(_MAX_LISTED).iter_rows():
            place = file if row is None else f"{file}, row {row}"
            yield f"{place}, {column or 'row'}: {value!r}: {reason}"


def _is_planned() -> pl.Expr:
    """Whether an entry is a touchpoint of the future; a lead or a stage of the future is a mistake."""
    return (pl.col("table") == "touchpoints") & (pl.col("reason") == str(Message("ingest.future")))


def format_counts(entries: int, columns: Sequence[str]) -> str:
    """How many entries there are, and in which columns most of them.

    >>> format_counts(1200, ["Fee", "Visits"]), format_counts(3, [])
    ('1,200, in Fee, Visits', '3')
    """
    return ", in ".join(filter(None, (f"{entries:,}", ", ".join(columns))))


def raise_above_limit(share: float, bad: int, rows: int, explanation: str) -> None:
    """Do nothing unless more than ``share`` of ``rows`` are ``bad``.

    Raises:
        TooManyBadRowsError: they are; ``why`` ends the message.
    """
    if bad > share * rows:
        msg = (
            f"{bad:,} of {rows:,} rows cannot be used, more than the {share:.0%} allowed "
            f"(max_share of the quarantine); {explanation}"
        )
        raise TooManyBadRowsError(msg)


def write_quarantine(quarantine: Quarantine, path: Path) -> None:
    """Write the entries as CSV: all of them or, when that fails, nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        escape_formulas(quarantine.frame).write_csv(name)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def enforce_bad_row_limit(quarantine: Quarantine, rows: int, share: float, path: Path | None) -> None:
    """Write what was found to ``path``, if any, then stop if more than ``share`` of ``rows`` are bad.

    Raises:
        TooManyBadRowsError: more rows were left out than allowed; the message says where the entries are.
    """
    if path is not None and len(quarantine):
        write_quarantine(quarantine, path)
    where = f"all are in {path}" if path is not None else "the first: " + "; ".join(quarantine.examples())
    raise_above_limit(share, quarantine.rows, rows, f"{quarantine.summary()}; {where}")
