"""Every feature in plain Python over the raw rows: slow, obvious, the definition the engines are held to.

Shares no code with the engine or the online fold; it reads only the fields of a spec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from features.cohort import Snapshots
    from features.history import LeadHistory
    from features.spec import FeatureSet, FeatureSpec

DAY = 86_400
TABLES = ("leads", "touchpoints", "transitions", "attributes", "accounts")


def feature_rows(features: FeatureSet, history: LeadHistory, snapshots: Snapshots) -> pl.DataFrame:
    schema = {"lead_id": pl.String, "as_of": pl.Int64} | {
        s.name: pl.String if s.unit == "category" else pl.Float64 for s in features.specs
    }
    tables = {name: getattr(history, name).to_dicts() for name in TABLES}
    rows = [
        {"lead_id": lead, "as_of": as_of} | _row(features, tables, lead, as_of)
        for lead, as_of in snapshots.frame.iter_rows()
    ]
    return pl.DataFrame(rows, schema=schema).sort("lead_id", "as_of")


def _row(features: FeatureSet, tables: dict[str, Any], lead: str, as_of: int) -> dict[str, Any]:
    visible = {
        source: [r for r in _source(source, tables, lead) if r["at"] < as_of and r["known_at"] < as_of]
        for source in {spec.source for each in features.specs for spec in (each, *each.inputs)} - {"derived"}
    }
    return {spec.name: _spec_value(spec, visible, as_of) for spec in features.specs}


def _spec_value(spec: FeatureSpec, visible: dict[str, Any], as_of: int) -> Any:
    if spec.source != "derived":
        return _value(spec, visible[spec.source], as_of)
    first, second = (_value(each, visible[each.source], as_of) for each in spec.inputs)
    if first is None or second is None:
        return None
    if spec.reduce == "difference":
        return first - second
    return None if second == 0 else first / second


def _value(spec: FeatureSpec, rows: list[dict[str, Any]], as_of: int) -> Any:
    if spec.kind:
        rows = [r for r in rows if r["kind"] in spec.kind]
    for column, value in spec.where:
        rows = [r for r in rows if r[column] == value]
    if spec.within is not None:
        rows = [r for r in rows if as_of - r["at"] < spec.within]
    return _reduced(spec, rows, as_of)


def _reduced(spec: FeatureSpec, rows: list[dict[str, Any]], as_of: int) -> Any:
    ages = [as_of - r["at"] for r in rows]
    present = [r for r in rows if spec.of and r[spec.of] is not None]
    if spec.reduce == "count":
        return float(len(rows))
    if spec.reduce == "total":
        return float(sum(r[spec.of] for r in present))
    if spec.reduce == "distinct":
        return float(len({r[spec.of] for r in present}))
    if spec.reduce == "trend":
        return float(sum(30 if age < 7 * DAY else -7 if age < 37 * DAY else 0 for age in ages))
    if spec.reduce == "recency":
        return float(min(ages)) if ages else None
    if spec.reduce == "tenure":
        return float(max(ages)) if ages else None
    if spec.reduce == "span":
        return float(max(ages) - min(ages)) if ages else None
    if spec.reduce == "value":
        return rows[0][spec.of] if rows else None
    candidates = rows if spec.source == "attributes" else present
    if not candidates:
        return None
    choose = max if spec.reduce == "latest" else min
    edge = choose(r["at"] for r in candidates)
    return max((r[spec.of] for r in candidates if r["at"] == edge and r[spec.of] is not None), default=None)


def _source(source: str, tables: dict[str, Any], lead: str) -> list[dict[str, Any]]:
    lead_row = next(r for r in tables["leads"] if r["lead_id"] == lead)
    if source == "leads":
        account = next((r for r in tables["accounts"] if r["account_id"] == lead_row["account_id"]), {})
        names = {name for r in tables["accounts"] for name in r}
        account_values = {f"account.{name}": account.get(name) for name in names}
        return [
            lead_row | account_values | {"at": lead_row["created_at"], "known_at": lead_row["created_at"]}
        ]
    if source == "attributes":
        rows = [r for r in tables["attributes"] if r["lead_id"] == lead]
        return [r | {"at": r["known_at"], "kind": r["name"]} for r in rows]
    rows = tables["touchpoints" if source.endswith("touchpoints") else "transitions"]
    lead_ids = [lead]
    if source.startswith("account_"):
        account_id = lead_row["account_id"]
        lead_ids = [
            r["lead_id"]
            for r in tables["leads"]
            if r["lead_id"] != lead and account_id is not None and r["account_id"] == account_id
        ]
    return [
        r | {"colleague": r["lead_id"], "at": r["occurred_at"], "kind": r.get("kind", r.get("stage"))}
        for r in rows
        if r["lead_id"] in lead_ids
    ]
