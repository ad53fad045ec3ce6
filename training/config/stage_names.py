"""What the names of stages say: success, failure, and which stages nothing follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.word_lists import stage_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

_WON, _EARLY, _FINAL, LOST, REOPENED = map(stage_pattern, ("won", "early", "final", "lost", "reopened"))


def is_success(stage: str) -> bool:
    """Whether the name of a stage means success; qualified by marketing alone is none.

    >>> [is_success(name) for name in ("Sales Qualified Lead", "Marketing Qualified Lead", "Unqualified")]
    [True, False, False]
    """
    return _WON.search(stage) and not (LOST.search(stage) or _EARLY.search(stage))


def find_success(stages: Sequence[str]) -> str | None:
    """The success of a funnel that no other one follows; None where the names do not tell which it is.

    >>> find_success(["Lead", "Lost", "Marketing Qualified Lead", "Sales Qualified Lead"])
    'Sales Qualified Lead'
    >>> find_success(["MQL", "SQL", "Customer"]), find_success(["Lost", "SQL", "Opportunity"])
    ('Customer', None)
    """
    won = [stage for stage in stages if is_success(stage)]
    last = won if len(won) == 1 else [stage for stage in won if _FINAL.search(stage)]
    return last[0] if len(last) == 1 else None


def holds_both_ends(values: Sequence[str]) -> bool:
    """Whether a success and a failure are among some values, as among the stages of today.

    >>> holds_both_ends(["Aberto", "Ganho", "Perdido"]), holds_both_ends(["Bahia", "Ceará"])
    (True, False)
    """
    return any(map(is_success, values)) and any(map(LOST.search, values))
