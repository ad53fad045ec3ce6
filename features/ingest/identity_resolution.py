"""Which leads are one person, as far as a column tells that points at one: address, phone, id, name.

Only numbers leave this module. No address and no name is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.column_roles import EMAIL
from features.parsing import parse_categories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Most values of a column that points at persons stand at one lead or two; an owner's address, or that of a
# whole company, does not. A value of more leads than a person has is a placeholder or an inbox of many.
DISTINCT, MOST_LEADS = 0.5, 10
_MIN_SHARE, _SAMPLE_SIZE = 0.9, 1_000
_HASH = r"^(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$"
_NUMBER = r"^[+0-9 ()/.-]{7,}$"
_LAST_DIGITS = 9

_PHONE = re.compile(r"(^|_)(tele)?(phone|fon)|(^|_)(mobil|handy|cell|tel(_|$))", re.IGNORECASE)
_KEY = re.compile(
    r"(^|_)(person|contact|kontakt|customer|kunden?|client|user|visitor|cookie|member|mitglieds?)"
    r"_?(id|key|no|nr|nummer|number|hash|uuid)$",
    re.IGNORECASE,
)
_FAMILY_NAME = re.compile(
    r"^((lead|contact|kontakt|customer|full|person|ansprechpartner)_?)?name$|(last|sur|family|nach)_?name$"
    r"|^ansprechpartner(in)?$",
    re.IGNORECASE,
)
_GIVEN_NAME = re.compile(r"(first|given|vor)_?name$", re.IGNORECASE)
# A name alone is not one person: two of that name may live anywhere, but hardly at one company or postcode.
_NAME_CONTEXT = re.compile(
    r"company|firma|organi[sz]ation|employer|arbeitgeber|zip|postal|post_?code|plz|postleitzahl|birth|geburt",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Pointer:
    """What points at a person: a column, or several together, with values made comparable."""

    name: str
    values: pl.Series


def resolve_identities(lead_id: pl.Series, columns: Iterable[pl.Series]) -> pl.DataFrame:
    """``lead_id``, and by the name of each column that points at persons the number of the person.

    Null is nobody in particular. Values are compared without case, blanks and what phone numbers are written
    with; names count together with a company, a postcode or a date of birth.

    >>> columns = [pl.Series("E-Mail", ["a@x.de", "A@x.de ", "b@y.de", None])]
    >>> resolve_identities(pl.Series("lead_id", ["1", "2", "3", "4"]), columns)["E-Mail"].to_list()
    [1, 1, 2, None]
    """
    by_name = {name: column for column in columns for name in [column.name] if name != lead_id.name}
    numbered = [_number_persons(pointer) for pointer in _pointers(by_name)]
    return pl.DataFrame([lead_id, *(column for column in numbered if column is not None)])


def _pointers(columns: dict[str, pl.Series]) -> Iterator[_Pointer]:
    for name, column in columns.items():
        if normalise := _normaliser(name, column):
            yield _Pointer(name, normalise(parse_categories(column)))
    if name_columns := _name_columns(columns):
        parts = [_letters(parse_categories(columns[name])) for name in name_columns]
        joined = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator="|")).to_series()
        yield _Pointer(" + ".join(name_columns), joined)


def _normaliser(name: str, column: pl.Series) -> Callable[[pl.Series], pl.Series] | None:
    """The function that makes values of a column comparable if it points at persons, else None."""
    spelling, words = _snake_case(name), parse_categories(column)
    if _PHONE.search(spelling) and _matches_pattern(words, _NUMBER):
        return _digits
    return _letters if _KEY.search(spelling) or _matches_pattern(words, f"{EMAIL}|{_HASH}") else None


def _snake_case(name: str) -> str:
    """``LeadLastName`` and ``lead last-name`` as ``Lead_Last_Name`` and ``lead_last_name``."""
    return re.sub(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])|\W+", "_", name)


def _matches_pattern(column: pl.Series, pattern: str) -> bool:
    known = column.drop_nulls().head(_SAMPLE_SIZE)
    return bool(len(known)) and float(known.str.contains(pattern).mean()) >= _MIN_SHARE  # type: ignore[arg-type]


def _name_columns(columns: Iterable[str]) -> list[str]:
    """The columns that name a person together; empty without both a family name and a context."""
    spellings = {name: _snake_case(name) for name in columns}
    family, given_names, context = (
        [name for name, spelling in spellings.items() if pattern.search(spelling)]
        for pattern in (_FAMILY_NAME, _GIVEN_NAME, _NAME_CONTEXT)
    )
    return [*given_names, *family, *context] if family and context else []


def _letters(column: pl.Series) -> pl.Series:
    return column.str.strip_chars().str.to_lowercase()


def _digits(column: pl.Series) -> pl.Series:
    """The last digits of phone numbers: the same with the code of the country, or without it."""
    return column.str.replace_all(r"[^0-9]", "").str.tail(_LAST_DIGITS)


def _number_persons(pointer: _Pointer) -> pl.Series | None:
    """The number of each value; None unless most values belong to one person each."""
    values = pointer.values
    shared = pl.DataFrame({"value": values}).select(pl.len().over("value")).to_series()
    usable = values.set((shared > MOST_LEADS) & values.is_not_null(), None).alias(pointer.name)
    known = values.drop_nulls()
    if not len(known) or known.n_unique() < DISTINCT * len(known):
        return None
    return usable.rank("dense").cast(pl.Int64)
