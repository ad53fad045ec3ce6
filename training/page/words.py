"""A report's language: sentences from ``templates/<lang>.toml``, and how it writes numbers and dates.

>>> english, german = words("en"), words("de")
>>> english.number(1234.5, 1), german.number(1234.5, 1)
('1,234.5', '1.234,5')
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from features.clock import instant
from features.spec import FeatureSpec, Says
from models.explanation import sentence

if TYPE_CHECKING:
    from models.metrics import Interval
    from training.page.drivers import Part

Lang = Literal["en", "de"]
LANGUAGES: tuple[Lang, ...] = ("en", "de")
_SWAP = str.maketrans(",.", ".,")
_ONLY_THE_VALUE = Says("{value}", "{value}")
_NO_BREAK = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
_DASH = "\N{EN DASH}"
# Keeps an interval in one line, so that a narrow table breaks before it and not within.
_TO = "\N{WORD JOINER}\N{EN DASH}\N{WORD JOINER}"


@dataclass(frozen=True)
class Words:
    """How one language says things."""

    lang: Lang
    texts: dict[str, Any]

    def __call__(self, key: str, **values: object) -> str:
        """The sentence called ``key`` ("section.name") with ``values`` put in. Raises KeyError if unknown."""
        section, _, name = key.partition(".")
        return str(self.texts[section][name]).format(**values)

    def named(self, section: str, name: str) -> str:
        """What ``name`` is called, or ``name`` itself where the company chose it."""
        return str(self.texts[section].get(name, name))

    def number(self, value: float, digits: int = 0) -> str:
        """A number with thousands set apart and ``digits`` decimals."""
        text = f"{value:,.{digits}f}".replace("-", _MINUS)
        return text if self.lang == "en" else text.translate(_SWAP)

    def signed(self, value: float, digits: int = 1) -> str:
        """A number that shows its sign; what rounds to zero has none.

        >>> words("de").signed(12.34), words("en").signed(-0.01)
        ('+12,3', '0.0')
        """
        rounded = round(value, digits)
        return ("+" if rounded > 0 else "") + self.number(rounded or 0.0, digits)

    def percent(self, share: float, digits: int = 0) -> str:
        """A share in percent; more than nothing is never shown as none at all.

        >>> words("en").percent(0.123), words("en").percent(0.0004)
        ('12%', '<1%')
        """
        sign = "%" if self.lang == "en" else f"{_NO_BREAK}%"
        least = 10.0**-digits
        if 0 < 100 * share < least / 2:
            return f"<{self.number(least, digits)}{sign}"
        return self.number(100 * share, digits) + sign

    def share(self, share: float) -> str:
        """A share that was chosen, in percent with no more decimals than it has.

        >>> words("en").share(0.1), words("en").share(0.125)
        ('10%', '12.5%')
        """
        return self.percent(share, 0 if round(100 * share, 9).is_integer() else 1)

    def interval(self, figure: Interval, digits: int = 3) -> str:
        """A figure and the interval it was measured to."""
        ends = [self.number(end, digits) for end in (figure.low, figure.high)]
        return f"{self.number(figure.value, digits)} ({ends[0]}{_TO}{ends[1]})"

    def rate(self, figure: Interval) -> str:
        """A rate and its interval, in percent."""
        low, high = self.number(100 * figure.low, 1), self.percent(figure.high, 1)
        return f"{self.percent(figure.value, 1)} ({low}{_TO}{high})"

    def day(self, moment: float | str) -> str:
        """The day of epoch seconds or of an ISO time; other text is shown as it is.

        >>> words("de").day("2026-11-21T09:00:00+00:00"), words("en").day(0)
        ('21.11.2026', '1 January 1970')
        """
        try:
            when = datetime.fromisoformat(moment) if isinstance(moment, str) else instant(int(moment))
        except ValueError:
            return str(moment)
        if self.lang == "de":
            return f"{when:%d.%m.%Y}"
        return f"{when.day} {self.texts['months']['names'][when.month - 1]} {when.year}"

    def title(self, spec: FeatureSpec) -> str:
        """What a feature is about: its sentence up to the colon before the value, or with a gap for it."""
        text = spec.says.within(self.lang)
        before, colon, _ = text.partition(":")
        whole = text.replace("{value}", "\N{HORIZONTAL ELLIPSIS}")
        return before if colon and "{value}" not in before else whole

    def value(self, spec: FeatureSpec, value: float | str | None) -> str:
        """A feature's value as its sentence would show it."""
        return sentence(replace(spec, says=_ONLY_THE_VALUE), value, self.lang)

    def example(self, spec: FeatureSpec, value: float | str | None) -> str:
        """The sentence of a feature with a value in it, as the service says it."""
        return sentence(spec, value, self.lang)

    def part(self, spec: FeatureSpec, part: Part) -> str:
        """Which values a part of a feature's leads have."""
        if part.is_missing:
            return self("drivers.missing")
        if part.level is not None:
            return part.level
        ends = [self.value(spec, end) for end in (part.low, part.high)]
        return ends[0] if ends[0] == ends[1] else f"{ends[0]} {_DASH} {ends[1]}"


@cache
def words(lang: Lang) -> Words:
    """The words of ``lang``. Raises ValueError for a language that nobody wrote yet."""
    if lang not in LANGUAGES:
        msg = f"no report in {lang!r}; leadloop writes {' and '.join(LANGUAGES)}"
        raise ValueError(msg)
    text = resources.files("training.page").joinpath("templates", f"{lang}.toml").read_text(encoding="utf-8")
    return Words(lang, tomllib.loads(text))
