"""Learning from some leads of a history: their rows are what they are among all."""

from __future__ import annotations

import numpy as np
import pytest

from features.clock import DAY
from features.cohort import CohortRule, Snapshots, draw_snapshots
from features.labels import LabelSpec
from training.config.settings import Capacity, TrainingConfig
from training.data.dataset import compute_feature_rows, compute_rows_in_parts, from_history
from training.data.load import resolve_capacity
from training.pipeline.messages import ingest_messages
from training.simulation.simulator import simulate
from training.stats.learning_curve import LEARNING_CURVE, captured_share

RULE, LABEL = CohortRule(every=60 * DAY, closed=("sql",), until_age=180 * DAY), LabelSpec("sql", 60 * DAY)


@pytest.fixture(scope="module")
def history():
    return simulate(200, seed=5).history


@pytest.fixture(scope="module", params=["matured", "ipcw"])
def both(history, request):
    return [
        from_history(history, RULE, LABEL, (), request.param, most_snapshots=most) for most in (None, 150)
    ]


def test_rows_of_drawn_leads_are_what_they_are_among_all(both):
    whole, drawn = both
    assert 130 < len(drawn) <= 150 < len(whole)
    assert drawn.features == whole.features
    same = drawn.rows.select("lead_id", "as_of").join(
        whole.rows, on=["lead_id", "as_of"], how="left", maintain_order="left"
    )
    assert same.select(drawn.rows.columns).equals(drawn.rows)
    assert drawn.drawn_from == whole.drawn_from == len(whole)
    assert drawn.immature == whole.immature


def test_weights_of_a_sample_count_for_as_many_independent_rows(both):
    drawn = both[1]
    if drawn.weights is None:
        return
    assert drawn.weights.sum() == pytest.approx(drawn.weights.sum() ** 2 / (drawn.weights**2).sum())


def test_how_many_leads_sales_can_call_does_not_depend_on_the_sample(both):
    training = TrainingConfig(capacity=Capacity(3, 7 * DAY))
    whole, drawn = (resolve_capacity(dataset, training) for dataset in both)
    assert whole == pytest.approx(drawn, rel=0.05)


@pytest.mark.parametrize("most", [1, 70, 10_000])
def test_rows_computed_for_some_accounts_after_others_are_the_same_to_the_bit(history, both, most):
    features = both[0].features
    snapshots = draw_snapshots(history, RULE)
    few = Snapshots(snapshots.frame.gather_every(3)) if most == 1 else snapshots
    few = Snapshots(few.frame.head(40)) if most == 1 else few
    assert compute_rows_in_parts(features, history, few, most).equals(
        compute_feature_rows(features, history, few)
    )


def test_training_says_what_all_snapshots_would_bring(both, tmp_path):
    whole, drawn = (list(ingest_messages(dataset, tmp_path)) for dataset in both)
    assert not any("most_snapshots" in line for line in whole)
    line = next(line for line in drawn if "most_snapshots" in line)
    assert (
        f"of all {len(both[0]):,} ([training] most_snapshots), and {int(both[1].label.sum())} convert" in line
    )
    assert f"more, for {len(both[0]) / len(both[1]):.1f} times" in line


def test_the_learning_curve_rises_from_point_to_point():
    sizes, shares = zip(*LEARNING_CURVE, strict=True)
    assert [captured_share(size) for size in sizes] == [share / 100 for share in shares]
    assert (np.diff([captured_share(size) for size in (1, 40, 60, 250, 5_000, 10**9)]) >= 0).all()
