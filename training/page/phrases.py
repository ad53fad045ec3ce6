"""Says in another language what reading, checks and monitoring wrote down in English.

They know no language: what they write goes to logs, files and JSON alike. But it has a finite set of forms,
and each form is a sentence of ``locale/<lang>/phrases.po`` whose English text is its name. A text that no
form fits is shown as it is.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from training.page.words import catalogue

if TYPE_CHECKING:
    from training.page.words import Lang, Words

_GAP = re.compile(r"{(\w+)}")
_NUMBER = re.compile(r"[0-9][0-9,]*(\.[0-9]+)?%?")


def phrase(text: str, t: Words) -> str:
    r"""``text`` in the language of ``t``, its numbers written as there.

    >>> from training.page.words import words
    >>> phrase("touchpoints: no such lead", words("de")), phrase("hand-made", words("de"))
    ('Touchpoints: kein solcher Lead', 'hand-made')
    >>> phrase("42% of the rows that judge are of accounts that the model has learned from", words("de"))[:4]
    '42\xa0%'
    """
    if t.lang == "en":
        return text
    for form, name in _forms(t.lang):
        if found := form.fullmatch(text):
            return t(name, **{gap: _filled(value, t) for gap, value in found.groupdict().items()})
    return text


def _filled(value: str, t: Words) -> str:
    """What stands in a gap: a number, a phrase of its own, or a word of the data, which stays."""
    if _NUMBER.fullmatch(value):
        digits = len(value.rstrip("%").partition(".")[2])
        number = float(value.rstrip("%").replace(",", ""))
        return t.percent(number / 100, digits) if value.endswith("%") else t.number(number, digits)
    return t.otherwise(phrase(value, t), f"tables.{value}")


@cache
def _forms(lang: Lang) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The forms of all phrases, the most particular first."""
    names = [
        str(message.id) for message in catalogue(lang) if isinstance(message.id, str) and " " in message.id
    ]
    ranked = sorted(names, key=lambda name: (-len(_GAP.sub("", name)), name))
    return tuple((_form(name), name) for name in ranked)


def _form(name: str) -> re.Pattern[str]:
    parts = _GAP.split(name)
    return re.compile(
        "".join(f"(?P<{part}>.+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)), re.DOTALL
    )
