"""What is read out of a column that is no attribute itself: an e-mail address, a title, choices, a text.

The domain of an address, the rank in a job title, a flag for each of several choices, the words of a note.
How it is read out is a record, a ``ColumnExtraction``, which stands in the spec of the feature and so in the
model's folder, word lists included: a file, a request and a monitor read out the same, whatever lists a later
release has. There is one definition for a table and for one value, ``make_extractor``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import polars as pl

from features.date_parts import clock_lag, date_part, lag_between, month_of, read_clock, weekday_of
from features.messages import Message
from features.parsing import MISSING, as_category, clean_text, parse_categories

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    Extract = Callable[[str | None], float | str | None]

Part = Literal[
    "email_kind",
    "email_domain",
    "email_country",
    "title_rank",
    "title_department",
    "choice",
    "words",
    "date_weekday",
    "date_month",
    "date_age",
    "date_lag",
    "clock_time",
    "clock_lag",
]
ExtractedUnit = Literal["category", "flag", "words", "seconds", "clock"]
PARTS: tuple[Part, ...] = get_args(Part)
_UNITS: dict[Part, ExtractedUnit] = {
    "choice": "flag",
    "words": "words",
    "date_age": "seconds",
    "date_lag": "seconds",
    "clock_time": "clock",
    "clock_lag": "seconds",
}
NUMERIC_UNITS: frozenset[ExtractedUnit] = frozenset({"flag", "seconds", "clock"})
"""The units of what is read out as a number."""

PRIVATE, BUSINESS = "private", "business"
ADDRESS = re.compile(r"(?:[^<>]*<)?\s*(?:mailto:)?[^@\s<>]+@([^@\s<>]+\.[^@\s<>.]{2,})\.?\s*>?\s*")
_WORD = re.compile(r"[^\W\d_]{2,30}")
_NO_PROSE = re.compile(r"\S*@\S*|\b(?:https?://|www\.)\S*")
# Values of lists that come from a database or a request are written so, that a cell is text everywhere.
_JSON, _ARRAY = ("[", "]"), ("{", "}")
_ARRAY_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,"]+)')
_COUNTRY_LETTERS = 2


@dataclass(frozen=True, slots=True)
class ColumnExtraction:
    """How one column is read out of another.

    Attributes:
        column: The column that is read; those of accounts are called ``account.<column>``.
        part: What is read out of it.
        lexicon: The word list that goes with ``part``, as pairs of a word and what it stands for: domains and
            "private", words of titles and their rank. Of ``words``, those that are kept; empty for all.
        mark: What separates several choices; of a date, how the column writes dates.
        choice: The choice that a flag is about.
        other: Of a lag, the column with the second date or time of day; of an age, that with the time of the
            row.
        other_mark: How that one writes dates.

    >>> make_extractor(ColumnExtraction("Email", "email_domain"))("Ann@Example.com")
    'example.com'
    """

    column: str
    part: Part
    lexicon: tuple[tuple[str, str], ...] = ()
    mark: str = ""
    choice: str = ""
    other: str = ""
    other_mark: str = ""

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            msg = f"{self.part!r} is no part of a column"
            raise ValueError(msg)

    @property
    def name(self) -> str:
        """The name of the extracted column."""
        if self.part == "choice":
            return f"{self.column}: {self.choice}"
        if self.part.endswith("_lag"):
            return f"{self.column} to {self.other}"
        return f"{self.column}: {self.part.partition('_')[2] or self.part}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read: one, or the two of a lag or an age."""
        return (self.column, self.other) if self.other else (self.column,)

    @property
    def unit(self) -> ExtractedUnit:
        """What its values are counted in."""
        return _UNITS.get(self.part, "category")

    def keep_words(self, words: Iterable[str]) -> ColumnExtraction:
        """The same with only these words of a text."""
        # An empty list keeps all words, so no word at all is one that no text has.
        return replace(self, lexicon=tuple((word, "") for word in words) or (("", ""),))

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> ColumnExtraction:
        """The extraction from a ``record`` that ``dataclasses.asdict`` and JSON made of one."""
        return cls(**record | {"lexicon": tuple((word, meaning) for word, meaning in record["lexicon"])})


