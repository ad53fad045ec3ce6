"""A tracking server and MLflow's own model server, both running, understand what leadloop logs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_inputs import rows, specs
from small_model import build_small_model

from features.spec import DisplayText, FeatureSet, attribute
from models import artifact
from training.pyfunc import OUTPUTS
from training.registry.registry import restore_champion, set_champion
from training.registry.tracking import (
    DESCRIPTION,
    DatasetRef,
    EvaluationTable,
    Metric,
    MetricSeries,
    Model,
    NestedRun,
    RunParams,
    Tag,
    Text,
    Tracking,
    log,
    mlflow_client,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]
SAYS = DisplayText("{value}", "{value}")
SCRIPTS = Path(sys.executable).parent


@contextmanager
def running(command, health, log_file):
    """A server on a free port of this machine, stopped by its process id; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with log_file.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        for _ in range(600):
            assert server.poll() is None, log_file.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{health}", timeout=5).close()
            except OSError:
                time.sleep(0.2)
            else:
                break
        yield port
    finally:
        # MLflow starts uvicorn as a process of its own, in the session that begins here.
        os.killpg(server.pid, 15)
        server.wait(30)


def logged(model, folder):
    """A model as training logs it: with signature and example."""
    artifact.save(model, folder)
    types = {spec.name: "string" if spec.is_category else "double" for spec in model.features.specs}
    inputs = dict.fromkeys(types, "any") if model.card.flat else types
    example = {name: ["x"] if kind == "string" else [1.0] for name, kind in types.items()}
    return Model(folder, model.version, inputs, OUTPUTS, example)


def call(port, content):
    """Status and answer of the model server."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(content).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # of this machine
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def server(empty_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "files")),
    ]
    with running(command, "/health", folder / "log") as port:
        yield Tracking(f"http://127.0.0.1:{port}", project="acme")


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A model of a flat export."""
    features = FeatureSet(
        (
            attribute("size", family="fit", says=SAYS, unit="number"),
            attribute("city", family="fit", says=SAYS),
        )
    )
    data = pl.DataFrame({"size": [float(n % 9) for n in range(80)], "city": ["Ulm", "Bonn"] * 40})
    return artifact.save(
        build_small_model(features, data, flat=True), tmp_path_factory.mktemp("flat") / "model"
    )


@pytest.fixture(scope="module")
def history_rows():
    return rows(np.random.default_rng(1), 60)


@pytest.fixture(scope="module")
def history(history_rows, tmp_path_factory):
    """A model of a history, whose rows are ready features."""
    return artifact.save(
        build_small_model(specs(), history_rows, label="other"), tmp_path_factory.mktemp("history") / "model"
    )


def test_a_server_shows_all_that_a_run_logged(server, flat, tmp_path):
    """Through HTTP, and with files that the server alone writes."""
    folder = tmp_path / "model"
    data = DatasetRef("validation", "0123", "leads.csv", "evaluation", 80, {"size": "double"})
    fold = MetricSeries("log_loss_by_fold", [0.6, 0.5], [1, 2])
    items = [
        replace(logged(flat, folder), params={"rows": "80"}),
        data,
        Metric("validation_roc_auc", 0.8, 0.7, 0.9, "validation"),
        MetricSeries("trees_log_loss_by_round", [0.7, 0.6], [5, 10]),
        NestedRun("candidate trees", (RunParams({"recipe": "trees"}), Metric("log_loss", 0.6), fold)),
        EvaluationTable("evaluation/gains.json", {"share": [0.5], "captured": [0.25]}),
        Text("plots/interactive.html", "<p>"),
        Tag(DESCRIPTION, "Predicts **sql**."),
    ]
    ref = log(items, tracking=server)
    with mlflow_client(server) as client:
        run = client.get_run(ref.run_id)
        model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
        assert {(metric.key, metric.step): metric.value for metric in model.metrics}[
            "trees_log_loss_by_round", 10
        ] == 0.6
        auc = next(metric for metric in model.metrics if metric.key == "validation_roc_auc")
        assert (auc.value, auc.dataset_name, auc.dataset_digest) == (0.8, "validation", "0123")
        assert model.params["rows"] == "80"
        assert [entry.dataset.digest for entry in run.inputs.dataset_inputs] == ["0123"]
        [nested] = client.search_runs([ref.experiment_id], f"tags.`mlflow.parentRunId` = '{ref.run_id}'")
        assert [p.step for p in client.get_metric_history(nested.info.run_id, "log_loss_by_fold")] == [1, 2]
        table = client.load_table(ref.experiment_id, "evaluation/gains.json", [ref.run_id])
        assert table.to_dict("list") == {"share": [0.5], "captured": [0.25]}
        assert [file.path for file in client.list_artifacts(ref.run_id, "plots")] == [
            "plots/interactive.html"
        ]


