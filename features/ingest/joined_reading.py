"""What the readings of the parts of a history say together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.observation_end import find_observation_end
from features.ingest.table_reports import TableReport, enforce_limits, table_ends

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from features.ingest.mapping import HistoryMapping, TableEvidence
    from features.ingest.quarantine import Quarantine
    from features.number_marks import MarkEvidence, NumberMarks


@dataclass(frozen=True)
class JoinedReading:
    """What the readings of all parts of a history say together.

    Attributes:
        observed_until: The end of observation of the whole history, in epoch seconds.
        quarantine: The bad rows and cells of all parts; without row numbers.
        notices: Sentences on the end of observation.
        evidence: By table, what all values say on the marks in its numbers.
        agreed: Whether every part took the marks in its numbers for what all parts together say of them. If
            not, the parts are to be read again with this ``evidence``.
    """

    observed_until: int
    quarantine: Quarantine
    notices: tuple[str, ...] = ()
    evidence: tuple[TableEvidence, ...] = ()
    agreed: bool = True


def join_readings(
    mapping: HistoryMapping, parts: Iterable[Sequence[TableReport]], quarantine_file: Path | None = None
) -> JoinedReading:
    """What the readings of the parts of a history say together; bad rows count against the limits of all.

    Args:
        mapping: How the parts were read, with the limits for bad rows.
        parts: Of each part the reports on its tables, in the order of ``mapping.tables``.
        quarantine_file: Where bad rows are written as CSV; None for nowhere.

    Returns:
        The end of observation and the bad rows of the whole.

    Raises:
        TooManyBadRowsError: more rows are bad than ``mapping`` allows.
    """
    by_table = list(zip(*parts, strict=True))
    tables = [reduce(add, reports) for reports in by_table]
    quarantine = reduce(add, (table.quarantine for table in tables))
    # A number counts the rows of a part, which nobody else has in that order.
    numberless = quarantine.frame.with_columns(row=pl.lit(None, quarantine.frame.schema["row"]))
    quarantine = replace(quarantine, frame=numberless)
    evidence = tuple(table.evidence for table in tables)
    if mapping.evidence is None and not all(map(_agree, by_table, evidence)):
        return JoinedReading(0, quarantine, (), evidence, agreed=False)
    enforce_limits(tables, mapping, quarantine, quarantine_file, ())
    end, notices = find_observation_end(table_ends(tables))
    if mapping.observed_until is not None:
        return JoinedReading(mapping.observed_until, quarantine, (), evidence)
    return JoinedReading(end, quarantine, notices, evidence)


def _agree(reports: Sequence[TableReport], whole: TableEvidence) -> bool:
    """Whether each part of a table settles the marks in its numbers, if it has any, as the whole does."""
    return all(
        not (own.thousands | own.decimals | own.doubtful) or _meaning(own) == _meaning(whole[column][name])
        for report in reports
        for column, by_name in report.evidence.items()
        for name, own in by_name.items()
    )


def _meaning(evidence: MarkEvidence) -> tuple[NumberMarks, NumberMarks, bool]:
    return evidence.marks, evidence.expected("."), evidence.is_expected
