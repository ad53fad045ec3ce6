"""A backtest trains on what was known at each origin and evaluates all candidates on the same rows."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss as sk_log_loss
from sklearn.metrics import roc_auc_score

from features.clock import DAY
from features.cohort import CohortRule, Snapshots
from features.labels import LabelSpec, compute_labels
from models.metrics import Interval
from training.backtesting.backtest import (
    NO_ACCOUNTS,
    NO_ORDER,
    BacktestError,
    BacktestSettings,
    backtest_candidates,
)
from training.backtesting.candidates import BacktestCandidate, default_learner
from training.backtesting.results import choose_candidate, level_adjusted_log_loss, regrets
from training.backtesting.splits import (
    bootstrap_blocks,
    group_split,
    learning_rows,
    random_split,
    rolling_origins,
)
from training.data.dataset import Dataset, from_history
from training.simulation.simulator import simulate

CLOSED = ("sql", "disqualified")
RULE = CohortRule(on=("created", "mql"), every=30 * DAY, until_age=60 * DAY, closed=CLOSED)
QUESTION = LabelSpec("sql", 60 * DAY, settle=DAY)


@pytest.fixture(scope="module")
def crm():
    return simulate(1200, seed=3)


@pytest.fixture(scope="module")
def dated(crm):
    return few(from_history(crm.history, RULE, QUESTION))


@pytest.fixture(scope="module")
def weighted(crm):
    return few(from_history(crm.history, RULE, QUESTION, weights="ipcw"))


def few(dataset, features=6):
    """The same rows with a few features: the laws are about rows."""
    return replace(dataset, features=replace(dataset.features, specs=dataset.features.specs[:features]))


def flat(dated, **changes):
    """The rows as a flat export has them: without dates, gap or accounts."""
    plain = {"order": None, "gap": 0, "has_dates": False, "accounts": None, "settled_at": None}
    return replace(dated, **(plain | changes))


def quick(key="half", p=0.5):
    """A candidate that learns nothing and says ``p`` of everyone."""
    return BacktestCandidate(key, lambda _: {key: lambda frame: np.full(frame.height, p)})


@pytest.fixture(autouse=True)
def default_in_no_time(monkeypatch):
    """Laws about rows need neither trees nor fine intervals: the default says little more than a rate."""
    monkeypatch.setattr("training.backtesting.evaluation.RESAMPLES", 8)

    def learn(past):
        def tell(frame):
            return past.rows.rate + frame[:, -1].fill_null(0).rank().to_numpy() / (50 * frame.height)

        return {"default": tell, "base rate": lambda frame: np.full(frame.height, past.rows.rate)}

    monkeypatch.setattr(
        "training.backtesting.backtest.default_learner", lambda: BacktestCandidate("default", learn)
    )


def splits(dataset, count=5):
    origins = rolling_origins(dataset, count)
    assert origins
    return origins


def test_no_label_window_of_training_touches_a_tested_row(dated):
    for split in splits(dated):
        assert (dated.order[split.train] + QUESTION.gap).max() < dated.order[split.test].min()


def test_training_rows_were_final_on_the_day_of_the_origin(crm, dated):
    for split in splits(dated, 2):
        keys = dated.rows[split.train].select("lead_id", "as_of")
        then = compute_labels(crm.history.known_before(split.start), Snapshots(keys), QUESTION)
        assert then["matured"].all()
        assert np.array_equal(then["label"].to_numpy(), dated.label[split.train])


def test_every_matured_row_trains_once_its_window_is_over(dated):
    for split in splits(dated):
        assert len(split.train) == (dated.order < split.start - dated.gap).sum()


def test_origins_walk_back_from_the_last_row_without_overlap(dated):
    origins = splits(dated)
    assert len(origins) == 5
    assert origins[-1].end == dated.order.max() + 1
    assert all(older.end == newer.start for older, newer in pairwise(origins))
    tested = np.concatenate([split.test for split in origins])
    assert len(set(tested.tolist())) == len(tested)
    assert 0.45 < len(tested) / len(dated) < 0.55


def test_the_order_of_rows_is_irrelevant(dated):
    mixed = np.random.default_rng(0).permutation(len(dated))
    other = replace(
        dated,
        rows=dated.rows[mixed],
        label=dated.label[mixed],
        order=dated.order[mixed],
        settled_at=dated.settled_at[mixed],
        accounts=dated.accounts[mixed],
    )
    for split, other_split in zip(splits(dated), splits(other), strict=True):
        assert set(split.train.tolist()) == set(mixed[other_split.train].tolist())
        assert set(split.test.tolist()) == set(mixed[other_split.test].tolist())
    plain, shuffled_rows = (backtest_candidates(data, others=[quick()]) for data in (dated, other))
    assert shuffled_rows.regrets == pytest.approx(plain.regrets)
    for split, other_split in zip(plain.origins, shuffled_rows.origins, strict=True):
        for name, candidate_metrics in split.candidates.items():
            for figure, interval in candidate_metrics.figures.items():
                if figure != "calibration_error":
                    mine, theirs = interval.value, other_split.candidates[name].figures[figure].value
                    assert theirs == pytest.approx(mine, nan_ok=True, abs=1e-7)


def test_weighted_training_knows_only_what_that_day_knew(weighted):
    for split in splits(weighted):
        assert (weighted.settled_at[split.train] <= split.start).all()
        assert (weighted.order[split.train] < split.start).all()
        assert weighted.matured[split.test].all()
        assert len(split.weights) == len(split.train)
        assert learning_rows(weighted, split).weights is split.weights
    assert len(splits(weighted)[0].train) > (weighted.order < splits(weighted)[0].start - weighted.gap).sum()


def test_a_coarse_order_gives_fewer_origins(dated):
    months = flat(dated, order=dated.order // (150 * DAY))
    origins = splits(months)
    assert len(origins) < 5
    assert all((months.order[split.train] < months.order[split.test].min()).all() for split in origins)
    assert "origins have enough rows" in backtest_candidates(months).notes[0]


def test_without_an_order_there_is_one_random_split_and_it_says_so(dated):
    result = backtest_candidates(flat(dated), BacktestSettings(seed=0), others=[quick()])
    assert not result.time_ordered
    assert result.origins == ()
    assert result.notes == (NO_ORDER,)
    assert result.splits["temporal"].reason == NO_ORDER
    assert result.splits["grouped"].reason == NO_ACCOUNTS
    assert set(result.splits["random"].candidates) == {"default", "base rate", "half"}
    assert result.chosen == "default"
    assert result.regret == result.regrets["default"]


def test_no_account_is_on_both_sides_of_a_grouped_split(dated):
    like = splits(dated)[-1]
    split = group_split(dated, dated.accounts, like, 0)
    assert not set(dated.accounts[split.train]) & set(dated.accounts[split.test])
    assert len(split.test) == pytest.approx(len(like.test), rel=0.2)


def test_a_shuffled_split_has_the_sizes_of_the_newest_origin(dated):
    like = splits(dated)[-1]
    split = random_split(dated, like, 0)
    assert (len(split.train), len(split.test)) == (len(like.train), len(like.test))
    assert not set(split.train.tolist()) & set(split.test.tolist())


def test_an_interrupted_backtest_ends_as_if_nothing_had_happened(dated, tmp_path):
    calls = []

    def learn(past):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(past.today)
        return {"x": lambda frame: np.full(frame.height, 0.1 + past.rows.rate)}

    with pytest.raises(KeyboardInterrupt):
        backtest_candidates(dated, others=[BacktestCandidate("x", learn)], folder=tmp_path)
    calm = BacktestCandidate("x", lambda p: {"x": lambda frame: np.full(frame.height, 0.1 + p.rows.rate)})
    heard = []
    resumed = backtest_candidates(dated, others=[calm], folder=tmp_path, say=heard.append)
    assert "origin 3 of 5" in heard[0]
    assert resumed.to_dict() == backtest_candidates(dated, others=[calm]).to_dict()


def test_a_finished_backtest_learns_nothing_again(dated, tmp_path):
    heard = []
    first = backtest_candidates(dated, folder=tmp_path)
    again = backtest_candidates(dated, folder=tmp_path, say=heard.append)
    assert heard == []
    assert again.to_dict() == first.to_dict()


def test_other_rows_settings_or_candidates_start_anew(dated, tmp_path):
    flipped = replace(dated, label=1 - dated.label)
    backtest_candidates(dated, folder=tmp_path)
    for changed in (
        lambda: backtest_candidates(flipped, folder=tmp_path),
        lambda: backtest_candidates(dated, BacktestSettings(seed=1), folder=tmp_path),
        lambda: backtest_candidates(dated, others=[quick()], folder=tmp_path),
    ):
        before = len(list(tmp_path.iterdir()))
        changed()
        assert len(list(tmp_path.iterdir())) == before + 1


def test_the_capacity_changes_no_prediction(dated, tmp_path):
    heard = []
    backtest_candidates(dated, BacktestSettings(capacity=0.1), folder=tmp_path)
    backtest_candidates(dated, BacktestSettings(capacity=0.2), folder=tmp_path, say=heard.append)
    assert heard == []


def test_static_models_stay_those_of_the_oldest_origin(dated):
    result = backtest_candidates(dated)
    rate = learning_rows(dated, splits(dated)[0]).rate
    assert result.origins[0].static == {}
    for origin, split in zip(result.origins[1:], splits(dated)[1:], strict=True):
        y = dated.label[split.test]
        assert origin.static["base rate"].figures["brier"].value == pytest.approx(((y - rate) ** 2).mean())
        assert origin.candidates["base rate"].figures["brier"].value != pytest.approx(
            ((y - rate) ** 2).mean()
        )


def test_candidates_train_on_the_past_and_predict_all_test_rows(dated):
    frames = []

    def learn(past):
        frames.append(past)
        assert past.keys["as_of"].max() < past.today
        assert past.rows.frame.columns == list(dated.features.names)
        return {"x": lambda frame: np.where(frame["as_of"] >= past.today, 0.2, np.nan)}

    result = backtest_candidates(dated, others=[BacktestCandidate("x", learn)])
    assert [past.today for past in frames] == [split.start for split in splits(dated)]
    assert np.isfinite(result.regrets["x"])


def test_figures_are_those_of_scikit_learn(dated):
    predictions = {}

    def learn(past):
        def tell(frame):
            predictions.setdefault(past.today, {})[frame["as_of"].min()] = p = (
                0.1 + frame[:, -1].rank() / 9999
            )
            return p.to_numpy()

        return {"x": tell}

    column = pl.Series("z", np.random.default_rng(0).random(len(dated)))
    result = backtest_candidates(
        replace(dated, rows=dated.rows.with_columns(column)), others=[BacktestCandidate("x", learn)]
    )
    for origin, split in zip(result.origins, splits(dated), strict=True):
        p, y = predictions[origin.start][dated.order[split.test].min()].to_numpy(), dated.label[split.test]
        figures = origin.candidates["x"].figures
        assert figures["log_loss"].value == pytest.approx(sk_log_loss(y, p))
        assert figures["roc_auc"].value == pytest.approx(roc_auc_score(y, p))
        assert figures["observed_to_expected"].value == pytest.approx(y.sum() / p.sum())
        assert figures["lift_at_10"].value == pytest.approx(10 * figures["capture_at_10"].value)
        assert sum(month.observed for month in origin.candidates["x"].months) == y.sum()
        assert sum(month.expected for month in origin.candidates["x"].months) == pytest.approx(p.sum())


def test_differences_are_paired_and_the_default_does_not_differ_from_itself(dated):
    result = backtest_candidates(dated, others=[quick()])
    assert vars(result.differences["default"]) == {"value": 0.0, "low": 0.0, "high": 0.0}
    rows = [origin.tested for origin in result.origins]
    by_origin = [origin.candidates["half"].against_default.value for origin in result.origins]
    assert result.differences["half"].value == pytest.approx(np.average(by_origin, weights=rows))
    assert result.differences["half"].low > 0


def test_regret_is_the_relative_loss_over_the_best_averaged_over_origins(dated):
    result = backtest_candidates(dated, others=[quick("a", 0.15), quick("b", 0.2)])
    losses = [
        {name: metrics.figures["log_loss"].value for name, metrics in origin.candidates.items()}
        for origin in result.origins
    ]
    expected = np.mean([loss[result.chosen] / min(loss.values()) - 1 for loss in losses])
    assert result.regret == pytest.approx(expected)
    assert result.to_dict()["regret"] == result.regret


def test_a_candidate_that_errs_in_the_level_alone_has_no_regret_once_the_level_is_known():
    random = np.random.default_rng(0)
    odds = random.normal(size=20_000)
    y = (random.random(20_000) < 1 / (1 + np.exp(-odds))).astype(float)
    true, high = (1 / (1 + np.exp(-odds - shift)) for shift in (0.0, 1.0))
    assert sk_log_loss(y, high) > sk_log_loss(y, true) + 0.05
    assert level_adjusted_log_loss(y, high) == pytest.approx(level_adjusted_log_loss(y, true), abs=1e-6)
    # A shift is all that it takes, and no other shift does better.
    grid = [sk_log_loss(y, 1 / (1 + np.exp(-odds - 1 - a))) for a in np.linspace(-1.2, -0.8, 81)]
    assert level_adjusted_log_loss(y, high) == pytest.approx(min(grid), abs=1e-5)


def test_the_default_stays_unless_another_wins_by_more_than_chance():
    regret = regrets([{"default": 0.31, "lucky": 0.30, "better": 0.305}])
    lucky = {"default": Interval(0, 0, 0), "lucky": Interval(-0.01, -0.03, 0.01)}
    assert choose_candidate(regret, lucky | {"better": Interval(-0.005, -0.02, 0.01)}) == "default"
    assert choose_candidate(regret, lucky | {"better": Interval(-0.005, -0.006, -0.004)}) == "better"


def test_a_candidate_that_knows_the_truth_is_chosen(dated):
    truth = dated.rows.select("lead_id", "as_of").with_columns(y=pl.Series(dated.label))

    def learn(_):
        return {"oracle": lambda f: f.join(truth, on=["lead_id", "as_of"])["y"].to_numpy() * 0.98 + 0.01}

    result = backtest_candidates(dated, others=[BacktestCandidate("oracle", learn)])
    assert result.chosen == "oracle"
    assert result.regret == 0.0


def test_blocks_are_weeks_where_there_are_enough_else_days_leads_or_rows(dated):
    everything = np.arange(len(dated))
    assert bootstrap_blocks(dated, everything)[0] == "week"
    fortnight = np.flatnonzero(dated.order < dated.order.min() + 14 * DAY)
    assert bootstrap_blocks(dated, fortnight)[0] == "day"
    undated = flat(dated)
    assert bootstrap_blocks(undated, everything)[0] == "lead"
    once = flat(dated, rows=dated.rows.with_columns(lead_id=pl.int_range(pl.len()).cast(pl.String)))
    assert bootstrap_blocks(once, everything)[0] == "row"


def test_the_result_is_plain_json(dated):
    as_json = json.loads(json.dumps(backtest_candidates(dated, others=[quick()]).to_dict(), allow_nan=False))
    assert set(as_json["splits"]) == {"random", "temporal", "grouped"}
    for origin in as_json["origins"]:
        for candidate in origin["candidates"].values():
            for name in ("log_loss", "roc_auc", "average_precision", "brier"):
                assert candidate[name]["low"] <= candidate[name]["value"] <= candidate[name]["high"]
    assert as_json["chosen"] in as_json["origins"][0]["candidates"]


def test_too_few_rows_are_refused_in_words(dated):
    some = np.concatenate([np.flatnonzero(dated.label == outcome)[:6] for outcome in (0, 1)])
    tiny = Dataset(dated.features, dated.rows[some], dated.label[some], "sql", dated.order[some], dated.gap)
    with pytest.raises(BacktestError, match="12 rows, 6 of them positive, are too few"):
        backtest_candidates(tiny)


def test_the_default_learner_and_its_parts_take_part(dated, monkeypatch):
    monkeypatch.setattr("training.backtesting.backtest.default_learner", default_learner)
    result = backtest_candidates(dated, BacktestSettings(origins=1))
    assert set(result.origins[0].candidates) == {
        "default",
        "additive + trees",
        "additive",
        "trees",
        "base rate",
    }
    best, base = (
        result.origins[0].candidates[name].figures["log_loss"].value for name in ("default", "base rate")
    )
    assert best < base + 0.01
