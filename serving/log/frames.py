"""The log as frames, for whoever learns from it or watches over it without knowing a database."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from serving.log import reading
from serving.log.reading import first_told, outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Engine

    from features.spec import FeatureSet
    from serving.log.records import Decision

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


def decided(log: Engine, features: FeatureSet) -> pl.DataFrame:
    """The first decision that was told about each lead at each as_of, with its feature row as it was served.

    ``complete`` is false where the row does not have all of ``features``, each of its kind: another model
    decided. Those columns are null then.
    """
    return _frame((_row(one, features) for one in first_told(log)), _TOLD | _kinds(features))


def handed_over(log: Engine, features: FeatureSet) -> pl.DataFrame:
    """Each time that a lead was handed over, as ``decided`` has it, by the decision by which it was.

    ``propensity`` is the chance that it had, ``by_lot`` whether it was drawn from below the cut.
    """
    rows = (
        _row(one, features) | {"propensity": propensity, "by_lot": by_lot}
        for one, propensity, by_lot in reading.handed_over(log)
    )
    return _frame(rows, _TOLD | _BY_CHANCE | _kinds(features))


def _kinds(features: FeatureSet) -> dict[str, Any]:
    return {spec.name: pl.String if spec.is_category else pl.Float64 for spec in features.specs}


def _frame(rows: Iterator[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=schema)]
    while some := list(islice(rows, _AT_ONCE)):
        parts.append(pl.DataFrame(some, schema))
    return pl.concat(parts)


def happened(log: Engine) -> pl.DataFrame:
    """``lead_id``, ``outcome`` and ``occurred_at`` of what became of the leads, corrections applied."""
    return pl.DataFrame(list(_plain(outcomes(log))), _OUTCOMES)


def _plain(records: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for record in records:
        yield {name: getattr(record, name) for name in _OUTCOMES}


def _row(decision: Decision, features: FeatureSet) -> dict[str, Any]:
    complete = all(
        spec.name in decision.row and _fits(decision.row[spec.name], is_category=spec.is_category)
        for spec in features.specs
    )
    values = {name: decision.row[name] for name in features.names} if complete else {}
    return {name: getattr(decision, name, None) for name in _TOLD} | {"complete": complete} | values


def _fits(value: float | str | None, *, is_category: bool) -> bool:
    return value is None or isinstance(value, str) == is_category
