"""The open word lists of ``vocabulary/``: what headings and cells of CRM exports mean, in several languages.

They are data, so that a word is added without touching code. Case, accents, umlauts written as two letters
and the marks between words make no difference: exports lose all of these on their way.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CAMEL = re.compile(r"(?<=[^\W_][^\W_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ABOUT = re.compile(r"^.*(?: [-–—:] |: )")  # noqa: RUF001 - a dash as products write it
_WRAPPED = re.compile(r"propert(?:y|ies)_+(.+?)(?:_+value(?:_+[a-z]+)?)?")
_MARKS = re.compile(r"[\W_]+")
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_PHRASE = re.compile(r"(\^?)(.*?)(\$?)")


def fold_word(text: str) -> str:
    """A cell in lower case, without accents and with single blanks; its marks stay.

    >>> fold_word("  Fermée  gagnée "), fold_word("-1")
    ('fermee gagnee', '-1')
    """
    return " ".join(_strip_accents(text.casefold()).split())


def fold_heading(text: str) -> str:
    """A heading as lower-case words without accents: joined words are opened, marks are blanks.

    >>> fold_heading("LeadSource"), fold_heading("Última-Actividad"), fold_heading("UTM_Source__c")
    ('lead source', 'ultima actividad', 'utm source c')
    """
    # Accents first: a mark that stands by itself, as a Mac writes them, would part the letters of a word.
    return fold_word(_MARKS.sub(" ", open_camel_case(_strip_accents(text))))


def bare_heading(heading: str) -> str:
    """A heading without the name of what it is about, which exports of several things write before each.

    Nor is there what tools that copy an API's answers write around the name of a property.

    >>> bare_heading("Deal - Lost reason"), bare_heading("Lead: Created"), bare_heading("E-Mail")
    ('Lost reason', 'Created', 'E-Mail')
    >>> bare_heading("properties__createdate__value"), bare_heading("property_name"), bare_heading("Property")
    ('createdate', 'name', 'Property')
    """
    wrapped = _WRAPPED.fullmatch(heading)
    return wrapped[1] if wrapped else _ABOUT.sub("", heading) or heading


def open_camel_case(text: str) -> str:
    """The text with blanks between joined words that begin with capitals.

    >>> open_camel_case("NumberOfEmployees"), open_camel_case("UTMSource"), open_camel_case("eMail")
    ('Number Of Employees', 'UTM Source', 'eMail')
    """
    return _CAMEL.sub(" ", text)


def _strip_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


@dataclass(frozen=True, slots=True)
class HeadingPattern:
    """Finds the phrases of one concept in headings."""

    pattern: re.Pattern[str]

    def search(self, heading: str) -> bool:
        """Whether a heading holds one of the phrases."""
        return self.pattern.search(fold_heading(heading)) is not None


@cache
def heading_pattern(*concepts: str) -> HeadingPattern:
    """The headings of any of the ``concepts``, which are tables of ``vocabulary/headings.toml``.

    Raises KeyError where there is no such table.

    >>> [heading_pattern("qualification").search(name) for name in ("Entscheider?", "BUDGET 2024", "Ort")]
    [True, True, False]
    """
    tables = [read_vocabulary("headings")[concept] for concept in concepts]
    return _pattern_of([word for languages in tables for word in _all_words(languages)])


@cache
def stage_pattern(concept: str) -> HeadingPattern:
    """The names of stages that mean ``concept``, a table of ``vocabulary/stages.toml``.

    >>> [stage_pattern("lost").search(name) for name in ("ClosedLost", "Not qualified", "Abgelehnt", "Neu")]
    [True, True, True, False]
    """
    return _pattern_of(_all_words(read_vocabulary("stages")[concept]))


@cache
def late_fact_pattern(concept: str) -> HeadingPattern:
    """The headings of columns that the outcome fills; from a table of ``vocabulary/late_facts.toml``.

    >>> [late_fact_pattern("owner").search(name) for name in ("LeadOwner", "Zuständig", "Ort")]
    [True, True, False]
    """
    return _pattern_of(_all_words(read_vocabulary("late_facts")[concept]))


@cache
def cell_words(name: str, concept: str) -> frozenset[str]:
    """The cells that mean ``concept``, folded as ``fold_word`` does; from ``vocabulary/<name>.toml``.

    >>> {"cerrada ganada", "sold"} <= cell_words("outcomes", "won")
    True
    """
    words = _all_words(read_vocabulary(name)[concept])
    return frozenset(spelling for word in words for spelling in _spellings(word, fold_word))


def match_headings(headings: Iterable[str], columns: Iterable[str]) -> dict[str, str]:
    """For each of the ``columns`` of the data contract the heading that means it, where there is one.

    A heading that consists of the words of a column wins over one that only begins with them; none is taken
    twice. What stands before a dash counts for nothing, as in "Activity - Type".

    >>> match_headings(["Datum", "Kanal", "Angelegt am", "Ort"], ["channel", "occurred_at", "amount"])
    {'channel': 'Kanal', 'occurred_at': 'Datum'}
    """
    contract = read_vocabulary("headings")["contract"]
    free = list(headings)
    matches = {}
    for column in columns:
        pattern = _pattern_of(_all_words(contract[column]), whole=True) if column in contract else None
        heading = next((name for name in free if pattern and pattern.search(bare_heading(name))), None)
        if heading is not None:
            matches[column] = heading
            free.remove(heading)
    return matches


def _all_words(languages: Mapping[str, list[str]]) -> list[str]:
    return [word for words in languages.values() for word in words]


def _spellings(word: str, fold: Any) -> set[str]:
    """The word folded, and folded with its umlauts written as two letters."""
    composed = unicodedata.normalize("NFC", word.casefold())
    return {fold(composed), fold(composed.translate(_TWO_LETTERS))}


def _pattern_of(words: Iterable[str], *, whole: bool = False) -> HeadingPattern:
    phrases = {spelling for word in words for spelling in _spellings(word, lambda text: text)}
    return HeadingPattern(re.compile("|".join(sorted(_phrase_pattern(phrase, whole) for phrase in phrases))))


def _phrase_pattern(phrase: str, whole: bool) -> str:  # noqa: FBT001
    """The regular expression of a phrase in a folded heading."""
    match = _PHRASE.fullmatch(phrase)
    begin, words, end = match.groups() if match else ("", phrase, "")
    folded = "[^ ]*".join(re.escape(_fold_part(part)) for part in words.split("*"))
    before = "^" if begin or whole else "(?:^| )"
    after = "$" if end or whole else "(?:$| )"
    return before + folded + after


def _fold_part(part: str) -> str:
    """A part of a phrase folded, with the blanks that part it from the words beside it."""
    folded = fold_word(part)
    return " " * part.startswith(" ") + folded + " " * (bool(folded) and part.endswith(" "))


@cache
def read_vocabulary(name: str) -> dict[str, Any]:
    """The word list ``vocabulary/<name>.toml``."""
    source = resources.files("features").joinpath("vocabulary", f"{name}.toml")
    return tomllib.loads(source.read_text(encoding="utf-8"))
