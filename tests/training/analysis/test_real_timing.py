"""Funnel and time to the target on a real closed loop, against what pandas counts and what came later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drafted_horizon import with_common_horizon
from report_inputs import report_input

import leadloop
from features.clock import DAY, to_epoch
from features.ingest.read_history import read_history
from training.analysis.funnel import funnel
from training.analysis.inputs import report_settings
from training.analysis.stage_entries import stage_entries
from training.analysis.time_to_conversion import timing
from training.config.settings import load_config
from training.stats.survival import cumulative_incidence_intervals

DATA = Path(__file__).parents[4] / "shared" / "data" / "olist_funnel"
LEADS, DEALS = (DATA / f"olist_{name}_dataset.csv" for name in ("marketing_qualified_leads", "closed_deals"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    for path in (LEADS, DEALS):
        if not path.is_file():
            pytest.skip(f"{path} is not on this machine")
    out = tmp_path_factory.mktemp("olist") / "leadloop.toml"
    with pytest.raises(SystemExit) as ended:
        leadloop.app(["init", str(LEADS), str(DEALS), "--out", str(out)])
    assert not ended.value.code
    out.write_text(with_common_horizon(out.read_text()))
    return load_config(out)


@pytest.fixture(scope="module")
def history(config):
    return read_history(config.history_mapping, now=to_epoch(pd.Timestamp("2026-01-01", tz="UTC"))).history


@pytest.fixture(scope="module")
def took():
    """Days from first contact to the deal of each lead from 2018 on, by pandas; never is infinite."""
    leads = pd.read_csv(LEADS, parse_dates=["first_contact_date"])
    deals = pd.read_csv(DEALS, parse_dates=["won_date"])[["mql_id", "won_date"]]
    frame = leads.merge(deals, on="mql_id", how="left")
    frame = frame[frame["first_contact_date"] >= "2018-01-01"]
    days = (frame["won_date"] - frame["first_contact_date"]) / pd.Timedelta(days=1)
    return frame["first_contact_date"], days.fillna(np.inf).to_numpy()


@pytest.fixture(scope="module")
def inputs(config, history):
    return report_input(200, history=history, company=report_settings(config))


def test_the_funnel_is_what_pandas_counts(inputs, took):
    created, days = took
    result = funnel(inputs)
    assert (result.overall.rows, result.overall.hits) == (len(days), np.isfinite(days).sum())
    assert result.overall.old == len(days)
    assert result.overall.matured.value == pytest.approx((days < 90).mean())
    by_month = pd.Series(days < 90).groupby(created.dt.month.to_numpy()).mean()
    assert [c.target.matured.value for c in result.cohorts] == pytest.approx(by_month.tolist())


def test_the_rates_are_the_shares_that_pandas_counts(inputs, took):
    """All leads were watched for longer than 90 days, so nothing is estimated."""
    _, days = took
    for rate in timing(inputs).overall.rates:
        assert rate.share.value == pytest.approx((days < rate.days).mean())


def test_in_march_the_estimate_is_near_what_came_later(config, history, took):
    """As of 2018-03-31 the naive rate falls short of what came within 60 days; the estimate does not."""
    created, days = took
    today = pd.Timestamp("2018-03-31")
    then = stage_entries(
        history.known_before(to_epoch(today.tz_localize("UTC"))), ("won",), report_settings(config).label
    )
    mine = then.created >= to_epoch(pd.Timestamp("2018-01-01", tz="UTC"))
    result = cumulative_incidence_intervals(
        then.observed_duration[mine], then.won[mine], then.lost[mine], np.array([30, 60]) * DAY
    )
    days_to_win = days[(created < today).to_numpy()]
    assert then.won[mine].mean() < (days_to_win < 60).mean() - 0.01
    for share, within in zip(result, (30, 60), strict=True):
        assert share.value == pytest.approx((days_to_win < within).mean(), abs=0.01)
        assert share.low < (days_to_win < within).mean() < share.high
