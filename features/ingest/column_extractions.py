"""Which columns hold something to read out: addresses, titles, choices, texts, times of day.

What is found is shown and can be configured: ``extract = { Email = "email", Notes = "none" }``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from features.date_parts import read_clock
from features.extraction import (
    ADDRESS,
    NUMERIC_UNITS,
    ColumnExtraction,
    cell_texts,
    extract_column,
    extract_lags,
    split_choices,
    split_words,
)
from features.ingest.column_roles import (
    CHOICE_MARKS,
    ColumnRole,
    has_several_choices,
    holds_documents,
    is_like_numbers,
)
from features.ingest.personal_columns import is_personal
from features.messages import Message
from features.word_lists import read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import polars as pl

    from features.ingest.column_roles import Role

Extracted = Literal["email", "title", "choices", "words", "time", "none"]
EXTRACTED: tuple[Extracted, ...] = get_args(Extracted)
EVERY = "*"
"""The name that stands for all columns in the configuration."""

_EMAIL_SHARE = _LIST_SHARE = 0.9
_CLOCK_SHARE = 0.99
_MIN_VALUES, _SAMPLE = 20, 2_000
_HEADED_SHARE, _TITLE_SHARE, _FEWEST_TITLES = 0.3, 0.6, 10
_FEWEST_CELLS, _MOST_FLAGS = 5, 40
_WORDS_A_CELL, _DISTINCT_SHARE = 5.0, 0.5
_LIST = r"^(\[.*\]|\{.*\})$"
_TITLE_HEADING = re.compile(
    r"(^|[\W_])(job|title|titel|jobtitel|position|funktion|function|stelle|stellenbezeichnung"
    r"|berufsbezeichnung|beruf|occupation|role|rolle)([\W_]|$)|jobtitle",
    re.IGNORECASE,
)
_USED: frozenset[Role] = frozenset({"category", "identifier", "text"})
# The column itself is no attribute then: what is read out of it says more, or it must not be kept.
_ROLE_INSTEAD: dict[Extracted, Role] = {
    "email": "identifier",
    "choices": "text",
    "words": "text",
    "time": "text",
}


@dataclass(frozen=True)
class ExtractedColumns:
    """What is read out of the free columns of a table.

    Attributes:
        extractions: How, a record for each new column.
        roles: The roles of the free columns, and after them those of the new ones.
        notices: A sentence for each column that is read out.
    """

    extractions: tuple[ColumnExtraction, ...]
    roles: tuple[ColumnRole, ...]
    notices: tuple[Message, ...] = ()

    def columns(self, frame: pl.DataFrame) -> list[pl.Series]:
        """The new columns of ``frame``, whose cells are clean."""
        names = {name for each in self.extractions for name in each.columns}
        texts = {name: cell_texts(frame[name]) for name in names}
        return [
            extract_lags(each, texts[each.column], texts[each.other])
            if each.other
            else extract_column(each, texts[each.column])
            for each in self.extractions
        ]


def find_extractions(
    frame: pl.DataFrame, roles: tuple[ColumnRole, ...], declared: Mapping[str, Extracted]
) -> ExtractedColumns:
    """Find what there is to read out of the columns of a table.

    Args:
        frame: The free columns, clean, their missing values null.
        roles: What each was taken for.
        declared: What the user says is in a column, ``"none"`` for nothing; ``"*"`` speaks of all others.
    """
    names, extractions = set(frame.columns), list[ColumnExtraction]()
    base_roles, new_roles, notices = list[ColumnRole](), list[ColumnRole](), list[Message]()
    for role in roles:
        column = cell_texts(frame[role.column])
        kind = declared.get(role.column, declared.get(EVERY)) or _infer_extracted(column, role)
        own = [each for each in _extractions(kind, column, role) if each.name not in names]
        extractions += own
        base_roles.append(_without_values(role, kind) if own else role)
        new_roles += [extracted_role(each) for each in own]
        notices += [_notice(kind, own)] if own else []
    return ExtractedColumns(tuple(extractions), (*base_roles, *new_roles), tuple(notices))


def known_extractions(
    extractions: Iterable[ColumnExtraction], roles: tuple[ColumnRole, ...]
) -> ExtractedColumns:
    """What a model reads out, beside columns of the ``roles`` that it knows."""
    own = tuple(extractions)
    return ExtractedColumns(own, (*roles, *map(extracted_role, own)))


def is_read_out(reason: Message) -> bool:
    """Whether a column is no attribute because something is read out of it instead."""
    return reason.key in {f"columns.read_{kind}" for kind in _ROLE_INSTEAD}


def replaces_values(extractions: Iterable[ColumnExtraction]) -> bool:
    """Whether the cells that these are read out of are not kept beside them."""
    return not any(each.part in {"title_rank", "title_department"} for each in extractions)


def _without_values(role: ColumnRole, kind: Extracted) -> ColumnRole:
    instead = _ROLE_INSTEAD.get(kind)
    return role if instead is None else replace(role, role=instead, reason=Message(f"columns.read_{kind}"))


def extracted_role(extraction: ColumnExtraction) -> ColumnRole:
    """The role of a column that is read out of another."""
    role: Role = "category"
    if extraction.unit in NUMERIC_UNITS:
        role = "flag" if extraction.unit == "flag" else "number"
    reason = Message("columns.extracted", column=extraction.column)
    return ColumnRole(extraction.name, role, reason, extraction=extraction)


def _notice(kind: Extracted, extractions: list[ColumnExtraction]) -> Message:
    flags = sum(each.part == "choice" for each in extractions)
    return Message(f"columns.notice_{kind}", column=extractions[0].column, choices=flags)


def _infer_extracted(column: pl.Series, role: ColumnRole) -> Extracted:
    """What a column holds by its values; the role that a user declared is what it is."""
    known = column.drop_nulls()
    if known.is_empty() or role.by == "user" or is_personal(role.reason):
        return "none"
    if _is_time_of_day(known):
        return "time"
    return "none" if role.role not in _USED or holds_documents(known) else _infer_from_words(known, role)


def _infer_from_words(known: pl.Series, role: ColumnRole) -> Extracted:
    """What the filled cells of a column of words hold."""
    if _is_email(known):
        return "email"
    if is_like_numbers(role.reason):
        return "none"
    if has_several_choices(role.reason) or _is_list(known):
        return "choices"
    if len(known) < _MIN_VALUES:
        return "none"
    if _is_title(role.column, known):
        return "title"
    return "words" if _is_prose(known) else "none"


def _is_email(known: pl.Series) -> bool:
    is_address = known.head(_SAMPLE).str.contains(f"^(?:{ADDRESS.pattern})$")
    if float(is_address.mean() or 0.0) < _EMAIL_SHARE:  # type: ignore[arg-type]
        return False
    return float(known.str.contains(f"^(?:{ADDRESS.pattern})$").mean() or 0.0) >= _EMAIL_SHARE  # type: ignore[arg-type]


def _is_time_of_day(known: pl.Series) -> bool:
    """Whether nearly all cells are times of day; a date with a clock is none."""
    has_colon = known.head(_SAMPLE).str.contains(":", literal=True)
    if float(has_colon.mean() or 0.0) < _CLOCK_SHARE:  # type: ignore[arg-type]
        return False
    cells = known.alias("cell").value_counts(name="rows").iter_rows()
    times = sum(int(rows) for cell, rows in cells if read_clock(cell) is not None)
    return times >= _CLOCK_SHARE * len(known)


def _is_list(known: pl.Series) -> bool:
    return float(known.str.contains(_LIST).mean() or 0.0) >= _LIST_SHARE  # type: ignore[arg-type]


def _is_title(name: str, known: pl.Series) -> bool:
    titles = known.unique()
    if len(titles) < _FEWEST_TITLES or titles.str.contains("://", literal=True).any():
        return False
    ranks, departments = (
        _share(known, ColumnExtraction(name, part, _title_lexicon(part)))
        for part in ("title_rank", "title_department")
    )
    if _TITLE_HEADING.search(name):
        return max(ranks, departments) >= _HEADED_SHARE
    return ranks >= _TITLE_SHARE


def _share(known: pl.Series, extraction: ColumnExtraction) -> float:
    return 1 - extract_column(extraction, known.head(_SAMPLE)).null_count() / min(len(known), _SAMPLE)


def _is_prose(known: pl.Series) -> bool:
    """Whether cells hold sentences: several words each, and most cells others than the rest."""
    sample = known.head(_SAMPLE)
    if known.n_unique() < _DISTINCT_SHARE * len(known) or not sample.str.contains(" ", literal=True).any():
        return False
    return sum(len(split_words(text)) for text in sample) >= _WORDS_A_CELL * len(sample)


def _extractions(kind: Extracted, column: pl.Series, role: ColumnRole) -> Iterator[ColumnExtraction]:
    name = role.column
    if kind == "email":
        yield ColumnExtraction(name, "email_kind", _kind_lexicon())
        yield ColumnExtraction(name, "email_domain")
        yield ColumnExtraction(name, "email_country", _country_lexicon())
    elif kind == "title":
        yield ColumnExtraction(name, "title_rank", _title_lexicon("title_rank"))
        yield ColumnExtraction(name, "title_department", _title_lexicon("title_department"))
    elif kind == "words":
        yield ColumnExtraction(name, "words")
    elif kind == "time":
        yield ColumnExtraction(name, "clock_time")
    elif kind == "choices":
        yield from _choice_extractions(name, column, _choice_mark(column, role))


def _choice_mark(column: pl.Series, role: ColumnRole) -> str:
    if has_several_choices(role.reason):
        return str(role.reason.values["mark"])
    known = column.drop_nulls()
    if known.is_empty() or _is_list(known):
        return ""
    return max(CHOICE_MARKS, key=lambda mark: int(known.str.contains(mark, literal=True).sum()))


def _choice_extractions(name: str, column: pl.Series, mark: str) -> Iterator[ColumnExtraction]:
    """A flag for each of the most frequent choices."""
    cells = column.drop_nulls().value_counts(name="cells")
    tally: dict[str, int] = {}
    for text, count in cells.iter_rows():
        for choice in split_choices(text, mark):
            tally[choice] = tally.get(choice, 0) + count
    frequent = [choice for choice, count in tally.items() if count >= _FEWEST_CELLS]
    most = sorted(frequent, key=lambda choice: (-tally[choice], choice))[:_MOST_FLAGS]
    if len(most) < 2:  # noqa: PLR2004 - a single one is a flag, not a choice
        return
    yield from (ColumnExtraction(name, "choice", mark=mark, choice=choice) for choice in sorted(most))


@cache
def _kind_lexicon() -> tuple[tuple[str, str], ...]:
    lists = read_vocabulary("email_domains")
    return tuple((domain, kind) for kind in ("private", "education") for domain in lists[kind])


@cache
def _country_lexicon() -> tuple[tuple[str, str], ...]:
    lists = read_vocabulary("email_domains")
    return (*((ending, "") for ending in lists["no_country"]), *lists["country"].items())


@cache
def _title_lexicon(part: Literal["title_rank", "title_department"]) -> tuple[tuple[str, str], ...]:
    runs = read_vocabulary("job_titles")[part.removeprefix("title_")]
    return tuple((word, run["name"]) for run in runs for word in run["words"])
