"""Cells of CSV files that a spreadsheet would run as formulas, and back.

A lead may call itself ``=HYPERLINK(...)``; a spreadsheet runs that on the machine of whoever opens the file.
As OWASP recommends, such text gets an apostrophe in front, which spreadsheets show as text. Text that already
begins with apostrophes before such a character gets one more, so that every text can be read back as it was.
"""

from __future__ import annotations

import re

import polars as pl

_FORMULA = r"^'*[=+\-@\t\r\n\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
_ESCAPED = _FORMULA.replace("'*", "'+")
# Numbers begin with a sign, too, and do nothing.
_NUMBER = r"^[+-]?(\d+([.,]\d+)?|\.\d+)([eE][+-]?\d+)?$"
_TEXTS = [pl.String, pl.Categorical, pl.Enum]
_BRACES = re.compile(r"\\x\{(\w+)\}")


def escape_formula(text: str) -> str:
    """The text of a cell that no spreadsheet takes for a formula.

    >>> escape_formula("=cmd|'/c calc'!A1"), escape_formula("-5"), escape_formula("Ada")
    ("'=cmd|'/c calc'!A1", '-5', 'Ada')
    """
    return f"'{text}" if _matches(_FORMULA, text) and not _matches(_NUMBER, text) else text


def unescape_formula(text: str) -> str:
    """The text that ``escape_formula`` was given, from what it gave back."""
    return text[1:] if _matches(_ESCAPED, text) else text


def escape_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with ``escape_formula`` of every text and every column's name; numbers stay numbers."""
    texts = [name for name, kind in frame.schema.items() if kind in _TEXTS]
    escaped = frame.with_columns(
        pl.when(text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER))
        .then(pl.concat_str(pl.lit("'"), text))
        .otherwise(text)
        .alias(name)
        for name in texts
        for text in [pl.col(name).cast(pl.String)]
    )
    return escaped.rename({name: escape_formula(name) for name in frame.columns})


def unescape_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame that ``escape_formulas`` was given, its text as strings."""
    texts = pl.col(pl.String)
    read = frame.with_columns(
        pl.when(texts.str.contains(_ESCAPED)).then(texts.str.slice(1)).otherwise(texts).name.keep()
    )
    return read.rename({name: unescape_formula(name) for name in frame.columns})


def _matches(pattern: str, text: str) -> bool:
    return re.search(_BRACES.sub(r"\\u\1", pattern).replace("$", r"\Z"), text) is not None
