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
    """

    caption: str
    head: Row
    rows: tuple[Row, ...]
    is_text: bool = False
    muted_rows: frozenset[int] = frozenset()

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
        widths = [max((len(_figures(row[i])) for row in self.rows), default=1) for i in range(len(self.head))]
        heads = [name for i, head in enumerate(self.head) for name in _heads(head, widths[i], t)]
        writer.writerow(map(escape_formula, heads))
        for row in self.rows:
            writer.writerow(
                [text for cell, width in zip(row, widths, strict=True) for text in _cells(cell, width, point)]
            )
        return file.getvalue()


def _figures(cell: str) -> tuple[float, ...]:
    return cell.values if isinstance(cell, FormattedNumber) else ()


def _heads(head: str, width: int, t: Translator) -> Iterator[str]:
    yield head
    yield from (f"{head}: {t(f'page.{end}')}" for end in ("low", "high")[: max(0, width - 1)])


def _cells(cell: str, width: int, point: str) -> Iterator[str]:
    """One cell as the ``width`` cells of its column."""
    figures = _figures(cell)
    texts = [f"{figure:.10g}".replace(".", point) for figure in figures] or [escape_formula(cell)]
    yield from texts + [""] * (width - len(texts))
