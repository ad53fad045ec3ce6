"""A simulated company as if it lived now: its past moved to the present, and people with names.

The simulator's companies have dates of their own, so that the same seed makes the same export. Whoever looks
at leads in the console looks today: there a lead that was last seen in the company's last days is fresh.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY

if TYPE_CHECKING:
    from features.history import LeadHistory

_TIMES = ("created_at", "occurred_at", "known_at")
_FIRST_NAMES = (
    *("Ada", "Amara", "Anton", "Aylin", "Ben", "Carla", "Chen", "Dario", "Edith", "Elif", "Emil", "Farah"),
    *("Greta", "Hanna", "Henrik", "Ines", "Ivan", "Jakob", "Jonas", "Jule", "Kaya", "Kofi", "Lena", "Leon"),
    *("Lucía", "Mara", "Marek", "Mia", "Milan", "Nadia", "Noah", "Olga", "Omar", "Paula", "Pia", "Rafael"),
    *("Rosa", "Samir", "Selma", "Sofie", "Theo", "Tilda", "Tomás", "Uma", "Vera", "Yara", "Yusuf", "Zoë"),
)
_LAST_NAMES = (
    *("Adler", "Almeida", "Bauer", "Berger", "Bianchi", "Blum", "Brandt", "Dahl", "Demir", "Dietz", "Engel"),
    *("Fischer", "Frank", "Gruber", "Haas", "Hansen", "Hofer", "Ivanova", "Jansen", "Kaya", "Keller", "Kim"),
    *("Klein", "Kovač", "Krüger", "Lange", "Larsen", "Lehmann", "Lindner", "Mensah", "Moreau", "Moser"),
    *(
        "Nguyen",
        "Novak",
        "Okafor",
        "Österle",
        "Papp",
        "Peters",
        "Reuter",
        "Rossi",
        "Sato",
        "Schäfer",
        "Silva",
    ),
    *("Sommer", "Stein", "Tanaka", "Vogel", "Weber", "Winter", "Aydin", "Zimmer"),
)
_WORDS = (
    *(
        "Alpen",
        "Anker",
        "Birken",
        "Blau",
        "Delta",
        "Elbe",
        "Falken",
        "Granit",
        "Harz",
        "Insel",
        "Jura",
        "Kiesel",
    ),
    *(
        "Linden",
        "Main",
        "Neckar",
        "Nord",
        "Ostsee",
        "Prisma",
        "Quell",
        "Rhein",
        "Silber",
        "Spree",
        "Tal",
        "Weser",
    ),
)
_KINDS = (
    "Logistik",
    "Maschinen",
    "Medizin",
    "Energie",
    "Software",
    "Handel",
    "Werke",
    "Bau",
    "Labor",
    "Druck",
)
_FORMS = ("GmbH", "AG", "KG", "SE")
OWNERS = ("Ada Berger", "Cem Aksoy", "Lena Hofer", "Tom Reuter")


def recent_leads(history: LeadHistory, seconds: int) -> LeadHistory:
    """The leads of the last so many seconds, with all that their accounts have."""
    recent = history.leads.filter(pl.col("created_at") >= history.observed_until - seconds)
    accounts = recent["account_id"].drop_nulls().unique()
    own = pl.col("lead_id").is_in(recent["lead_id"].implode())
    leads = history.leads.filter(own | pl.col("account_id").is_in(accounts.implode()))

    def of_leads(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.join(leads.select("lead_id"), on="lead_id", how="semi", maintain_order="left")

    return replace(
        history,
        leads=leads,
        touchpoints=of_leads(history.touchpoints),
        transitions=of_leads(history.transitions),
        attributes=of_leads(history.attributes),
        accounts=history.accounts.filter(pl.col("account_id").is_in(accounts.implode())),
    )


def move_to_present(history: LeadHistory, now: int) -> LeadHistory:
    """The history moved by whole days, so that it ends within the day before ``now`` (epoch seconds)."""
    shift = (now - history.observed_until) // DAY * DAY

    def move(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col(name) + shift for name in _TIMES if name in frame.columns)

    return replace(history.map_frames(move), observed_until=history.observed_until + shift)


def name_people(history: LeadHistory, seed: int) -> LeadHistory:
    """The history with a name and an owner for each lead, and companies by name instead of by number.

    Whoever works for the same company has the same owner. The names are combined from lists and are nobody's.
    """
    random = np.random.default_rng(seed)
    companies = pl.DataFrame({"account_id": history.accounts["account_id"]}).with_columns(
        pl.Series("company", _company_names(history.accounts.height, random)),
        pl.Series("owner", random.choice(OWNERS, history.accounts.height), pl.String),
    )
    alone = pl.Series(random.choice(OWNERS, history.leads.height), dtype=pl.String)
    leads = (
        history.leads.join(companies, on="account_id", how="left", maintain_order="left")
        .with_columns(
            pl.Series("name", _person_names(history.leads.height, random)),
            pl.col("owner").fill_null(alone),
            pl.coalesce("company", "account_id").alias("account_id"),
        )
        .drop("company")
    )
    accounts = (
        history.accounts.join(companies.drop("owner"), on="account_id", maintain_order="left")
        .with_columns(pl.col("company").alias("account_id"))
        .drop("company")
    )
    return replace(history, leads=leads, accounts=accounts)


def _person_names(count: int, random: np.random.Generator) -> list[str]:
    first, last = random.choice(_FIRST_NAMES, count), random.choice(_LAST_NAMES, count)
    return [f"{forename} {other}" for forename, other in zip(first, last, strict=True)]


def _company_names(count: int, random: np.random.Generator) -> list[str]:
    """So many different names, of which those that the lists do not have enough of are numbered."""
    names = [f"{word}{kind.lower()} {form}" for word in _WORDS for kind in _KINDS for form in _FORMS]
    random.shuffle(names)
    rounds = -(-count // len(names))
    return [name if number == 1 else f"{name} {number}" for number in range(1, rounds + 1) for name in names][
        :count
    ]
