"""Which leads are one person: found by what points at a person, and by nothing else; only numbers remain."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest

from features.ingest.flat_export import read_flat
from features.ingest.identity_resolution import DISTINCT, MOST_LEADS, resolve_identities
from features.ingest.mapping import FlatMapping

LEADS = 200


def resolve(**columns):
    ids = pl.Series("lead_id", [str(n) for n in range(len(next(iter(columns.values()))))])
    return resolve_identities(ids, [pl.Series(name, values) for name, values in columns.items()])


def twice(say, leads=LEADS):
    """What ``say`` has for each of so many leads, every person standing for two of them."""
    return [say(n // 2) for n in range(leads)]


def sha(n):
    return hashlib.sha256(f"{n}".encode()).hexdigest()


@pytest.mark.parametrize(
    ("column", "say"),
    [
        ("Anything", lambda n: f"lead{n}@firm.example"),
        ("Telefon", lambda n: f"+49 351 {n:07d}"),
        ("MobilePhone", lambda n: f"0172/{n:07d}"),
        ("phone_hash", sha),
        ("Customer ID", lambda n: n),
        ("Kundennummer", lambda n: f"K-{n}"),
    ],
)
def test_what_points_at_a_person_is_found_and_numbers_two_leads_alike(column, say):
    who = resolve(**{column: twice(say)})[column]
    assert who.dtype == pl.Int64
    assert who.n_unique() == LEADS / 2
    assert (who.gather_every(2) == who.gather_every(2, 1)).all()


@pytest.mark.parametrize(
    ("column", "say"),
    [
        ("Company", lambda n: f"Firm {n}"),
        ("Campaign name", lambda n: f"Spring {n}"),
        ("Phone calls", lambda n: n % 9),
        ("Call seconds on the phone", lambda n: 60 + n),
        ("Revenue", lambda n: 1_000_000 + n),
        ("Name", lambda n: f"Anna {n}"),
        ("Owner e-mail", lambda n: f"sales{n % 7}@us.example"),
        ("Contact ID", lambda n: n % 40),
    ],
)
def test_columns_that_many_share_or_that_count_point_at_nobody(column, say):
    assert resolve(**{column: twice(say)}).columns == ["lead_id"]


def test_a_name_is_a_person_together_with_a_company_or_postcode():
    columns = {"Vorname": twice(lambda n: f"A{n % 3}"), "Nachname": twice(lambda n: f"B{n}")}
    assert resolve(**columns).columns == ["lead_id"]
    pair = resolve(**columns, PLZ=twice(lambda n: f"{n:05d}"))
    assert pair.columns == ["lead_id", "Vorname + Nachname + PLZ"]
    assert pair["Vorname + Nachname + PLZ"].n_unique() == LEADS / 2


def test_spelling_does_not_part_a_person():
    numbers = ["0351 1234567", "+49 351 1234567", "0049-351-1234567", *(f"0351 765{n:04d}" for n in range(9))]
    assert resolve(Telefon=numbers)["Telefon"].head(3).n_unique() == 1
    mails = [" Ann@Firm.example", "ann@firm.EXAMPLE", *(f"{n}@firm.example" for n in range(9))]
    assert resolve(Mail=mails)["Mail"].head(2).n_unique() == 1


def test_an_address_of_many_leads_is_an_inbox_and_nobody():
    many = ["info@firm.example"] * (MOST_LEADS + 1)
    who = resolve(Mail=many + [f"{n}@firm.example" for n in range(LEADS)])["Mail"]
    assert who.head(MOST_LEADS + 1).null_count() == MOST_LEADS + 1
    assert who.tail(LEADS).null_count() == 0


def test_missing_values_are_nobody_in_common():
    who = resolve(Mail=[None] * 5 + [f"{n}@firm.example" for n in range(20)])["Mail"]
    assert who.head(5).null_count() == 5


@pytest.mark.parametrize("share", [DISTINCT - 0.05, DISTINCT + 0.05])
def test_most_values_must_stand_for_one_person_each(share):
    values = [f"{n % int(share * LEADS)}@firm.example" for n in range(LEADS)]
    assert ("Mail" in resolve(Mail=values).columns) == (share > DISTINCT)


def test_an_export_keeps_who_is_one_person_and_forgets_the_address(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "Id": range(LEADS),
            "E-Mail": twice(lambda n: f"private{n}@firm.example"),
            "Visits": rng.poisson(3, LEADS),
            "Won": rng.choice(["yes", "no"], LEADS),
        }
    )
    frame.write_csv(tmp_path / "leads.csv")
    for exclude in ((), ("E-Mail",)):
        export = read_flat(tmp_path / "leads.csv", FlatMapping(id="Id", label="Won", exclude=exclude))
        assert export.persons.columns == ["lead_id", "E-Mail"]
        assert export.persons["E-Mail"].n_unique() == LEADS / 2
        assert export.persons.schema["E-Mail"] == pl.Int64


def test_addresses_are_no_category_however_often_they_come_back(tmp_path):
    pl.DataFrame({"Mail": twice(lambda n: f"{n % 30}@firm.example"), "Won": ["yes", "no"] * 100}).write_csv(
        tmp_path / "leads.csv"
    )
    role, *extracted = read_flat(tmp_path / "leads.csv", FlatMapping(label="Won")).roles
    assert (role.role, role.reason.key) == ("identifier", "columns.read_email")
    assert all(each.extraction.column == "Mail" for each in extracted)
