"""The workbook holds every table of the page, numbers as numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import pytest
from report_inputs import report_input

from features.messages import LANGUAGES
from training.report.report import build_report
from training.report.table import Table
from training.report.translator import translator
from training.report.workbook import tables, write_workbook

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def parse(part):
    return ET.fromstring(part)  # noqa: S314  # written by ourselves


class Book:
    """A workbook, read from its XML by itself: sheets by name, cells as text or number with its format."""

    def __init__(self, path):
        with ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        shared = parse(parts["xl/sharedStrings.xml"])
        self.texts = ["".join(item.itertext()) for item in shared]
        styles = parse(parts["xl/styles.xml"])
        codes = {one.get("numFmtId"): one.get("formatCode") for one in styles.iter(MAIN + "numFmt")}
        codes |= {"0": "General", "3": "#,##0"}
        cells = styles.find(MAIN + "cellXfs")
        self.formats = [codes.get(one.get("numFmtId")) for one in cells]
        names = [one.get("name") for one in parse(parts["xl/workbook.xml"]).iter(MAIN + "sheet")]
        self.sheets = {
            name: parse(parts[f"xl/worksheets/sheet{number}.xml"]) for number, name in enumerate(names, 1)
        }

    def rows(self, name):
        return [[self.cell(cell) for cell in row] for row in self.sheets[name].iter(MAIN + "row")]

    def cell(self, cell):
        value = cell.findtext(MAIN + "v")
        if cell.get("t") == "s":
            return self.texts[int(value)]
        assert cell.find(MAIN + "f") is None
        return None if value is None else (float(value), self.formats[int(cell.get("s", 0))])


@pytest.fixture(scope="module")
def report():
    return build_report(report_input(400))


@pytest.fixture(scope="module", params=LANGUAGES)
def book(request, report, tmp_path_factory):
    path = tmp_path_factory.mktemp("book") / "tables.xlsx"
    write_workbook(report, path, request.param)
    return Book(path), translator(request.param)


def test_every_table_has_a_sheet_and_is_in_the_contents(report, book):
    file, t = book
    listed = [table for _, table in tables(report, t) if table.rows]
    first, *others = file.sheets
    assert first == t("page.contents")
    assert len(others) == len(listed) > 8
    assert [row[2] for row in file.rows(first)[1:]] == [table.caption for table in listed]
    assert [row[0] for row in file.rows(first)[1:]] == others


def test_numbers_are_numbers_and_percentages_have_their_format(report, book):
    file, t = book
    name = next(
        name
        for name, table in zip(
            list(file.sheets)[1:], (table for _, table in tables(report, t) if table.rows), strict=True
        )
        if table.caption == t("calibration.grades_table")
    )
    head, *rows = file.rows(name)
    assert len(head) == 6
    for row, grade in zip(rows, report.calibration.grades, strict=True):
        assert row[0] == grade.name
        assert row[1] == (grade.rows, "#,##0")
        ends = (grade.forecast, grade.observed.value, grade.observed.low, grade.observed.high)
        assert row[2:] == [(pytest.approx(end), "0.0%") for end in ends]


def test_every_sheet_has_a_frozen_heading(book):
    for sheet in book[0].sheets.values():
        pane = sheet.find(f".//{MAIN}pane")
        assert pane.get("state") == "frozen"
        assert pane.get("ySplit") == "1"


def test_text_from_data_is_no_formula(tmp_path, report, monkeypatch):
    bad = Table("=1+1: a [very] long caption of a table, longer than Excel allows", ("=A1",), (("=cmd|x",),))
    monkeypatch.setattr("training.report.workbook.tables", lambda *_: iter([("x", bad), ("x", bad)]))
    write_workbook(replace(report), tmp_path / "bad.xlsx")
    file = Book(tmp_path / "bad.xlsx")
    _, *names = file.sheets
    assert len({name.lower() for name in names}) == 2
    assert all(len(name) <= 31 and not re.search(r"[\[\]:*?/\\]", name) for name in names)
    assert file.rows(names[0]) == [["=A1"], ["=cmd|x"]]


def test_no_percentage_is_wider_than_its_column(book):
    """A program shows ### where the formatted number has no room."""
    for sheet in book[0].sheets.values():
        widths = {
            place: float(one.get("width"))
            for one in sheet.iter(f"{MAIN}col")
            for place in range(int(one.get("min")), int(one.get("max")) + 1)
        }
        for row in sheet.iter(f"{MAIN}row"):
            for place, cell in enumerate(row, 1):
                if cell.get("t") != "s" and book[0].formats[int(cell.get("s", 0))] == "0.0%":
                    assert widths[place] > len(f"{float(cell.findtext(MAIN + 'v')):.1%}")
