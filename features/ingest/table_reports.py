"""What there is to say of the tables that were read, and when so much is bad that reading stops."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY
from features.ingest.quarantine import Quarantine, raise_above_limit, write_quarantine
from features.number_marks import MarkEvidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from features.ingest.column_roles import ColumnRole
    from features.ingest.mapping import HistoryMapping, TableEvidence
    from features.ingest.observation_end import TableEnd
    from features.number_marks import NumberMarks


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows a table had, and how many of them go on."""

    table: str
    file: str
    rows: int
    accepted: int


@dataclass(frozen=True)
class TableReport:
    """What there is to say of one table that was read.

    Attributes:
        count: How many rows it had and how many go on.
        quarantine: Its bad rows and cells.
        notices: Sentences on the table as a whole.
        end: When it has rows; None for accounts.
        names: Names of the overwritten attributes in it.
        roles: What each free column was taken for.
        columns: All its columns.
        id_columns: Its columns that name the lead.
        marks: What the marks in the numbers of each free column of numbers mean.
        evidence: Of a part: what its values say on these marks.
    """

    count: RowCounts
    quarantine: Quarantine
    notices: tuple[str, ...]
    end: TableEnd | None = None
    names: frozenset[str] = frozenset()
    roles: tuple[ColumnRole, ...] = ()
    columns: tuple[str, ...] = ()
    id_columns: tuple[str, ...] = ()
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)
    evidence: TableEvidence = field(default_factory=dict)

    def __add__(self, other: TableReport) -> TableReport:
        """The report on this and a further part of the same table; notices, roles and marks are left out."""
        rows = self.count.rows + other.count.rows
        return TableReport(
            count=replace(self.count, rows=rows, accepted=self.count.accepted + other.count.accepted),
            quarantine=self.quarantine + other.quarantine,
            notices=(),
            end=self.end if self.end is None or other.end is None else self.end + other.end,
            names=self.names | other.names,
            evidence=join_evidence(self.evidence, other.evidence),
        )


def join_evidence(first: TableEvidence, second: TableEvidence) -> TableEvidence:
    """What two parts of a table say together."""
    joined: dict[str, dict[str | None, MarkEvidence]] = {column: dict(each) for column, each in first.items()}
    for column, each in second.items():
        own = joined.setdefault(column, {})
        for name, evidence in each.items():
            own[name] = own.get(name, MarkEvidence()) | evidence
    return joined


def rows_by_day(moments: pl.Series) -> Iterator[tuple[int, int, int]]:
    """Each day with rows (days since 1970), how many there are, and the newest moment of them."""
    known = pl.DataFrame({"moment": moments}).drop_nulls()
    by_day = known.group_by(day=pl.col("moment") // DAY).agg(pl.len(), pl.col("moment").max())
    return by_day.iter_rows()


def enforce_limits(
    reports: Sequence[TableReport],
    mapping: HistoryMapping,
    quarantine: Quarantine,
    file: Path | None,
    hints: Sequence[str],
) -> None:
    """Stop where a table with a limit of its own, or all others together, have more bad rows than allowed.

    Args:
        reports: What there is to say of each table, in the order of ``mapping.tables``.
        mapping: How many bad rows are allowed.
        quarantine: The bad rows of all tables.
        file: Where they are written as CSV; None for nowhere.
        hints: Sentences that go with the error.

    Raises:
        TooManyBadRowsError: There are more than are allowed.
    """
    if file is not None and len(quarantine):
        write_quarantine(quarantine, file)
    shares = [table.max_share for table in mapping.tables]
    alone = [([each], share) for each, share in zip(reports, shares, strict=True) if share is not None]
    together = [each for each, share in zip(reports, shares, strict=True) if share is None]
    for tables, share in [*alone, (together, mapping.max_share)]:
        bad = reduce(add, (table.quarantine for table in tables), Quarantine())
        where = f"all are in {file}" if file is not None else "the first: " + "; ".join(bad.examples())
        raise_above_limit(
            share,
            bad.rows,
            sum(table.count.rows for table in tables),
            "; ".join([bad.summary(), *hints, where]),
        )


def table_ends(reports: Sequence[TableReport]) -> list[TableEnd]:
    """When the tables that tell the end of observation have rows: all but accounts and merges."""
    return [each.end for each in reports if each.end is not None and each.end.kind != "merges"]
