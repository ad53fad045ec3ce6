"""Which leads are closed: those whose closing was not undone by opening them again.

Everything that asks whether a lead was closed, or why, goes by ``standing_transitions``, or of one lead by
``is_closed``, which says the same; only a label, which looks at one window, asks for the reopenings of that
window itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.point_in_time import is_visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from features.history import LeadHistory


def standing_transitions(
    history: LeadHistory, closed: Collection[str], reopen: Collection[str]
) -> pl.DataFrame:
    """The transitions that the CRM knew of, without closings after which the lead was opened again.

    Args:
        history: What the CRM knows.
        closed: The stages that close a lead.
        reopen: The stages that open a closed lead again. A closing of the same second as a reopening stands.

    Returns:
        Rows of ``history.transitions`` known before ``history.observed_until``, in their order.
    """
    known = history.transitions.filter(pl.col("known_at") < history.observed_until)
    reopenings = known.filter(pl.col("stage").is_in(reopen))
    if reopenings.is_empty():
        return known
    last = reopenings.group_by("lead_id").agg(pl.col("occurred_at").max().alias(_REOPENED))
    joined = known.join(last, on="lead_id", how="left", maintain_order="left")
    undone = pl.col("stage").is_in(closed) & (pl.col("occurred_at") < pl.col(_REOPENED)).fill_null(
        value=False
    )
    return joined.filter(~undone).drop(_REOPENED)


_REOPENED = "leadloop.reopened_at"


def is_closed(
    transitions: Iterable[Mapping[str, Any]], as_of: int, closed: Collection[str], reopen: Collection[str]
) -> bool:
    """Whether a lead is closed by its transitions, as ``standing_transitions`` has it.

    Args:
        transitions: Each with ``stage``, ``occurred_at`` and ``known_at``, in any order.
        as_of: What was known before counts, in epoch seconds.
        closed: The stages that close a lead.
        reopen: The stages that open a closed lead again. A closing of the same second as a reopening stands.
    """
    known = [(each["stage"], each["occurred_at"]) for each in transitions if _is_known(each, as_of)]
    closings = [moment for stage, moment in known if stage in closed]
    reopenings = [moment for stage, moment in known if stage in reopen]
    return bool(closings) and (not reopenings or max(closings) >= max(reopenings))


def _is_known(transition: Mapping[str, Any], as_of: int) -> bool:
    known_at = transition["known_at"]
    return bool(is_visible(known_at, known_at, as_of))
