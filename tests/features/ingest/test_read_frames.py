"""Frames in memory are read as files are: the same history, the same quarantine."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

from features.ingest.quarantine import SourceError, TooManyBadRowsError
from features.ingest.read_frames import read_frames
from training.simulation.simulator import simulate

STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")
TABLES = ("leads", "touchpoints", "transitions", "attributes", "accounts")


@pytest.fixture(scope="module")
def history():
    return simulate(200, seed=3).history


def exported(frame):
    """As a warehouse would give it: times with a zone, money in major units, one column of values."""
    stamps = [c for c in frame.columns if c.endswith("_at")]
    money = [pl.col("amount") / 100] if "amount" in frame.columns else []
    return frame.drop("number", strict=False).with_columns(
        *(pl.from_epoch(c).dt.replace_time_zone("UTC") for c in stamps), *money
    )


@pytest.mark.parametrize("frame_of", [pl.DataFrame, pl.DataFrame.to_pandas], ids=["polars", "pandas"])
def test_a_history_comes_back_from_frames(history, frame_of):
    tables = {name: frame_of(exported(getattr(history, name))) for name in TABLES}
    result = read_frames(tables, STAGES, history.observed_until)
    assert len(result.quarantine) == 0
    assert result.history.observed_until == history.observed_until
    for name in TABLES:
        expected = getattr(history, name)
        assert set(getattr(result.history, name).rows()) == set(
            expected.select(getattr(result.history, name).columns).rows()
        )


def test_a_bad_row_is_named_by_its_table_and_place():
    leads = pd.DataFrame({"lead_id": [f"l{i}" for i in range(40)], "created_at": pd.Timestamp("2026-01-05")})
    leads.loc[7, "lead_id"] = "l3"
    entry = read_frames({"leads": leads}).quarantine.frame.row(0, named=True)
    assert (entry["file"], entry["row"], entry["value"]) == ("leads", 8, "l3")


def test_an_index_means_nothing():
    leads = pd.DataFrame({"lead_id": ["a", "b"], "created_at": pd.Timestamp("2026-01-05")}, index=[9, 9])
    assert read_frames({"leads": leads}).history.leads["lead_id"].to_list() == ["a", "b"]


def test_too_many_bad_rows_stop_the_reading():
    leads = pd.DataFrame({"lead_id": ["a", "a"], "created_at": pd.Timestamp("2026-01-05")})
    with pytest.raises(TooManyBadRowsError):
        read_frames({"leads": leads})


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "name it 'leads'"),
        ({"leads": None, "touchpoint": None}, "'touchpoint' is no table of a history; did you mean"),
    ],
)
def test_a_wrong_table_is_refused_with_what_would_be_right(tables, message):
    with pytest.raises(SourceError, match=message):
        read_frames(tables)
