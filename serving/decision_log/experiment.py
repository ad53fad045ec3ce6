"""The experiment in the decision log: who was handed over, and who was left out for the control group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from serving.decision_log.overrides import is_handed_over_by_hand, overrides_by_lead
from serving.decision_log.queries import experiment_entries

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from features.spec import FeatureSet
    from serving.decision_log.records import Decision

_SCHEMA: dict[str, Any] = {
    "lead_id": pl.String,
    "day": pl.Int64,
    "handed_over": pl.Boolean,
    "explored": pl.Boolean,
    "control_share": pl.Float64,
    "log_odds": pl.Float64,
    "grade": pl.String,
    "called_by_hand": pl.Boolean,
}


def experiment_frame(log: Engine, features: FeatureSet, model: str = "") -> pl.DataFrame:
    """The first time that each lead was handed over, or was left out for the control group.

    Args:
        log: An open log.
        features: The features whose columns the frame has; null where another model decided.
        model: The name of the model whose lists these are. Default: the default model.

    Returns:
        One row per lead: ``lead_id``; ``day``, the day of the list in epoch seconds; ``handed_over``, false
        for the control group; ``explored``, whether by lot from below the cut; ``control_share``, the share
        of leads that were the control group on that day, 0 where there was none; ``log_odds`` and ``grade``
        of the decision; ``called_by_hand``, whether people handed the lead over beside the list; and the
        features.
    """
    columns = {spec.name: pl.String if spec.is_category else pl.Float64 for spec in features.specs}
    rows, overrides = {}, overrides_by_lead(log, model=model)
    for decision, entry in experiment_entries(log, model):
        if decision.lead_id not in rows:
            own = overrides.get((decision.tenant, decision.lead_id), ())
            rows[decision.lead_id] = _row(decision, entry, features) | {
                "called_by_hand": is_handed_over_by_hand(own)
            }
    return pl.DataFrame(list(rows.values()), _SCHEMA | columns)


def _row(decision: Decision, entry: dict[str, Any], features: FeatureSet) -> dict[str, Any]:
    values = {spec.name: decision.row.get(spec.name) for spec in features.specs}
    return {
        "lead_id": decision.lead_id,
        "day": entry["day"],
        "handed_over": bool(entry["handed_over"]),
        "explored": bool(entry["by_lot"]),
        "control_share": entry["control_share"],
        "log_odds": decision.log_odds,
        "grade": decision.grade,
    } | {
        spec.name: values[spec.name] if isinstance(values[spec.name], str) == spec.is_category else None
        for spec in features.specs
    }
