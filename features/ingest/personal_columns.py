"""Columns that name a person or say how to reach one, which a model learns only where somebody asks for it.

A first name says nothing of a lead's interest, but much of origin and sex; an address or a number is that of
one person. Cells are looked at, too, since "Phone type: mobile" is no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from features.messages import Message, join_items
from features.word_lists import heading_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from features.ingest.column_roles import ColumnRole

_MAJORITY = 0.5


@dataclass(frozen=True, slots=True)
class _PersonalFact:
    """A fact about a person: its table in ``vocabulary/headings.toml``, and what most of its cells hold."""

    headings: str
    cells: str

    @property
    def reason(self) -> Message:
        return Message(f"columns.{self.headings}")


_FACTS = (
    _PersonalFact("person_name", r"\p{L}"),
    _PersonalFact("person_phone", r"(?:[0-9][\s()/.+-]*){6}"),
    _PersonalFact("person_address", r"^[^@]*[0-9][^@]*$"),
    _PersonalFact("person_profile", r"[./@]"),
)
_REASONS = frozenset(fact.reason.key for fact in _FACTS)


def find_personal_reason(known: pl.Series) -> Message | None:
    """Why a column of words is about one person, as a sentence; None where it is not.

    >>> find_personal_reason(pl.Series("Vorname", ["Ada", "Ben"]))
    'names of persons, which the model does not learn'
    >>> find_personal_reason(pl.Series("Phone type", ["mobile", "office"])) is None
    True
    """
    fact = next((each for each in _FACTS if heading_pattern(each.headings).search(known.name)), None)
    if fact is None:
        return None
    share = float(known.cast(pl.String).str.contains(fact.cells).mean() or 0.0)  # type: ignore[arg-type]
    return fact.reason if share >= _MAJORITY else None


def is_personal(reason: Message) -> bool:
    """Whether a column is kept from the model because it is about one person."""
    return reason.key in _REASONS


def personal_notices(roles: Iterable[ColumnRole]) -> tuple[Message, ...]:
    """The sentence on the columns of a table that are about one person, with the way to allow them."""
    names = [role.column for role in roles if is_personal(role.reason)]
    if not names:
        return ()
    return (Message("columns.notice_personal", columns=join_items("comma", names), first=names[0]),)
