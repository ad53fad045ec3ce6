"""What leads were ranked by is told from what their features say, and no more often than chance allows."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import expit

from training.learner.selection_test import selection_p_value


def leads(seed, hidden_effect, n=500):
    """Features, outcomes and a rank by a feature and something hidden."""
    random = np.random.default_rng(seed)
    x, z, hidden = random.normal(size=(3, n))
    channel = random.choice(["ads", "talk", ""], n)
    chance = expit(-0.5 + x + 0.5 * (channel == "ads") + hidden_effect * hidden)
    frame = pl.DataFrame({"x": x, "z": z, "channel": channel}).with_columns(
        pl.col("channel").replace("", None)
    )
    return frame, (random.random(n) < chance).astype(np.int8), x + hidden


def test_a_rank_that_knows_more_than_the_features_is_noticed():
    p_values = [selection_p_value(*leads(seed, hidden_effect=1.0)) for seed in range(5)]
    assert max(p_values) < 0.01


def test_a_rank_that_knows_no_more_is_rarely_accused():
    p_values = np.array([selection_p_value(*leads(seed, hidden_effect=0.0)) for seed in range(40)])
    assert (p_values < 0.05).mean() <= 0.15  # 2 of 40 are due, more than 6 come once in 300 times
    assert (p_values < 0.5).mean() > 0.2  # nor is it blind


def test_too_few_leads_are_not_tested():
    assert selection_p_value(*leads(0, 1.0, n=150)) is None
    frame, label, worth = leads(0, 1.0)
    assert selection_p_value(frame, np.zeros_like(label), worth) is None


def test_a_rank_without_differences_tells_nothing():
    frame, label, worth = leads(0, 1.0)
    assert selection_p_value(frame, label, np.ones_like(worth)) == 1.0
