"""Free columns of leads and accounts, beyond the contract: what each is, and its values typed accordingly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from features.messages import Message
from features.reading.amounts import one_group
from features.reading.roles import ColumnRole, role_of, said_role, typed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from features.reading.parsing import Decimal
    from features.reading.roles import Role
    from features.reading.sieve import Sieve


TWO_WAYS = Message("ingest.two_ways")
RESERVED: frozenset[str] = frozenset({"lead_id", "created_at", "account_id", "as_of"})
"""Names that leadloop uses itself, so that no attribute can have them."""


@dataclass(frozen=True)
class Attributes:
    """The columns that can be attributes, typed, in the rows of ``sieve``; the role of every free column."""

    sieve: Sieve
    columns: tuple[pl.Series, ...]
    roles: tuple[ColumnRole, ...]

    @property
    def frame(self) -> pl.DataFrame:
        """The typed columns side by side."""
        return pl.DataFrame(list(self.columns))


def found_roles(
    columns: Iterable[pl.Series], said: Mapping[str, Role], decimal: Decimal
) -> tuple[ColumnRole, ...]:
    """The role of each column, found out from its values or, where the user ``said`` one, that."""
    return tuple(
        said_role(column, said[column.name])
        if column.name in said.keys() - RESERVED
        else _found(column, decimal)
        for column in columns
    )


def _found(column: pl.Series, decimal: Decimal) -> ColumnRole:
    return unless_reserved(role_of(column, decimal))


def unless_reserved(found: ColumnRole) -> ColumnRole:
    """The role of a free column, which is none where leadloop needs its name."""
    if found.column not in RESERVED:
        return found
    return replace(found, role="identifier", reason=Message("columns.reserved"))


def attributes(sieve: Sieve, roles: tuple[ColumnRole, ...], decimal: Decimal) -> Attributes:
    """The columns of ``sieve`` typed as their roles have them; a cell that does not fit is noted."""
    columns = []
    for role in roles:
        if role.used:
            column = sieve.frame[role.column]
            columns.append(typed(column, role.role, decimal))
            sieve = _noted(sieve, column, columns[-1], role)
    return Attributes(sieve, tuple(columns), roles)


def _noted(sieve: Sieve, column: pl.Series, read: pl.Series, role: ColumnRole) -> Sieve:
    """The sieve with a note of each cell of a column that could not be read."""
    lost = column.is_not_null() & read.is_null()
    if role.role == "number" and column.dtype == pl.String:
        either = lost & one_group(column)
        sieve, lost = sieve.note(either, role.column, TWO_WAYS), lost & ~either
    return sieve.note(lost, role.column, Message(f"ingest.not_a_{role.role}"))
