"""What people call columns, values, kinds of touchpoint and stages, in reasons, reports and tables.

Programs name things ``hs_analytics_source`` and ``PAID_SEARCH``. A company gives them other names in
``[names]`` of its configuration; the others are made readable here. Machines exchange the raw ones.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from features.history import ACCOUNT_PREFIX
from features.messages import LANGUAGES, translate
from features.parsing import clean_text
from features.spec import DisplayText
from features.word_lists import open_camel_case, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from features.messages import Lang

_PROGRAM_NAME = re.compile(r"[^\W\d]\w*(\.\w+)*")
_LOWER_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SHOUTED = re.compile(r"(?=.*[A-Z]{4})[A-Z]+(_[A-Z]+)+|[A-Z]{5,}")
_SNAKE = re.compile(r"(?=.*[a-z]{4})[a-z]+(_[a-z]+)+")
_LOWER_WORDS = re.compile(r"[^\W\d_]+([ -][^\W\d_]+)*")
_PLACE = "{value}"


@dataclass(frozen=True)
class DisplayNames:
    """The names that a company gave: of a column by its name, of a value by ``column.value``.

    Kinds of touchpoint, stages and channels are values of the columns ``kind``, ``stage`` and ``channel`` of
    the data contract: ``kind.demo_call``, ``stage.mql``, ``channel.PAID_SEARCH``.

    Attributes:
        texts: Each name in all languages.

    >>> names = DisplayNames.from_table({"hs_source": "Source", "stage.mql": {"en": "Warm", "de": "Heiß"}})
    >>> names.column("hs_source").en, names.value("stage", "mql").de, names.column("num_visits").en
    ('Source', 'Heiß', 'Num visits')
    """

    texts: Mapping[str, DisplayText] = field(default_factory=dict)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> DisplayNames:
        """The names of a ``[names]`` table: by key a text, or a text by language.

        A table below a key whose own keys are no languages holds the names of values, as TOML reads
        ``channel.SOCIAL = "Social media"``.

        Raises:
            ValueError: a name is no text, empty, or of another language.
        """
        return cls(dict(_iter_names(table)))

    def column(self, name: str) -> DisplayText:
        """The name of a column: as given, else made readable."""
        return self.texts.get(name) or _in_all_languages(humanise_name(name))

    def value(self, column: str, value: str) -> DisplayText:
        """The name of a column's value: as given, else made readable."""
        return self.texts.get(f"{column}.{value}") or _in_all_languages(humanise_value(value))

    def stage(self, stage: str) -> DisplayText:
        """The name of a stage: as given, else leadloop's, else made readable.

        >>> stages = [DisplayNames().stage(name) for name in ("mql", "Customer", "demo_held")]
        >>> [stage.en for stage in stages], [stage.de for stage in stages]
        (['MQL', 'Customer', 'Demo held'], ['MQL', 'Kunde', 'Demo held'])
        """
        return self.texts.get(f"stage.{stage}") or DisplayText(
            **{lang: _name_stage(stage, lang) for lang in LANGUAGES}
        )

    def question(self, label: str, lang: Lang) -> str:
        """What a model predicts in words: a stage and its horizon, or the column of the outcome.

        >>> DisplayNames().question("sql within 60 days", "de"), DisplayNames().question("Converted", "de")
        ('SQL innerhalb von 60 Tagen', 'Converted')
        """
        stage, horizon = split_question(label)
        if horizon is None:
            return self.column(label).render(lang)
        days = translate("page.dative_days", lang, n=horizon)
        return translate("page.question", lang, stage=self.stage(stage).render(lang), days=days)

    def values_of(self, column: str) -> dict[str, DisplayText]:
        """The names that were given to values of a column, by value."""
        start = f"{column}."
        return {key[len(start) :]: text for key, text in self.texts.items() if key.startswith(start)}

    def columns_apart(self, columns: Iterable[str]) -> dict[str, DisplayText]:
        """The names of several columns; those that would share one carry their raw name behind it.

        >>> apart = DisplayNames().columns_apart(["leadSource", "lead_Source"])
        >>> apart["leadSource"].en, apart["lead_Source"].de
        ('Lead Source (leadSource)', 'Lead Source (lead_Source)')
        """
        return _name_apart({column: self.column(column) for column in columns})

    def values_apart(
        self, column: str, values: Iterable[str], *, channels: bool = False
    ) -> tuple[tuple[str, DisplayText], ...]:
        """The names of values that rendering could not find out: given ones, and those that would be shared.

        Args:
            column: The column.
            values: Its values.
            channels: Whether they are channels, which ``humanise_channel`` makes readable.

        >>> DisplayNames().values_apart("c", ["PAID_SEARCH", "Paid search", "x"])[0][1].en
        'Paid search (PAID_SEARCH)'
        """
        humanise = humanise_channel if channels else humanise_value
        named_values, known = self.values_of(column), list(values)
        if not named_values and all(humanise(value) == value for value in known):
            return ()
        texts = {value: _in_all_languages(humanise(value)) for value in sorted({*known, *named_values})}
        apart = _name_apart(texts | named_values)
        return tuple(
            (value, text)
            for value, text in apart.items()
            if value in named_values or text.en != humanise(value)
        )


def split_question(label: str) -> tuple[str, int | None]:
    """What a model predicts as the stage and the days of its horizon, or the column of an outcome and None.

    >>> split_question("sql within 60 days"), split_question("Converted")
    (('sql', 60), ('Converted', None))
    """
    match = re.fullmatch(r"(.+) within ([\d.]+) days", label)
    return (label, None) if match is None else (match[1], round(float(match[2])))


