"""The decision log as Polars frames: for retraining and monitoring, and as files of scores.

``decisions_frame``, ``handovers_frame`` and ``outcomes_frame`` hold what a model learns from;
``latest_scores`` has the columns of a file that `leadloop score` wrote.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from models.handover_selection import HandoverRequest, count_lots
from serving.decision_log import queries
from serving.decision_log.database import open_log
from serving.decision_log.overrides import is_handed_over_by_hand, overrides_by_lead
from serving.decision_log.queries import first_decisions, latest_decisions, outcomes
from serving.decision_log.settings import LogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Engine

    from features.spec import FeatureSet
    from serving.decision_log.records import Decision

REASONS = 3
_CHUNK_ROWS = 10_000

_DECISION_SCHEMA: dict[str, Any] = {
    "lead_id": pl.String,
    "as_of": pl.Int64,
    "decided_at": pl.Int64,
    "model_version": pl.String,
    "log_odds": pl.Float64,
    "probability": pl.Float64,
    "grade": pl.String,
    "insufficient": pl.String,
    "endpoint": pl.String,
    "complete": pl.Boolean,
    "by_hand": pl.Boolean,
}

_HANDOVER_SCHEMA = {
    "propensity": pl.Float64,
    "by_lot": pl.Boolean,
    "worth": pl.Float64,
    "handover_id": pl.Int64,
    "first_decided_at": pl.Int64,
    "tenant": pl.String,
    "owner": pl.String,
    "taken_off": pl.Boolean,
}
_LIST_SCHEMA = {
    "handover_id": pl.Int64,
    "day": pl.Int64,
    "tenant": pl.String,
    "by_lot": pl.Float64,
    "cut": pl.Float64,
    "at_cut": pl.Float64,
    "owner": pl.String,
}
_OUTCOME_SCHEMA = {"lead_id": pl.String, "outcome": pl.String, "occurred_at": pl.Int64}
_WITHHELD_COLUMNS = ("probability", "points", "grade")

_SCORE_SCHEMA = {
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
    """Open a decision log that is there already, and close it on the way out.

    Args:
        place: The path of a SQLite file, or a URL.

    Yields:
        The log, its tables up to date.

    Raises:
        LogError: There is no such file, or the database cannot be opened.
    """
    if "://" not in place and not Path(place).is_file():
        msg = f"there is no decision log at {place}; name it with --log or in LEADLOOP_LOG"
        raise LogError(msg)
    log = open_log(place)
    try:
        yield log
    finally:
        log.dispose()


def decisions_frame(log: Engine, features: FeatureSet, model: str = "") -> pl.DataFrame:
    """The first decision about each lead at each as_of, with its feature row as it was served.

    Args:
        log: An open log.
        features: The features whose columns the frame has.
        model: The name that requests asked for. Default: the default model.

    Returns:
        One row per decision: ``lead_id``, ``as_of``, ``decided_at``, ``model_version``, ``log_odds``,
        ``probability``, ``grade``, ``insufficient``, ``endpoint``, ``complete``, ``by_hand`` and
        ``features``, a struct of all of them: one may be called ``grade``, too. ``endpoint`` is the route of
        the request, or ``rescore`` where nobody asked. ``complete`` is false, and ``features`` null, where
        another model with other features decided; ``by_hand`` says that people handed the lead over beside
        the model's choice. Shadow decisions are left out.
    """
    overrides = overrides_by_lead(log, model=model)
    rows = (
        _decision_row(decision, features)
        | {"by_hand": is_handed_over_by_hand(overrides.get((decision.tenant, decision.lead_id), ()))}
        for decision in first_decisions(log, model=model)
    )
    return _frame(rows, _DECISION_SCHEMA | _feature_schema(features))


def handovers_frame(log: Engine, features: FeatureSet, model: str = "") -> pl.DataFrame:
    """The decisions by which leads were handed over, in the columns of ``decisions_frame`` and some more.

    Args:
        log: An open log.
        features: The features whose columns the frame has.
        model: The name of the model whose lists they were on. Default: the default model.

    Returns:
        One row per hand-over of a lead, with ``propensity``, its chance of being handed over on that day;
        ``by_lot``, whether it was drawn from below the cut; ``worth``, what it was ranked by;
        ``handover_id``, its list; ``first_decided_at``, when it was first scored; ``tenant``; ``owner``,
        whose list it was; and ``taken_off``, whether people took it off. ``by_hand`` is false: such leads are
        on no list of the model's.
    """
    rows = (
        _decision_row(decision, features) | {"by_hand": False} | entry
        for decision, entry in queries.handed_over(log, model=model)
    )
    return _frame(rows, _DECISION_SCHEMA | _HANDOVER_SCHEMA | _feature_schema(features))


def handover_lists_frame(log: Engine, model: str = "") -> pl.DataFrame:
    """The lists of leads to call, also of days on which a lead was not drawn.

    Args:
        log: An open log.
        model: The name of the model whose lists these are. Default: the default model.

    Returns:
        One row per list, ordered by ``day``: ``handover_id``, ``day``, ``tenant``; ``by_lot``, the chance of
        a lead below the cut to be drawn; ``cut``, what the last lead above it is worth (infinite where none
        was above); ``at_cut``, the chance of a lead that is worth just as much to be above; ``owner``, whose
        leads alone it has, "" for a list of all.
    """
    return pl.DataFrame(list(map(_list_row, queries.handover_lists(log, model=model))), _LIST_SCHEMA)


def _list_row(row: dict[str, Any]) -> dict[str, Any]:
    request = HandoverRequest(row["day"], row["capacity"], row["explore"])
    lots = count_lots(row["open"], request)
    below = row["open"] - (min(row["capacity"], row["open"]) - lots)
    return {
        "handover_id": row["id"],
        "day": row["day"],
        "tenant": row["tenant"],
        "by_lot": lots / below if below else 1.0,  # nobody was below: whoever waited was taken
        "cut": math.inf if row["cut"] is None else row["cut"],
        "at_cut": row["tied_taken"] / row["tied"] if row["tied"] else 0.0,
        "owner": row["owner"],
    }


def outcomes_frame(log: Engine, model: str = "") -> pl.DataFrame:
    """The outcomes that answer a model's question without those corrected, ordered by ``occurred_at``.

    Args:
        log: An open log.
        model: The name of the model. Default: the default model. Which outcomes count for a named one
            ``serving.decision_log.standing_outcomes.OutcomeCounts`` says.

    Returns:
        One row per outcome: ``lead_id``, ``outcome`` and ``occurred_at`` (epoch seconds).
    """
    return pl.DataFrame(list(_outcome_rows(outcomes(log, model=model))), _OUTCOME_SCHEMA)


def latest_scores(log: Engine, model: str = "") -> Iterator[pl.DataFrame]:
    """The newest decision about each lead, in frames of at most 10,000 rows; at least one frame, maybe empty.

    Args:
        log: An open log.
        model: The name that requests asked for. Default: the default model.

    Yields:
        The columns of a file of scores: ``lead_id``, ``as_of``, ``log_odds``, ``probability``, ``points``,
        ``grade``, ``model_version``, and ``reason_1`` to ``reason_3``, the weightiest first, where reasons
        were asked for. Numbers that were withheld from the answer are null.
    """
    decisions = latest_decisions(log, model=model)
    rows = list(map(_score_row, islice(decisions, _CHUNK_ROWS)))
    yield pl.DataFrame(rows, _SCORE_SCHEMA)
    while rows := list(map(_score_row, islice(decisions, _CHUNK_ROWS))):
        yield pl.DataFrame(rows, _SCORE_SCHEMA)


def _frame(rows: Iterator[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=schema)]
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        parts.append(pl.DataFrame(chunk, schema))
    return pl.concat(parts)


def _feature_schema(features: FeatureSet) -> dict[str, Any]:
    kinds = {spec.name: pl.String if spec.is_category else pl.Float64 for spec in features.specs}
    return {"features": pl.Struct(kinds)}


def _decision_row(decision: Decision, features: FeatureSet) -> dict[str, Any]:
    complete = all(
        spec.name in decision.row and _fits(decision.row[spec.name], is_category=spec.is_category)
        for spec in features.specs
    )
    values = {name: decision.row[name] for name in features.names} if complete else None
    own = {name: getattr(decision, name, None) for name in _DECISION_SCHEMA}
    return own | {"complete": complete, "features": values}


def _fits(value: float | str | None, *, is_category: bool) -> bool:
    return value is None or isinstance(value, str) == is_category


def _outcome_rows(records: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for record in records:
        yield {name: getattr(record, name) for name in _OUTCOME_SCHEMA}


def _score_row(decision: Decision) -> dict[str, Any]:
    first_reasons = (decision.reasons or ())[:REASONS]
    reasons = {
        f"reason_{rank}": f"{reason['points']:+.1f} {reason['text']}"
        for rank, reason in enumerate(first_reasons, 1)
    }
    withheld = dict.fromkeys(_WITHHELD_COLUMNS) if decision.withheld else {}
    return {name: getattr(decision, name, None) for name in _SCORE_SCHEMA} | reasons | withheld
