"""The language of a visitor: sentences from the catalogue, and the formats of numbers and dates.

>>> english, german = ConsoleTexts("en"), ConsoleTexts("de")
>>> english.percent(0.1234), german.percent(0.1234) == "12\N{NO-BREAK SPACE}%"
('12%', True)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.clock import DAY, to_datetime
from features.messages import LANGUAGES, Message, localise_number, translate

if TYPE_CHECKING:
    from datetime import datetime

    from features.messages import Lang, Value

_LOWEST_PERCENT = 0.005
_WEEK = 7


@dataclass(frozen=True, slots=True)
class ConsoleTexts:
    """The texts and formats of one language at one moment.

    Attributes:
        lang: The language.
        now: What "today" is, in epoch seconds.
    """

    lang: Lang
    now: float = 0.0

    def __call__(self, key: str, **values: Value) -> str:
        """The sentence called ``key`` with ``values`` put in. Raises KeyError where there is none."""
        return translate(key, self.lang, **values)

    def message(self, text: str) -> str:
        """A message in this language; other text stays as it is."""
        return text.render(self.lang) if isinstance(text, Message) else text

    def number(self, value: float, digits: int = 0) -> str:
        """A number with grouped thousands and ``digits`` decimals."""
        return localise_number(f"{value:,.{digits}f}", self.lang)

    def signed(self, value: float, digits: int = 0) -> str:
        """A number with its sign, and a true minus."""
        return localise_number(f"{value:+,.{digits}f}".replace("-", "\N{MINUS SIGN}"), self.lang)

    def percent(self, share: float) -> str:
        """A share in whole percent; a positive one is never shown as 0.

        >>> ConsoleTexts("en").percent(0.0004)
        '<1%'
        """
        if 0 < share < _LOWEST_PERCENT:
            return localise_number("<1%", self.lang)
        return localise_number(f"{share:.0%}", self.lang)

    def day(self, moment: float) -> str:
        """The day of epoch seconds.

        >>> ConsoleTexts("en").day(0), ConsoleTexts("de").day(0)
        ('1 Jan 1970', '01.01.1970')
        """
        when = to_datetime(int(moment))
        return f"{when:%d.%m.%Y}" if self.lang == "de" else f"{when.day} {when:%b %Y}"

    def moment(self, moment: float) -> str:
        """The day and the time of epoch seconds, in UTC.

        >>> ConsoleTexts("en").moment(3600)
        '1 Jan 1970, 01:00'
        """
        return f"{self.day(moment)}, {_utc(moment):%H:%M}"

    def iso(self, moment: float) -> str:
        """The moment for a ``time`` element."""
        return f"{_utc(moment):%Y-%m-%dT%H:%M:%SZ}"

    def ago(self, moment: float) -> str:
        """How long ago a moment was: today, yesterday, so many days ago, and beyond a week its day.

        >>> ConsoleTexts("en", now=9 * 86400).ago(6 * 86400)
        '3 days ago'
        """
        days = int(self.now // DAY - moment // DAY)
        if days <= 0:
            return translate("console.today", self.lang)
        if days > _WEEK:
            return self.day(moment)
        return translate("console.days_ago", self.lang, n=days)


def _utc(moment: float) -> datetime:
    return to_datetime(int(moment))


def accepted_language(header: str) -> Lang:
    """The language of ours that an Accept-Language header likes best; English where it likes none.

    >>> accepted_language("fr, de-AT;q=0.8, en;q=0.5"), accepted_language("*")
    ('de', 'en')
    """
    ranked: list[tuple[float, Lang]] = []
    for choice in header[:200].split(","):
        tag, _, weight = choice.strip().partition(";q=")
        lang = next((lang for lang in LANGUAGES if tag.lower().partition("-")[0] == lang), None)
        if lang is not None:
            ranked.append((_weight(weight), lang))
    return max(ranked, key=lambda choice: choice[0], default=(1.0, LANGUAGES[0]))[1]


def _weight(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
