"""Which table is that of leads, and by which columns the others refer to it.

Values alone tell it only where ids are unlike all else. Whole numbers are not: counts, codes and the rows of
any other table are among the ids from 1 to n. Of these the name of the column must say what it refers to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.quarantine import SourceError
from features.parsing import has_single_values
from features.word_lists import bare_heading, fold_heading, heading_pattern
from training.config.late_facts import is_sync_stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.config.file_survey import FileProfile

_ID = heading_pattern("id")
_LEAD = r"lead|contact|prospect|opportunit(y|ie)|kontakt|interessent|deal|mql|pipeline"
_LEADS = re.compile(_LEAD, re.IGNORECASE)
_EXACTLY_LEADS = re.compile(rf"(crm_?)?({_LEAD})(s|en)?(_?details)?", re.IGNORECASE)
_EVENTS = re.compile(
    r"task|activit|event|visit|touch|call|mail|audit|histor|log$|change|move|stage|aufgabe|termin|aktivität"
    r"|identif|track|page|session",
    re.IGNORECASE,
)
_HAPPENED = re.compile(
    r"(^|_)(created|converted|(dis)?qualified|won|lost|closed|merged?|deleted?|new)(_|$)", re.IGNORECASE
)
_ACCOUNTS = re.compile(r"account|compan|firm|organi[sz]ation|unternehmen|kunde|customer", re.IGNORECASE)
_OVERLAP = 0.5
# Whole numbers whose column says nothing of the table must hold at least this share of its ids.
_FEWEST_IDS, _NEARLY_ALL = 0.05, 0.95
_SHORTEST_STEM = 4


def find_join_key(profile: FileProfile, other: FileProfile) -> tuple[str, str] | None:
    """A key of ``profile`` and the column of ``other`` that holds its values; None without such a pair."""
    for key in profile.keys:
        known = profile.frame[key].cast(pl.String)
        for name in _candidates(profile, other, key):
            values = other.frame[name].cast(pl.String).drop_nulls()
            if not _overlap(values, known, other):
                continue
            if _refers_to(profile, name, key) or not _are_whole_numbers(known):
                return key, name
            found = values.filter(values.is_in(known.implode())).n_unique()
            is_id = _ID.search(bare_heading(name)) and not _are_two_keys(profile, other, key, name)
            if is_id and found >= _least_share(key, name) * len(known):
                return key, name
    return None


def _overlap(values: pl.Series, known: pl.Series, other: FileProfile) -> bool:
    """Whether most values are known ids, or most ids are among the values of a table of events.

    Of the visitors of a website few become leads; of a code most ids could be by chance.
    """
    if float(values.is_in(known.implode()).mean() or 0) > _OVERLAP:  # type: ignore[arg-type]
        return True
    may_hold_strangers = bool(other.dates) and not _are_whole_numbers(known)
    return may_hold_strangers and float(known.is_in(values.implode()).mean() or 0) > _OVERLAP  # type: ignore[arg-type]


def _candidates(profile: FileProfile, other: FileProfile, key: str) -> Iterator[str]:
    """The columns that may hold the key, those first whose name says so."""
    names = [
        name
        for name, dtype in other.frame.schema.items()
        if has_single_values(dtype) and not is_sync_stamp(name)
        if _refers_to(profile, name, key) or not _is_own_key(other, name)
    ]
    yield from sorted(
        names, key=lambda name: (not _refers_to(profile, name, key), name != key, not _ID.search(name))
    )


def _is_own_key(profile: FileProfile, name: str) -> bool:
    """Whether a column is called after its own table, as "companyid" in "companies"."""
    return name in profile.keys and fold_heading(name) not in _GENERIC and _names_table(profile, name)


def _names_table(profile: FileProfile, name: str) -> bool:
    """Whether the name of a column is that of a table, as "contact id" or "contact" that of "contacts"."""
    heading = bare_heading(fold_heading(name)).split()
    words = [word for word in heading if word not in _GENERIC]
    stem = fold_heading(profile.table.stem).split()
    may_refer = _ID.search(name) or len(heading) == 1
    return bool(stem) and may_refer and any(_same_stem(word, stem[-1]) for word in words)


def _refers_to(profile: FileProfile, name: str, key: str) -> bool:
    """Whether a column is called like the key, unless that is any table's "id", or like the table itself."""
    own, other = fold_heading(key), fold_heading(name)
    if own == other:
        return own not in _GENERIC
    return _names_table(profile, name)


def _are_two_keys(profile: FileProfile, other: FileProfile, key: str, name: str) -> bool:
    """Whether two columns called "id" are the keys of two tables, of which one names the other elsewhere."""
    is_generic = {fold_heading(key), fold_heading(name)} <= _GENERIC
    return is_generic and any(_names_table(other, column) for column in profile.frame.columns)


def _least_share(key: str, name: str) -> float:
    """The share of the ids that a column must hold whose name does not say what it refers to.

    Two columns called "id" are most likely the keys of two tables, whose rows are both numbered from 1 on.
    """
    names = {fold_heading(key), fold_heading(name)}
    return _NEARLY_ALL if names <= _GENERIC else _FEWEST_IDS


_GENERIC = frozenset({"id", "key", "uuid", "guid", "record id", "number", "no", "nr"})


def _same_stem(word: str, table: str) -> bool:
    """Whether a word of a column names a table, be it in the singular: "company id" those of "companies"."""
    singular = re.sub(r"(ies|y|s|en)$", "", table)
    return (
        len(singular) >= _SHORTEST_STEM and re.sub(r"(ies|y|s|en)$", "", re.sub(r"id$", "", word)) == singular
    )


def _are_whole_numbers(ids: pl.Series) -> bool:
    return bool(ids.drop_nulls().str.contains(r"^\d+$").all())


def find_leads_table(profiles: Sequence[FileProfile]) -> FileProfile:
    """The table of leads: the one whose key most other tables refer to, unless it is one of accounts.

    Raises:
        SourceError: No table has a key and a date.
    """
    keyed = [profile for profile in profiles if profile.keys and profile.dates]
    if not keyed:
        names = ", ".join(profile.name for profile in profiles)
        msg = (
            f"none of {names} names every lead once (a column of ids) and says when it was created (a date); "
            "export the table of leads or contacts with both"
        )
        raise SourceError(msg)
    return max(
        keyed,
        key=lambda profile: (
            _name_rank(profile),
            sum(_covers(profile, other) for other in profiles if other is not profile),
            profile.frame.height,
        ),
    )


def _name_rank(profile: FileProfile) -> int:
    """3 for a table called leads, 2 for one called like leads, 1 if that is a part of it, -1 for others."""
    stem = profile.table.stem
    if re.search(r"(^|[_\s-])leads$", stem, re.IGNORECASE):
        return 3
    if _EVENTS.search(stem):
        return -1
    if re.search(r"(^|[_\s-])lead$", stem, re.IGNORECASE):
        return 3
    if _HAPPENED.search(stem):
        return -1
    if _EXACTLY_LEADS.fullmatch(stem):
        return 2
    named = len(_LEADS.findall(stem))
    # A table called after two of them links them.
    return 1 if named == 1 else -1 if named or _ACCOUNTS.search(stem) else 0


def _covers(profile: FileProfile, other: FileProfile) -> bool:
    return bool(other.dates) and find_join_key(profile, other) is not None
