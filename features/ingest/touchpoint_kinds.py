"""Which kind of touchpoint a company's own word may mean: suggestions for people, never used unasked."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from features.catalogue import KINDS
from features.word_lists import cell_words, fold_heading

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIKE = 86.0
"""How alike two phrases must be, in percent of their letters; below it are words that only look alike."""
_MOST_HITS, _MOST_VALUES = 20, 500
_MOST_LETTERS = 60


def suggest_kinds(values: Iterable[str]) -> dict[str, str]:
    """For each of the ``values`` that are no known kind, the known kind that it probably means.

    A value that says what did not happen, or that is as near to two kinds, gets no suggestion. Of more than
    500 values the first 500 are looked at.

    Args:
        values: The company's own kinds of touchpoint.

    Returns:
        Kinds by value, in the order of ``values``.

    >>> suggest_kinds(["Demo anfordern", "Demande de démo", "visit", "Tasting", "Demo cancelled"])
    {'Demo anfordern': 'demo_request', 'Demande de démo': 'demo_request'}
    """
    own = [value for value in dict.fromkeys(values) if value not in KINDS][:_MOST_VALUES]
    kinds = {value: _nearest_kind(value) for value in own}
    return {value: kind for value, kind in kinds.items() if kind is not None}


def _nearest_kind(value: str) -> str | None:
    # Commands that suggest nothing need not load it.
    from rapidfuzz import fuzz, process  # noqa: PLC0415

    words = fold_heading(value[:_MOST_LETTERS]).replace("e mail", "email")
    if words.replace(" ", "_") in KINDS:
        return words.replace(" ", "_")
    if not words or not cell_words("touchpoint_kinds", "none").isdisjoint(words.split()):
        return None
    phrase = _without_small_words(words)
    hits = process.extract(
        phrase, list(_phrases()), scorer=fuzz.token_sort_ratio, score_cutoff=_LIKE, limit=_MOST_HITS
    )
    alike = [hit for hit in hits if _initials(hit[0]) == _initials(phrase)]
    best = {kind for match, likeness, _ in alike if likeness == alike[0][1] for kind in _phrases()[match]}
    return best.pop() if len(best) == 1 else None


def _initials(phrase: str) -> list[str]:
    """The first letters of a phrase: what begins otherwise may be the opposite, as unsubscribed is."""
    return sorted(word[0] for word in phrase.split())


@cache
def _phrases() -> dict[str, list[str]]:
    """The kinds of each phrase of the word list."""
    kinds: dict[str, list[str]] = {}
    for kind in KINDS:
        for word in cell_words("touchpoint_kinds", kind):
            kinds.setdefault(_without_small_words(word), []).append(kind)
    return kinds


def _without_small_words(phrase: str) -> str:
    small = cell_words("touchpoint_kinds", "small")
    return " ".join(word for word in phrase.split() if word not in small) or phrase
