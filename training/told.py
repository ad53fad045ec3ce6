"""What a run tells the person at the terminal, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.reading.quarantine import counted
from features.reading.roles import is_like_numbers
from training.insight.summary import GRAVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from features.availability import Availability
    from models.metrics import Interval
    from training.dataset import Dataset
    from training.report import Report

_LISTED = 20


def read_in_words(dataset: Dataset, quarantine: Path) -> Iterator[str]:
    """What happened to the rows and columns of the sources, a line each."""
    yield from dataset.notices
    found = [a for a in dataset.availability if a.by == "leadloop"]
    unused = sorted((a for a in found if not a.used), key=lambda a: a.role == "empty")
    if unused:
        yield "columns not used: " + _listed(unused)
    if words := [a for a in found if a.used and is_like_numbers(a.role_reason)]:
        yield "columns that look like numbers: " + _listed(words)
    intake = dataset.intake
    if intake.quarantined:
        why = ", ".join(
            f"{reason} ({counted(count, intake.columns.get(reason, ()))})"
            for reason, count in intake.quarantined.items()
        )
        yield f"{intake.rows_read:,} rows read; set aside in {quarantine}: {why}"
    share = f"{dataset.label.mean():.1%} of them positive"
    yield f"{len(dataset):,} snapshots to learn from, {share} ({dataset.question})"


def _listed(columns: Sequence[Availability]) -> str:
    """The columns with their reasons, the first of many."""
    first = "; ".join(f"{a.column} ({a.role_reason})" for a in columns[:_LISTED])
    more = len(columns) - _LISTED
    return f"{first}; and {more:,} more" if more > 0 else first


def nothing_left(dataset: Dataset) -> str:
    """Why no column of a data set can teach anything."""
    unused = [a for a in dataset.availability if not a.used]
    why = _listed(unused) if unused else "the export has no other columns"
    return f"no column is left to learn from beside id, outcome and time: {why}"


def met_before(held: pl.Series, dataset: Dataset) -> str:
    """That leads which are to judge a model teach it, too; nothing where none does, or rows have no ids."""
    if dataset.flat is None or dataset.flat.id is None:
        return ""
    met = int(held.is_in(dataset.rows["lead_id"].implode()).sum())
    return (
        f"{met:,} of the {len(held):,} leads of the holdout teach the model, too: it flatters" if met else ""
    )


def warned_in_words(report: Report) -> Iterator[str]:
    """What a reader must know before believing the figures; grave findings by name."""
    from training.page.views.summary import warnings  # noqa: PLC0415 - takes seconds, and few commands draw
    from training.page.words import words  # noqa: PLC0415

    for note in report.health.findings:
        if note.severity == GRAVE:
            yield f"{note.code}  {note.severity}  {note.column}: {note.message}"
    for _, warning in warnings(report, words("en")):
        yield f"note: {warning}"


def measured_in_words(measured: Mapping[str, Mapping[str, Interval]]) -> Iterator[str]:
    """Every figure with its interval."""
    for part, figures in measured.items():
        for name, one in figures.items():
            yield f"{part:10} {name:18} {one.value:.4f}  ({one.low:.4f} to {one.high:.4f})"
