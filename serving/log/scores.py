"""The newest decisions as scores, in the columns of a file that `leadloop score` wrote."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from serving.log.database import open_log
from serving.log.reading import latest
from serving.log.settings import LogError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from serving.log.records import Decision

REASONS = 3
_AT_ONCE = 10_000
_NUMBERS = ("probability", "points", "grade")
_COLUMNS = {
    "lead_id": pl.String,
    "as_of": pl.Int64,
    "log_odds": pl.Float64,
    "probability": pl.Float64,
    "points": pl.Int64,
    "grade": pl.String,
    "model_version": pl.String,
    **{f"reason_{rank}": pl.String for rank in range(1, REASONS + 1)},
}


@contextmanager
def existing(place: str) -> Iterator[Engine]:
    """The log at a path or URL, closed on the way out. Raises LogError where no file is."""
    if "://" not in place and not Path(place).is_file():
        msg = f"there is no decision log at {place}; name it with --log or in LEADLOOP_LOG"
        raise LogError(msg)
    log = open_log(place)
    try:
        yield log
    finally:
        log.dispose()


def newest(log: Engine) -> Iterator[pl.DataFrame]:
    """The newest decision that was told about each lead, some thousand at a time, at least one frame.

    Reasons are there where they were told, the weightiest first. What was withheld is null here, too.
    """
    decisions = latest(log)
    rows = list(map(_row, islice(decisions, _AT_ONCE)))
    yield pl.DataFrame(rows, _COLUMNS)
    while rows := list(map(_row, islice(decisions, _AT_ONCE))):
        yield pl.DataFrame(rows, _COLUMNS)


def _row(decision: Decision) -> dict[str, Any]:
    told = (decision.reasons or ())[:REASONS]
    reasons = {
        f"reason_{rank}": f"{reason['points']:+.1f} {reason['text']}" for rank, reason in enumerate(told, 1)
    }
    withheld = dict.fromkeys(_NUMBERS) if decision.withheld else {}
    return {name: getattr(decision, name, None) for name in _COLUMNS} | reasons | withheld
