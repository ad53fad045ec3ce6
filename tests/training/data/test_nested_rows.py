"""Leads whose events lie nested in their rows are the leads of the history."""

from __future__ import annotations

import json

import polars as pl
import pytest

from features.catalogue import build_feature_set
from features.clock import DAY
from features.cohort import Snapshots
from training.data.dataset import compute_feature_rows
from training.data.nested_rows import NESTED, NestedRowsError, read_nested
from training.simulation.simulator import simulate


@pytest.fixture(scope="module")
def company():
    """A history in which leads have colleagues, its features, a snapshot a lead, and the same nested."""
    history = simulate(120, seed=3).history
    features = build_feature_set(history, target="sql", closed=("disqualified",))
    keys = history.leads.select("lead_id", as_of=pl.col("created_at") + 20 * DAY)
    return history, features, keys, nested(history, keys)


def nested(history, keys):
    """A row a lead, with its events as lists of records without what is missing in them."""
    rows = history.leads.join(keys, on="lead_id").join(
        history.accounts.rename(lambda name: name if name == "account_id" else f"account.{name}"),
        on="account_id",
        how="left",
    )
    for name in NESTED:
        records = {}
        for record in getattr(history, name).iter_rows(named=True):
            lead_id = record.pop("lead_id")
            records.setdefault(lead_id, []).append(record)
        rows = rows.with_columns(
            pl.Series(name, [json.dumps(records.get(lead_id, [])) for lead_id in rows["lead_id"]])
        )
    return rows


def computed(features, rows, now=0):
    history, snapshots = read_nested(features, rows, now)
    return compute_feature_rows(features, history, Snapshots(snapshots))


def test_nested_events_give_the_features_of_the_history_to_the_bit(company):
    history, features, keys, rows = company
    assert computed(features, rows).equals(compute_feature_rows(features, history, Snapshots(keys)))


def test_lists_of_records_are_as_good_as_their_text(company):
    _, features, _, rows = company
    some = rows.head(30)
    lists = some.with_columns(
        pl.Series(name, [json.loads(cell) for cell in some[name]], strict=False) for name in NESTED
    )
    assert computed(features, lists).equals(computed(features, some))


def test_without_as_of_a_lead_is_scored_now_and_without_ids_each_row_is_a_lead(company):
    _, features, keys, rows = company
    bare = rows.head(5).drop("as_of", "lead_id")
    now = int(keys["as_of"].max()) + DAY
    _, snapshots = read_nested(features, bare, now)
    assert snapshots.rows() == [(str(place), now) for place in range(5)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop("created_at"), "no column 'created_at'"),
        (lambda rows: rows.drop("touchpoints"), "no column 'touchpoints'"),
        (lambda rows: rows.with_columns(lead_id=pl.lit("a")), "'lead_id' must be there once"),
        (lambda rows: rows.with_columns(touchpoints=pl.lit("{x")), "no JSON list"),
        (lambda rows: rows.with_columns(touchpoints=pl.lit('[{"kind": "visit"}]')), "no 'occurred_at'"),
        (
            lambda rows: rows.with_columns(touchpoints=pl.lit('[{"knd": "a", "occurred_at": 1}]')),
            "no field 'knd'; did you mean 'kind'",
        ),
        (
            lambda rows: rows.with_columns(transitions=pl.lit('[{"stage": "mql", "occurred_at": "soon"}]')),
            "occurred_at is no time",
        ),
    ],
)
def test_what_is_no_nested_lead_is_refused_by_name(company, change, message):
    _, features, _, rows = company
    with pytest.raises(NestedRowsError, match=message.replace("[", r"\[")):
        read_nested(features, change(rows.head(3)), 0)
