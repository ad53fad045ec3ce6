"""Audit columns: columns that leads are compared by for fairness, and that no model learns from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from features.messages import Message
from features.suggestions import suggest
from training.config.toml_reader import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.spec import FeatureSpec
    from training.config.settings import FairnessConfig
    from training.data.dataset import Dataset

_FLAGS = {"1.0": "yes", "0.0": "no"}


def separate_audit_columns(dataset: Dataset, fairness: FairnessConfig) -> Dataset:
    """Take the columns of ``[fairness]`` out of the features and keep them beside the rows.

    Args:
        dataset: The data set with all features.
        fairness: The columns, and whether the model may learn from them after all.

    Returns:
        The data set with ``audit``, a column for each, without any feature that reads one of them.

    Raises:
        ConfigError: A column is not there, or has no values that leads could be compared by.
    """
    if not fairness.columns:
        return dataset
    audit = pl.DataFrame([_values(dataset, name) for name in fairness.columns])
    if fairness.learn:
        return replace(dataset, audit=audit, audit_learned=True)
    names = {spec.name for spec in dataset.features.specs if _reads(spec, fairness.columns)}
    reason = Message("availability.fairness")
    availability = tuple(
        replace(column, known="excluded", by="user", reason=reason)
        if column.column in fairness.columns
        else column
        for column in dataset.availability
    )
    return replace(
        dataset,
        features=dataset.features.without(names),
        rows=dataset.rows.drop(names),
        availability=availability,
        ignored=tuple(sorted({*dataset.ignored, *fairness.columns})),
        audit=audit,
    )


def _reads(spec: FeatureSpec, columns: tuple[str, ...]) -> bool:
    read = {spec.column, spec.name, *(spec.extraction.columns if spec.extraction is not None else ())}
    own = spec.reduce in {"value", "latest", "earliest"} and not read.isdisjoint(columns)
    return own or any(_reads(each, columns) for each in spec.inputs)


def _values(dataset: Dataset, name: str) -> pl.Series:
    """The values of a column at each row; flags as yes and no."""
    plain = [spec for spec in _candidates(dataset) if name in (spec.name, spec.column)]
    if not plain:
        raise ConfigError(_missing_message(dataset, name))
    spec = plain[0]
    values = dataset.rows[spec.name].alias(name)
    if spec.unit == "flag":
        return values.cast(pl.String).replace(_FLAGS)
    return values


def _candidates(dataset: Dataset) -> Iterator[FeatureSpec]:
    """The features that are a column as it is; words that are read out of a text are none."""
    for spec in dataset.features.specs:
        if spec.reduce in {"value", "latest"} and spec.extraction is None and spec.unit != "words":
            yield spec


def _missing_message(dataset: Dataset, name: str) -> str:
    unused = {column.column: column.reason for column in dataset.availability if not column.used}
    if name in unused:
        return (
            f"[fairness] columns: leads cannot be compared by {name!r} ({unused[name]}); name its role in "
            "roles, or take it out of exclude: the model does not learn from columns of [fairness]"
        )
    known = [spec.column for spec in _candidates(dataset)]
    return f"[fairness] columns: there is no column {name!r}{suggest(name, known)}"
