"""The benchmarks run: at sizes that say nothing, so that they still run when somebody wants to know."""

from __future__ import annotations

import pytest
from benchmarks import batch, run
from tiny import tiny_model

from features.catalogue import features_of
from features.cohort import CohortRule
from models import artifact
from training.dataset import feature_rows, flat_features, flat_rows
from training.scoring import open_leads
from training.simulate import simulate


@pytest.fixture
def company(tmp_path):
    history = simulate(60, seed=1).history
    features = features_of(history)
    rows = feature_rows(features, history, open_leads(history, CohortRule()))
    folder = tmp_path / "model"
    return artifact.save(tiny_model(features, rows), folder), folder


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_history_is_written_and_scored_from_file_to_file(company, tmp_path, suffix):
    took = batch.score(company[1], batch.write_history(50, tmp_path / "crm", suffix))
    assert took.seconds > 0
    assert 0.05 < took.peak < 2


@pytest.mark.filterwarnings("ignore")
def test_contributions_are_those_of_shap(company):
    took, difference = batch.reason_costs(company[0], leads=40)
    assert difference < 1e-12
    assert all(took.values())


def test_a_flat_file_is_scored_beside_a_bare_prediction(tmp_path):
    table = batch.flat_export(50, seed=1)
    table.drop("sql").write_csv(tmp_path / "new.csv")
    features = flat_features(table.drop("sql"), ())
    model = tiny_model(features, flat_rows(features, table), flat=True, id_column="lead_id", missing=("",))
    assert all(batch.flat(model, tmp_path / "new.csv", tmp_path).values())


def test_parts_and_sizes_are_chosen():
    assert run.options([]).parts == run.PARTS
    assert run.options(["batch", "--million"]).parts == ["batch"]
    with pytest.raises(SystemExit):
        run.options(["everything"])
