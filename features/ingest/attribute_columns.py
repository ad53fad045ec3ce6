"""Free columns of leads and accounts, beyond the contract: what each is, and its values typed accordingly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.column_roles import ColumnRole, cast_column, declared_role, infer_role
from features.messages import Message
from features.parsing import has_single_group

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from features.ingest.column_roles import Role
    from features.ingest.row_validation import ValidatedRows
    from features.parsing import Decimal


TWO_WAYS = Message("ingest.two_ways")
RESERVED: frozenset[str] = frozenset({"lead_id", "created_at", "account_id", "as_of"})
"""Names that leadloop uses itself, so that no attribute can have them."""


@dataclass(frozen=True)
class AttributeColumns:
    """The columns that can be attributes, typed, in the rows of ``sieve``; the role of every free column."""

    sieve: ValidatedRows
    columns: tuple[pl.Series, ...]
    roles: tuple[ColumnRole, ...]

    @property
    def frame(self) -> pl.DataFrame:
        """The typed columns side by side."""
        return pl.DataFrame(list(self.columns))


def infer_roles(
    columns: Iterable[pl.Series], said: Mapping[str, Role], decimal: Decimal
) -> tuple[ColumnRole, ...]:
    """The role of each column, found out from its values or, where the user ``said`` one, that."""
    return tuple(
        declared_role(column, said[column.name])
        if column.name in said.keys() - RESERVED
        else _found(column, decimal)
        for column in columns
    )


def _found(column: pl.Series, decimal: Decimal) -> ColumnRole:
    return exclude_reserved(infer_role(column, decimal))


def exclude_reserved(found: ColumnRole) -> ColumnRole:
    """The role of a free column, which is none where leadloop needs its name."""
    if found.column not in RESERVED:
        return found
    return replace(found, role="identifier", reason=Message("columns.reserved"))


def cast_columns(sieve: ValidatedRows, roles: tuple[ColumnRole, ...], decimal: Decimal) -> AttributeColumns:
    """The columns of ``sieve`` typed as their roles have them; a cell that does not fit is noted."""
    columns = []
    for role in roles:
        if role.used:
            column = sieve.frame[role.column]
            columns.append(cast_column(column, role.role, decimal))
            sieve = _noted(sieve, column, columns[-1], role)
    return AttributeColumns(sieve, tuple(columns), roles)


def _noted(sieve: ValidatedRows, column: pl.Series, read: pl.Series, role: ColumnRole) -> ValidatedRows:
    """The sieve with a note of each cell of a column that could not be read."""
    lost = column.is_not_null() & read.is_null()
    if role.role == "number" and column.dtype == pl.String:
        either = lost & has_single_group(column)
        sieve, lost = sieve.flag(either, role.column, TWO_WAYS), lost & ~either
    return sieve.flag(lost, role.column, Message(f"ingest.not_a_{role.role}"))
