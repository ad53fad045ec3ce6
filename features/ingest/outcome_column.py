"""The two special columns of a flat export: its outcome, and the column that orders its rows."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.month_names import ENGLISH, order_months, parse_months
from features.ingest.quarantine import SourceError
from features.ingest.timestamps import (
    detect_format,
    is_day_month_ambiguous,
    is_placeholder,
    parse_timestamps,
)
from features.number_marks import collect_mark_evidence, settle_groups
from features.parsing import FALSE, TRUE, clean_text, parse_amounts, parse_categories, parse_numbers
from features.suggestions import suggest
from features.word_lists import cell_words, fold_word

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from features.ingest.timestamps import TimeFormat
    from features.parsing import Decimal

_IN_FILE = "in [flat] of leadloop.toml"
_MAX_LISTED = 5
_MAJORITY = 0.5


def parse_outcome(
    column: pl.Series, positive: str | None = None, negative: Collection[str] = ()
) -> pl.Series:
    """Int8 outcomes, 1 and 0, of a column with two different values; null where it is missing.

    The ``positive`` outcome may be a condition: ``filled`` for any value, as of the date of a conversion, or
    a comparison such as ``> 0`` for an amount; the rows that do not meet it are failures. Blank cells are
    failures to the first, and no outcome to the second.

    If ``negative`` outcomes are named beside the ``positive`` one, all other values have no outcome yet: such
    is the stage of an open deal. An empty ``negative`` means blank cells, as a box that was not ticked leaves
    them. Spellings that differ in case alone are one value.

    Raises:
        SourceError: it has one value, more than two, or two of which neither is known to be a success.

    >>> parse_outcome(pl.Series("Stage", ["Closed Won", "Closed Lost", None])).to_list()
    [1, 0, None]
    >>> parse_outcome(pl.Series(["sold", "no need", "open"]), "sold", ["no need"]).to_list()
    [1, 0, None]
    >>> parse_outcome(pl.Series(["x", None]), "x", [""]).to_list()
    [1, 0]
    >>> parse_outcome(pl.Series(["2024-01-31", None]), "filled").to_list()
    [1, 0]
    >>> parse_outcome(pl.Series(["120", "0", None]), "> 0").to_list()
    [1, 0, None]
    """
    if (condition := OutcomeCondition.parse(positive, column)) is not None:
        return _require_both(condition.labels(column, negative), positive or "", negative)
    text = _unify_spelling(parse_categories(column))
    values = sorted(text.drop_nulls().unique())
    if negative:
        return _label_open_deals(text, values, positive, negative)
    if len(values) != len({"won", "lost"}):
        msg = f"outcome column {column.name!r} {_describe_values(text, values)}"
        raise SourceError(msg)
    won = _positive(column.name, values, positive)
    return (text == won).cast(pl.Int8)


_FILLED = "filled"
_COMPARISON = re.compile(r"(>=|<=|>|<)\s*(-?[0-9]+(?:\.[0-9]+)?)")
_COMPARE = {">": pl.Series.gt, "<": pl.Series.lt, ">=": pl.Series.ge, "<=": pl.Series.le}


@dataclass(frozen=True, slots=True)
class OutcomeCondition:
    """A success that is no word: a cell that is filled, or an amount that compares as it should.

    Attributes:
        sign: The comparison; empty where a cell only has to be filled.
        number: What the amount is compared with.
    """

    sign: str = ""
    number: float = 0.0

    @classmethod
    def parse(cls, positive: str | None, column: pl.Series) -> OutcomeCondition | None:
        """The condition that ``positive`` is; None where it is a word, also one of the column's own.

        >>> OutcomeCondition.parse("> 0", pl.Series(["0", "120"]))
        OutcomeCondition(sign='>', number=0.0)
        """
        text = clean_text(positive or "")
        if text.casefold() == _FILLED:
            own = parse_categories(column).str.to_lowercase() == _FILLED
            return None if own.any() else cls()
        match = _COMPARISON.fullmatch(text)
        return None if match is None else cls(match[1], float(match[2]))

    def labels(self, column: pl.Series, negative: Collection[str] = ()) -> pl.Series:
        """Int8 outcomes of a column; null where there is nothing to compare, unless blanks are negative."""
        if not self.sign:
            return _without_placeholders(column).is_not_null().cast(pl.Int8).alias(column.name)
        marks = collect_mark_evidence(column).expected(",")
        text = settle_groups(column, marks) if column.dtype == pl.String else column
        amounts = parse_amounts(text, "," if marks.decimal == "," else ".")
        labels = _COMPARE[self.sign](amounts, self.number).cast(pl.Int8)
        return labels.set(column.is_null(), 0) if "" in negative else labels


def _without_placeholders(column: pl.Series) -> pl.Series:
    """A column of dates without those that stand for none; any other column as it is."""
    time_format = detect_format(column, share=_MAJORITY)
    if time_format is None:
        return column
    return column.set(is_placeholder(parse_timestamps(column, time_format)), None)


def _require_both(labels: pl.Series, positive: str, negative: Collection[str]) -> pl.Series:
    if labels.n_unique() - bool(labels.null_count()) == len({"won", "lost"}):
        return labels
    which = "every row" if labels.sum() else "no row"
    msg = f"outcome column {labels.name!r}: {which} is {positive!r}; a model needs both outcomes"
    if labels.null_count() and "" not in negative:
        msg += "; if a blank means no success, say so: --negative '' (or negative = [\"\"] in [flat])"
    raise SourceError(msg)


def _unify_spelling(text: pl.Series) -> pl.Series:
    """The text with each value in its most frequent spelling, where spellings differ in case alone."""
    counts = text.drop_nulls().value_counts(sort=True).to_series()
    first: dict[str, str] = {}
    spellings = {value: first.setdefault(value.casefold(), value) for value in counts}
    changed = {value: spelling for value, spelling in spellings.items() if value != spelling}
    return text.replace(changed) if changed else text


def _label_open_deals(
    text: pl.Series, values: list[str], positive: str | None, negative: Collection[str]
) -> pl.Series:
    if positive is None:
        msg = f"outcome column {text.name!r}: beside the negative outcomes, name the positive one"
        raise SourceError(msg)
    won, *lost = (_matching_value(text.name, values, value) for value in (positive, *filter(None, negative)))
    blank = text.is_null() if "" in negative else pl.repeat(value=False, n=len(text), eager=True)
    is_open = ~text.is_in([won, *lost]).fill_null(value=False) & ~blank
    return (text == won).fill_null(value=False).cast(pl.Int8).set(is_open, None)


def _matching_value(name: str, values: list[str], outcome: str) -> str:
    """The value of the column that equals ``outcome`` but for case."""
    word = clean_text(outcome).casefold()
    match = next((value for value in values if value.casefold() == word), None)
    if match is None:
        msg = f"outcome column {name!r} has no {outcome!r}{suggest(outcome, values)}"
        raise SourceError(msg)
    return match


def _describe_values(text: pl.Series, values: list[str]) -> str:
    if not values:
        return "is blank in every row; it needs exactly two values"
    if len(values) == 1:
        description = f"has one class only: every row is {values[0]!r}"
        if not text.null_count():
            return f"{description}; it needs two values"
        blanks = f"--positive {shlex.quote(values[0])} --negative '' (or negative = [\"\"] {_IN_FILE})"
        return f"{description} or blank, and a blank is no outcome; if it means no success, say {blanks}"
    if way := _conditional_option(text):
        return f"has {len(values):,} values; it needs exactly two, or a condition: {way} {_OR_IN_FILE}"
    counts = text.drop_nulls().value_counts(sort=True).head(_MAX_LISTED)
    listed = ", ".join(f"{value!r} ({count:,})" for value, count in counts.iter_rows())
    more = ", ..." if len(values) > _MAX_LISTED else ""
    description = f"has {len(values)} values: {listed}{more}; it needs exactly two values"
    options = _outcome_options(values)
    return f"{description}, or name them: {options}; rows with any other value are then left out"


_OR_IN_FILE = f"(or positive = ... {_IN_FILE})"


def _conditional_option(text: pl.Series) -> str:
    """The option that makes two outcomes of dates or amounts; empty for a column of words."""
    known = text.drop_nulls()
    if detect_format(known, share=_MAJORITY) is not None or is_day_month_ambiguous(known):
        return "--positive filled counts each row with a date as a success"
    if float(parse_amounts(known, ",").is_not_null().mean() or 0.0) >= _MAJORITY:  # type: ignore[arg-type]
        return "--positive '> 0' counts each row with an amount above 0 as a success"
    return ""


def _outcome_options(values: list[str]) -> str:
    """The options that would name the outcomes, filled with the values that sound like them."""
    won, lost = won_and_lost_stages(values)
    negatives = " ".join(f"--negative {shlex.quote(value)}" for value in lost or ["VALUE"])
    options = f"--positive {shlex.quote(won or 'VALUE')} {negatives}"
    return f"{options} (or positive and negative {_IN_FILE})"


def won_and_lost_stages(values: Iterable[str]) -> tuple[str | None, list[str]]:
    """The first stage whose name means success, and all whose names mean failure.

    >>> won_and_lost_stages(["Closed Lost", "Closed Won", "Proposal"])
    ('Closed Won', ['Closed Lost'])
    >>> won_and_lost_stages(["Ganado", "PERDIDO", "Propuesta"])
    ('Ganado', ['PERDIDO'])
    """
    known = list(values)
    won = next((value for value in known if _is_won(value)), None)
    return won, [value for value in known if _is_lost(value)]


def _positive(name: str, values: list[str], positive: str | None) -> str:
    if positive is not None:
        return _matching_value(name, values, positive)
    won = [value for value in values if _is_won(value)]
    lost = [value for value in values if _is_lost(value)]
    undecided = [value for value in values if fold_word(value) in cell_words("outcomes", "open")]
    if len(won) == 1 and undecided:
        msg = (
            f"outcome column {name!r} has {won[0]!r} and {undecided[0]!r}: what is still open is no failure; "
            f"export lost ones, too, or count it as one: --positive {shlex.quote(won[0])} "
            f"--negative {shlex.quote(undecided[0])} (or positive and negative {_IN_FILE})"
        )
        raise SourceError(msg)
    if len(won) == 1 and (lost or not _is_number(won[0])):
        return won[0]
    if len(lost) == 1 and not won and (other := _negated(values, lost[0])):
        return other
    pair = f"{values[0]!r} and {values[1]!r}"
    advice = f"name the success: positive = ... {_IN_FILE}, or --positive VALUE"
    msg = f"outcome column {name!r} has {pair}; {advice}"
    raise SourceError(msg)


def _is_won(value: str) -> bool:
    return value.casefold() in TRUE or fold_word(value) in cell_words("outcomes", "won")


def _is_lost(value: str) -> bool:
    return value.casefold() in FALSE or fold_word(value) in cell_words("outcomes", "lost")


_NEGATIONS = ("not ", "un", "non-", "non ", "no ", "nicht ", "kein ", "keine ", "dis")


def _negated(values: Collection[str], lost: str) -> str | None:
    """The value that the failure negates, as "unqualified" does "qualified"; None where it is another word.

    What is not lost need not be won: beside "Lost" there may be "Open".
    """
    others = [value for value in values if value != lost]
    word = lost.casefold()
    return next((v for v in others if any(word == n + v.casefold() for n in _NEGATIONS)), None)


def _is_number(text: str) -> bool:
    return parse_numbers(pl.Series([text])).item() is not None


def parse_time_order(
    column: pl.Series, decimal: Decimal = ".", time_format: TimeFormat | None = None
) -> pl.Series:
    """Int64 numbers that put the rows in the order of time; null where the column holds no such value.

    A date becomes epoch seconds, a month its number, a whole number itself, any other number its rank. Months
    without a year follow each other over New Year. ``time_format`` is for dates whose format cannot be found
    out.

    Raises:
        SourceError: the column is neither dates, numbers nor names of months.

    >>> months, days = pl.Series(["Feb", "Mar"]), pl.Series(["1970-01-02"])
    >>> parse_time_order(months).to_list(), parse_time_order(days).to_list()
    ([2, 3], [86400])
    """
    known = column.drop_nulls()
    if known.is_empty():
        msg = f"time column {column.name!r} is empty"
        raise SourceError(msg)
    if (time_format := time_format or detect_format(column, share=_MAJORITY)) is not None:
        return parse_timestamps(column, time_format)
    if _is_mostly(value := parse_numbers(column, decimal), len(known)):
        whole = value.drop_nulls()
        return value.cast(pl.Int64) if (whole == whole.floor()).all() else value.rank("dense").cast(pl.Int64)
    if has_months_alone(column):
        return order_months(parse_months(column))[0]
    msg = (
        f"time column {column.name!r} is neither dates, numbers nor month names: {known[0]!r}; "
        "where day and month could be swapped, write dates as 2024-02-29, or say how they are written: "
        'time_format = "day_first" or "month_first" in [flat] of leadloop.toml'
    )
    raise SourceError(msg)


def is_dated(column: pl.Series) -> bool:
    """Whether ``parse_time_order`` reads the column as dates, not as numbers or months.

    >>> is_dated(pl.Series(["2026-01-02"])), is_dated(pl.Series(["12"]))
    (True, False)
    """
    return detect_format(column, share=_MAJORITY) is not None


def has_months_alone(column: pl.Series) -> bool:
    """Whether the column holds names of months without a year.

    >>> has_months_alone(pl.Series(["Jan", "Feb"])), has_months_alone(pl.Series(["Jan 2024"]))
    (True, False)
    """
    known = column.count()
    return column.dtype == pl.String and known > 0 and _is_mostly(parse_months(column), known)


def months_notice(column: pl.Series) -> str:
    """What is said of months without a year: which of them is taken for the first."""
    first = order_months(parse_months(column))[1]
    return (
        f"column {column.name!r} names months without a year: they are taken to follow each other from "
        f"{ENGLISH[first - 1]} on; if they are of several years, write dates such as 2024-02-29"
    )


def _is_mostly(parsed: pl.Series, known: int) -> bool:
    return parsed.count() >= _MAJORITY * known
