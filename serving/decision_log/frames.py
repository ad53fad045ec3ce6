"""The log as frames, for whoever learns from it or watches over it without knowing a database.

The newest decisions as scores, in the columns of a file that `leadloop score` wrote.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from serving.decision_log import queries
from serving.decision_log.database import open_log
from serving.decision_log.queries import first_decisions, latest_decisions, outcomes
from serving.decision_log.settings import LogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Engine

    from features.spec import FeatureSet
    from serving.decision_log.records import Decision


_AT_ONCE = 10_000

_TOLD: dict[str, Any] = {
    "lead_id": pl.String,
    "as_of": pl.Int64,
    "decided_at": pl.Int64,
    "model_version": pl.String,
    "log_odds": pl.Float64,
    "probability": pl.Float64,
    "grade": pl.String,
    "insufficient": pl.String,
    "complete": pl.Boolean,
}

_BY_CHANCE = {"propensity": pl.Float64, "by_lot": pl.Boolean}

_OUTCOMES = {"lead_id": pl.String, "outcome": pl.String, "occurred_at": pl.Int64}


def decisions_frame(log: Engine, features: FeatureSet) -> pl.DataFrame:
    """The first decision that was told about each lead at each as_of, with its feature row as it was served.

    ``complete`` is false where the row does not have all of ``features``, each of its kind: another model
    decided. Those columns are null then.
    """
    return _frame((_decision_row(one, features) for one in first_decisions(log)), _TOLD | _kinds(features))


def handovers_frame(log: Engine, features: FeatureSet) -> pl.DataFrame:
    """Each time that a lead was handed over, as ``decisions_frame`` has it, by the decision by which it was.

    ``propensity`` is the chance that it had, ``by_lot`` whether it was drawn from below the cut.
    """
    rows = (
        _decision_row(one, features) | {"propensity": propensity, "by_lot": by_lot}
        for one, propensity, by_lot in queries.handed_over(log)
    )
    return _frame(rows, _TOLD | _BY_CHANCE | _kinds(features))


def _kinds(features: FeatureSet) -> dict[str, Any]:
    return {spec.name: pl.String if spec.is_category else pl.Float64 for spec in features.specs}


def _frame(rows: Iterator[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=schema)]
    while some := list(islice(rows, _AT_ONCE)):
        parts.append(pl.DataFrame(some, schema))
    return pl.concat(parts)


def outcomes_frame(log: Engine) -> pl.DataFrame:
    """``lead_id``, ``outcome`` and ``occurred_at`` of what became of the leads, corrections applied."""
    return pl.DataFrame(list(_plain(outcomes(log))), _OUTCOMES)


def _plain(records: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for record in records:
        yield {name: getattr(record, name) for name in _OUTCOMES}


def _decision_row(decision: Decision, features: FeatureSet) -> dict[str, Any]:
    complete = all(
        spec.name in decision.row and _fits(decision.row[spec.name], is_category=spec.is_category)
        for spec in features.specs
    )
    values = {name: decision.row[name] for name in features.names} if complete else {}
    return {name: getattr(decision, name, None) for name in _TOLD} | {"complete": complete} | values


def _fits(value: float | str | None, *, is_category: bool) -> bool:
    return value is None or isinstance(value, str) == is_category


REASONS = 3

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
def open_existing_log(place: str) -> Iterator[Engine]:
    """The log at a path or URL, closed on the way out. Raises LogError where no file is."""
    if "://" not in place and not Path(place).is_file():
        msg = f"there is no decision log at {place}; name it with --log or in LEADLOOP_LOG"
        raise LogError(msg)
    log = open_log(place)
    try:
        yield log
    finally:
        log.dispose()


def latest_scores(log: Engine) -> Iterator[pl.DataFrame]:
    """The newest decision that was told about each lead, some thousand at a time, at least one frame.

    Reasons are there where they were told, the weightiest first. What was withheld is null here, too.
    """
    decisions = latest_decisions(log)
    rows = list(map(_score_row, islice(decisions, _AT_ONCE)))
    yield pl.DataFrame(rows, _COLUMNS)
    while rows := list(map(_score_row, islice(decisions, _AT_ONCE))):
        yield pl.DataFrame(rows, _COLUMNS)


def _score_row(decision: Decision) -> dict[str, Any]:
    told = (decision.reasons or ())[:REASONS]
    reasons = {
        f"reason_{rank}": f"{reason['points']:+.1f} {reason['text']}" for rank, reason in enumerate(told, 1)
    }
    withheld = dict.fromkeys(_NUMBERS) if decision.withheld else {}
    return {name: getattr(decision, name, None) for name in _COLUMNS} | reasons | withheld
