"""Every message has a text in each language, by a key that is no sentence, and no text lies about unused."""

from __future__ import annotations

import ast
import copy
import io
import json
import re
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest
from babel.messages.pofile import read_po as read_by_babel

import features
from features import messages
from features.catalogue import KINDS
from features.ingest.column_roles import ROLES
from features.ingest.schema import CONTRACT, OFFER_STAGES
from features.messages import (
    LANGUAGES,
    Message,
    join_items,
    load_translations,
    parse_po,
    read_sources,
    translate,
)
from models.uncertainty import InsufficiencyCode
from training.leakage.column_checks import Severity
from training.points.conditions import Test

ROOT = Path(features.__file__).parents[1]
PACKAGES = ("features", "models", "training", "serving")
TEMPLATES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.html"))
FILES = sorted(read_sources("en"))
KEY = re.compile(r"[a-z][a-z_-]*\.[\w-]+(?: (?:\+ )?\w+)?")


def catalogue(lang):
    """Every key of a language with the forms of its text."""
    texts = {
        key: form for source in read_sources(lang).values() for key, form in parse_po(source).items() if key
    }
    return {key.partition("\0")[0]: form.split("\0") for key, form in texts.items()}


def gaps(forms):
    """The names that a text leaves open; the form for one alone may leave out its number."""
    return {name for form in forms for _, name, _, _ in Formatter().parse(form) if name is not None}


def named_in_code():
    """The keys that code and templates spell out, and the beginnings of those that they put together."""
    whole, starts = set(), set()
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and KEY.fullmatch(node.value):
                whole.add(node.value)
            if isinstance(node, ast.JoinedStr):
                first = node.values[0]
                if isinstance(first, ast.Constant) and re.fullmatch(r"[a-z_-]+\.\w*", first.value):
                    starts.add(first.value)
            # label("stages", x) looks for the key "stages.<x>".
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "label":
                section = node.args[0]
                starts |= {f"{section.value}."} if isinstance(section, ast.Constant) else set()
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_write_sentence":
                name = node.args[0]
                whole |= {f"features.{name.value}"} if isinstance(name, ast.Constant) else set()
    for path in TEMPLATES:
        template = path.read_text()
        whole |= set(re.findall(rf'["\']({KEY.pattern})["\']', template))
        starts |= set(re.findall(r'["\']([a-z_-]+\.\w*)["\'] ?~', template))
        starts |= {f"{section}." for section in re.findall(r'label\(["\']([a-z-]+)["\']', template)}
    return whole, starts


def called_with_a_key():
    """The keys that are given to what looks one up, as far as they are spelt out."""
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in {"Message", "translate", "t", "plural"} and isinstance(node.args[0].value, str):
                yield node.args[0].value
    for path in TEMPLATES:
        yield from re.findall(r'\bt(?:\.plural)?\(["\']([^"\']+)["\'][,)]', path.read_text())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_our_parser_reads_what_gettexts_own_tools_read(lang, name):
    expected = {
        "\0".join([message.id] if isinstance(message.id, str) else message.id): "\0".join(
            [message.string] if isinstance(message.string, str) else message.string
        )
        for message in read_by_babel(io.StringIO(read_sources(lang)[name]), abort_invalid=True)
        if message.id
    }
    assert {key: form for key, form in parse_po(read_sources(lang)[name]).items() if key} == expected


@pytest.mark.parametrize("name", FILES)
def test_both_languages_have_the_same_keys_in_the_same_file(name):
    english, german = (parse_po(read_sources(lang)[name]).keys() for lang in LANGUAGES)
    assert english == german


def test_both_languages_leave_the_same_gaps():
    english, german = (catalogue(lang) for lang in LANGUAGES)
    assert {key: gaps(forms) for key, forms in english.items()} == {k: gaps(f) for k, f in german.items()}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_key_is_a_sentence_and_no_text_is_empty_or_unsure(lang):
    assert [key for key in catalogue(lang) if not KEY.fullmatch(key)] == []
    assert [key for key, forms in catalogue(lang).items() if not all(forms)] == []
    assert not [name for name, source in read_sources(lang).items() if "#, fuzzy" in source]


def test_every_key_in_the_code_has_a_text():
    called = set(called_with_a_key())
    assert len(called) > 300
    assert called - catalogue("en").keys() == set()


COMPOSED = {
    "conditions": get_args(Test),
    "insufficient": get_args(InsufficiencyCode),
    "offer_stages": OFFER_STAGES,
    "required": {column.name for columns in CONTRACT.values() for column in columns if column.required},
    "roles": ROLES,
    "severities": get_args(Severity),
    "tables": CONTRACT,
    "touchpoints": KINDS,
}


