"""One made-up company, whose single history each CRM's tables spell in their own way.

Because every spelling is of the same history, a data set that was read from tables can be held against the
truth, and not only against SQL that somebody wrote over the same tables.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOURCES = ("Search engine", "Newsletter", "Trade fair", "Referral")
MEDIA = ("Website", "Email", "Direct")
CAMPAIGNS = ("Spring", "Autumn")
COUNTRIES = ("Germany", "Austria", "France")
JOBS = ("CEO", "Buyer", "Engineer", "Student")
INDUSTRIES = ("Manufacturing", "Software", "Health")
KINDS = ("call", "meeting", "email_sent", "email_received", "email_open", "email_click")
STAGES = ("qualified", "won", "lost", "reopened")


@dataclass(frozen=True)
class Event:
    """Something that a lead did or received; ``done`` is false for what was only planned."""

    kind: str
    at: datetime
    campaign: int | None = None
    done: bool = True


@dataclass(frozen=True)
class Lead:
    """One lead with what was known at its creation and what became of it."""

    number: int
    created: datetime
    source: int | None
    medium: int
    campaign: int | None
    country: int
    job: int | None
    company: int | None
    deleted: bool
    events: tuple[Event, ...] = ()
    stages: tuple[tuple[str, datetime], ...] = ()
    amounts: tuple[tuple[datetime, float], ...] = ()

    @property
    def won_at(self) -> datetime | None:
        """When it was won, if it was."""
        return next((at for stage, at in self.stages if stage == "won"), None)

    @property
    def email(self) -> str:
        """Its address, with the domain of its company or of a free provider."""
        return f"p{self.number}@" + ("gmail.com" if self.company is None else f"firma{self.company}.example")

    @property
    def stage(self) -> str:
        """The stage in which it is now."""
        return self.stages[-1][0] if self.stages else "new"


@dataclass(frozen=True)
class Company:
    """Leads, and the companies that some of them belong to."""

    leads: tuple[Lead, ...]
    industries: tuple[int, ...]
    employees: tuple[int, ...]

    def company_name(self, number: int | None) -> str | None:
        """The name of a company."""
        return None if number is None else f"Firma {number}"


@dataclass(frozen=True)
class Spelling:
    """How a CRM calls what the company has, as far as the tables of that CRM hold it.

    Attributes:
        lead_id: The id of a lead.
        kinds: The kinds of touchpoint that the CRM records, by the words of its configuration.
        stages: The entries into stages that it records of a lead, likewise.
        attributes: By the name of an attribute, its value.
        account_id: The id of a lead's company.
        accounts: By the name of an attribute of companies, its value for a company.
        amounts: The name of the amount that is overwritten; None where changes of it are not recorded.
        campaigns: The kinds of touchpoint that name a campaign.
    """

    lead_id: Callable[[Lead], str]
    kinds: Mapping[str, str]
    stages: Callable[[Lead], list[tuple[str, datetime]]]
    attributes: Mapping[str, Callable[[Lead], object]]
    account_id: Callable[[Lead], str | None] | None = None
    accounts: Mapping[str, Callable[[int], object]] = field(default_factory=dict)
    amounts: str | None = None
    campaigns: tuple[str, ...] = ()


def make_company(leads: int = 240, seed: int = 17) -> Company:
    """A company with its leads; the same for the same seed."""
    r = random.Random(seed)  # noqa: S311
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 9, 30, tzinfo=UTC)
    firms = max(leads // 6, 1)
    step = (end - start) / leads
    everyone = [_make_lead(r, number + 1, start + step * number, end, firms) for number in range(leads)]
    return Company(
        tuple(everyone),
        tuple(r.randrange(len(INDUSTRIES)) for _ in range(firms)),
        tuple(int(math.exp(r.gauss(4, 1))) for _ in range(firms)),
    )


def _make_lead(r: random.Random, number: int, around: datetime, end: datetime, firms: int) -> Lead:
    created = (around + timedelta(minutes=r.randrange(600))).replace(microsecond=0)
    source, job, strength = r.choice([0, 1, 2, 3, None]), r.choice([0, 1, 2, 3, None]), r.gauss(0, 1)

    def later(moment: datetime, mean: float) -> datetime:
        return (moment + timedelta(hours=1 + r.expovariate(1 / (24 * mean)))).replace(microsecond=0)

    chance = 1 / (1 + math.exp(-(strength + (0.8 if source == 3 else 0) - (1.5 if job == 3 else 0))))
    stages: list[tuple[str, datetime]] = []
    moment, fate = created, r.random()
    if fate < 0.75 * chance or r.random() < 0.3:
        stages.append(("qualified", moment := later(moment, 6)))
    if fate < 0.75 * chance:
        stages.append(("won", moment := later(moment, 12)))
    elif fate < 0.8:
        stages.append(("lost", moment := later(moment, 15)))
        if r.random() < 0.15:
            stages.append(("reopened", moment := later(moment, 10)))
            if r.random() < 0.5:
                stages.append(("won", moment := later(moment, 10)))
    events = [
        Event(r.choice(KINDS), later(created, 8), r.choice([0, 1]))
        for _ in range(r.randrange(5) + int(strength > 0))
    ]
    planned = (
        [Event("call", end + timedelta(days=r.randrange(5, 90)), done=False)] if r.random() < 0.1 else []
    )
    amounts = [(later(created, 5), float(r.choice([5_000, 12_500, 40_000])))] if r.random() < 0.4 else []
    return Lead(
        number=number,
        created=created,
        source=source,
        medium=r.randrange(3),
        campaign=r.choice([0, 1, None]),
        country=r.randrange(3),
        job=job,
        company=r.choice([None, *range(firms)]) if r.random() < 0.8 else None,
        deleted=r.random() < 0.04,
        events=tuple(event for event in events if event.at < end) + tuple(planned),
        stages=tuple(stage for stage in stages if stage[1] < end),
        amounts=tuple(amount for amount in amounts if amount[0] < end),
    )


def renamed(names: Mapping[str, str]) -> Callable[[Lead], list[tuple[str, datetime]]]:
    """The stages of a lead by the names that a CRM gives them."""
    return lambda lead: [(names[stage], at) for stage, at in lead.stages if stage in names]


def word(words: tuple[str, ...], number: int | None) -> str | None:
    """The word with a number, if there is one."""
    return None if number is None else words[number]


def true_history(company: Company, spelling: Spelling, *, deletes: bool = True) -> dict[str, pl.DataFrame]:
    """The company's history as frames of the data contract, in the words of a spelling.

    Leads that were deleted are left out if the CRM ``deletes``, with all that belongs to them.
    """
    leads = [lead for lead in company.leads if not (deletes and lead.deleted)]
    tables = {
        "leads": [
            {"lead_id": spelling.lead_id(lead), "created_at": lead.created}
            | ({"account_id": spelling.account_id(lead)} if spelling.account_id else {})
            | {name: value(lead) for name, value in spelling.attributes.items()}
            for lead in leads
        ],
        "touchpoints": [
            {
                "lead_id": spelling.lead_id(lead),
                "occurred_at": event.at,
                "kind": spelling.kinds[event.kind],
                "campaign": word(CAMPAIGNS, event.campaign) if event.kind in spelling.campaigns else None,
            }
            for lead in leads
            for event in lead.events
            if event.done and event.kind in spelling.kinds
        ],
        "transitions": [
            {"lead_id": spelling.lead_id(lead), "occurred_at": at, "stage": stage}
            for lead in leads
            for stage, at in spelling.stages(lead)
        ],
    }
    if spelling.amounts is not None:
        tables["attributes"] = [
            {"lead_id": spelling.lead_id(lead), "known_at": at, "name": spelling.amounts, "value": str(value)}
            for lead in leads
            for at, value in lead.amounts
        ]
    if spelling.accounts:
        tables["accounts"] = [
            {"account_id": str(number)} | {name: value(number) for name, value in spelling.accounts.items()}
            for number in range(len(company.industries))
        ]
    return {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in tables.items()}
