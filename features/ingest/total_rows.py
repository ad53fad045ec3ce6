"""Rows of totals below the leads of a report: they are sums of leads, and no leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.messages import Message

if TYPE_CHECKING:
    import polars as pl

    from features.ingest.row_validation import ValidatedRows

_WORDS = (
    "(?:(?:grand |sub|overall )?totals?|sum|count|(?:gesamt|zwischen)?summen?|"
    "gesamt(?:ergebnis|anzahl|zahl)?|insgesamt|anzahl|"
    "(?:sous-)?total(?:e|es|aux)?(?: g[eé]n[eé]ral)?|suma|soma|totaal|razem|合計|総計)"
)
# The word alone, or with what it counts: "Total (60 records)", "Summe: 60".
_TOTAL = rf"(?i)^{_WORDS}\s*(?:[:(\[].*)?$"


def reject_totals(rows: ValidatedRows, ids: pl.Series, column: str) -> ValidatedRows:
    """The rows without those whose id is a word for a total."""
    return rows.reject(ids.str.contains(_TOTAL).fill_null(value=False), column, Message("ingest.total_row"))
