"""The funnel as frames says what the funnel says, counted once more in pandas."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy.stats import binomtest

from features.clock import DAY
from features.labels import LabelSpec
from training.analysis.funnel import cohorts_frame, funnel_from_entries, stages_frame
from training.analysis.stage_entries import stage_entries
from training.simulation.simulator import simulate

STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")
SPEC = LabelSpec("sql", 60 * DAY)


@pytest.fixture(scope="module")
def history():
    return simulate(800, seed=4).history


@pytest.fixture(scope="module")
def funnel(history):
    return funnel_from_entries(stage_entries(history, STAGES, SPEC))


def test_months_are_those_that_pandas_counts(history, funnel):
    assert funnel.period == "month"
    leads = history.leads.select("lead_id", "created_at").to_pandas().set_index("lead_id")["created_at"]
    moves = history.transitions.to_pandas()
    won = moves[moves["stage"] == "sql"].groupby("lead_id")["occurred_at"].min().reindex(leads.index)
    frame = pd.DataFrame({"month": pd.to_datetime(leads, unit="s").dt.to_period("M").dt.start_time})
    frame["won"] = won.notna()
    frame["old"] = leads + SPEC.horizon <= history.observed_until
    frame["in_time"] = won - leads < SPEC.horizon
    result = cohorts_frame(funnel).to_pandas().set_index("start")
    by = frame.groupby("month")
    assert result["leads"].to_dict() == by.size().to_dict()
    assert result["naive"].to_dict() == pytest.approx(by["won"].mean().to_dict())
    matured = frame[frame["old"]].groupby("month")["in_time"].mean()
    assert result["matured"].dropna().to_dict() == pytest.approx(matured.to_dict())


def test_intervals_are_wilson_s_and_immature_months_are_marked(funnel):
    for row in cohorts_frame(funnel).drop_nulls("matured").iter_rows(named=True):
        hits = round(row["matured"] * row["old"])
        wilson = binomtest(hits, row["old"]).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == pytest.approx(tuple(wilson))
        assert row["maturing"] == (row["old"] < row["leads"])


def test_every_lead_that_entered_a_stage_went_on_ended_or_is_still_there(funnel):
    frame = stages_frame(funnel)
    assert frame["stage"].to_list() == list(STAGES[:-1])
    for row in frame.drop_nulls("naive").iter_rows(named=True):
        assert round(row["naive"] * row["entered"]) + row["closed"] + row["still"] == row["entered"]
