"""Stages that tables hold as numbers or ids, named by a small table that says what each of them means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from features.ingest.column_roles import infer_role
from features.parsing import has_single_values
from features.word_lists import heading_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from training.config.file_survey import FileProfile
    from training.config.recipe import DraftBlock

_CONCEPTS = (heading_pattern("stage"), heading_pattern("status"))
_NAME = heading_pattern("label", "stage", "status")
_MOST_STAGES = 200
_FEW = 30


@dataclass(frozen=True, slots=True)
class StageCodes:
    """A column whose codes of stages another table names.

    Attributes:
        table: The table of the column, as sentences call it.
        column: The column.
        names: What each code means.
        source: The table that says so, as sentences call it.
    """

    table: str
    column: str
    names: Mapping[str, str]
    source: str


def find_stage_codes(profiles: Sequence[FileProfile]) -> list[StageCodes]:
    """The columns of stages or statuses whose values are all codes of one of the other tables.

    The other table must be called after stages, too: a code from 1 to 4 is in every table of numbered rows.
    """
    lookups = [(lookup, *pair) for lookup in profiles if (pair := _codes_and_names(lookup)) is not None]
    return [
        StageCodes(profile.name, column, names, lookup.name)
        for lookup, names, concepts in lookups
        for profile in profiles
        if profile is not lookup
        for column in profile.frame.columns
        if any(concept.search(column) for concept in concepts) and _holds_codes(profile, column, names)
    ]


def _codes_and_names(lookup: FileProfile) -> tuple[dict[str, str], list[Any]] | None:
    """The names of stages by their codes, and the concepts that they are of; None where a table has none."""
    concepts = [concept for concept in _CONCEPTS if concept.search(lookup.table.stem)]
    if not concepts or not lookup.keys or lookup.frame.height > _MOST_STAGES:
        return None
    codes = lookup.frame[lookup.keys[0]].cast(pl.String)
    words = [
        column
        for column in lookup.frame
        if column.dtype == pl.String
        and column.name not in {lookup.keys[0], *lookup.dates}
        and column.n_unique() == len(column)
        and bool(column.str.contains(r"\p{L}").all())
    ]
    names = next((each for each in words if _NAME.search(each.name)), next(iter(words), None))
    return None if names is None else (dict(zip(codes, names, strict=True)), concepts)


def _holds_codes(profile: FileProfile, column: str, names: Mapping[str, str]) -> bool:
    cells = profile.frame[column]
    if not has_single_values(cells.dtype) or not cells.count():
        return False
    values = set(cells.drop_nulls().cast(pl.String).unique())
    return len(values) > 1 and values <= names.keys()


def name_stages(profile: FileProfile, codes: Sequence[StageCodes]) -> FileProfile:
    """The table with the names of its stages in place of their codes."""
    columns = [
        profile.frame[each.column].cast(pl.String).replace(dict(each.names))
        for each in codes
        if each.table == profile.name
    ]
    if not columns:
        return profile
    roles = {column.name: infer_role(column) for column in columns}
    return replace(
        profile,
        frame=profile.frame.with_columns(columns),
        roles=tuple(roles.get(role.column, role) for role in profile.roles),
    )


def write_codes(block: DraftBlock, name: str, codes: Sequence[StageCodes]) -> None:
    """Write the codes of stages of the table ``name`` into a block, with what each of them means."""
    for each in codes:
        if each.table != name:
            continue
        code_of = {stage: code for code, stage in each.names.items()}
        where = block.keys.get("where", {})
        if each.column in where:
            block.keys["where"] = {**where, each.column: _codes(where[each.column], code_of)}
        if block.keys.get("columns", {}).get("stage") == each.column:
            block.keys["values"] = {**block.keys.get("values", {}), "stage": dict(each.names)}
            block.says.append(f"What the codes in {each.column!r} mean says {each.source}.")


def _codes(stages: Any, code_of: Mapping[str, str]) -> Any:
    return code_of[stages] if isinstance(stages, str) else [code_of[stage] for stage in stages]


def unnamed_codes(profile: FileProfile) -> Iterator[tuple[str, list[str]]]:
    """The columns of stages or statuses that hold a few numbers of which no table says what they mean."""
    for column in profile.frame:
        if not any(concept.search(column.name) for concept in _CONCEPTS) or column.name in profile.dates:
            continue
        known = column.drop_nulls() if has_single_values(column.dtype) else column.clear()
        values = sorted(known.cast(pl.String).unique(), key=lambda value: (len(value), value))
        if 1 < len(values) <= _FEW and all(value.isdecimal() for value in values):
            yield column.name, values
