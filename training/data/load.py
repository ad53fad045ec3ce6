"""Reads the data set that a configuration names, and says which of its columns were not used."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from features.ingest.flat_export import read_flat
from features.ingest.read_history import read_history
from features.suggestions import suggest
from training.config.toml_reader import ConfigError
from training.data.dataset import Dataset, from_flat_export, from_history, ingest_summary
from training.data.monotone_constraints import monotone_constraints
from training.plugins import load_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from features.ingest.availability import Availability
    from features.ingest.read_history import IngestResult
    from training.config.settings import Config, TrainingConfig
    from training.data.dataset import Dataset

    Say = Callable[[str], None]


DEFAULT_SHARE = 0.1


def resolve_capacity(dataset: Dataset, training: TrainingConfig) -> float:
    """The share of leads that sales can call: as configured, else one in ten."""
    if training.capacity_share is not None:
        return training.capacity_share
    window = dataset.window
    if training.capacity is None or window is None:
        return DEFAULT_SHARE
    return training.capacity.share(len(dataset), max(1, window[1] - window[0]))


_LISTED = 20


def _listed(columns: Sequence[Availability]) -> str:
    """The columns with their reasons, the first of many."""
    first = "; ".join(f"{a.column} ({a.role_reason})" for a in columns[:_LISTED])
    more = len(columns) - _LISTED
    return f"{first}; and {more:,} more" if more > 0 else first


def no_features_message(dataset: Dataset) -> str:
    """Why no column of a data set can teach anything."""
    unused = [a for a in dataset.availability if not a.used]
    why = _listed(unused) if unused else "the export has no other columns"
    return f"no column is left to learn from beside id, outcome and time: {why}"


QUARANTINE = "quarantine.csv"


def read_dataset(config: Config, out: Path) -> Dataset:
    """The labelled rows that ``config`` describes; bad source rows go to its quarantine file, or ``out``."""
    quarantine, now = quarantine_file(config, out), int(time.time())
    plugins = load_plugins("leadloop.features", config.plugins)
    if config.flat is not None:
        mapping = config.flat_mapping
        export = from_flat_export(read_flat(config.flat.leads, mapping, quarantine, now), mapping)
        if plugins:
            names = ", ".join(plugin.name for plugin in plugins)
            notice = f"features of plug-ins are left out, as a flat export has no events: {names}"
            export = replace(export, notices=(*export.notices, notice))
        return _less(export, config)
    reading = read_history(config.history_mapping, now, quarantine)
    drawn = from_history(
        reading.history,
        config.cohort_rule,
        config.label_spec,
        reading.roles,
        config.training.weights,
        plugins=plugins,
    )
    dataset = _less(drawn, config)
    return replace(
        dataset,
        intake=ingest_summary(
            sum(one.rows for one in reading.counts), reading.quarantine, reading.availability
        ),
        availability=reading.availability,
        ignored=_unused(dataset, reading),
        missing=config.history_mapping.leads.missing,
        notices=reading.notices,
        persons=reading.persons,
    )


def quarantine_file(config: Config, out: Path) -> Path:
    """Where bad source rows go: the file that ``config`` names, else one in ``out``."""
    return config.quarantine.file or out / QUARANTINE


def _less(dataset: Dataset, config: Config) -> Dataset:
    """The data set as ``[training]`` has it: less what is excluded, and with what more may never lower."""
    excluded = set(config.training.exclude)
    if unknown := sorted(excluded - set(dataset.features.names)):
        hint = suggest(unknown[0], dataset.features.names)
        msg = f"[training] exclude: there is no feature {unknown[0]!r}{hint}"
        raise ConfigError(msg)
    left = dataset.features.without(excluded)
    if not left.names:
        raise ConfigError(no_features_message(dataset))
    return replace(
        dataset,
        features=left,
        rows=dataset.rows.drop(excluded),
        monotone=monotone_constraints(left, config.training.monotone),
        ignored=tuple(sorted({*dataset.ignored, *excluded})),
    )


def _unused(dataset: Dataset, reading: IngestResult) -> tuple[str, ...]:
    """The columns that a CRM has and may send, although the model has no use for them."""
    used = {spec.of for spec in dataset.features.specs if spec.source == "leads"}
    return tuple(sorted(set(reading.columns) - used))
