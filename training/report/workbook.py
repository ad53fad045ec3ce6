"""All tables of a report as one Excel file, with a sheet for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import xlsxwriter

from training.report.layout import BLOCKS, missing_reason
from training.report.plugin_sections import custom_table
from training.report.table import Table
from training.report.translator import FormattedNumber, translator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from features.messages import Lang
    from training.report.report import Report
    from training.report.translator import Translator

# What Excel allows in the name of a sheet.
_MOST_LETTERS = 31
# Widths of columns of numbers, in letters.
_MOST_WIDE, _ROOM = 40, 2
_NOT_IN_NAMES = re.compile(r"[\[\]:*?/\\]")
_FORMATS = {"percent": "0.0%", "whole": "#,##0", "number": "#,##0.000"}


def tables(report: Report, t: Translator) -> Iterator[tuple[str, Table]]:
    """Every table of the page with the title of its section, in the order of the page."""
    for block, view in BLOCKS.items():
        if missing_reason(report, block) is None:
            title = t(f"sections.{block}")
            yield from ((title, table) for table in _find_tables(view(report, t)))
    for section in report.custom.values():
        title = section.title.render(t.lang)
        yield from ((title, custom_table(table, t)) for table in section.tables)


def write_workbook(report: Report, path: Path, lang: Lang = "en") -> None:
    """Write all tables of a report to an Excel file.

    Args:
        report: The report.
        path: The file to write.
        lang: The language of headings and sheets.

    Numbers are stored as numbers, unrounded, percentages in a percent format; an interval has two columns of
    its own. Texts from data are never formulas.
    """
    t = translator(lang).with_names(report.card.names)
    listed = [(title, table) for title, table in tables(report, t) if table.rows]
    with xlsxwriter.Workbook(path, {"in_memory": True, "strings_to_formulas": False}) as book:
        formats = {kind: book.add_format({"num_format": code}) for kind, code in _FORMATS.items()}
        bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
        contents = book.add_worksheet(t("page.contents"))
        names = {contents.get_name().lower()}
        for column, text in enumerate((t("workbook.sheet"), t("workbook.section"), t("workbook.table"))):
            contents.write_string(0, column, text, bold)
        for number, (title, table) in enumerate(listed, 1):
            name = _sheet_name(table.caption, names)
            contents.write_url(number, 0, f"internal:'{name.replace(chr(39), 2 * chr(39))}'!A1", string=name)
            contents.write_string(number, 1, title)
            contents.write_string(number, 2, table.caption)
            _fill(book.add_worksheet(name), table, t, formats, bold)
        contents.freeze_panes(1, 0)
        contents.autofit()


def _fill(sheet: Any, table: Table, t: Translator, formats: dict[str, Any], bold: Any) -> None:
    head, rows = table.spread(t)
    for column, text in enumerate(head):
        sheet.write_string(0, column, text, bold)
    for number, row in enumerate(rows, 1):
        for column, cell in enumerate(row):
            if isinstance(cell, FormattedNumber):
                sheet.write_number(number, column, cell.values[0], formats[_kind(cell)])
            elif cell is not None:
                sheet.write_string(number, column, cell)
    sheet.freeze_panes(1, 1)
    sheet.autofit(300)
    # A percentage is wider than the number that it is stored as.
    for column in range(len(head)):
        widest = max((len(row[column] or "") for row in rows), default=0)
        if any(isinstance(row[column], FormattedNumber) for row in rows):
            sheet.set_column(column, column, max(widest, min(len(head[column]), _MOST_WIDE)) + _ROOM)


def _kind(cell: FormattedNumber) -> str:
    if "%" in cell:
        return "percent"
    return "whole" if float(cell.values[0]).is_integer() else "number"


def _find_tables(view: object) -> Iterator[Table]:
    """The tables anywhere in a section's view."""
    if isinstance(view, Table):
        yield view
    elif isinstance(view, dict):
        for part in view.values():
            yield from _find_tables(part)
    elif isinstance(view, list | tuple):
        for part in view:
            yield from _find_tables(part)


def _sheet_name(caption: str, names: set[str]) -> str:
    """The beginning of the caption, without what Excel refuses, and different from ``names`` in any case."""
    stem = _NOT_IN_NAMES.sub(" ", caption).strip(" '")
    number, name = 1, stem[:_MOST_LETTERS].strip(" '")
    while name.lower() in names:
        number += 1
        end = f" {number}"
        name = stem[: _MOST_LETTERS - len(end)].strip(" '") + end
    names.add(name.lower())
    return name