def make_extractor(extraction: ColumnExtraction) -> Extract:
    """What reads the extraction out of one cell: clean text in, None where it is missing.

    A lag has two cells: ``extract_lag``.

    >>> make_extractor(ColumnExtraction("Interests", "choice", mark=";", choice="Demo"))("Blog; Demo")
    1.0
    """
    return _MAKERS[extraction.part](extraction)


def extract_column(extraction: ColumnExtraction, column: pl.Series) -> pl.Series:
    """The extracted column: Float64, or String for a category or words.

    Args:
        extraction: What is read out.
        column: The cells as ``cell_texts`` writes them.
    """
    dtype = pl.Float64 if extraction.unit in NUMERIC_UNITS else pl.String
    extract = make_extractor(extraction)
    cells = column.drop_nulls().unique()
    values = pl.Series([extract(cell) for cell in cells], dtype=dtype)
    return column.replace_strict(cells, values, default=None, return_dtype=dtype).alias(extraction.name)


def extract_lag(extraction: ColumnExtraction, start: str | None, end: str | None) -> float | None:
    """The lag of a row: seconds from the date, or the time of day, in ``start`` to that in ``end``.

    An age is missing where the date is after the time of the row, when nobody knew it.

    >>> lag = ColumnExtraction("Trial", "date_lag", mark="iso", other="Created", other_mark="iso")
    >>> extract_lag(lag, "2024-01-30", "2024-02-01"), extract_lag(lag, None, "2024-02-01")
    (172800.0, None)
    """
    if extraction.part == "clock_lag":
        return clock_lag(start, end)
    lag = lag_between(start, extraction.mark, end, extraction.other_mark)
    return None if lag is not None and lag < 0 and extraction.part == "date_age" else lag


def extract_lags(extraction: ColumnExtraction, start: pl.Series, end: pl.Series) -> pl.Series:
    """The column of ``extract_lag``, from cells as ``cell_texts`` writes them."""
    cells = zip(start.to_list(), end.to_list(), strict=True)
    return pl.Series(extraction.name, [extract_lag(extraction, *each) for each in cells], pl.Float64)


def cell_texts(column: pl.Series) -> pl.Series:
    """The cells of a column as text; a list is written as JSON."""
    if not isinstance(column.dtype, pl.List | pl.Array):
        return parse_categories(column)
    inner = column.dtype.inner
    if inner != pl.String and not inner.is_integer():
        return pl.Series(column.name, [None], dtype=pl.String).new_from_index(0, len(column))
    lists = column.cast(pl.List(pl.String)).to_list()
    return pl.Series(column.name, [None if each is None else _as_json(each) for each in lists], pl.String)


def as_cell_text(value: object, *, missing: Collection[str] = MISSING) -> str | None:
    """One value of a request as ``cell_texts`` writes it.

    >>> as_cell_text(["Demo", 3]), as_cell_text(" Demo "), as_cell_text("")
    ('["Demo", "3"]', 'Demo', None)
    """
    if isinstance(value, list):
        return _as_json([as_category(each, missing=()) for each in value])
    return as_category(value, missing=missing)  # type: ignore[arg-type]  # it was checked before


def _as_json(items: list[str | None]) -> str:
    return json.dumps([item for item in items if item is not None], ensure_ascii=False)


def split_choices(text: str, mark: str) -> frozenset[str]:
    """The choices in a cell: a JSON list, an array as PostgreSQL writes it, or text with marks between them.

    >>> sorted(split_choices("B; A;", ";")), sorted(split_choices('["A", "B"]', ";"))
    (['A', 'B'], ['A', 'B'])
    >>> sorted(split_choices('{A,"B, C"}', ""))
    ['A', 'B, C']
    """
    return frozenset(choice for item in _items(text, mark) if (choice := clean_text(item)))


def _items(text: str, mark: str) -> Iterator[str]:
    ends = text[:1], text[-1:]
    if ends == _JSON and isinstance(items := _parse_json(text), list):
        yield from (item if isinstance(item, str) else json.dumps(item) for item in items if item is not None)
    elif ends == _ARRAY:
        for quoted, plain in _ARRAY_ITEM.findall(text[1:-1]):
            if plain.strip().upper() != "NULL":
                yield re.sub(r"\\(.)", r"\1", quoted) or plain
    else:
        yield from text.split(mark) if mark else (text,)


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def split_words(text: str) -> list[str]:
    """The different words of a text, sorted; no numbers, addresses or links, and no letters standing alone.

    >>> split_words("Bitte um ein Angebot für 20 Plätze, bitte an a@b.de")
    ['an', 'angebot', 'bitte', 'ein', 'für', 'plätze', 'um']
    """
    return sorted({word.casefold() for word in _WORD.findall(_NO_PROSE.sub(" ", text))})


