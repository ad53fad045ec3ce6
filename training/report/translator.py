"""The language of a report: sentences from the catalogue, and the formats of numbers and dates.

Sentences have a key ("funnel.title") and a text in each language, in gettext's format
(``features.messages``); each section of the page has a file of its own. Formats of numbers, dates and units
are those of Unicode's locale data (CLDR), by Babel.

>>> english, german = translator("en"), translator("de")
>>> english.number(1234.5, 1), german.number(1234.5, 1)
('1,234.5', '1.234,5')
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Self

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal
from babel.units import format_unit

from features.clock import to_datetime
from features.display_names import (
    DisplayNames,
    humanise_column,
    humanise_name,
    humanise_value,
    split_question,
)
from features.messages import LANGUAGES, Lang, Message, load_translations
from features.spec import DisplayText, FeatureSpec
from models.explanation import render_sentence, render_title

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from gettext import NullTranslations

    from models.metrics import Interval
    from training.analysis.drivers import ValueGroup

_DAY = {"en": "d MMMM y", "de": "dd.MM.y"}
_WHOLE = "#,##0"
# The column of the data contract whose values a section of labels names.
_COLUMNS_OF = {"stages": "stage", "kinds": "kind"}
_ONLY_THE_VALUE = DisplayText("{value}", "{value}")
_MINUS = "\N{MINUS SIGN}"
_DASH = "\N{EN DASH}"
# Keeps an interval in one line, so that a narrow table breaks before it and not within.
_TO = "\N{WORD JOINER}\N{EN DASH}\N{WORD JOINER}"


class FormattedNumber(str):
    r"""Text of a number that keeps the values it was formatted from, for unrounded downloads.

    >>> translator("de").percent(0.1234), translator("de").percent(0.1234).values
    ('12\xa0%', (0.1234,))
    """

    __slots__ = ("values",)
    values: tuple[float, ...]

    def __new__(cls, text: str, *values: float) -> Self:
        """``text`` as shown, with its ``values``: a figure, or a figure and the ends of its interval."""
        number = super().__new__(cls, text)
        number.values = values
        return number


@dataclass(frozen=True)
class Translator:
    """The texts and formats of one language."""

    lang: Lang
    texts: NullTranslations
    names: DisplayNames = field(default_factory=DisplayNames)

    def with_names(self, names: Mapping[str, DisplayText]) -> Translator:
        """The same language with the names that a company gave, as a model card has them."""
        return replace(self, names=DisplayNames(names))

    def __call__(self, key: str, **values: object) -> str:
        """Look up the sentence ``key`` ("section.name") and fill in ``values``.

        Raises:
            KeyError: There is no such sentence.
        """
        return _in_one_line(self.texts.gettext(key).format(**values))

    def message(self, text: str) -> str:
        """Render a message in this language; other text stays as it is."""
        return text.render(self.lang) if isinstance(text, Message) else text

    def plural(self, key: str, count: int, **values: object) -> str:
        """Look up the sentence ``key`` in the plural form for ``count``, which fills its ``{n}``.

        >>> translator("en").plural("page.leads", 1), translator("de").plural("page.leads", 1200)
        ('1 lead', '1.200 Leads')
        """
        return _in_one_line(self.texts.ngettext(key, key, count).format(n=self.number(count), **values))

    def label(self, section: str, name: str) -> str:
        """The label of ``name`` in ``section``: the company's, else leadloop's, else ``name`` made readable.

        >>> translator("en").label("kinds", "demo_call"), translator("en").label("stages", "mql")
        ('Demo call', 'MQL')
        """
        column = _COLUMNS_OF.get(section)
        if column == "stage":
            return self.names.stage(name).render(self.lang)
        if text := self.names.texts.get(f"{column}.{name}"):
            return text.render(self.lang)
        return self.get_or_default(humanise_name(name) if column else name, f"{section}.{name}")

    def offer(self, name: str) -> str:
        """The name of an offer or its stage: the company's, else leadloop's, else ``name`` made readable."""
        for column in ("offer", "offer_stage"):
            if text := self.names.texts.get(f"{column}.{name}"):
                return text.render(self.lang)
        return self.get_or_default(humanise_value(name), f"stages.{name}")

    def get_or_default(self, text: str, key: str, **values: object) -> str:
        """Look up the sentence ``key``; ``text`` where there is none.

        >>> translator("de").get_or_default("LC999", "checks.LC999")
        'LC999'
        """
        try:
            return self(key, **values)
        except KeyError:
            return text

    def column(self, name: str) -> str:
        """A column by the company's name with its own behind it, which the configuration needs."""
        text = self.names.texts.get(name)
        return name if text is None else f"{text.render(self.lang)} ({name})"

    def number(self, value: float, digits: int = 0) -> FormattedNumber:
        """Format a number with grouped thousands and ``digits`` decimals."""
        return FormattedNumber(self._format(value, _pattern(digits)), value)

    def signed(self, value: float, digits: int = 1) -> FormattedNumber:
        """Format a number with its sign; what rounds to zero has none.

        >>> translator("de").signed(12.34), translator("en").signed(-0.01)
        ('+12,3', '0.0')
        """
        return FormattedNumber(("+" if round(value, digits) > 0 else "") + self.number(value, digits), value)

    def percent(self, share: float, digits: int = 0) -> FormattedNumber:
        """Format a share in percent; a positive share is never shown as 0.

        >>> translator("en").percent(0.123), translator("en").percent(0.0004)
        ('12%', '<1%')
        """
        whole = str(Locale.parse(self.lang).percent_formats[None].pattern)
        pattern = whole.replace(_WHOLE, _pattern(digits))
        least = 10.0 ** -(digits + 2)
        if 0 < share < least / 2:
            return FormattedNumber("<" + self._format(least, pattern), share)
        return FormattedNumber(self._format(share, pattern), share)

    @property
    def percent_sign(self) -> str:
        """The text after a number of percent."""
        return str(Locale.parse(self.lang).percent_formats[None].pattern).removeprefix(_WHOLE)

    def share(self, share: float) -> FormattedNumber:
        """Format a configured share in percent, with no more decimals than it has.

        >>> translator("en").share(0.1), translator("en").share(0.125)
        ('10%', '12.5%')
        """
        return self.percent(share, 0 if round(100 * share, 9).is_integer() else 1)

    def interval(self, figure: Interval, digits: int = 3) -> FormattedNumber:
        """Format a figure with its interval."""
        ends = [self.number(end, digits) for end in (figure.low, figure.high)]
        return _spread(f"{self.number(figure.value, digits)} ({ends[0]}{_TO}{ends[1]})", figure)

    def rate(self, figure: Interval) -> FormattedNumber:
        """Format a rate with its interval, in percent."""
        low, high = self.number(100 * figure.low, 1), self.percent(figure.high, 1)
        return _spread(f"{self.percent(figure.value, 1)} ({low}{_TO}{high})", figure)

    def days(self, count: float, digits: int = 0) -> FormattedNumber:
        """Format a number of days.

        >>> translator("en").days(1), translator("de").days(12.4, 1)
        ('1 day', '12,4 Tage')
        """
        count = round(count, digits) if digits else round(count)
        return FormattedNumber(
            format_unit(count, "duration-day", "long", _pattern(digits), locale=self.lang), count
        )

    def day(self, moment: float | str) -> str:
        """Format the day of epoch seconds or of an ISO time; other text stays as it is.

        >>> translator("de").day("2026-11-21T09:00:00+00:00"), translator("en").day(0)
        ('21.11.2026', '1 January 1970')
        """
        try:
            when = _moment(moment)
        except ValueError:
            return str(moment)
        return format_date(when, _DAY[self.lang], locale=self.lang)

    def month(self, moment: float | str) -> str:
        """Format the month of epoch seconds or of an ISO time.

        >>> translator("de").month(0)
        'Januar 1970'
        """
        return format_date(_moment(moment), "MMMM y", locale=self.lang)

    def question(self, label: str) -> str:
        """Phrase what the model predicts: a stage and its horizon in words, or the column of the outcome.

        >>> translator("de").question("sql within 60 days"), translator("de").question("Converted")
        ('SQL innerhalb von 60 Tagen', 'Converted')
        """
        return self.names.question(label, self.lang)

    def goal(self, label: str) -> str:
        """What leads do that convert, as the predicate of a sentence; only the name is in quotation marks.

        >>> translator("en").goal("sql within 60 days"), translator("en").goal("Converted")
        ('reach “SQL” within 60 days', 'reach “Converted”')
        """
        stage, horizon = split_question(label)
        if horizon is None:
            return self("page.goal", label=self.question(label))
        days = self.plural("page.dative_days", horizon)
        return self("page.goal_stage", stage=self.label("stages", stage), days=days)

    def listed(self, specs: Iterable[FeatureSpec]) -> str:
        """Join the titles of features."""
        return "; ".join(self.title(spec) for spec in specs)

    def title(self, spec: FeatureSpec) -> str:
        """The title of a feature: its sentence up to the colon, or with a gap for the value."""
        if spec.source == "transitions" and spec.reduce == "recency" and spec.kind:
            return self("page.time_in_stage", stage=self.label("stages", spec.kind[0]))
        return render_title(spec, self.lang)

    def value(self, spec: FeatureSpec, value: float | str | None) -> str:
        """Format a feature's value as its sentence would."""
        return render_sentence(replace(spec, says=_ONLY_THE_VALUE), value, self.lang)

    def example(self, spec: FeatureSpec, value: float | str | None) -> str:
        """The sentence of a feature with a value, as the service returns it."""
        before, colon, after = render_sentence(spec, value, self.lang).partition(":")
        return humanise_column(before) + colon + after

    def part(self, spec: FeatureSpec, part: ValueGroup) -> str:
        """Describe the values of a group of leads: a range, a level, or missing."""
        if part.is_missing:
            return self("drivers.missing")
        if part.level is not None:
            return self.value(spec, part.level)
        ends = [
            self.value(spec, end if end is None else _round_to_three_digits(end))
            for end in (part.low, part.high)
        ]
        return ends[0] if ends[0] == ends[1] else f"{ends[0]} {_DASH} {ends[1]}"

    def _format(self, value: float, pattern: str) -> str:
        digits = len(pattern.partition(".")[2].rstrip("%\N{NO-BREAK SPACE}")) + 2 * ("%" in pattern)
        # Adding zero makes nothing of a negative zero.
        rounded = round(float(value), digits) + 0.0
        return format_decimal(rounded, pattern, locale=self.lang).replace("-", _MINUS)


def _round_to_three_digits(value: float) -> float:
    """A number to three significant digits, or rounded to a whole one if it is larger."""
    return round(value, max(0, 2 - math.floor(math.log10(abs(value))))) if value else value


def _in_one_line(text: str) -> str:
    """The text with "95-%-Intervall", which German writes with hyphens, in one line."""
    return text.replace("-%-", "-\N{WORD JOINER}%-\N{WORD JOINER}")


@cache
def translator(lang: Lang) -> Translator:
    """Load the texts of ``lang``.

    Raises:
        ValueError: There is no such language.
    """
    if lang not in LANGUAGES:
        msg = f"no report in {lang!r}; leadloop writes {' and '.join(LANGUAGES)}"
        raise ValueError(msg)
    return Translator(lang, load_translations(lang))


def _moment(moment: float | str) -> datetime:
    return datetime.fromisoformat(moment) if isinstance(moment, str) else to_datetime(int(moment))


def _pattern(digits: int) -> str:
    return f"{_WHOLE}.{'0' * digits}" if digits else _WHOLE


def _spread(text: str, figure: Interval) -> FormattedNumber:
    return FormattedNumber(text, figure.value, figure.low, figure.high)
