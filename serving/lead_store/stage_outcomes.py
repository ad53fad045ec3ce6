"""What became of the leads of the store: entries into the target, and into stages that end a lead's way.

A CRM whose tables are synchronised reports no outcomes: they are in its stages already.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl
from sqlalchemy import select

from features.closings import standing_transitions
from features.history import LEAD_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.merges import PART
from serving.decision_log.tables import LEAD_EVENTS
from serving.lead_store.merged_events import chain_known_merges

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection, Engine, Row, Select

_CHUNK_ROWS = 10_000
_SCHEMA = {"lead_id": pl.String, "outcome": pl.String, "occurred_at": pl.Int64}


def stage_outcomes_frame(
    log: Engine, target: str, closed: Collection[str], reopen: Collection[str] = ()
) -> pl.DataFrame:
    """Read the outcomes of the leads of the store out of the stages that they entered.

    Args:
        log: An open log, whose database the lead store lies in.
        target: The stage that is predicted; "" where a column is.
        closed: The stages that end a lead's way; the target may be among them.
        reopen: The stages that open a closed lead again: a closing before is no outcome.

    Returns:
        The first outcome of each kind of each lead, in the columns of ``outcomes_frame``: ``lead_id``,
        ``outcome`` (``qualified`` or ``disqualified``) and ``occurred_at`` in epoch seconds, in their order.
    """
    with log.connect() as connection:
        transitions = _known_transitions(connection)
    until = int(transitions["known_at"].max() or 0) + 1  # type: ignore[arg-type]  # whole seconds
    no_leads = LeadHistory.from_leads(pl.DataFrame(schema=LEAD_SCHEMA), until)
    standing = standing_transitions(replace(no_leads, transitions=transitions), closed, reopen)
    outcomes = dict.fromkeys(closed, "disqualified") | ({target: "qualified"} if target else {})
    ends = standing.filter(pl.col("stage").is_in(list(outcomes))).with_columns(
        outcome=pl.col("stage").replace_strict(outcomes, return_dtype=pl.String)
    )
    first = ends.group_by("lead_id", "outcome").agg(pl.col("occurred_at").min())
    return first.select(*_SCHEMA).sort("occurred_at", "lead_id", "outcome")


def _known_transitions(connection: Connection) -> pl.DataFrame:
    """The transitions that were not removed, with those that leads share since they were merged."""
    merges = [
        (str(row.subject), str(row.other), int(row.known_at)) for row in connection.execute(_rows("merge"))
    ]
    rows = connection.execution_options(yield_per=_CHUNK_ROWS).execute(_rows("transition"))
    frame = pl.concat([_as_transitions([]), *map(_as_transitions, rows.partitions())])
    leads = pl.DataFrame(
        {"lead_id": sorted({*frame["lead_id"], *(id_ for pair in merges for id_ in pair[:2])})}
    )
    parts = leads.select(pl.col("lead_id").cast(pl.String), pl.lit(0, pl.Int64).alias(PART))
    shared = chain_known_merges(merges).share(frame.join(parts, on="lead_id", maintain_order="left"), parts)
    return shared.select(*TRANSITION_SCHEMA)


def _as_transitions(rows: Sequence[Row[tuple[str, str, int, int, str]]]) -> pl.DataFrame:
    """Rows of the store in the columns of a history."""
    columns = {"lead_id": pl.String, "other": pl.String, "occurred_at": pl.Int64, "known_at": pl.Int64}
    return pl.DataFrame(list(map(tuple, rows)), {**columns, "content": pl.String}, orient="row").select(
        "lead_id",
        "occurred_at",
        "known_at",
        stage=pl.col("content").str.json_path_match("$.stage"),
        reason=pl.lit(None, pl.String),
    )


def _rows(kind: str) -> Select[tuple[str, str, int, int, str]]:
    columns = (LEAD_EVENTS.c[name] for name in ("subject", "other", "occurred_at", "known_at", "content"))
    return select(*columns).where(LEAD_EVENTS.c.kind == kind, LEAD_EVENTS.c.removed_at.is_(None))
