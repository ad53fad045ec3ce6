"""Ids that fit no lead although one is nearly the same: what a spreadsheet or a report did to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable

_SALESFORCE = "^[a-zA-Z0-9]{15}(?:[A-Z0-5]{3})?$"
_SHORT = 15


def _short_ids(ids: pl.Series) -> pl.Series:
    """The fifteen characters of Salesforce ids; three more only repeat which letters are capitals."""
    return ids.set(~ids.str.contains(_SALESFORCE), None).str.slice(0, _SHORT)


def _without_zeros(ids: pl.Series) -> pl.Series:
    return ids.str.replace_all(r"(^|[^0-9])0+([0-9])", "${1}${2}")


def _without_fraction(ids: pl.Series) -> pl.Series:
    return ids.str.replace(r"[.,]0+$", "")


def _without_blanks(ids: pl.Series) -> pl.Series:
    return ids.str.replace_all(r"[\s\p{Cf}]", "")


def _without_marks(ids: pl.Series) -> pl.Series:
    return _without_zeros(ids.str.to_lowercase()).str.replace_all(r"[^\p{L}\p{N}]", "")


SPELLINGS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "salesforce": _short_ids,
    "zeros": _without_zeros,
    "fraction": _without_fraction,
    "case": lambda ids: ids.str.to_lowercase(),
    "blanks": _without_blanks,
    "marks": _without_marks,
}
"""What may differ between two spellings of an id, by name, each as what is left without it."""


def find_near_misses(unknown: pl.Series, known: pl.Series) -> pl.DataFrame:
    """The ``unknown`` ids that are nearly a known one: ``id``, ``known`` and the ``spelling`` that differs.

    >>> find_near_misses(pl.Series(["12", "7.0", "x"]), pl.Series(["0012", "7"])).rows()
    [('12', '0012', 'zeros'), ('7.0', '7', 'fraction')]
    """
    left, near = pl.DataFrame({"id": unknown.drop_nulls().unique(maintain_order=True)}), []
    candidates = pl.DataFrame({"known": known.drop_nulls().unique(maintain_order=True)})
    for name, spell in SPELLINGS.items():
        if left.is_empty():
            break
        keyed = candidates.with_columns(key=spell(candidates["known"])).filter(
            pl.col("key").str.len_bytes() > 0
        )
        pairs = left.with_columns(key=spell(left["id"])).join(
            keyed.unique("key", keep="first", maintain_order=True), on="key", maintain_order="left"
        )
        near.append(pairs.select("id", "known", spelling=pl.lit(name)))
        left = left.join(pairs, on="id", how="anti", maintain_order="left")
    schema = {"id": pl.String, "known": pl.String, "spelling": pl.String}
    return pl.concat([pl.DataFrame(schema=schema), *near])


def near_miss_reasons(reason: Message, unknown: pl.Series, known: pl.Series) -> dict[str, Message]:
    """For each unknown id that is nearly a known one, the ``reason`` with what differs."""
    rows = find_near_misses(unknown, known).iter_rows()
    messages = {
        name: Message("ingest.near_miss", reason=reason, spelling=Message(f"spelling.{name}"))
        for name in SPELLINGS
    }
    return {each: messages[spelling] for each, _, spelling in rows}
