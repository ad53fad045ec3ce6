"""Words of a column that differ in nothing but capitals or what stands between words, and may be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.messages import Message, join_items

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.ingest.column_roles import ColumnRole

# A column with more words is one of names, in which spellings are expected to differ.
_MOST_WORDS = 1_000
_MOST_COLUMNS, _MOST_NAMED = 5, 3


def fold_words(words: pl.Series) -> pl.Series:
    """The words without capitals, and without what parts words; marks with a meaning of their own stay.

    >>> fold_words(pl.Series(["Cold-Call", "cold_call ", "Co. Ltd.", "A+", "A-", "1-10", "C#"])).to_list()
    ['coldcall', 'coldcall', 'coltd', 'a+', 'a-', '1-10', 'c#']
    """
    return words.str.to_lowercase().str.replace_all(_PARTS_WORDS, "${1}").str.strip_chars(" _.,;:")


# Before a letter, or else 1-150 and 11-50 would be one.
_PARTS_WORDS = r"[\s_.,;:'/&-]+(\p{L})"


def find_similar_words(column: pl.Series) -> list[list[str]]:
    """Groups of words that ``fold_words`` makes one, those of most rows first.

    Args:
        column: Words, their missing values null.

    Returns:
        Each group with its most common word first.

    >>> find_similar_words(pl.Series(["Web", "WEB", "Web", "Cold call", "cold-call", "Fair"]))
    [['Web', 'WEB'], ['Cold call', 'cold-call']]
    """
    words = column.drop_nulls().value_counts(name="rows").rename({column.name: "word"})
    if words.height > _MOST_WORDS:
        return []
    groups = (
        words.with_columns(fold_words(words["word"]).alias("folded"))
        .filter(pl.col("folded") != "")
        .sort("rows", "word", descending=[True, False])
        .group_by("folded", maintain_order=True)
        .agg("word", pl.col("rows").sum())
        .filter(pl.col("word").list.len() > 1)
        .sort("rows", descending=True, maintain_order=True)
    )
    return groups["word"].to_list()


def similar_word_notices(frame: pl.DataFrame, roles: Iterable[ColumnRole]) -> tuple[Message, ...]:
    """A sentence on each column of words of which some may be one, for the first few columns."""
    notices = []
    for role in roles:
        if role.role == "category" and frame[role.column].dtype == pl.String:
            groups = find_similar_words(frame[role.column])
            notices += [_notice(role.column, groups)] if groups else []
    return tuple(notices[:_MOST_COLUMNS])


def _notice(column: str, groups: Sequence[Sequence[str]]) -> Message:
    named = [
        join_items("and", [f"'{word}'" for word in group[:_MOST_NAMED]]) for group in groups[:_MOST_NAMED]
    ]
    return Message(
        "columns.notice_similar_words", column=column, words=join_items("comma", named), n=len(groups)
    )