def _name_stage(stage: str, lang: str) -> str:
    """The name that leadloop has for a stage, however the CRM writes it, else its own made readable."""
    try:
        return translate(f"stages.{stage.casefold()}", lang)
    except KeyError:
        return humanise_name(stage)


def humanise_name(name: str) -> str:
    """The name of a column, kind or stage in words: opened where it is joined; other text stays as it is.

    >>> [humanise_name(name) for name in ("hs_lead_status", "LeadSource", "Anzahl_Mitarbeiter__c")]
    ['Lead status', 'Lead Source', 'Anzahl Mitarbeiter']
    >>> [humanise_name(name) for name in ("numberofemployees", "Lead Source", "LEAD_SOURCE", "utm_source")]
    ['numberofemployees', 'Lead Source', 'Lead source', 'UTM source']
    """
    own = name.removeprefix(ACCOUNT_PREFIX)
    if own not in {name, ""}:
        text = humanise_name(own)
        return f"Account {text[:1].lower() + text[1:] if own.islower() and not text[:2].isupper() else text}"
    if not _PROGRAM_NAME.fullmatch(name):
        return name
    words = _open_words(_without_marks(name)).split()
    if not words or words == [name]:
        return name
    shouted = name.isupper()
    texts = [_write_word(word, shouted=shouted) for word in words]
    return " ".join([texts[0][:1].upper() + texts[0][1:], *texts[1:]])


@lru_cache(maxsize=10_000)
def humanise_column(name: str) -> str:
    """Turn a column's name into words; other text stays as it is.

    >>> humanise_column("business_email"), humanise_column("Lead Source"), humanise_column("TotalVisits")
    ('Business email', 'Lead Source', 'TotalVisits')
    """
    return name.replace("_", " ").capitalize() if _LOWER_CASE.fullmatch(name) else name


def humanise_value(value: str) -> str:
    """A value in SHOUTING_CASE or snake_case as words; any other stays as it is, codes and short ones, too.

    >>> [humanise_value(value) for value in ("PAID_SEARCH", "OFFLINE", "DE_BY", "USA", "Q3_2024", "paid_ad")]
    ['Paid search', 'Offline', 'DE_BY', 'USA', 'Q3_2024', 'Paid ad']
    """
    if _SNAKE.fullmatch(value):
        return humanise_value(value.upper())
    if not _SHOUTED.fullmatch(value) or value.lower() in _capitals():
        return value
    first, *rest = (_write_word(word, shouted=True) for word in value.split("_"))
    return " ".join([first[:1].upper() + first[1:], *rest])


def humanise_channel(value: str) -> str:
    """A channel as words that begin with a capital; codes, domains and brands stay as they are.

    CRMs mix ``direct``, ``PAID_SEARCH`` and ``Organic search`` in one list, and people read it as one.

    >>> [humanise_channel(value) for value in ("direct", "PAID_SEARCH", "Organic search", "seo", "olx.in")]
    ['Direct', 'Paid search', 'Organic search', 'SEO', 'olx.in']
    """
    text = humanise_value(value)
    if not text.islower() or not _LOWER_WORDS.fullmatch(text):
        return text
    return text.upper() if text in _capitals() else text[:1].upper() + text[1:]


def _without_marks(name: str) -> str:
    """The name of a field without what a CRM puts around all of them."""
    marks = read_vocabulary("names")
    for prefix in marks["prefixes"]:
        name = name.removeprefix(prefix)
    for suffix in marks["suffixes"]:
        name = name.removesuffix(suffix)
    return name


def _open_words(name: str) -> str:
    text = open_camel_case(re.sub(r"[_.]+", " ", name))
    for brand in read_vocabulary("names")["brands"]:
        text = text.replace(open_camel_case(brand), brand)
    return text


def _write_word(word: str, *, shouted: bool) -> str:
    if word.lower() in _capitals() and (shouted or word.islower()):
        return word.upper()
    return word.lower() if shouted else word


@lru_cache(maxsize=1)
def _capitals() -> frozenset[str]:
    return frozenset(read_vocabulary("names")["capitals"])


def _in_all_languages(text: str) -> DisplayText:
    return DisplayText(**dict.fromkeys(LANGUAGES, text))


def _name_apart(texts: dict[str, DisplayText]) -> dict[str, DisplayText]:
    """The texts by raw name; where several are alike in a language, each has its raw name behind it."""
    shared = {lang: Counter(text.render(lang).casefold() for text in texts.values()) for lang in LANGUAGES}

    def is_shared(text: DisplayText) -> bool:
        return any(shared[lang][text.render(lang).casefold()] > 1 for lang in LANGUAGES)

    return {
        raw: DisplayText(**{lang: f"{text.render(lang)} ({raw})" for lang in LANGUAGES})
        if is_shared(text)
        else text
        for raw, text in texts.items()
    }


def _iter_names(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, DisplayText]]:
    for key, name in table.items():
        whole = before + clean_text(key)
        if not isinstance(name, dict) or not name:
            yield whole, _in_all_languages(_check_name(whole, name))
        elif name.keys() <= set(LANGUAGES):
            texts = {lang: _check_name(whole, text) for lang, text in name.items()}
            first = next(iter(texts.values()))
            yield whole, DisplayText(**{lang: texts.get(lang, first) for lang in LANGUAGES})
        elif name.keys() & set(LANGUAGES):
            msg = f'{whole!r} has names by language and by value; write values as "{whole}.VALUE" = ...'
            raise ValueError(msg)
        else:
            yield from _iter_names(name, f"{whole}.")


def _check_name(key: str, name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or _PLACE in name:
        msg = (
            f'{key!r} should get a name such as "Original source", or {{ en = ..., de = ... }}, not {name!r}'
        )
        raise ValueError(msg)
    return clean_text(name)
