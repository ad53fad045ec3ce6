"""Current scores as frames, in the columns of a file of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import select

from serving.current_scores.reading import scores_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

_BATCH_ROWS = 10_000
# Column of a file of scores, the column of the table, and its type.
_COLUMNS: dict[str, tuple[str, Any]] = {
    "lead_id": ("lead_id", pl.String),
    "as_of": ("as_of", pl.Int64),
    "probability": ("probability", pl.Float64),
    "points": ("points", pl.Int64),
    "grade": ("grade", pl.String),
    "low": ("interval_low", pl.Float64),
    "high": ("interval_high", pl.Float64),
    "insufficient": ("insufficient", pl.String),
    "fit": ("fit", pl.Int64),
    "engagement": ("engagement", pl.Int64),
    "combined_grade": ("combined_grade", pl.String),
    "state": ("state", pl.String),
    "name": ("name", pl.String),
    "owner": ("owner", pl.String),
    "account_id": ("account_id", pl.String),
    "channel": ("channel", pl.String),
    "stage": ("stage", pl.String),
    "model_version": ("model_version", pl.String),
}


def current_score_frames(log: Engine, tenant: str = "", model: str = "") -> Iterator[pl.DataFrame]:
    """The current scores of open and dormant leads, a batch at a time, best first.

    Args:
        log: An open log.
        tenant: Whose leads.
        model: The name of the model whose scores these are. Default: the default one.

    Yields:
        Frames with the columns that ``leadloop score`` writes, and state, name, owner, account, channel and
        stage of each lead.
    """
    schema = {name: kind for name, (_, kind) in _COLUMNS.items()}
    score = scores_of(model).c
    columns = [score[column].label(name) for name, (column, _) in _COLUMNS.items()]
    query = select(*columns).where(
        score.tenant == tenant,
        score.model == model,
        score.state.in_(("open", "dormant")),
        score.probability.is_not(None),
    )
    ordered = query.order_by(score.probability.desc(), score.lead_id)
    with log.execution_options(yield_per=_BATCH_ROWS).connect() as connection:
        for rows in connection.execute(ordered).partitions():
            yield pl.DataFrame([tuple(row) for row in rows], schema, orient="row")
