"""What a column is, found out from its values: a number, a flag, a category, or nothing a model can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import polars as pl

from features.reading.amounts import amounts, doubtful, units
from features.reading.parsing import FALSE, TRUE, categories, flags
from features.reading.times import detected, swappable

if TYPE_CHECKING:
    from features.reading.parsing import Decimal

Role = Literal["number", "flag", "category", "identifier", "text", "date", "constant", "empty"]
ROLES: tuple[Role, ...] = get_args(Role)
USED: frozenset[Role] = frozenset({"number", "flag", "category"})

NUMBER_SHARE = 0.99
IDENTIFIER_SHARE = 0.95
TEXT_SHARE = 0.5
TEXT_LENGTH = 60
DATE_SHARE = 0.9
EMAIL = r"^\s*[^@\s]+@[^@\s]+\.[^@\s]+\s*$"
_ENOUGH = 20
DOUBTFUL = "words: commas or points may separate thousands or decimals; write plain numbers to use it as one"
MIXED = "words: numbers with different units, "
PARTLY = "words, but mostly numbers"
LIKE_NUMBERS = (DOUBTFUL, MIXED, PARTLY)
_MOSTLY = 0.5
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class ColumnRole:
    """What a column is taken for and why. ``missing`` is the share of rows without a value."""

    column: str
    role: Role
    reason: str
    distinct: int = 0
    missing: float = 0.0
    by: Literal["leadloop", "user"] = "leadloop"

    @property
    def used(self) -> bool:
        """Whether the column can be an attribute."""
        return self.role in USED


def role_of(column: pl.Series, decimal: Decimal = ".") -> ColumnRole:
    """The role of a column whose missing values are null already.

    >>> role_of(pl.Series("visits", ["0", "3", None, "1.5"])).role
    'number'
    >>> role_of(pl.Series("zip", ["01099", "80331"] * 10)).reason
    'codes with leading zeros'
    """
    known = column.drop_nulls()
    distinct = known.n_unique()
    role, reason = _role(known, distinct, decimal)
    if distinct == 1 and len(known) == len(column):
        role, reason = "constant", f"every row has {_shown(known)}"
    return ColumnRole(column.name, role, reason, distinct, 1 - len(known) / max(len(column), 1))


def _shown(known: pl.Series) -> str:
    if known.dtype.is_nested():
        return f"the same {known.dtype}"
    text = repr(known[0])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def said_role(column: pl.Series, role: Role) -> ColumnRole:
    """The role of a column of which the user has said it; nothing is looked for."""
    known = column.drop_nulls()
    missing = 1 - len(known) / max(len(column), 1)
    return ColumnRole(column.name, role, "the configuration says so", known.n_unique(), missing, "user")


def _role(known: pl.Series, distinct: int, decimal: Decimal) -> tuple[Role, str]:
    if known.is_empty():
        return "empty", "no row has a value"
    return _text_role(known, distinct, decimal) if known.dtype == pl.String else _typed_role(known)


def _text_role(known: pl.Series, distinct: int, decimal: Decimal) -> tuple[Role, str]:
    if known.str.contains("^0[0-9]").any() and known.str.contains("^[0-9]+$").all():
        return _words(known, distinct, "codes with leading zeros")
    share = float(amounts(known, decimal).is_not_null().mean())  # type: ignore[arg-type]
    doubt = doubtful(known, decimal) and (share < NUMBER_SHARE or decimal == ",")
    if _numbers_rows(known):
        return "identifier", "numbers the rows"
    if share >= NUMBER_SHARE and not doubt and len(units(known)) <= 1:
        return "number", "numbers" if share == 1 else f"numbers, but for {1 - share:.1%} of the values"
    if _both_flags(known):
        return "flag", "yes and no"
    if when := None if doubt else _times(known):
        return "date", when
    return _words(known, distinct, DOUBTFUL if doubt else _hint(known, share))


def _numbers_rows(known: pl.Series) -> bool:
    """Whether the values count the rows one by one, as a spreadsheet's first column often does.

    Such a column tells leads of a file apart but says nothing of a new lead.
    """
    if len(known) < _ENOUGH or not known.str.contains("^(?:0|[1-9][0-9]{0,14})$").all():
        return False
    steps = known.cast(pl.Int64).diff().drop_nulls()
    return bool(((steps == 1).all()) or (steps == -1).all())


def _times(known: pl.Series) -> str:
    """What to say of a column of times; nothing, where it is none."""
    if how := detected(known):
        return f"times ({how.pattern})"
    if how := detected(known, share=DATE_SHARE):
        return f"times ({how.pattern}), but for a few values"
    return "times in which day and month could be swapped" if swappable(known) else ""


def _typed_role(known: pl.Series) -> tuple[Role, str]:
    if known.dtype == pl.Boolean:
        return "flag", "true and false"
    if known.dtype.is_numeric():
        return "number", "numbers"
    if known.dtype.is_temporal():
        return "date", "times"
    return "text", f"values of type {known.dtype}"


def _both_flags(known: pl.Series) -> bool:
    words = set(known.str.to_lowercase().unique().head(len(TRUE) + len(FALSE) + 1))
    return words <= TRUE | FALSE and bool(words & TRUE) and bool(words & FALSE)


def _hint(known: pl.Series, share: float) -> str:
    if share >= NUMBER_SHARE:
        return f"{MIXED}{' and '.join(units(known))}"
    if share >= _MOSTLY:
        return (
            f"{PARTLY}: {share:.1%} of the values; if the others mean a missing value, name them in missing"
        )
    return "words" if not share else f"words, only {share:.0%} of the values are numbers"


def _words(known: pl.Series, distinct: int, reason: str) -> tuple[Role, str]:
    if float(known.str.contains(EMAIL).mean()) >= NUMBER_SHARE:  # type: ignore[arg-type]
        return "identifier", "e-mail addresses"
    share = distinct / len(known)
    if len(known) < _ENOUGH or share < TEXT_SHARE:
        return "category", reason
    if float(known.str.len_chars().mean()) > TEXT_LENGTH:  # type: ignore[arg-type]
        return "text", "long free text"
    if share >= IDENTIFIER_SHARE:
        why = f"; {reason}" if reason.startswith(LIKE_NUMBERS) else ""
        return "identifier", f"{share:.0%} of the values occur once only{why}"
    return "category", reason


def typed(column: pl.Series, role: Role, decimal: Decimal = ".") -> pl.Series:
    """The column as its role has it: Float64 for a number or flag, String for a category.

    Raises:
        ValueError: columns of that role are no attributes.
    """
    if role == "number":
        return amounts(column, decimal)
    if role == "flag":
        return flags(column)
    if role == "category":
        return categories(column)
    msg = f"column {column.name!r} is {role}, which is no attribute; a role is number, flag or category"
    raise ValueError(msg)
