"""Sections of plug-ins are stored as figures and written in both languages, without the package too."""

from __future__ import annotations

import importlib
import json
import re
import sys
from dataclasses import replace

import pytest
from report_inputs import report_input

from features.spec import DisplayText
from models.metrics import Interval
from training.plugins import PluginError, PluginModule
from training.report.plugin_sections import (
    CustomSection,
    CustomTable,
    compute_custom_sections,
    custom_table,
)
from training.report.render import render
from training.report.report import Report, build_report
from training.report.translator import translator

TEXT = DisplayText("Text", "Wort")


@pytest.fixture(scope="module")
def given():
    return report_input(400)


@pytest.fixture(scope="module")
def plain(given):
    return build_report(given)


def test_without_plugins_neither_json_nor_page_speaks_of_them(plain):
    assert "custom" not in json.loads(plain.to_json())
    assert "own-" not in render(plain)
    assert Report.from_json(plain.to_json()) == plain


def test_a_section_is_on_the_page_in_both_languages(acme, given, plain):
    report = replace(plain, custom=compute_custom_sections(given))
    acme.remove()
    again = Report.from_json(report.to_json())
    assert again == report
    page, *_ = render(again, "en").partition("<template")
    assert '<section id="own-regions" aria-labelledby="own-regions-title">' in page
    assert "Your own sections" in page
    assert '<a href="#own-regions">Our regions</a>' in page
    assert "What &amp; where." in page
    assert "&lt;b&gt;mean&lt;/b&gt;" in page
    assert "<b>mean" not in page
    german, *_ = render(again, "de").partition("<template")
    assert "Unsere Regionen" in german
    assert "Eigene Abschnitte" in german
    brier = again.custom["regions"].tables[0].rows[1][1]
    assert isinstance(brier, Interval)
    assert f"{brier.value:.3f}".replace(".", ",") in german


@pytest.mark.usefixtures("acme")
def test_the_rest_of_the_page_stays_as_it_is(given, plain):
    page = render(replace(plain, custom=compute_custom_sections(given)))
    page = re.sub(r'<section id="own-regions".*?</section>\n?', "", page, flags=re.DOTALL)
    page = re.sub(r'<li>\n<span id="part-own">.*?</ul>\n</li>\n', "", page, flags=re.DOTALL)
    assert page == render(plain)


def test_numbers_are_written_by_each_language():
    table = CustomTable(TEXT, (TEXT, TEXT), ((1234, 0.5), ("a", Interval(0.5, 0.25, 0.75))))
    german = custom_table(table, translator("de"))
    assert german.rows[0] == ("1.234", "0,500")
    assert german.csv(translator("de")).splitlines()[1] == "1234;0,5;;"


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("text", "returned str 'text'; this should be a CustomSection"),
        (CustomSection("Title"), "should be a text in each language"),
        (CustomSection(TEXT, tables=(1,)), "should be a CustomTable"),
        (CustomSection(TEXT, tables=(CustomTable(TEXT, (TEXT,), ((1, 2),)),)), "a row of 1 cells"),
        (CustomSection(TEXT, tables=(CustomTable(TEXT, (TEXT,), ((None,),)),)), "a plain Python number"),
        (CustomSection(TEXT, tables=(CustomTable(TEXT, (TEXT,), ((float("nan"),),)),)), "a finite number"),
    ],
)
@pytest.mark.usefixtures("site")
def test_what_is_no_section_is_refused(tmp_path, given, section, says, monkeypatch):
    (tmp_path / "mine.py").write_text("leadloop_report_sections = {}")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    importlib.import_module("mine").leadloop_report_sections["mine"] = lambda _: section
    with pytest.raises(PluginError, match=says):
        compute_custom_sections(given, [PluginModule("mine", tmp_path)])