def _domain(text: str | None) -> str | None:
    match = None if text is None else ADDRESS.fullmatch(text)
    return None if match is None else match[1].lower()


def _domain_extractor(_: ColumnExtraction) -> Extract:
    return _domain


def _kind_extractor(extraction: ColumnExtraction) -> Extract:
    """Private where the list has the domain, or its name before any country (``yahoo.*``), or its ending."""
    kinds = dict(extraction.lexicon)

    def extract(text: str | None) -> str | None:
        domain = _domain(text)
        if domain is None:
            return None
        labels = domain.split(".")
        ends = (f"*.{'.'.join(labels[place:])}" for place in range(1, len(labels)))
        anywhere = f"{labels[0]}.*" if all(len(label) <= _LONGEST_ENDING for label in labels[1:]) else ""
        matches = (kinds.get(key) for key in (domain, anywhere, *ends))
        return next((kind for kind in matches if kind is not None), BUSINESS)

    return extract


_LONGEST_ENDING = 3


def _country_extractor(extraction: ColumnExtraction) -> Extract:
    """The country of a domain by its ending; None where the list says that the ending tells none."""
    meanings = dict(extraction.lexicon)

    def extract(text: str | None) -> str | None:
        ending = (_domain(text) or "").rpartition(".")[2]
        if len(ending) != _COUNTRY_LETTERS or not ending.isalpha():
            return None
        return meanings.get(ending, ending.upper()) or None

    return extract


def _lexicon_extractor(extraction: ColumnExtraction) -> Extract:
    """What the first entry of the list stands for that occurs in the text; None where none does."""
    patterns = compile_lexicon(extraction.lexicon)

    def extract(text: str | None) -> str | None:
        if text is None:
            return None
        lower = text.casefold()
        return next((meaning for meaning, pattern in patterns if pattern.search(lower)), None)

    return extract


def compile_lexicon(lexicon: tuple[tuple[str, str], ...]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """A pattern for each run of words with one meaning; ``*`` in a word stands for any further letters."""
    runs: list[tuple[str, list[str]]] = []
    for word, meaning in lexicon:
        if not runs or runs[-1][0] != meaning:
            runs.append((meaning, []))
        runs[-1][1].append(re.escape(word.casefold()).replace(r"\*", r"\w*").replace(r"\ ", r"[\W_]+"))
    return tuple((meaning, re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)")) for meaning, words in runs)


def _choice_extractor(extraction: ColumnExtraction) -> Extract:
    def extract(text: str | None) -> float | None:
        return None if text is None else float(extraction.choice in split_choices(text, extraction.mark))

    return extract


def _word_extractor(extraction: ColumnExtraction) -> Extract:
    vocabulary = frozenset(word for word, _ in extraction.lexicon)

    def extract(text: str | None) -> str | None:
        if text is None:
            return None
        return " ".join(word for word in split_words(text) if not vocabulary or word in vocabulary)

    return extract


_MAKERS: dict[Part, Callable[[ColumnExtraction], Extract]] = {
    "email_kind": _kind_extractor,
    "email_domain": _domain_extractor,
    "email_country": _country_extractor,
    "title_rank": _lexicon_extractor,
    "title_department": _lexicon_extractor,
    "choice": _choice_extractor,
    "words": _word_extractor,
    "date_weekday": lambda extraction: date_part(extraction.mark, weekday_of),
    "date_month": lambda extraction: date_part(extraction.mark, month_of),
    "clock_time": lambda _: read_clock,
}


_NAMED_PARTS: frozenset[Part] = frozenset(
    {"email_kind", "title_rank", "title_department", "date_weekday", "date_month"}
)


def value_name(extraction: ColumnExtraction, value: str, lang: str) -> str:
    """What a rank, a kind of address or a weekday is called in ``lang``; other values stay as they are."""
    if extraction.part not in _NAMED_PARTS:
        return value
    try:
        return Message(f"extracted.{value}").render(lang)
    except KeyError:
        return value
