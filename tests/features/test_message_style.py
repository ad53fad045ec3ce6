"""Sentences for people keep the rules of docs/how-to/wording.md, in both languages."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

from features.messages import LANGUAGES, parse_po, read_sources

# A sentence ends with a full stop, a question mark, a colon or a semicolon before a blank.
END = re.compile(r"(?<=[.?!:;])\s")
WORD = re.compile(r"\w[\w'\u2019-]*")
MOST_WORDS = 28
# The person whom the data are about reads of a sale, not of a funnel.
OF_A_SALE = "subject-access.po"
FORBIDDEN = {
    "en": [
        *(r"told (?:from|apart)", r"tell(?:s)? (?:\w+ )?apart", r"gets? there", r"got there", r"such leads"),
        *("looked at", "any order", "nobody", "whoever", "judged", "come true", r"may be chance\?"),
        *("make sure", "utili[sz]e", "leverage", "simply", "obviously", r"in order to", "etc", "!"),
    ],
    "de": [
        *("Trichter", "Stufe", "Kontaktpunkt", "Konversion", "Quote", "Grundrate", "beurteilt", "angesehen"),
        *(
            "Firma",
            "Firmen",
            r"ausgeschieden",
            "so weit",
            "niemand weiß",
            "gleichbleibend",
            "bzw",
            "etc",
            "!",
        ),
    ],
}
# One word for one thing: an SQL is an SQL, and a lead converts.
FORBIDDEN_IN_THE_FUNNEL = {"en": [], "de": [r"[Aa]bschl[uü]ss\w*", r"schl(?:oss|ossen|ießt|ießen) .*\bab\b"]}


def texts(lang):
    """File, key and text of each message."""
    for file, source in read_sources(lang).items():
        for key, forms in parse_po(source).items():
            if key:
                for form in forms.split("\0"):
                    yield file, key.partition("\0")[0], form


def words_of(text):
    """The text with a word for each gap, without what stands in code."""
    return "".join(
        literal + ("gap" if name is not None else "") for literal, name, _, _ in Formatter().parse(text)
    )


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_sentence_has_a_word_that_readers_stumble_over(lang):
    general = re.compile("|".join(rf"\b(?:{word})" if word != "!" else word for word in FORBIDDEN[lang]))
    funnel = re.compile("|".join(FORBIDDEN_IN_THE_FUNNEL[lang]) or r"(?!)")
    wrong = [
        (key, match.group())
        for file, key, text in texts(lang)
        for match in (general.search(words_of(text)), funnel.search(text) if file != OF_A_SALE else None)
        if match
    ]
    assert wrong == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_sentence_is_too_long_to_read_once(lang):
    long = {
        key: len(WORD.findall(sentence))
        for _, key, text in texts(lang)
        for sentence in END.split(words_of(text))
        if len(WORD.findall(sentence)) > MOST_WORDS
    }
    assert long == {}


def test_a_percent_sign_stands_as_its_language_has_it():
    english = [key for _, key, text in texts("en") if re.search(r"\d %", words_of(text))]
    german = [key for _, key, text in texts("de") if re.search(r"\d%", words_of(text))]
    assert (english, german) == ([], [])


@pytest.mark.parametrize("lang", LANGUAGES)
def test_quotation_marks_are_those_of_the_language(lang):
    others = {"en": "„«»", "de": "”«»"}[lang]
    assert [key for _, key, text in texts(lang) if any(mark in text for mark in others)] == []
    plain = [key for _, key, text in texts(lang) if re.search(r'(?<![\w=".])"(?!\.?0)', text)]
    assert plain == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_has_two_blanks_or_ends_with_one(lang):
    # The sheet for a person adds one text to the end of another; the lines of a group are indented.
    allowed = {"subject-access.corrected", "effect.group", "effect.group_clear", "effect.group_few"}
    wrong = {key for _, key, text in texts(lang) if text != text.strip() or "  " in text.strip()}
    assert wrong - allowed == set()


# Sentences in Python code: of errors, of refused options, and the lines of commands.

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(f for name in ("features", "models", "training", "serving") for f in (ROOT / name).rglob("*.py"))
]
SOURCES.append(ROOT / "leadloop.py")
# Calls whose texts people read.
SPOKEN = {
    "usage_error",
    "BadParameter",
    "refuse",
    "print_status",
    "print_error",
    "say",
    "Problem",
    "bad_request",
}
STUMBLING = [
    *FORBIDDEN["en"],
    *("is told", "be told", "may nothing", "came out", "came to be", "leads nowhere", "lies beside"),
    *("another one than", "by itself otherwise", "wants to be", r"said of", "look better", "by themselves"),
]


def code_sentences():
    """File, line and text of each sentence; a gap stands for each value in it."""
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for value in spoken_values(node):
                text = text_of(value)
                if " " in text.strip():
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", text


def spoken_values(node):
    if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "msg" for target in node.targets):
        return [node.value]
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return node.exc.args
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return node.args if name in SPOKEN else []
    return []


def text_of(node):
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else "gap" for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return ""


def test_no_sentence_in_the_code_has_a_word_that_readers_stumble_over():
    pattern = re.compile("|".join(rf"\b(?:{word})" if word != "!" else word for word in STUMBLING))
    found = [
        (place, pattern.search(text).group()) for place, text in code_sentences() if pattern.search(text)
    ]
    assert found == []


def test_no_sentence_in_the_code_is_too_long_to_read_once():
    long = {
        place: len(WORD.findall(sentence))
        for place, text in code_sentences()
        for sentence in END.split(text)
        if len(WORD.findall(sentence)) > MOST_WORDS
    }
    assert long == {}


def test_sentences_of_the_code_are_found():
    assert len(list(code_sentences())) > 400
