"""The lines that a training run prints."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from features.ingest.column_extractions import is_read_out
from features.ingest.column_roles import has_several_choices, is_like_numbers, is_read_with_care
from features.ingest.quarantine import format_counts
from features.ingest.touchpoint_kinds import suggest_kinds
from features.messages import Message, join_items
from training.data.load import format_columns
from training.stats.learning_curve import captured_share, describe_gain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from features.display_names import DisplayNames
    from features.history import LeadHistory
    from features.ingest.availability import Availability
    from models.encoding import FeatureEncoder
    from models.metrics import Interval
    from training.data.dataset import Dataset
    from training.report.report import Report

PRINTED = ("high", "medium")
"""The severities of findings that a run prints; the report has all."""
_MAX_SUGGESTED = 12


def ingest_messages(dataset: Dataset, quarantine: Path) -> Iterator[str]:
    """Lines on what happened to the rows and columns of the sources."""
    yield from dataset.notices
    columns = [a for a in dataset.availability if a.by == "leadloop"]
    # The notices tell already what is read out of a column.
    unused = sorted(
        (a for a in columns if not a.used and not _is_read_out(a)), key=lambda a: a.role == "empty"
    )
    if unused:
        yield "columns not used: " + format_columns(unused)
    if words := [a for a in columns if a.used and is_like_numbers(a.role_reason)]:
        yield "columns that look like numbers: " + format_columns(words)
    if careful := [a for a in columns if a.used and is_read_with_care(a.role_reason)]:
        yield "columns of numbers to look at: " + format_columns(careful)
    if choices := [a for a in columns if a.used and has_several_choices(a.role_reason)]:
        yield "columns with several choices in a cell: " + format_columns(choices)
    intake = dataset.intake
    if intake.quarantined:
        why = ", ".join(
            f"{reason} ({format_counts(count, intake.columns.get(reason, ()))})"
            for reason, count in intake.quarantined.items()
        )
        yield f"{intake.rows_read:,} rows read; set aside in {quarantine}: {why}"
    share = f"{dataset.label.mean():.1%} of them positive"
    yield f"{len(dataset):,} snapshots to learn from, {share} ({dataset.question})"
    yield from sample_messages(len(dataset), dataset.drawn_from, int(dataset.label.sum()))


def sample_messages(rows: int, drawn_from: int, conversions: int) -> Iterator[str]:
    """The line on what learning from all snapshots would bring, where some were drawn of so many."""
    if rows >= drawn_from:
        return
    times = drawn_from / rows
    yield (
        f"they are those of some leads, {rows / drawn_from:.0%} of all {drawn_from:,} ([training] "
        f"most_snapshots), and {conversions:,} convert: from so many a model captured "
        f"{captured_share(conversions):.0%} of what can be known of simulated companies; all would bring "
        f"{describe_gain(conversions, times)}, for {times:.1f} times the memory and time"
    )


def code_column_messages(columns: Sequence[str], names: DisplayNames) -> Iterator[str]:
    """The line on columns of whole numbers that are taken for categories, if any."""
    if columns:
        listed = join_items("and", [_column_title(column, names) for column in columns])
        yield (
            f"whole numbers that are codes: {listed}. The outcome does not go with their size but differs "
            "from number to number, so each number counts as a category"
        )


def combination_messages(encodings: FeatureEncoder, names: DisplayNames) -> Iterator[str]:
    """The line on each combination of columns that a model learned."""
    for combination in encodings.combinations:
        listed = join_items("and", [_column_title(part, names) for part in combination.parts])
        yield (
            f"{listed} tell more together than each alone: the model knows {len(combination.levels):,} "
            "combinations of their values"
        )


def _column_title(column: str, names: DisplayNames) -> str:
    return names.texts[column].en if column in names.texts else column


def kind_suggestions(history: LeadHistory | None) -> Iterator[str]:
    """The line on own kinds of touchpoint that are probably known ones under another name, if any."""
    if history is None:
        return
    suggested = suggest_kinds(history.touchpoints["kind"].drop_nulls().unique().sort())
    if not suggested:
        return
    first = dict(islice(suggested.items(), _MAX_SUGGESTED))
    more = len(suggested) - len(first)
    words = ", ".join(f'{json.dumps(value, ensure_ascii=False)} = "{kind}"' for value, kind in first.items())
    what = (
        "kind of touchpoint may be a known one"
        if len(suggested) == 1
        else "kinds of touchpoint may be known ones"
    )
    yield (
        f"{len(suggested):,} {what} under another name; if so, write in [[touchpoints]]: "
        f"values = {{ kind = {{ {words} }} }}" + (f", and likewise for {more:,} more" if more else "")
    )


def _is_read_out(column: Availability) -> bool:
    reason = column.reason.values.get("reason")
    return isinstance(reason, Message) and is_read_out(reason)


def holdout_overlap_message(holdout_ids: pl.Series, dataset: Dataset) -> str:
    """The warning that holdout leads are also in the training data; "" where none is, or rows have no ids."""
    if dataset.flat is None or dataset.flat.id is None:
        return ""
    overlap = int(holdout_ids.is_in(dataset.rows["lead_id"].implode()).sum())
    return (
        f"{overlap:,} of the {len(holdout_ids):,} leads of the holdout teach the model, too: it flatters"
        if overlap
        else ""
    )


def warning_messages(report: Report) -> Iterator[str]:
    """Lines on findings of high and medium severity, and on what to know before believing the metrics."""
    from training.report.sections.summary import warnings  # noqa: PLC0415 - takes seconds, and few commands draw
    from training.report.translator import translator  # noqa: PLC0415

    t = translator("en").with_names(report.card.names)
    for note in report.health.findings:
        if note.severity in PRINTED:
            where = f"{t.column(note.column)}: " if note.column else ""
            yield f"{note.code}  {note.severity}  {where}{note.message}"
    for _, warning in warnings(report, t):
        yield f"note: {warning}"


def metric_messages(measured: Mapping[str, Mapping[str, Interval]]) -> Iterator[str]:
    """Every metric with its interval, a line each."""
    for part, figures in measured.items():
        for name, figure in figures.items():
            yield f"{part:10} {name:18} {figure.value:.4f}  ({figure.low:.4f} to {figure.high:.4f})"
