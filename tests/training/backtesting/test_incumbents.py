"""Today's scores as candidates: nothing known later is used, order is kept, probabilities are calibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from small_export import leads, write

from features.clock import DAY
from features.cohort import CohortRule, Snapshots
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping, TableMapping
from features.labels import LabelSpec
from models import metrics
from models.points_table import (
    AttributeRule,
    PointsTable,
    PointsTableError,
    Thresholds,
    TouchpointRule,
    score_points,
)
from training.backtesting.backtest import BacktestSettings, backtest_candidates
from training.backtesting.candidates import BacktestCandidate, TrainingWindow
from training.backtesting.incumbents import (
    CALIBRATED,
    FREQUENCY,
    FREQUENCY_CALIBRATED,
    POINTS,
    current_scores,
    frequency_model,
    odoo_fields,
    points_table,
)
from training.backtesting.odoo_baseline import OdooFields, learn_frequencies, open_cases
from training.backtesting.splits import learning_rows, rolling_origins
from training.config.settings import Config, FlatConfig, FunnelConfig, LabelConfig
from training.config.toml_reader import Duration
from training.data.dataset import from_flat_export, from_history
from training.simulation.simulator import simulate

STAGES = ("lead", "mql", "sql", "disqualified")
RULE = CohortRule(on=("created", "mql"), every=30 * DAY, until_age=60 * DAY, closed=STAGES[2:])
TABLE = PointsTable(Thresholds(10, 20), (TouchpointRule("demo_request", 20), TouchpointRule("visit", 1, 10)))


@pytest.fixture(scope="module")
def dated():
    return from_history(simulate(1500, seed=3).history, RULE, LabelSpec("sql", 60 * DAY, settle=DAY))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    mapping = FlatMapping(id="Id", label="Converted", time="No")
    return from_flat_export(read_flat(write(tmp_path_factory.mktemp("flat"), leads(2000)), mapping), mapping)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """The configurations of both, as far as incumbents read them."""
    a_file = tmp_path_factory.mktemp("config") / "leads.csv"
    history = Config(
        leads=TableMapping(a_file),
        transitions=(TableMapping(a_file),),
        funnel=FunnelConfig(STAGES, "sql", ("disqualified",)),
        label=LabelConfig(Duration(60 * DAY)),
    )
    return {"flat": Config(flat=FlatConfig(a_file, "Converted", id="Id", time="No")), "history": history}


def past(dataset, split):
    keys = dataset.rows[split.train].select("lead_id", "as_of")
    return TrainingWindow(learning_rows(dataset, split), keys, split.start if dataset.has_dates else None, 0)


def of(dataset, config):
    return frequency_model(odoo_fields(dataset, config), dataset.history)


def test_the_frequency_model_counts_the_leads_that_were_closed_by_the_day_of_the_origin(dated, arguments):
    split = rolling_origins(dated, 3)[0]
    how = odoo_fields(dated, arguments["history"])
    assert how.stages == ("lead", "mql")
    predictions = of(dated, arguments["history"]).learn(past(dated, split))[FREQUENCY](dated.rows[split.test])
    frequencies = learn_frequencies(dated.history.known_before(split.start), how)
    tested = open_cases(dated.history, Snapshots(dated.rows[split.test].select("lead_id", "as_of")), how)
    assert np.array_equal(predictions, frequencies.probabilities(tested))


def test_without_lost_leads_the_training_rows_are_counted(dated, arguments):
    transitions = dated.history.transitions.filter(pl.col("stage") != "disqualified")
    unmarked = replace(dated, history=replace(dated.history, transitions=transitions))
    split = rolling_origins(unmarked, 2)[-1]
    predictions = of(unmarked, arguments["history"]).learn(past(unmarked, split))[FREQUENCY](
        dated.rows[split.test]
    )
    assert predictions.mean() == pytest.approx(dated.label[split.test].mean(), abs=0.15)


def test_the_frequency_model_of_a_flat_export_counts_the_training_rows(flat, arguments):
    split = rolling_origins(flat, 3)[0]
    learned = of(flat, arguments["flat"]).learn(past(flat, split))
    rows, y = flat.rows[split.train], flat.label[split.train]
    referred = (rows["Source"] == "Referral").to_numpy()
    # One field and one stage: naive Bayes is then the table's own share, but for the 0.1 on both sides.
    how = OdooFields(("Source",))
    predictions = frequency_model(how, None).learn(past(flat, split))[FREQUENCY](rows)
    won, lost = y.sum() + 0.1, len(y) - y.sum() + 0.1
    ours = [(y[referred] == outcome).sum() + 0.1 for outcome in (1, 0)]
    all_won, all_lost = y.sum() + 0.3, len(y) - y.sum() + 0.3
    odds = won / lost * (ours[0] / all_won) / (ours[1] / all_lost)
    assert predictions[referred] == pytest.approx(odds / (1 + odds), abs=1e-4)
    assert set(learned) == {FREQUENCY, FREQUENCY_CALIBRATED}


def test_calibration_keeps_the_order_of_the_frequency_model_and_mends_its_probability(dated, arguments):
    split = rolling_origins(dated, 2)[-1]
    learned = of(dated, arguments["history"]).learn(past(dated, split))
    rows, y = dated.rows[split.test], dated.label[split.test]
    plain, mended = learned[FREQUENCY](rows), learned[FREQUENCY_CALIBRATED](rows)
    assert metrics.roc_auc(y, plain) == pytest.approx(metrics.roc_auc(y, mended), abs=1e-9)
    # "Won some day" is far more likely than "within 60 days".
    assert metrics.log_loss(y, mended) < metrics.log_loss(y, plain)


def test_calibration_is_not_misled_by_counts_of_the_leads_themselves(flat):
    """A field with a value of its own for each pair of leads tells next to nothing of others."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, len(flat)).astype(np.int8)
    names = pl.Series("Source", random.permutation(len(flat)) // 2).cast(pl.String)
    noise = replace(flat, label=label, rows=flat.rows.with_columns(names))
    split = rolling_origins(noise, 2)[-1]
    how = OdooFields(("Source",))
    p = frequency_model(how, None).learn(past(noise, split))[FREQUENCY_CALIBRATED](noise.rows[split.test])
    assert metrics.log_loss(noise.label[split.test], p) < np.log(2) + 0.02


def test_points_of_the_backtest_are_those_of_the_table(dated):
    split = rolling_origins(dated, 2)[-1]
    (predict,) = points_table(TABLE, dated).learn(past(dated, split)).values()
    rows = dated.rows[split.test]
    own = score_points(TABLE, dated.history, Snapshots(rows.select("lead_id", "as_of")))["points"].to_numpy()
    p = predict(rows)
    order = np.argsort(own, kind="stable")
    assert (np.diff(p[order]) >= 0).all()
    assert ((p > 0) & (p < 1)).all()
    assert metrics.roc_auc(dated.label[split.test], p) > 0.55


def test_incumbents_are_evaluated_on_the_same_rows_with_a_note(dated, arguments, monkeypatch):
    monkeypatch.setattr("training.backtesting.evaluation.RESAMPLES", 8)
    rate = BacktestCandidate("rate", lambda p: {"default": lambda frame: np.full(frame.height, p.rows.rate)})
    monkeypatch.setattr("training.backtesting.backtest.default_learner", lambda: rate)
    others = tuple(current_scores(dated, arguments["history"], TABLE))
    result = backtest_candidates(dated, BacktestSettings(2), others)
    assert set(result.regrets) == {"default", FREQUENCY, FREQUENCY_CALIBRATED, POINTS}
    assert CALIBRATED in result.notes
    assert result.differences[POINTS].high < 0.01


def test_a_table_of_points_for_what_is_not_there_is_refused_before_anything_is_learned(flat):
    strange = PointsTable(Thresholds(1, 2), attributes=(AttributeRule("Sauce", 5, value="Ads"),))
    with pytest.raises(PointsTableError, match="did you mean 'Source'"):
        points_table(strange, flat)


def test_without_categories_or_stages_there_is_nothing_to_count(flat, arguments):
    numbers = [name for name in flat.features.names if name not in {"Visits", "Noise"}]
    bare = replace(flat, features=flat.features.without(set(numbers)))
    assert list(current_scores(bare, arguments["flat"])) == []
