"""Attributes that lie inside of JSON, as tools that copy an API's answers leave them in one column."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from features.ingest.column_roles import holds_documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.config.file_survey import FileProfile

_MARKS = ("_", "__", ".")
_SAMPLE, _LEAST_SHARE, _MOST = 500, 0.05, 30


def document_attributes(leads: FileProfile) -> dict[str, str]:
    """By name, the place of each value that the documents of leads often hold, as ``column.key``.

    Values that are documents themselves, or lists, are no attributes, nor are those that have a column of
    their own, as tools that copy write both. A name that is taken gets that of its column before it.
    """
    places: dict[str, str] = {}
    for column in leads.frame:
        for key in _keys(column):
            if any(f"{column.name}{mark}{key}" in leads.frame.columns for mark in _MARKS):
                continue
            taken = key in leads.frame.columns or key in places
            places[f"{column.name} {key}" if taken else key] = f"{column.name}.{key}"
    return dict(list(places.items())[:_MOST])


def _keys(column: pl.Series) -> list[str]:
    """The keys of single values in the documents of a column, in the order in which they come."""
    known = column.drop_nulls().head(_SAMPLE) if column.dtype == pl.String else column.clear()
    if known.is_empty() or not holds_documents(known):
        return []
    counts: dict[str, int] = {}
    for document in _documents(known):
        for key, value in document.items():
            if isinstance(value, str | int | float) and "." not in key:
                counts[key] = counts.get(key, 0) + 1
    return [key for key, count in counts.items() if count >= _LEAST_SHARE * len(known)]


def _documents(cells: pl.Series) -> Iterator[dict[str, Any]]:
    for cell in cells:
        try:
            document = json.loads(cell)
        except ValueError:
            continue
        if isinstance(document, dict):
            yield document
