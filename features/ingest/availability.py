"""Which columns are known when, and why the others are kept out: what the report and the model card show.

A plain column is a claim that its value was known when the lead was created. leadloop cannot prove the claim;
it can say who made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from features.messages import Message
from features.word_lists import bare_heading, fold_heading, heading_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from features.ingest.column_roles import ColumnRole, Role

Known = Literal["at creation", "history", "excluded"]
Claimant = Literal["user", "leadloop"]


@dataclass(frozen=True, slots=True)
class Availability:
    """When one column is known, and who says so.

    Attributes:
        column: The column's name.
        role: What it was taken for; None where nobody looked.
        known: ``"at creation"`` of the lead, from each change on (``"history"``), or ``"excluded"``.
        by: Who says so, the user or leadloop.
        reason: Why, as a sentence.
    """

    column: str
    role: Role | None
    known: Known
    by: Claimant
    reason: Message

    @property
    def used(self) -> bool:
        """Whether a model may see the column."""
        return self.known != "excluded"

    @property
    def role_reason(self) -> Message:
        """Why the column has its role, without the sentence on when it is known."""
        inner = self.reason.values.get("reason") if self.used else None
        return inner if isinstance(inner, Message) else self.reason


def looks_post_outcome(column: str) -> bool:
    """Whether a column's name suggests that it is filled or overwritten after the first contact.

    >>> late = looks_post_outcome
    >>> late("Last Activity"), late("Lead Quality"), late("Lead Source")
    (True, True, False)
    >>> late("Last Name"), late("LastName__c")
    (False, False)
    >>> late("Deal"), late("Deal - Source"), late("Deal - Lost reason")
    (True, False, True)
    >>> late("Letzte Aktivität"), late("Gesprächsergebnis"), late("Herkunft")
    (True, True, False)
    >>> late("Motivo de rechazo"), late("Dernière relance"), late("Origine")
    (True, True, False)
    >>> late("Última atividade"), late("LETZTE AKTIVITAET"), late("LeadScore__c")
    (True, True, True)
    """
    names = {column, bare_heading(column)}
    return not _NAMES_OF_PERSONS & {*map(fold_heading, names)} and any(
        map(heading_pattern("late").search, names)
    )


_NAMES_OF_PERSONS = frozenset({"last name", "lastname", "last name c"})


def static_availability(
    roles: Iterable[ColumnRole], excluded: Mapping[str, Message]
) -> tuple[Availability, ...]:
    """The availability of plain columns; ``excluded`` maps columns that are kept out to the reason.

    >>> from features.ingest.column_roles import ColumnRole
    >>> city, why = ColumnRole("City", "category", Message("columns.words")), Message("columns.configured")
    >>> [column.known for column in static_availability([city], {"Tags": why})]
    ['at creation', 'excluded']
    """
    exclusions = (Availability(name, None, "excluded", "user", reason) for name, reason in excluded.items())
    return (*(_plain_availability(role) for role in roles), *exclusions)


def _plain_availability(role: ColumnRole) -> Availability:
    if not role.used:
        message = Message("availability.unused", role=Message(f"roles.{role.role}"), reason=role.reason)
        return Availability(role.column, role.role, "excluded", role.by, message)
    reason = Message("availability.plain", reason=role.reason)
    return Availability(role.column, role.role, "at creation", role.by, reason)


def history_availability(names: Iterable[str]) -> tuple[Availability, ...]:
    """The availability of attributes with a history: each value is known from its change on."""
    reason = Message("availability.history")
    return tuple(Availability(name, None, "history", "leadloop", reason) for name in names)
