"""What is read out of overwritten attributes: each change of an address, a title, choices or a text.

The rows of an attribute whose values are not to be kept are replaced by those of what is read out of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.extraction import NUMERIC_UNITS, extract_column
from features.history import ATTRIBUTE_SCHEMA
from features.ingest.column_extractions import find_extractions, replaces_values
from features.ingest.column_roles import ColumnRole, infer_role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from features.extraction import ColumnExtraction
    from features.ingest.column_extractions import Extracted
    from features.messages import Message


def find_history_extractions(
    attributes: pl.DataFrame, declared: Mapping[str, Extracted]
) -> tuple[tuple[ColumnRole, ...], tuple[Message, ...]]:
    """What there is to read out of the attributes of a history.

    Args:
        attributes: All changes, in ``ATTRIBUTE_SCHEMA``.
        declared: What the user says is in an attribute.

    Returns:
        The roles of what is read out, each with its extraction, and a sentence for each attribute.
    """
    roles: list[ColumnRole] = []
    notices: list[Message] = []
    for (name,), rows in attributes.group_by("name", maintain_order=True):
        column = rows["value"].alias(str(name))
        extracted = find_extractions(pl.DataFrame([column]), (infer_role(column),), declared)
        roles += extracted.roles[1:]
        notices += extracted.notices
    return tuple(roles), tuple(notices)


def extract_history(attributes: pl.DataFrame, extractions: Iterable[ColumnExtraction]) -> pl.DataFrame:
    """The changes with what is read out of them, and without the values that are not kept.

    Args:
        attributes: Changes with the columns of ``ATTRIBUTE_SCHEMA`` and, perhaps, others.
        extractions: What is read out.
    """
    by_name = _by_attribute(extractions)
    if not by_name:
        return attributes
    replaced = [name for name, parts in by_name.items() if replaces_values(parts)]
    frames = [attributes.filter(~pl.col("name").is_in(replaced))]
    for name, parts in by_name.items():
        rows = attributes.filter(pl.col("name") == name)
        frames += [_extract_rows(rows, each) for each in parts]
    return pl.concat(frames)


def _by_attribute(extractions: Iterable[ColumnExtraction]) -> dict[str, list[ColumnExtraction]]:
    by_name: dict[str, list[ColumnExtraction]] = {}
    for each in extractions:
        by_name.setdefault(each.column, []).append(each)
    return by_name


def _extract_rows(rows: pl.DataFrame, extraction: ColumnExtraction) -> pl.DataFrame:
    values = extract_column(extraction, rows["value"])
    column, other = ("number", "value") if extraction.unit in NUMERIC_UNITS else ("value", "number")
    return rows.with_columns(
        pl.lit(extraction.name).alias("name"),
        values.alias(column),
        pl.lit(None, ATTRIBUTE_SCHEMA[other]).alias(other),
    )


def names_after(names: Iterable[str], extractions: Sequence[ColumnExtraction]) -> frozenset[str]:
    """The names of attributes once everything is read out of them."""
    gone = {name for name, parts in _by_attribute(extractions).items() if replaces_values(parts)}
    return (frozenset(names) - gone) | {each.name for each in extractions}