def test_a_server_shows_who_is_champion_and_who_was(server, flat, history, tmp_path):
    runs = []
    for number, model in enumerate((flat, history)):
        folder = tmp_path / f"model-{number}"
        ref = log([logged(model, folder), Tag(DESCRIPTION, f"Model {number}.")], tracking=server)
        set_champion(ref.run_id, tracking=server, remark=f"Better {number}")
        runs.append(ref.run_id)
    with mlflow_client(server) as client:
        assert [client.get_run(run).data.tags["leadloop.role"] for run in runs] == [
            "former champion",
            "champion",
        ]
        champion = client.get_model_version_by_alias("leadloop.acme", "champion")
        assert champion.description.startswith("Model 1.\n\n20")
        assert champion.description.endswith(
            f"champion, in place of version {champion.tags['replaced']}. Better 1"
        )
        model = client.get_logged_model(champion.source.removeprefix("models:/"))
        assert model.tags["leadloop.role"] == "champion"
        assert json.loads(model.tags["mlflow.modelVersions"]) == [
            {"name": "leadloop.acme", "version": int(champion.version)}
        ]
        assert client.get_registered_model("leadloop.acme").tags["leadloop.project"] == "acme"
    restore_champion(tracking=server)
    with mlflow_client(server) as client:
        assert [client.get_run(run).data.tags["leadloop.role"] for run in runs] == [
            "champion",
            "former champion",
        ]


def test_mlflow_serves_rows_of_the_crm_and_ready_features(tracked, flat, tmp_path):
    ref = log([logged(flat, tmp_path / "model")], tracking=tracked)
    with mlflow_client(tracked) as client:
        location = client.get_logged_model(ref.model_uri.removeprefix("models:/")).artifact_location
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", location, "--env-manager", "local"]
    with running([*command, "--workers", "1"], "/ping", tmp_path / "log") as port:
        raw = [{"size": "3", "city": " Ulm ", "owner": "a"}, {"size": "n/a", "city": "", "owner": "b"}]
        status, answer = call(port, {"dataframe_records": raw})
        assert status == 200
        ready = pl.DataFrame({"size": [3.0, None], "city": ["Ulm", None]})
        keys = ready.with_columns(lead_id=pl.lit(""), as_of=pl.lit(0, pl.Int64))
        expected = flat.score_frame(keys)["probability"].to_list()
        assert [row["probability"] for row in answer["predictions"]] == pytest.approx(expected, abs=1e-12)
        assert list(answer["predictions"][0]) == list(OUTPUTS)
        again = call(port, {"dataframe_split": {"columns": ready.columns, "data": ready.rows()}})
        assert again == (200, answer)
        status, refused = call(port, {"dataframe_records": [{"size": "3"}]})
        assert (status, refused["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert "no column 'city'" in refused["message"]


def test_mlflow_serves_a_model_of_a_history(tracked, history, history_rows, tmp_path):
    """In this process: the server is the same, and its start was tried already."""
    from mlflow.pyfunc import load_model  # noqa: PLC0415  # seconds, and warnings about itself
    from mlflow.pyfunc.scoring_server import init  # noqa: PLC0415
    from starlette.testclient import TestClient  # noqa: PLC0415

    ref = log([logged(history, tmp_path / "model")], tracking=tracked)
    with mlflow_client(tracked):
        client = TestClient(init(load_model(ref.model_uri)))
    ready = history_rows.select(history.features.names).head(5)
    answer = client.post("/invocations", json={"dataframe_records": ready.to_dicts()})
    keys = ready.with_columns(lead_id=pl.lit(""), as_of=pl.lit(0, pl.Int64))
    expected = history.score_frame(keys)["probability"].to_list()
    assert [row["probability"] for row in answer.json()["predictions"]] == pytest.approx(expected, abs=1e-12)
    refused = client.post("/invocations", json={"dataframe_records": ready.drop("employees").to_dicts()})
    assert refused.status_code == 400
    assert "employees" in refused.json()["message"]
