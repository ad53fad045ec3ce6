"""What lists show and filter by of a stored lead: its name, whose it is, where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from features.history import ACCOUNT_PREFIX
from features.point_in_time import is_visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from serving.lead_store.stored_leads import StoredLead

# What CRMs call it, spelled without capitals, blanks, underscores and hyphens; the first that has a value.
_PEOPLE = ("name", "fullname", "leadname", "contactname", "displayname", "partnername")
NAMES = (
    *_PEOPLE,
    *("company", "companyname", "accountname", "organisation", "organization", "email", "emailaddress"),
)
FIRST_NAMES, LAST_NAMES = ("firstname", "givenname", "vorname"), ("lastname", "surname", "nachname")
OWNERS = (
    *("owner", "ownername", "leadowner", "accountowner", "contactowner", "ownerid", "hubspotownerid"),
    *("salesperson", "salesrep", "assignedto", "userid"),
)
_NAMES_AND_OWNERS = frozenset((*NAMES, *FIRST_NAMES, *LAST_NAMES, *OWNERS))
_NAME_OF_ACCOUNT = re.compile(
    r"(company|account|organi[sz]ation|firma?|unternehmen|empresa)?[ _.-]?name|company|domain", re.IGNORECASE
)
# A name is for people to read in a list, and nobody looks for leads by longer values.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class LeadDetails:
    """What lists show of a lead, as ``serving.current_scores.records.CurrentScore`` has it."""

    name: str
    account_id: str | None
    owner: str | None
    channel: str | None
    stage: str | None
    created_at: int
    last_activity_at: int | None
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LeadActivity:
    """Where a lead last came from, the stage that it entered last, and when it last did something."""

    channel: str | None = None
    stage: str | None = None
    last_activity_at: int | None = None

    @classmethod
    def of(cls, stored: StoredLead, as_of: int) -> LeadActivity:
        """The activity of a lead as it was known before ``as_of`` (epoch seconds)."""
        touchpoints = _visible(stored.events["touchpoint"], as_of)
        from_channels = [each for each in touchpoints if each.get("channel") is not None]
        return cls(
            channel=_newest(from_channels, "channel"),
            stage=_newest(_visible(stored.events["transition"], as_of), "stage"),
            last_activity_at=max((each["occurred_at"] for each in touchpoints), default=None),
        )


def is_name_of_account(column: str) -> bool:
    """Whether a column of accounts says what people call them.

    >>> [is_name_of_account(name) for name in ("name", "Company Name", "industry")]
    [True, True, False]
    """
    return _NAME_OF_ACCOUNT.fullmatch(column) is not None


def is_name_or_owner(column: str) -> bool:
    """Whether a column says who a lead is or whose, which lists show and a model must not learn from.

    Columns of accounts begin with ``account.``.

    >>> [is_name_or_owner(name) for name in ("Contact owner", "first_name", "industry", "account.name")]
    [True, True, False, True]
    """
    if column.startswith(ACCOUNT_PREFIX):
        return is_name_of_account(column.removeprefix(ACCOUNT_PREFIX))
    return _spelling(column) in {*_PEOPLE, *FIRST_NAMES, *LAST_NAMES, *OWNERS}


def describe_lead(stored: StoredLead, as_of: int, activity: LeadActivity | None = None) -> LeadDetails:
    """The details of a lead as it was known before ``as_of`` (epoch seconds).

    ``activity`` is given where ``stored`` comes without its touchpoints and transitions.
    """
    activity = LeadActivity.of(stored, as_of) if activity is None else activity
    attributes = _attributes(stored, as_of)
    by_spelling = {
        spelling: value
        for name, value in attributes.items()
        if (spelling := _spelling(name)) in _NAMES_AND_OWNERS and not _is_empty(value)
    }
    return LeadDetails(
        name=_name(by_spelling) or stored.lead_id,
        account_id=stored.account_id,
        owner=_first_text(by_spelling, OWNERS),
        channel=activity.channel,
        stage=activity.stage,
        created_at=stored.created_at,
        last_activity_at=activity.last_activity_at,
        attributes=attributes,
    )


def _attributes(stored: StoredLead, as_of: int) -> dict[str, Any]:
    """Plain attributes by their newest row, and over them what overwritten ones were last set to."""
    attributes: dict[str, Any] = dict(stored.attributes[-1][1]) if stored.attributes else {}
    changes = stored.events["attribute"]
    changes = changes and [row for row in changes if is_visible(row["known_at"], row["known_at"], as_of)]
    for row in sorted(changes, key=lambda row: (row["known_at"], row["name"], str(row.get("value")))):
        attributes[row["name"]] = row.get("value", row.get("number"))
    return {name: value[:_LONGEST] if isinstance(value, str) else value for name, value in attributes.items()}


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [])


def _visible(rows: Iterable[Mapping[str, Any]], as_of: int) -> list[Mapping[str, Any]]:
    return [row for row in rows if is_visible(row["occurred_at"], row["known_at"], as_of)]


def _newest(rows: Sequence[Mapping[str, Any]], column: str) -> str | None:
    newest = max(rows, key=lambda row: (row["occurred_at"], row["known_at"], row[column]), default=None)
    return None if newest is None else newest[column]


def _name(by_spelling: Mapping[str, Any]) -> str | None:
    person = [_first_text(by_spelling, names) for names in (FIRST_NAMES, LAST_NAMES)]
    whole = " ".join(filter(None, person))
    return whole[:_LONGEST] or _first_text(by_spelling, NAMES)


def _first_text(by_spelling: Mapping[str, Any], names: Iterable[str]) -> str | None:
    # Most leads have none of these, and there are millions of them.
    first = next((name for name in names if name in by_spelling), None) if by_spelling else None
    return None if first is None else str(by_spelling[first])[:_LONGEST]


@lru_cache(maxsize=1_000)
def _spelling(name: str) -> str:
    return "".join(name.lower().replace("_", "").replace("-", "").split())
