"""Sections that other packages add to the report: figures and words in every language, as plain records.

They are stored in ``report.json`` like all else, so that a page can be written again, or in the other
language, where the package is not installed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.spec import DisplayText
from models.metrics import Interval
from training.plugins import Plugin, PluginModule, load_plugins
from training.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.analysis.inputs import ReportInput
    from training.report.translator import Translator

Cell = str | int | float | Interval | DisplayText
_TYPES = (str, int, float, Interval, DisplayText)


@dataclass(frozen=True, slots=True)
class CustomTable:
    """A table whose numbers each language writes in its own way.

    Attributes:
        caption: What it shows.
        head: A heading for each column.
        rows: A cell for each column: a text, a whole number, a number (three decimals), a figure with its
            interval, or a text in each language.
    """

    caption: DisplayText
    head: tuple[DisplayText, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class CustomSection:
    """A section of the report that another package adds.

    Attributes:
        title: Its heading.
        paragraphs: Text above the tables.
        tables: Each is shown and can be downloaded as CSV.
    """

    title: DisplayText
    paragraphs: tuple[DisplayText, ...] = ()
    tables: tuple[CustomTable, ...] = ()


def compute_custom_sections(
    inputs: ReportInput, modules: Sequence[PluginModule] = ()
) -> dict[str, CustomSection]:
    """The sections that installed packages and ``modules`` make of a report's input, by plug-in name.

    Args:
        inputs: What the whole report is made from; each plug-in is called with it.
        modules: Where plug-ins are found beside installed packages.

    Raises:
        PluginError: A plug-in raises, or returns something else than a ``CustomSection`` of texts and
            finite numbers.
    """
    sections = {}
    for plugin in load_plugins("leadloop.report_sections", modules):
        section = plugin.call(inputs)
        if not isinstance(section, CustomSection):
            plugin.refuse_result(section, "a CustomSection of training.report.plugin_sections")
        for text in (section.title, *section.paragraphs):
            _check_text(plugin, text)
        for table in section.tables:
            _check_table(plugin, table)
        sections[plugin.name] = section
    return sections


def _check_text(plugin: Plugin, text: object) -> None:
    if not isinstance(text, DisplayText):
        plugin.refuse_result(text, "a text in each language, DisplayText(en, de)")


def _check_table(plugin: Plugin, table: object) -> None:
    if not isinstance(table, CustomTable):
        plugin.refuse_result(table, "a CustomTable of training.report.plugin_sections")
    for text in (table.caption, *table.head):
        _check_text(plugin, text)
    for row in table.rows:
        if len(row) != len(table.head):
            plugin.refuse_result(row, f"a row of {len(table.head)} cells, as many as there are headings")
        for cell in row:
            if type(cell) not in _TYPES:
                plugin.refuse_result(cell, "a text, a plain Python number, an Interval or a DisplayText")
            numbers = (cell.value, cell.low, cell.high) if isinstance(cell, Interval) else (cell,)
            if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
                plugin.refuse_result(cell, "a finite number; write a text where there is none")


def custom_table(table: CustomTable, t: Translator) -> Table:
    """The table in the language of ``t``."""
    rows = tuple(tuple(_format_cell(cell, t) for cell in row) for row in table.rows)
    return Table(table.caption.render(t.lang), tuple(text.render(t.lang) for text in table.head), rows)


def _format_cell(cell: Cell, t: Translator) -> str:
    if isinstance(cell, DisplayText):
        return cell.render(t.lang)
    if isinstance(cell, Interval):
        return t.interval(cell)
    if isinstance(cell, str):
        return cell
    return t.number(cell, 0 if isinstance(cell, int) else 3)
