"""Features that other packages add to those of the catalogue, checked against the history they are for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from features.history import ACCOUNT_PREFIX
from features.spec import FeatureSet, FeatureSpec
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.history import LeadHistory
    from training.plugins import Plugin

# A time is read as an age, by recency(), tenure() and span().
_KEYS = frozenset({"lead_id", "occurred_at", "known_at"})
_EXPECTED = "FeatureSpecs, as count(), ratio() and the other functions of features.spec make them"


def add_plugin_features(features: FeatureSet, plugins: Sequence[Plugin], history: LeadHistory) -> FeatureSet:
    """``features`` and after them those of ``plugins``.

    Args:
        features: What the catalogue makes of the history.
        plugins: Each is a spec, several specs, or a callable that takes the history and returns them.
        history: What the features will be computed from.

    Returns:
        A new set; ``features`` itself where no plug-in adds any.

    Raises:
        PluginError: A plug-in gives something else than specs, a feature that exists already, or one that
            reads a column which the history does not have.
    """
    for plugin in plugins:
        specs = _specs(plugin, history)
        for fold in (fold for spec in specs for fold in (spec.inputs or (spec,))):
            _check_columns(plugin, fold, history)
        if duplicates := [spec.name for spec in specs if spec.name in features.names]:
            plugin.refuse(f"there is a feature {duplicates[0]!r} already; give yours a name of its own")
        try:
            features = FeatureSet((*features.specs, *specs))
        except ValueError as error:
            plugin.refuse(str(error))
    return features


def _specs(plugin: Plugin, history: LeadHistory) -> tuple[FeatureSpec, ...]:
    value = plugin.value
    if callable(value):
        # A generator runs only while it is read, so that is done inside of what is guarded.
        value = replace(plugin, value=lambda: _as_tuple(plugin, plugin.value(history))).call()
    specs = _as_tuple(plugin, value)
    if wrong := [spec for spec in specs if not isinstance(spec, FeatureSpec)]:
        plugin.refuse_result(wrong[0], _EXPECTED)
    return specs


def _as_tuple(plugin: Plugin, value: Any) -> tuple[Any, ...]:
    if isinstance(value, FeatureSpec):
        return (value,)
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        plugin.refuse_result(value, _EXPECTED)
    return tuple(value)


def _check_columns(plugin: Plugin, spec: FeatureSpec, history: LeadHistory) -> None:
    """Refuse a spec that reads a column which the rows of its source do not have, or adds up no integers."""
    schema = _schema(spec, history)
    for column in (*([spec.of] if spec.of else []), *(column for column, _ in spec.where)):
        if column not in schema:
            plugin.refuse(f"{spec.name} reads {column!r} of {spec.source}{suggest(column, schema)}")
    if spec.reduce == "total" and not schema[str(spec.of)].is_integer():
        plugin.refuse(f"{spec.name} adds up {spec.of!r} of {spec.source}, which is no column of integers")


def _schema(spec: FeatureSpec, history: LeadHistory) -> dict[str, pl.DataType]:
    """The columns that a spec of this source may read, with their types: no times, and no ids of leads."""
    if spec.source == "leads":
        account_columns = {ACCOUNT_PREFIX + name: dtype for name, dtype in history.accounts.schema.items()}
        every = dict(history.leads.schema) | account_columns
        return {name: every[name] for name in history.lead_columns}
    if spec.source == "attributes":
        return {name: history.attributes.schema[name] for name in ("name", "value", "number")}
    events = history.touchpoints if spec.source.endswith("touchpoints") else history.transitions
    columns = {name: dtype for name, dtype in events.schema.items() if name not in _KEYS}
    return columns | ({"colleague": pl.String()} if spec.source.startswith("account_") else {})
