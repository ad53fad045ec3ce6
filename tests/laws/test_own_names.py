"""A company's own columns keep their values, whatever they are called: working columns have other names."""

from __future__ import annotations

import polars as pl
from small_crm import day, history

from features.catalogue import build_feature_set
from features.cohort import Snapshots
from features.online import OnlineFeatures
from features.record import to_records

NAMES = ("age", "kind", "occurred_at", "colleague", "stage", "value", "name", "label", "log_odds", "within")


def company():
    """A lead and an account that have a column of every name that the engine itself has a use for."""
    own = {name: [f"{name} of the lead"] for name in NAMES}
    crm = history({"a": (0, "A")}, transitions=[("a", "sql", 3)], touchpoints=[("a", "visit", 1)], **own)
    accounts = pl.DataFrame({"account_id": ["A"], **{name: [f"{name} of the firm"] for name in NAMES}})
    return type(crm)(
        crm.leads, crm.touchpoints, crm.transitions, crm.observed_until, crm.attributes, accounts
    )


def test_columns_with_the_names_of_working_columns_keep_their_values(compute):
    crm = company()
    features = build_feature_set(crm, target="sql")
    snapshots = Snapshots(pl.DataFrame({"lead_id": ["a"], "as_of": [day(10)]}))
    (row,) = compute(features, crm, snapshots).to_dicts()
    for name in NAMES:
        assert row[name] == f"{name} of the lead"
        assert row[f"account.{name}"] == f"{name} of the firm"
    assert row["lead.age"] == 10 * 86_400
    (record,) = to_records(crm)
    online = OnlineFeatures(features)(record, day(10))
    assert {name: row[name] for name in online} == online