@pytest.mark.parametrize("section", COMPOSED)
def test_every_name_that_a_key_is_put_together_from_has_a_text(section):
    assert {f"{section}.{name}" for name in COMPOSED[section]} - catalogue("en").keys() == set()


def test_every_text_is_asked_for_by_the_code():
    whole, starts = named_in_code()
    requested = {key for key in catalogue("en") if key in whole or key.startswith(tuple(starts))}
    assert catalogue("en").keys() - requested == set()


def test_a_message_is_english_text_that_knows_its_german():
    late = Message(
        "ingest.of_table", table=Message("tables.touchpoints"), reason=Message("ingest.no_such_lead")
    )
    assert (late, late.render("en")) == ("touchpoints: no such lead", "touchpoints: no such lead")
    assert late.render("de") == "Touchpoints: kein solcher Lead"
    assert json.dumps([late]) == '["touchpoints: no such lead"]'


def test_words_of_the_data_are_not_translated():
    column = Message("columns.constant", value="'no such lead'")
    assert column.render("de") == "jede Zeile hat 'no such lead'"


def test_numbers_are_written_as_in_the_language():
    message = Message("findings.none_without", rows=1204, rate=Message("values.percent", share=0.125))
    assert message.startswith("none of the 1,204 leads without a value converted; of all leads 12% did")
    german = message.render("de")
    assert "von den 1.204 Leads ohne Wert konvertierte keiner, von allen 12\N{NO-BREAK SPACE}%" in german
    assert "AUC von 0,981" in Message("findings.ranks_alone", auc=0.981).render("de")


def test_a_list_is_joined_in_the_language():
    words = join_items("or", ["'a'", "'b'", "'c'"])
    message = Message("findings.of_won_alone", leads=12, words=words)
    assert "with 'a' or 'b' or 'c' converted" in message
    assert "mit 'a' oder 'b' oder 'c'" in message.render("de")
    assert (join_items("comma", []), join_items("and", ["a"])) == ("", "a")


def test_a_message_survives_copies_and_json():
    alone = Message("findings.told_by", column="size", auc=0.71)
    late = Message(
        "findings.told_apart", auc=0.8, low=0.7, high=0.9, named=join_items("comma", [alone, alone])
    )
    again = Message.from_plain(json.loads(json.dumps(late.to_plain())))
    for other in (again, copy.deepcopy(late)):
        assert (other, other.key, other.values) == (late, late.key, late.values)
        assert other.render("de") == late.render("de")


@pytest.fixture
def reworded(monkeypatch):
    """The catalogue with another English, as if somebody had reworded all of it."""
    untouched = read_sources

    def changed(lang):
        if lang != "en":
            return untouched(lang)
        return {
            name: re.sub(r'(?m)^(msgstr(?:\[\d\])? )"(?=.)', r'\1"Reworded: ', source)
            for name, source in untouched(lang).items()
        }

    monkeypatch.setattr(messages, "read_sources", changed)
    load_translations.cache_clear()
    yield
    load_translations.cache_clear()


@pytest.mark.usefixtures("reworded")
def test_rewording_the_english_does_not_lose_the_german():
    late = Message("ingest.no_such_lead")
    assert (late, late.render("de")) == ("Reworded: no such lead", "kein solcher Lead")
    assert Message.from_plain({"key": "duration.days", "values": {"n": 3}}).render("de") == "3 Tage"


def test_a_text_that_nobody_wrote_is_a_mistake():
    with pytest.raises(KeyError, match=r"findings\.unheard_of"):
        Message("findings.unheard_of")
    with pytest.raises(KeyError, match=r"duration\.years"):
        translate("duration.years", "de", n=2)
    with pytest.raises(ValueError, match="'fr' is no language"):
        translate("duration.days", "fr", n=2)


def test_two_files_with_one_key_are_refused(monkeypatch):
    entry = 'msgid "a.b"\nmsgstr "c"\n'
    monkeypatch.setattr(messages, "read_sources", lambda _: {"one.po": entry, "two.po": entry})
    with pytest.raises(ValueError, match=r"en/two\.po: 'a\.b' has a text already"):
        load_translations.__wrapped__("en")


def test_what_is_no_catalogue_is_refused_with_its_line():
    with pytest.raises(ValueError, match="line 2 of a catalogue is no statement"):
        parse_po('msgid "a.b"\nmsgstr c\n')
