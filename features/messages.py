"""Everything that leadloop says in more than one language: a message is a key and values, its texts are data.

The texts stand in gettext's format in ``locale/<lang>/*.po``, a file for each part of the program, so that
translators have their tools. gettext itself reads them: the files are compiled in memory when a language is
first needed, by nothing but the standard library, because the service has no more than that. A key is no
sentence, so a text can be reworded in one language without touching the other.

>>> late = Message("ingest.no_time_parsed", pattern="iso", zone="UTC")
>>> late, late.render("de")
('no time (iso, zone UTC)', 'keine Zeit (iso, Zone UTC)')
"""

from __future__ import annotations

import json
import re
import struct
from functools import cache, reduce
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Lang = Literal["en", "de"]
LANGUAGES: tuple[Lang, ...] = get_args(Lang)
Value = str | int | float
"""What a message can hold: words of the data, numbers, or a message of its own."""

_STATEMENT = re.compile(r'(?:(msgid|msgid_plural|msgstr)(?:\[\d\])? +)?(".*")')
_MAGIC = 0x950412DE
_GERMAN_FIGURES = str.maketrans({",": ".", ".": ",", "%": "\N{NO-BREAK SPACE}%"})


class Message(str):
    """A sentence for users: its key in the catalogue and the values put into it. As a ``str`` it is English.

    Attributes:
        key: The name of its text in the catalogue.
        values: What is put into the text; a whole number called ``n`` chooses the plural form.

    >>> share = Message("findings.known_leads", share=0.42)
    >>> share.render("de")[5:25], share.key
    ('der zurückgehaltenen', 'findings.known_leads')
    """

    __slots__ = ("key", "values")
    key: str
    values: dict[str, Value]

    def __new__(cls, key: str, **values: Value) -> Self:
        """The message called ``key``. Raises KeyError where nobody wrote it."""
        message = super().__new__(cls, translate(key, "en", **values))
        message.key, message.values = key, values
        return message

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Value]]:
        return (self.key,), self.values

    def render(self, lang: str) -> str:
        """The message in ``lang``, ``"en"`` or ``"de"``."""
        return str(self) if lang == "en" else translate(self.key, lang, **self.values)

    def to_plain(self) -> dict[str, Any]:
        """Key and values as JSON can hold them; ``from_plain`` gives back an equal message."""
        values = {
            name: value.to_plain() if isinstance(value, Message) else value
            for name, value in self.values.items()
        }
        return {"key": self.key, "values": values}

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> Self:
        """The message that ``to_plain`` wrote. Raises KeyError where this release has no such text."""
        values = {
            name: cls.from_plain(value) if isinstance(value, dict) else value
            for name, value in record["values"].items()
        }
        return cls(record["key"], **values)


def translate(key: str, lang: str, /, **values: Value) -> str:
    """The text called ``key`` in ``lang`` with ``values`` put in, numbers as that language writes them.

    Raises KeyError where nobody wrote such a text.

    >>> translate("duration.days", "en", n=1), translate("duration.days", "de", n=3)
    ('1 day', '3 Tage')
    """
    texts = load_translations(lang)
    template = texts.ngettext(key, key, int(values["n"])) if "n" in values else texts.gettext(key)
    if lang == "en":
        return template.format(**values)
    return template.format(**{name: _localise_value(value, lang) for name, value in values.items()})


def join_items(conjunction: Literal["comma", "and", "or"], items: Sequence[str]) -> str:
    """Join items with a comma, "and" or "or" between them; empty without any.

    >>> join_items("or", ["a", "b", "c"])
    'a or b or c'
    """
    first, *rest = items or ("",)
    return reduce(lambda text, item: Message(f"values.{conjunction}", first=text, last=item), rest, first)


def localise_number(number: str, lang: str) -> str:
    """A number that was formatted in English, such as ``1,234.5`` or ``12%``, as ``lang`` writes it.

    >>> localise_number("1,234.5", "de"), localise_number("1,234.5", "en")
    ('1.234,5', '1,234.5')
    """
    return number.translate(_GERMAN_FIGURES) if lang == "de" else number


