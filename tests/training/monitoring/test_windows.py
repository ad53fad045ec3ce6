"""Windows of scores: what went wrong lately is not diluted by what was right before."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from features.clock import DAY
from features.ingest.quarantine import SourceError
from models.drift import ReferenceDistribution
from models.model_card import ModelCard
from training.monitoring.monitor import monitor_model
from training.monitoring.page import monitor_page

START, DAYS = 1_767_225_600, 120  # 2026-01-01


def draw_scores(seed, shift=0.0, since=90, spread=1.2, rows=6000):
    """Scores of 120 days and their outcomes; from day ``since`` on the base rate or the leads are others."""
    random = np.random.default_rng(seed)
    day = np.sort(random.integers(0, DAYS, rows))
    late = day >= since
    log_odds = -1.5 + random.normal(0, 1, rows) * np.where(late, spread, 1.2)
    label = random.random(rows) < expit(log_odds + np.where(late, shift, 0.0))
    ids = pl.Series("lead_id", [f"{n}" for n in range(rows)])
    at = START + day * DAY
    months = pl.from_epoch(pl.Series(at)).dt.strftime("%Y-%m")
    scores = pl.DataFrame(
        [
            ids,
            pl.Series("log_odds", log_odds),
            pl.Series("probability", expit(log_odds)),
            pl.Series("grade", np.where(log_odds > 0, "A", "D")),
            pl.Series("at", at),
            months.alias("month"),
        ]
    )
    return scores, pl.DataFrame([ids, pl.Series("label", label.astype(float))])


@pytest.fixture(scope="module")
def watched():
    reference = draw_scores(99)[0]["log_odds"]
    card = ModelCard(
        "Converted", "2026-11-21", rows=1, positives=1, time_ordered=True, recipe="r",
        profiles={"log_odds": ReferenceDistribution.of(reference)},
    )  # fmt: skip
    return SimpleNamespace(card=card, version="v", features=SimpleNamespace(names=()))


def codes(report):
    return {reason.code for reason in report.reasons}


def test_each_month_has_its_drift_and_what_came_of_it(watched):
    report = monitor_model(watched, *draw_scores(1, spread=2.5))
    assert [window.name for window in report.windows] == ["2026-01", "2026-02", "2026-03", "2026-04"]
    assert sum(window.scored for window in report.windows) == 6000
    assert [window.drift.psi > 0.1 for window in report.windows] == [False, False, False, True]
    assert [window.since is not None and window.since.psi > 0.1 for window in report.windows][-1]
    assert [window.outcome.observed for window in report.windows] == [g.observed for g in report.months]


def test_what_went_wrong_lately_is_seen_in_the_last_days_and_diluted_in_all(watched):
    scores, outcomes = draw_scores(2, shift=-0.9, since=105)
    assert "base_rate" not in codes(monitor_model(watched, scores, outcomes))
    report = monitor_model(watched, scores, outcomes, last=15)
    assert "base_rate" in codes(report)
    assert (
        report.scored == report.windows[1].scored == scores.filter(pl.col("at") >= START + 105 * DAY).height
    )
    assert report.windows[0].scored == 6000 - report.scored
    before, late = (window.outcome.ratio for window in report.windows)
    assert before == pytest.approx(1, abs=0.1)
    assert late == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("last", [7, 30])
def test_the_last_days_of_a_model_that_holds_are_healthy(watched, last):
    states = [monitor_model(watched, *draw_scores(seed), last=last).state for seed in range(20)]
    assert states.count("healthy") >= 19


def test_windows_by_days_are_the_same_whatever_the_order_of_rows(watched):
    scores, outcomes = draw_scores(3, shift=0.5)
    mixed = scores.sample(fraction=1.0, shuffle=True, seed=1)
    sorted_report, mixed_report = (
        monitor_model(watched, rows, outcomes, last=30) for rows in (scores, mixed)
    )
    assert [(w.scored, w.drift, w.outcome.observed) for w in sorted_report.windows] == [
        (w.scored, w.drift, w.outcome.observed) for w in mixed_report.windows
    ]


def test_scores_without_a_date_have_no_last_days(watched):
    scores, outcomes = draw_scores(4)
    with pytest.raises(SourceError, match="no date"):
        monitor_model(watched, scores.drop("at", "month"), outcomes, last=30)


def test_the_page_shows_the_windows_and_the_repair(watched):
    report = monitor_model(watched, *draw_scores(5, shift=-0.9), last=30)
    page = monitor_page(report)
    assert '<th scope="row">last 30 days</th>' in page
    assert "Shifting all scores by" in page
    assert "letzten 30 Tage" in monitor_page(report, "de")
    assert "moving the level by" not in monitor_page(monitor_model(watched, *draw_scores(5), last=30))
