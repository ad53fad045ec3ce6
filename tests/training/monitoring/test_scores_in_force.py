"""A service that logs scores where they changed is judged by the scores that its leads have."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from features.clock import DAY
from models.drift import ReferenceDistribution
from models.model_card import ModelCard
from training.monitoring.monitor import monitor_model
from training.monitoring.scores_in_force import ScoresInForce

START = 1_767_225_600  # 2026-01-01
DAYS = 60


def made_log(seed, shift=0.0, leads=4_000):
    """Scores of leads that come and go; a score is logged when it moves by half a point of log-odds.

    Young leads move by much, old ones hardly at all. From day 30 on those of new leads are ``shift`` higher.
    """
    random = np.random.default_rng(seed)
    born = random.integers(-200, DAYS, leads)
    ends = born + 20 + random.exponential(60, leads)
    level = random.normal(-1, 1.5, leads) + np.where(born >= 30, shift, 0.0)
    rows, logged = [], np.full(leads, np.nan)
    for day in range(DAYS):
        open_now = (born <= day) & (day < ends)
        age = day - born
        # Scores fall as leads age, quickly at first.
        score = level - np.log1p(np.maximum(age, 0)) + random.normal(0, 1, leads) / (1 + np.maximum(age, 0))
        moved = open_now & ~(np.abs(score - logged) < 0.5)
        logged = np.where(moved, score, logged)
        rows += [(f"{n}", START + day * DAY + 60, float(score[n])) for n in np.flatnonzero(moved)]
    log_odds = pl.Series("log_odds", [row[2] for row in rows])
    frame = pl.DataFrame(
        {
            "lead_id": [row[0] for row in rows],
            "at": [row[1] for row in rows],
            "log_odds": log_odds,
            "probability": expit(log_odds.to_numpy()),
            "grade": "D",
            "endpoint": "rescore",
        }
    ).with_columns(month=pl.from_epoch("at").dt.strftime("%Y-%m"))
    ended = pl.DataFrame(
        {"lead_id": [f"{n}" for n in range(leads)], "ended": START + (ends * DAY).astype(int)}
    )
    return frame, ended


@pytest.fixture(scope="module")
def watched():
    # A training has as many young leads as old ones, whatever is logged.
    reference = pl.Series("log_odds", np.random.default_rng(9).normal(-2.5, 2, 5_000))
    card = ModelCard(
        "Converted", "2026-11-21", rows=1, positives=1, time_ordered=True, recipe="r",
        profiles={"log_odds": ReferenceDistribution.of(reference)},
    )  # fmt: skip
    return SimpleNamespace(card=card, version="v", features=SimpleNamespace(names=()))


def report(watched, frame, ended, **options):
    outcomes = pl.DataFrame(schema={"lead_id": pl.String, "label": pl.Float64})
    return monitor_model(
        watched, frame.drop("endpoint"), outcomes, in_force=ScoresInForce.of(frame, ended), **options
    )


def codes(of):
    return {reason.code for reason in of.reasons}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_logged_where_it_changed_is_no_drift(watched, seed):
    frame, ended = made_log(seed)
    told = report(watched, frame, ended)
    assert "score_drift" not in codes(told)
    assert all(window.drift.psi < 0.1 for window in told.windows)
    # By what was logged alone it would be one.
    blind = monitor_model(watched, frame, pl.DataFrame(schema={"lead_id": pl.String, "label": pl.Float64}))
    assert "score_drift" in codes(blind)


@pytest.mark.parametrize("seed", range(5))
def test_leads_that_become_others_are_seen(watched, seed):
    told = report(watched, *made_log(seed, shift=4.0))
    assert "score_drift" in codes(told)
    assert told.windows[0].drift.psi < told.windows[-1].drift.psi


def test_each_open_lead_has_its_newest_score():
    frame = pl.DataFrame(
        {
            "lead_id": ["a", "b", "a", "c", "d"],
            "at": [10, 20, 30, 40, 10],
            "log_odds": [1.0, 2.0, 3.0, 4.0, 5.0],
            "endpoint": ["rescore", "/v1/score", "rescore", "rescore", "rescore"],
        }
    )
    in_force = ScoresInForce.of(frame, pl.DataFrame({"lead_id": ["d"], "ended": [25]}))
    assert in_force.since == 10 + DAY
    assert dict(in_force.at(20).select("lead_id", "log_odds").rows()) == {"a": 1.0, "b": 2.0, "d": 5.0}
    assert dict(in_force.at(35).select("lead_id", "log_odds").rows()) == {"a": 3.0, "b": 2.0}


def test_scores_that_were_all_asked_for_are_compared_with_the_training():
    frame, ended = made_log(1)
    assert ScoresInForce.of(frame.with_columns(endpoint=pl.lit("/v1/score")), ended) is None


def test_a_day_is_too_short_to_compare(watched):
    frame, ended = made_log(1)
    told = report(watched, frame.filter(pl.col("at") < START + DAY), ended)
    assert told.score_drift is None
    assert "score drift" in told.unknown
    assert all(window.drift is None for window in told.windows)
    assert "the service has kept scores by this model for less than a day" in "\n".join(
        map(str, told.in_words())
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_log_that_has_forgotten_the_beginning_says_so(watched, seed):
    frame, ended = made_log(seed)
    told = report(watched, frame.filter(pl.col("at") > START + 20 * DAY), ended)
    assert told.score_drift is None
    assert codes(told) == set()
    assert "no longer has the scores" in str(told.unknown["score drift"])