@cache
def load_translations(lang: str) -> NullTranslations:
    """All texts of a language, for gettext; a key that nobody wrote raises KeyError.

    Raises ValueError for a language without texts, and where two files hold the same key.
    """
    if lang not in LANGUAGES:
        msg = f"{lang!r} is no language of leadloop, which knows {' and '.join(LANGUAGES)}"
        raise ValueError(msg)
    forms: dict[str, str] = {}
    for name, source in read_sources(lang).items():
        for key, form in parse_po(source).items():
            if key and key in forms:
                msg = f"{lang}/{name}: {key.partition(chr(0))[0]!r} has a text already"
                raise ValueError(msg)
            forms[key] = form
    texts = GNUTranslations(BytesIO(_compile_mo(forms)))
    texts.add_fallback(_MissingTexts())
    return texts


def read_sources(lang: str) -> dict[str, str]:
    """The catalogue of a language by the names of its files, each as the text of a ``.po`` file."""
    folder = resources.files("features").joinpath("locale", lang)
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name: file.read_text(encoding="utf-8") for file in files if file.name.endswith(".po")}


def parse_po(source: str) -> dict[str, str]:
    r"""The texts of a ``.po`` file by their keys; plural forms, and the key of these, joined by a zero.

    It reads what our files consist of: ``msgid``, ``msgid_plural``, ``msgstr`` and comments.

    >>> parse_po('msgid "a"\nmsgstr "one"')
    {'a': 'one'}
    """
    forms: dict[str, list[str]] = {}
    entries: list[dict[str, list[str]]] = []
    for kind, content in _iter_statements(source):
        if kind == "msgid":
            entries.append(forms := {})
        if kind:
            target = forms.setdefault("msgstr" if kind == "msgstr" else "msgid", [])
            target.append(content)
        else:
            target[-1] += content
    return {"\0".join(entry["msgid"]): "\0".join(entry["msgstr"]) for entry in entries}


def _iter_statements(source: str) -> Iterator[tuple[str, str]]:
    """Each quoted string of a ``.po`` file with its keyword, empty where it continues the string before."""
    for number, line in enumerate(source.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if (match := _STATEMENT.fullmatch(line)) is None:
            msg = f"line {number} of a catalogue is no statement: {line}"
            raise ValueError(msg)
        yield match[1] or "", json.loads(match[2])  # the same escapes


def _compile_mo(entries: Mapping[str, str]) -> bytes:
    """The texts in gettext's binary format: a header, two tables of (length, offset), the strings."""
    keys = sorted(key.encode() for key in entries)
    strings = [*keys, *(entries[key.decode()].encode() for key in keys)]
    start = 28 + 8 * len(strings)
    tables, offset = b"", start
    for string in strings:
        tables += struct.pack("<II", len(string), offset)
        offset += len(string) + 1
    head = struct.pack("<7I", _MAGIC, 0, len(keys), 28, 28 + 8 * len(keys), 0, start)
    return head + tables + b"".join(string + b"\0" for string in strings)


def _localise_value(value: Value, lang: str) -> object:
    if isinstance(value, Message):
        return value.render(lang)
    return value if isinstance(value, str) else _LocalisedNumber(value, lang)


class _LocalisedNumber:
    """A number that formats itself as a language writes it."""

    def __init__(self, value: float, lang: str) -> None:
        self._value, self._lang = value, lang

    def __format__(self, spec: str) -> str:
        return localise_number(format(self._value, spec), self._lang)

    def __repr__(self) -> str:
        return localise_number(repr(self._value), self._lang)


class _MissingTexts(NullTranslations):
    """Raises KeyError where gettext would take a missing key for its own translation."""

    def gettext(self, message: str) -> NoReturn:
        raise KeyError(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> NoReturn:  # noqa: ARG002  # gettext's own
        raise KeyError(msgid1)
