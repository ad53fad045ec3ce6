"""How a company's own tables map onto the data contract: configuration as frozen, typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from features.parsing import MISSING
from features.quarantine import MAX_SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.roles import Role


@dataclass(frozen=True)
class FlatMapping:
    """How to read a flat export: one row a lead, an outcome column, perhaps a column that orders the rows.

    Without ``id`` the number of the row is the id. ``positive`` names the outcome that counts as 1 where its
    words do not say so. ``roles`` overrides what leadloop finds out about a column.
    """

    id: str | None = None
    label: str | None = None
    time: str | None = None
    exclude: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    missing: tuple[str, ...] = MISSING
    positive: str | None = None
    max_share: float = MAX_SHARE

    @property
    def named(self) -> tuple[str, ...]:
        """Every column of the file that the mapping speaks of."""
        named = (self.id, self.label, self.time, *self.exclude, *self.roles)
        return tuple(name for name in named if name is not None)

    @property
    def reserved(self) -> frozenset[str]:
        """The columns that are no attributes."""
        return frozenset(name for name in (self.id, self.label, self.time, *self.exclude) if name is not None)
