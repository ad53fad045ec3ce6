"""Tables of the page, which download as CSV files for spreadsheets."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING
from urllib.parse import quote

from features.spreadsheet import escape_formula
from training.report.translator import FormattedNumber

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.analysis.lead_lists import LeadList
    from training.report.translator import Translator

Row = tuple[str, ...]
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page.

    A ``FormattedNumber`` downloads unrounded, its interval in columns of its own.

    Attributes:
        caption: Its title.
        head: One heading per column.
        rows: The cells.
        is_text: Whether cells are sentences rather than figures.
        muted_rows: Indices of grey rows: too few leads to be read as figures.
        leads: The leads of each of the first rows, where the company allows their ids on the page.
    """

    caption: str
    head: Row
    rows: tuple[Row, ...]
    is_text: bool = False
    muted_rows: frozenset[int] = frozenset()
    leads: tuple[LeadList, ...] = ()

    @property
    def file(self) -> str:
        """The file name of the download."""
        return re.sub(r"\W+", "-", self.caption.lower()).strip("-") + ".csv"

    def download(self, t: Translator) -> str:
        """The table as a data URL, so that it can be saved from a page without network."""
        return "data:text/csv;charset=utf-8," + quote(_BYTE_ORDER_MARK + self.csv(t))

    def csv(self, t: Translator) -> str:
        """Write the table as CSV in the dialect of the reader's country.

        Cells that a spreadsheet would run as a formula are quoted: they may come from a web form.
        """
        comma, point = (";", ",") if t.lang == "de" else (",", ".")
        file = StringIO()
        writer = csv.writer(file, delimiter=comma)
        head, rows = self.spread(t)
        writer.writerow(map(escape_formula, head))
        for row in rows:
            writer.writerow([_text(cell, point) for cell in row])
        return file.getvalue()

    def spread(self, t: Translator) -> tuple[list[str], list[list[str | FormattedNumber | None]]]:
        """The heading and the rows with a column for each number: an interval takes three.

        Returns:
            One heading per column; cells are texts, single numbers, or None where a figure has fewer numbers.
        """
        widths = [max((len(_figures(row[i])) for row in self.rows), default=1) for i in range(len(self.head))]
        heads = [name for i, head in enumerate(self.head) for name in _heads(head, widths[i], t)]
        rows = [
            [each for cell, width in zip(row, widths, strict=True) for each in _cells(cell, width)]
            for row in self.rows
        ]
        return heads, rows


def _figures(cell: str) -> tuple[float, ...]:
    return cell.values if isinstance(cell, FormattedNumber) else ()


def _heads(head: str, width: int, t: Translator) -> Iterator[str]:
    yield head
    yield from (f"{head}: {t(f'page.{end}')}" for end in ("low", "high")[: max(0, width - 1)])


def _cells(cell: str, width: int) -> Iterator[str | FormattedNumber | None]:
    """One cell as the ``width`` cells of its column."""
    figures = _figures(cell)
    if figures:
        yield from (FormattedNumber(cell, figure) for figure in figures)
    else:
        yield cell
    yield from [None] * (width - max(len(figures), 1))


def _text(cell: str | FormattedNumber | None, point: str) -> str:
    if isinstance(cell, FormattedNumber):
        return f"{cell.values[0]:.10g}".replace(".", point)
    return "" if cell is None else escape_formula(cell)
