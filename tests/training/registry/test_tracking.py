"""What training returned is written down, all of it, quietly, and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import training.registry.tracking
from features.redaction import without_secrets
from training.registry.tracking import (
    Artifact,
    Metric,
    MetricSeries,
    Model,
    NestedRun,
    RunParams,
    RunRef,
    Tag,
    Text,
    Tracking,
    TrackingError,
    log,
    mlflow_client,
    tracking,
)

# MLflow's and BentoML's own use of what their dependencies deprecate.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]


def run_of(tracked, ref):
    with mlflow_client(tracked) as client:
        return client.get_run(ref.run_id)


def files_of(tracked, ref, folder=None):
    with mlflow_client(tracked) as client:
        return [file.path for file in client.list_artifacts(ref.run_id, folder)]


def test_every_kind_of_item_is_written_down(tracked, tmp_path):
    (tmp_path / "plot.svg").write_text("<svg/>")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.txt").write_text("a")
    ref = log(
        [
            Metric("validation/roc_auc", 0.8, 0.75, 0.85),
            Metric("rows", 10),
            RunParams({"seed": 1, "label": "Converted", "none": None}),
            Tag("time_ordered", "false"),
            Text("report.html", "<p>ä</p>"),
            Artifact(tmp_path / "plot.svg", "plots"),
            Artifact(tmp_path / "more"),
        ],
        tracking=tracked,
        name="first",
    )
    run = run_of(tracked, ref)
    assert run.data.metrics == {
        "validation/roc_auc": 0.8,
        "validation/roc_auc_low": 0.75,
        "validation/roc_auc_high": 0.85,
        "rows": 10.0,
    }
    assert run.data.params == {"seed": "1", "label": "Converted", "none": "None"}
    assert run.data.tags["time_ordered"] == "false"
    assert run.info.run_name == "first"
    assert run.info.status == "FINISHED"
    assert sorted(files_of(tracked, ref)) == ["a.txt", "plots", "report.html"]
    assert files_of(tracked, ref, "plots") == ["plots/plot.svg"]
    assert ref.model_uri is None


def test_more_parameters_than_one_call_takes_are_all_kept(tracked):
    ref = log([RunParams({f"p{i}": i for i in range(230)})], tracking=tracked)
    assert len(run_of(tracked, ref).data.params) == 230


def test_a_nested_run_has_its_figures_at_their_steps(tracked):
    items = (RunParams({"recipe": "trees"}), MetricSeries("loss", [0.7, 0.6], [5, 10]), Tag("chosen", "yes"))
    ref = log([NestedRun("candidate trees", items), MetricSeries("curve", [1, 2])], tracking=tracked)
    with mlflow_client(tracked) as client:
        [nested] = client.search_runs([ref.experiment_id], f"tags.`mlflow.parentRunId` = '{ref.run_id}'")
        history = client.get_metric_history(nested.info.run_id, "loss")
        assert [(point.step, point.value) for point in history] == [(5, 0.7), (10, 0.6)]
        assert [point.step for point in client.get_metric_history(ref.run_id, "curve")] == [0, 1]
    assert (nested.info.run_name, nested.info.status) == ("candidate trees", "FINISHED")
    assert nested.data.params == {"recipe": "trees"}
    assert nested.data.tags["chosen"] == "yes"


def test_names_that_mlflow_refuses_are_written_with_underscores(tracked):
    ref = log([Metric("a + b", 1.0, 0.5), RunParams({"x (y)": 1}), Tag("p%", "q")], tracking=tracked)
    run = run_of(tracked, ref)
    assert run.data.metrics == {"a _ b": 1.0, "a _ b_low": 0.5}
    assert run.data.params == {"x _y_": "1"}
    assert run.data.tags["p_"] == "q"


def test_a_model_is_its_plain_folder_without_a_pickle(tracked, make_folder, tmp_path):
    folder = make_folder("model")
    ref = log([Model(folder, "abc123")], tracking=tracked)
    logged = [path for path in (tmp_path / "mlflow-files").rglob("*") if path.is_file()]
    copies = [path for path in logged if path.name == "model.lgb"]
    assert [path.read_text() for path in copies] == ["trees"]
    assert not [path for path in logged if path.suffix in {".pkl", ".pickle", ".joblib"}]
    assert ref.model_uri.startswith("models:/")
    assert run_of(tracked, ref).data.tags["model_version"] == "abc123"


def test_an_interrupted_run_stays_and_is_marked_as_failed(tracked):
    def items():
        yield Metric("before", 1.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        log(items(), tracking=tracked)
    with mlflow_client(tracked) as client:
        experiment = client.get_experiment_by_name(tracked.experiment)
        [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.metrics == {"before": 1.0}


def test_a_run_leaves_mlflow_as_it_was(tracked):
    log([Tag("a", "b")], tracking=tracked)
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_the_store_is_found_again_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    here = tracking(Path("out"))
    assert here.uri == f"sqlite:///{tmp_path}/out/mlflow.db"
    assert here.files == (tmp_path / "out" / "mlflow-files").as_uri()


def test_a_server_is_used_when_the_user_names_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    named = tracking(Path("out"))
    assert named == Tracking("http://localhost:5000", project=named.project)
    # Whoever shares a server shares the project, and nothing is drawn in a folder of one of them.
    assert named.project.startswith("localhost-")
    assert not Path("out").exists()
    monkeypatch.setenv("LEADLOOP_PROJECT", "acme")
    assert tracking(Path("out")).project == "acme"


SECRETS = ("ada", "geheim", "s3cret")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://ada:geheim@db.example.org:5432/mlflow?sslpassword=s3cret",
        "http://ada:ge/heim@geheim@127.0.0.1:9/prefix?token=s3cret&x=1",
        "mysql+pymysql://ada:geheim@db.example.org/mlflow",
    ],
)
def test_no_message_tells_the_password_of_the_tracking_store(uri):
    shown = [
        Tracking(uri).address,
        RunRef("1", "2", uri).address,
        without_secrets(f"(OperationalError) cannot connect to {uri!r}: password=geheim is wrong"),
    ]
    for text in shown:
        assert not any(secret in text for secret in SECRETS)
    assert "://" in shown[0]


def test_a_server_that_fails_is_named_without_its_password():
    with pytest.raises(TrackingError) as refused:
        log([Tag("a", "b")], tracking=Tracking("http://ada:geheim@127.0.0.1:9/?token=s3cret"))
    assert not any(secret in str(refused.value) for secret in SECRETS)
    assert "http://127.0.0.1:9" in str(refused.value)


def test_a_dead_server_fails_soon_and_says_what_to_do():
    training.registry.tracking._mlflow()  # importing is not what is timed
    started = time.monotonic()
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        log([Tag("a", "b")], tracking=Tracking("http://127.0.0.1:9"))
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_the_first_run_in_a_new_folder_says_nothing(make_folder, tmp_path):
    code = (
        "from pathlib import Path; from training.registry.tracking import *;"
        f"log([Metric('m', 1.0), Model(Path({str(make_folder('model'))!r}), 'abc')],"
        f"tracking=tracking(Path({str(tmp_path)!r})))"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert (result.stdout, result.stderr) == ("", "")


def test_importing_tracking_does_not_import_mlflow():
    code = (
        "import sys, training.registry.tracking, training.registry.registry; print('mlflow' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
