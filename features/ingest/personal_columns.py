"""Columns that name a person or say how to reach one, which a model learns only where somebody asks for it.

A first name says nothing of a lead's interest, but much of origin and sex; an address or a number is that of
one person. Cells are looked at, too, since "Phone type: mobile" is no number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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

    @property
    def reason_of_company(self) -> Message:
        return Message(f"columns.{self.headings.replace('person', 'company')}")


_FACTS = (
    _PersonalFact("person_name", r"\p{L}"),
    _PersonalFact("person_phone", r"(?:[0-9][\s()/.+-]*){6}"),
    _PersonalFact("person_address", r"^[^@]*[0-9][^@]*$"),
    _PersonalFact("person_profile", r"[./@]"),
)
# In a table of companies they are about the company, except for names that are called a person's.
_OF_COMPANIES = {fact.reason.key: fact.reason_of_company for fact in _FACTS}
_NOTICES = {
    "columns.notice_personal": frozenset(_OF_COMPANIES),
    "columns.notice_companies": frozenset(reason.key for reason in _OF_COMPANIES.values()),
}
_REASONS = frozenset.union(*_NOTICES.values())
_ANY_NAME = heading_pattern("name")


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
    """Whether a column is kept from the model because it is about one person or one company."""
    return reason.key in _REASONS


def describe_as_companies(role: ColumnRole) -> ColumnRole:
    """The role of a column of a table of companies: what looks like a person's there is the company's own."""
    is_name_of_person = role.reason.key == "columns.person_name" and not _ANY_NAME.search(role.column)
    if role.reason.key not in _OF_COMPANIES or is_name_of_person:
        return role
    return replace(role, reason=_OF_COMPANIES[role.reason.key])


def personal_notices(roles: Iterable[ColumnRole]) -> tuple[Message, ...]:
    """The sentences on columns of a table about one person or company each, with the way to allow them."""
    columns = {
        notice: [role.column for role in roles if role.reason.key in keys]
        for notice, keys in _NOTICES.items()
    }
    return tuple(
        Message(notice, columns=join_items("comma", names), first=names[0])
        for notice, names in columns.items()
        if names
    )
