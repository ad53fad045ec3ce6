"""The state of the data, as the report tells it."""

from __future__ import annotations

import polars as pl
import pytest

from features.spec import DisplayText, FeatureSet, attribute
from training.analysis.data_health import data_health
from training.data.dataset import IngestSummary

SAYS = DisplayText("{value}", "{value}")
FEATURES = FeatureSet(
    (
        attribute("city", family="fit", says=SAYS),
        attribute("size", family="fit", says=SAYS, unit="number"),
        attribute("empty", family="fit", says=SAYS, unit="number"),
        attribute("same", family="fit", says=SAYS, unit="number"),
    )
)
SCHEMA = {"city": pl.String, "size": pl.Float64, "empty": pl.Float64, "same": pl.Float64}


@pytest.fixture(scope="module")
def health():
    trained = pl.DataFrame(
        {
            "city": ["Ulm", "Bonn", None, "Ulm"],
            "size": [1, 2, None, None],
            "empty": [None] * 4,
            "same": [1] * 4,
        },
        schema=SCHEMA,
    )
    held_out = pl.DataFrame(
        {"city": ["Kiel", "Ulm", None, "Bonn"], "size": [1] * 4, "empty": [None] * 4, "same": [1] * 4},
        schema=SCHEMA,
    )
    return data_health(
        IngestSummary(10, {"late": 1, "no kind": 3}, {"notes": "free text"}),
        FEATURES,
        training_rows=trained,
        held_out_rows=held_out,
        findings=[{"code": "LC002", "severity": "error", "column": None, "message": "Look.", "more": 1}],
    )


def column(health, name):
    return next(column for column in health.columns if column.column == name)


def test_missing_values_are_counted_in_training(health):
    assert [column(health, name).missing for name in FEATURES.names] == [0.25, 0.5, 1.0, 0.0]
    assert [column.column for column in health.columns] == ["empty", "size", "city", "same"]


def test_a_column_is_filled_constant_or_empty(health):
    assert [column(health, name).state for name in FEATURES.names] == [
        "filled",
        "filled",
        "empty",
        "constant",
    ]


def test_a_category_that_training_never_saw_is_counted_as_unseen(health):
    assert column(health, "city").unseen == 0.25
    assert column(health, "size").unseen is None


def test_quarantine_is_summed_and_sorted(health):
    assert (health.rows_read, health.rows_quarantined) == (10, 4)
    assert health.quarantined == (("no kind", 3), ("late", 1))


def test_a_finding_without_a_column_is_shown_without_one(health):
    assert [(note.code, note.column) for note in health.findings] == [("LC002", "")]


def test_a_row_without_an_outcome_yet_is_not_counted_as_unreadable():
    assert IngestSummary(10, {"no outcome": 5, "no id": 1}, {}).unreadable == 1
    assert IngestSummary(10, {"in the future": 5, "no id": 1}, {}, planned=5).unreadable == 1
