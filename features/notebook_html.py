"""Small pieces of HTML for notebooks: escaped, in the colours of whoever reads them, light or dark.

A core object shows itself by what it *is*: a caption, a line of facts, one table. No template engine, so that
features and models stay importable by the service.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOR, AGAINST = "#2a9aa3", "#d9683b"
_CELL_STYLE = "border:0;border-top:1px solid rgba(128,128,128,.35);padding:.2em .8em;background:transparent"
_HALF_WIDTH = 70
_NUMBER = re.compile(r"[+-]?\d")


class Markup(str):
    """Text that is HTML already, so that ``html_table`` does not escape it again."""

    __slots__ = ()


def html_card(caption: str, facts: str, *parts: str) -> str:
    """A block of HTML: a caption, a line of facts and then ``parts``, which are HTML already.

    >>> html_card("a < b", "1 row")
    '<div style="color:inherit"><strong>a &lt; b</strong><br><span style="opacity:.75">1 row</span></div>'
    """
    heading = f'<strong>{escape(caption)}</strong><br><span style="opacity:.75">{escape(facts)}</span>'
    return f'<div style="color:inherit">{heading}{"".join(parts)}</div>'


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; columns of numbers are aligned to the right, text to the left.

    >>> numeric, text = html_table(("name", "rows"), [("leads", "12")]), html_table(("name",), [("leads",)])
    >>> "right" in numeric, "right" in text
    (True, False)
    """
    body = list(rows)
    sides = [
        "right" if _is_numeric_column(row[place] for row in body) else "left" for place in range(len(header))
    ]
    lines = [_row_html("th", header, sides), *(_row_html("td", row, sides) for row in body)]
    style = "border-collapse:collapse;margin:.5em 0;color:inherit;font-variant-numeric:tabular-nums"
    return f'<table style="{style}"><thead>{lines[0]}</thead><tbody>{"".join(lines[1:])}</tbody></table>'


def html_bar(value: float, widest: float) -> Markup:
    """A bar from the middle, to the right for values above 0 and to the left below.

    Its length is the share of ``widest``. It is hidden from screen readers, as the number is in the cell
    beside it.
    """
    length = round(_HALF_WIDTH * min(1.0, abs(value) / widest)) if widest else 0
    left, colour = (_HALF_WIDTH, FOR) if value > 0 else (_HALF_WIDTH - length, AGAINST)
    inner = f"margin-left:{left}px;width:{length}px;height:.8em;background:{colour}"
    return Markup(
        f'<div aria-hidden="true" style="width:{2 * _HALF_WIDTH}px"><div style="{inner}"></div></div>'
    )


def html_strong(text: str) -> Markup:
    """The escaped ``text`` in bold."""
    return Markup(f"<strong>{escape(text)}</strong>")


def _is_numeric_column(column: Iterable[str]) -> bool:
    """Whether every filled cell begins as a number does."""
    return all(_NUMBER.match(text.removeprefix("<strong>")) for text in column if text)


def _row_html(tag: str, texts: Sequence[str], sides: Sequence[str]) -> str:
    cells_html = (text if isinstance(text, Markup) else escape(text) for text in texts)
    no_wrap = ";white-space:nowrap" if tag == "td" else ""
    styles = (f"{_CELL_STYLE};text-align:{side}{no_wrap if side == 'right' else ''}" for side in sides)
    cells = (f'<{tag} style="{style}">{text}</{tag}>' for text, style in zip(cells_html, styles, strict=True))
    return f"<tr>{''.join(cells)}</tr>"
