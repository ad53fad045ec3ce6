"""Reads the data set that a configuration describes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from features.catalogue import own_kinds_notice
from features.ingest.flat_export import read_flat
from features.ingest.read_history import read_history
from features.suggestions import suggest
from training.config.toml_reader import ConfigError
from training.data.audit_columns import separate_audit_columns
from training.data.dataset import Dataset, from_flat_export, from_history, ingest_summary
from training.data.monotone_constraints import monotone_constraints
from training.data.unknown_names import unknown_name_notices
from training.plugins import load_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from features.history import LeadHistory
    from features.ingest.availability import Availability
    from features.ingest.read_history import IngestResult
    from training.config.settings import Config, TrainingConfig
    from training.data.dataset import Dataset

    Say = Callable[[str], None]

DEFAULT_SHARE = 0.1
QUARANTINE = "quarantine.csv"
_MAX_COLUMNS = 20


def read_dataset(config: Config, out: Path) -> Dataset:
    """Read the labelled rows that a configuration describes.

    Args:
        config: A flat export or a history, and how to learn from it.
        out: The folder of the quarantine file, where the configuration names none.

    Returns:
        The data set with the features of plug-ins, where it is a history, and without those that
        ``[training]`` excludes.

    Raises:
        SourceError: A source cannot be read.
        ConfigError: ``[training]`` names a feature that is not there, or excludes the last one; or
            ``[report] value`` names no column with amounts.
        NoLabelledRowsError: There are no labelled rows of both outcomes.
        PluginError: A plug-in cannot be loaded, or its features cannot be had from this history.
    """
    quarantine, now = quarantine_file(config, out), int(time.time())
    plugins = load_plugins("leadloop.features", config.plugins)
    if config.flat is not None:
        if config.report.value is not None:
            msg = (
                "[report] value: a flat export has no stages to add values up over; please leave the line out"
            )
            raise ConfigError(msg)
        mapping = config.flat_mapping
        export = from_flat_export(
            read_flat(config.flat.leads, mapping, quarantine, now), mapping, config.names
        )
        if plugins:
            names = ", ".join(plugin.name for plugin in plugins)
            notice = f"features of plug-ins are left out, as a flat export has no events: {names}"
            export = replace(export, notices=(*export.notices, notice))
        flat = apply_training_config(export, config)
        return replace(flat, notices=(*flat.notices, *unknown_name_notices(flat)))
    reading = read_history(config.history_mapping, now, quarantine)
    _check_value_column(reading.history, config.report.value)
    full = from_history(
        reading.history,
        config.cohort_rule,
        config.label_spec,
        reading.roles,
        config.training.weights,
        plugins=plugins,
        names=config.names,
        most_snapshots=config.training.most_snapshots,
    )
    dataset = apply_training_config(replace(full, availability=reading.availability), config)
    dataset = replace(
        dataset,
        intake=ingest_summary(
            sum(table.rows for table in reading.counts), reading.quarantine, dataset.availability
        ),
        ignored=_unused_columns(dataset, reading),
        missing=config.history_mapping.leads.missing,
        marks=reading.marks,
        notices=(*reading.notices, *filter(None, [own_kinds_notice(reading.history)])),
        persons=reading.persons,
    )
    unknown = unknown_name_notices(dataset, config.history_mapping.stages)
    return replace(dataset, notices=(*dataset.notices, *unknown))


def quarantine_file(config: Config, out: Path) -> Path:
    """The file for unusable rows: the one that ``config`` names, else ``quarantine.csv`` in ``out``."""
    return config.quarantine.file or out / QUARANTINE


def resolve_capacity(dataset: Dataset, training: TrainingConfig) -> float:
    """The share of leads that sales can call: as configured, else ``DEFAULT_SHARE``.

    A capacity per time needs dates: it is divided by the rows that arrived in the window of ``dataset``.
    """
    if training.capacity_share is not None:
        return training.capacity_share
    window = dataset.window
    if training.capacity is None or window is None:
        return DEFAULT_SHARE
    rows = max(len(dataset), dataset.drawn_from)
    return training.capacity.share(rows, max(1, window[1] - window[0]))


def no_features_message(dataset: Dataset) -> str:
    """The message for a data set that has no feature left, with the unused columns and why."""
    unused = [a for a in dataset.availability if not a.used]
    why = format_columns(unused) if unused else "the export has no other columns"
    return f"no column is left to learn from beside id, outcome and time: {why}"


def format_columns(columns: Sequence[Availability]) -> str:
    """The first 20 columns with the reasons for their roles, and how many more there are."""
    first = "; ".join(f"{a.column} ({a.role_reason})" for a in columns[:_MAX_COLUMNS])
    more = len(columns) - _MAX_COLUMNS
    return f"{first}; and {more:,} more" if more > 0 else first


def apply_training_config(dataset: Dataset, config: Config) -> Dataset:
    """The data set without what ``[fairness]`` and ``[training]`` keep out, with its monotone constraints."""
    dataset = separate_audit_columns(dataset, config.fairness)
    excluded = set(config.training.exclude)
    if unknown := sorted(excluded - set(dataset.features.names)):
        hint = suggest(unknown[0], dataset.features.names)
        msg = f"[training] exclude: there is no feature {unknown[0]!r}{hint}"
        raise ConfigError(msg)
    features = dataset.features.without(excluded)
    if not features.names:
        raise ConfigError(no_features_message(dataset))
    return replace(
        dataset,
        features=features,
        rows=dataset.rows.drop(excluded),
        monotone=monotone_constraints(features, config.training.monotone),
        ignored=tuple(sorted({*dataset.ignored, *excluded})),
    )


def _check_value_column(history: LeadHistory, column: str | None) -> None:
    """Refuse a ``[report] value`` whose column is not there or holds no number: its sums would be empty."""
    if column is None:
        return
    leads, attributes = history.leads, history.attributes
    names = sorted({*leads.columns, *attributes["name"].unique().to_list()} - {"lead_id", "created_at"})
    if column not in names:
        msg = f"[report] value: there is no column or attribute {column!r}{suggest(column, names)}"
        raise ConfigError(msg)
    if column in leads.columns:
        amounts = leads[column].cast(pl.Float64, strict=False)
    else:
        amounts = attributes.filter(pl.col("name") == column)["number"]
    if amounts.null_count() == len(amounts):
        msg = f"[report] value: {column!r} holds no number; name the column with what a lead is worth"
        raise ConfigError(msg)


def _unused_columns(dataset: Dataset, reading: IngestResult) -> tuple[str, ...]:
    """The lead columns that no feature reads; requests may carry them."""
    used = {spec.column for spec in dataset.features.specs if spec.source == "leads"}
    return tuple(sorted({*reading.columns, *dataset.ignored} - used))
