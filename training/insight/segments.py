"""What leads are told apart by when time passes: only what was known when they were created.

Leads that are told apart by what they did later are not alike at the start: to have done it, a lead must have
stayed open until then (immortal time, Suissa 2008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from features.history import LeadHistory
    from features.spec import FeatureSet, FeatureSpec
    from training.insight.roads import Roads

_FAMILY, _COLUMN = "channel", "channel"


def told_apart_by(features: FeatureSet, history: LeadHistory) -> FeatureSpec | None:
    """The leads' own channel column, else the channel (or campaign) of the first touchpoint, else nothing.

    Of several columns it is the one with the fewest values, which has the most leads for each.
    """
    told = [spec for spec in features.specs if spec.family == _FAMILY and spec.is_category]
    columns = [spec for spec in told if spec.source == "leads" and spec.of in history.leads.columns]
    levels = {spec.name: history.leads[str(spec.of)].drop_nulls().n_unique() for spec in columns}
    own = sorted((spec for spec in columns if levels[spec.name] > 1), key=lambda spec: levels[spec.name])
    first = [spec for spec in told if spec.source == "touchpoints" and spec.reduce == "earliest"]
    return next(iter([*own, *first]), None)


def first_channel(roads: Roads, by: FeatureSpec | None) -> pl.Series:
    """What ``by`` says of each lead of ``roads`` at its creation, null where nothing was known then."""
    leads = pl.DataFrame({"lead_id": roads.lead_id, "created": roads.created})
    if by is None:
        return leads.with_columns(pl.lit(None, pl.String).alias(_COLUMN))[_COLUMN]
    if by.source == "leads":
        known = roads.history.leads.select("lead_id", pl.col(str(by.of)).alias(_COLUMN))
    else:
        known = _of_touchpoints(roads.history, leads, str(by.of))
    return leads.join(known, on="lead_id", how="left", maintain_order="left")[_COLUMN]


def _of_touchpoints(history: LeadHistory, leads: pl.DataFrame, column: str) -> pl.DataFrame:
    touched = history.touchpoints.lazy().filter(pl.col(column).is_not_null())
    by_then = touched.join(leads.lazy(), on="lead_id").filter(
        pl.max_horizontal("occurred_at", "known_at") <= pl.col("created")
    )
    first = by_then.sort("occurred_at", maintain_order=True).unique(
        "lead_id", keep="first", maintain_order=True
    )
    return first.select("lead_id", pl.col(column).alias(_COLUMN)).collect()
