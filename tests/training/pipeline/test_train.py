"""A run from files to a tracked model: what it leaves behind, also when something fails."""

from __future__ import annotations

import json
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import polars as pl
import pytest
from small_export import leads, write

from features.ingest.mapping import AttributeSelection, TableMapping
from models import artifact
from serving.scorer import Scorer
from training.batch_scoring import ScoringOptions, score_flat
from training.config.settings import (
    AttributesConfig,
    Config,
    FlatConfig,
    FunnelConfig,
    LabelConfig,
    ReportConfig,
    TrainingConfig,
)
from training.config.toml_reader import ConfigError
from training.data.load import read_dataset
from training.pipeline.tracked_charts import draw_interactive_page
from training.pipeline.train import rerender_report, resolve_tracking, run_training
from training.registry.registry import champion_dir, set_champion
from training.registry.tracking import Tracking, TrackingError, mlflow_client

METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error")
DAY = 86_400
# A value that a single lead has.
ONLY_ONE = "Klosterfest Hinterobernau"


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    folder = tmp_path_factory.mktemp("company")
    rare = pl.when(pl.col("No") == 390).then(pl.lit(ONLY_ONE)).otherwise("Source")
    write(folder, leads(400).with_columns(rare.alias("Source")))
    write(folder, leads(200, seed=9), "later.csv")
    return folder


@pytest.fixture(scope="module")
def config(company):
    return Config(flat=FlatConfig(company / "leads.csv", "Converted", id="Id", time="No", exclude=("Noise",)))


@pytest.fixture(scope="module")
def store(company, empty_store):
    shutil.copy(empty_store, company / "mlflow.db")
    return Tracking(f"sqlite:///{company / 'mlflow.db'}", (company / "files").as_uri(), project="acme")


@pytest.fixture(scope="module")
def messages():
    return []


@pytest.fixture(scope="module")
def trained(company, config, store, messages):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return run_training(
            config, company / "out", store, holdout=company / "later.csv", say=messages.append
        )


@pytest.fixture
def tracked_run(store, trained):
    with mlflow_client(store) as client:
        yield client, client.get_run(trained.run.run_id)


def test_a_run_leaves_a_model_a_report_and_its_data(trained):
    assert {path.name for path in trained.folder.iterdir()} >= {"model", "report.html", "report.json"}
    assert not [path for path in trained.folder.iterdir() if path.name.endswith(".new")]
    assert artifact.load(trained.model_dir).version == trained.model.version


def test_no_value_of_a_single_lead_is_in_a_saved_model(trained, company):
    """The report beside it counts leads by channel for people of the company, and is no part of the model."""
    assert ONLY_ONE in (company / "leads.csv").read_text()
    files = [path for path in trained.model_dir.rglob("*") if path.is_file() and path.name != artifact.REPORT]
    assert not [path.name for path in files if ONLY_ONE.encode() in path.read_bytes()]
    assert any(b"Referral" in path.read_bytes() for path in files)


def test_every_figure_is_tracked_with_its_interval(trained, tracked_run):
    _, run = tracked_run
    for part in ("validation", "holdout"):
        for name in METRICS:
            figure = trained.metrics[part][name]
            tracked = [run.data.metrics[f"{part}_{name}{end}"] for end in ("", "_low", "_high")]
            assert tracked == [figure.value, figure.low, figure.high]
            assert figure.low <= figure.value <= figure.high


def test_data_and_features_are_tracked_by_their_fingerprints(trained, tracked_run):
    params = tracked_run[1].data.params
    assert params["data_fingerprint"] == trained.fitted.dataset.fingerprint
    assert params["features_fingerprint"] == trained.model.features.fingerprint
    assert (params["rows"], params["seed"]) == ("400", "42")
    assert tracked_run[1].data.tags["leadloop.time_ordered"] == "true"


def test_the_model_folder_is_the_tracked_model(trained, tracked_run, tmp_path, monkeypatch):
    client, run = tracked_run
    monkeypatch.chdir(tmp_path)
    logged_model = next(iter(client.search_logged_models([run.info.experiment_id])))
    folder = Path(client.download_artifacts(run.info.run_id, "report", str(tmp_path)))
    assert {path.name for path in folder.iterdir()} == {"report.html", "report.json"}
    assert logged_model.source_run_id == trained.run.run_id
    (sums,) = Path(logged_model.artifact_location.removeprefix("file://")).rglob("SHA256SUMS")
    assert artifact.load(sums.parent).version == trained.model.version


def test_the_card_and_the_run_name_the_project(trained, tracked_run):
    assert trained.model.card.project == "acme"
    assert tracked_run[1].data.tags["leadloop.project"] == "acme"


def test_mlflow_shows_the_model_with_its_signature_its_example_and_its_figures(trained, tracked_run):
    import mlflow  # noqa: PLC0415  # seconds, and warnings about itself

    client, run = tracked_run
    logged_model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    info = mlflow.models.get_model_info(f"models:/{logged_model.model_id}")
    assert set(info.signature.inputs.input_names()) >= set(trained.model.features.names)
    assert info.signature.outputs.input_names() == ["probability", "log_odds", "points", "grade"]
    figures = {metric.key: metric for metric in logged_model.metrics}
    auc = figures["validation_roc_auc"]
    assert auc.value == trained.metrics["validation"]["roc_auc"].value
    assert (auc.dataset_name, auc.run_id) == ("validation", run.info.run_id)
    served = mlflow.pyfunc.load_model(f"models:/{logged_model.model_id}")
    example = served.input_example
    rows = trained.fitted.dataset.rows[trained.fitted.held_out_rows[:3].tolist()]
    expected = trained.model.score_frame(rows)["log_odds"].to_list()
    assert served.predict(example)["log_odds"].tolist() == pytest.approx(expected, abs=1e-12)


def test_the_logged_model_scores_the_rows_of_the_export_as_they_are(trained, tracked_run, company):
    import mlflow  # noqa: PLC0415  # seconds, and warnings about itself

    _, run = tracked_run
    served = mlflow.pyfunc.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    rows = pd.read_csv(company / "later.csv", dtype=str).head(20)
    result = score_flat(
        trained.model, company / "later.csv", ScoringOptions(company / "later-scores.csv"), lambda _: None
    )
    assert result.leads == 200
    scores = pd.read_csv(company / "later-scores.csv").head(20)
    predicted = served.predict(rows)
    assert predicted["probability"].tolist() == pytest.approx(scores["probability"].tolist(), abs=1e-12)


def test_the_data_the_configuration_and_the_evaluation_are_tracked(trained, tracked_run, tmp_path):
    client, run = tracked_run
    data = {entry.dataset.name: entry for entry in run.inputs.dataset_inputs}
    assert data.keys() == {"training", "validation"}
    assert data["training"].dataset.digest == trained.fitted.dataset.fingerprint[:36]
    assert data["validation"].tags[0].value == "evaluation"
    assert json.loads(data["training"].dataset.profile) == {"num_rows": 400}
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"features.json", "card.json", "quarantine.json", "evaluation"} <= files
    gains = json.loads(
        Path(client.download_artifacts(run.info.run_id, "evaluation/gains.json", str(tmp_path))).read_text()
    )
    assert gains["columns"] == ["share", "captured"]
    assert gains["data"] == [pytest.approx(row, abs=1e-9) for row in trained.report.worth.gains]
    assert "ROC AUC" in run.data.tags["mlflow.note.content"]


def test_promotion_makes_the_run_champion(trained, store, tmp_path):
    from bentoml._internal.configuration.containers import BentoMLContainer  # noqa: PLC0415  # slow, warns
    from bentoml._internal.models import ModelStore  # noqa: PLC0415

    (tmp_path / "bento").mkdir()
    with BentoMLContainer.model_store.patch(ModelStore(str(tmp_path / "bento"))):
        assert set_champion(trained.run.run_id, tracking=store).model_version == trained.model.version
        champion = champion_dir(tracking=store)
        assert artifact.load(champion.folder).version == trained.model.version
    with mlflow_client(store) as client:
        assert (
            client.get_model_version_by_alias(f"leadloop.{store.project}", "champion").run_id
            == trained.run.run_id
        )
        run = client.get_run(trained.run.run_id)
        [model] = client.search_logged_models([run.info.experiment_id])
        assert run.data.tags["leadloop.role"] == model.tags["leadloop.role"] == "champion"
        assert json.loads(model.tags["mlflow.modelVersions"]) == [
            {"name": f"leadloop.{store.project}", "version": 1}
        ]
        assert "ROC AUC" in model.tags["mlflow.note.content"]
        assert run.data.tags["leadloop.verdict"] == "may be promoted"
        assert run.data.tags["leadloop.open_checks"] == "none"


def test_the_same_files_and_seed_give_the_same_model(trained, config, company):
    from training.pipeline.fit_model import train_model  # noqa: PLC0415

    again = train_model(read_dataset(config, company), TrainingConfig())
    assert again.model.predictor.to_files() == trained.model.predictor.to_files()


def test_a_person_is_told_what_was_learned_from_and_where_everything_is(trained, messages):
    text = "\n".join(messages)
    assert "400 snapshots to learn from" in text
    for what in (f"model {trained.model.version} saved", "report written to", f"run {trained.run.run_id}"):
        assert what in text


def test_the_report_can_be_written_again_in_another_language(trained, tmp_path):
    page = rerender_report(trained.folder, tmp_path / "bericht.html", "de").read_text()
    assert 'lang="de"' in page
    with pytest.raises(ConfigError, match="leadloop train"):
        rerender_report(tmp_path, tmp_path / "x.html", "en")


@pytest.mark.slow
def test_a_tracking_server_that_is_down_leaves_model_and_report_and_says_so(config, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match=f"{down}.*Saved models are untouched"):
        run_training(config, tmp_path, Tracking(down), say=lambda _: None)
    assert artifact.load(tmp_path / "model").card.rows == 400
    assert (tmp_path / "report.html").is_file()


def test_the_environment_names_the_server_before_the_configuration(config, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_tracking(config, tmp_path).uri.startswith("sqlite:///")
    named = replace(config, tracking=replace(config.tracking, uri="http://tracking:5000"))
    assert resolve_tracking(named, tmp_path).uri == "http://tracking:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:5000")
    assert resolve_tracking(named, tmp_path).uri == "http://other:5000"


def test_an_excluded_feature_that_does_not_exist_is_refused_with_the_nearest(config, tmp_path):
    wrong = replace(config, training=TrainingConfig(exclude=("Visit",)))
    with pytest.raises(ConfigError, match=r"no feature 'Visit'.*did you mean 'Visits'"):
        read_dataset(wrong, tmp_path)


def test_an_excluded_feature_may_still_be_sent(config, tmp_path):
    dataset = read_dataset(replace(config, training=TrainingConfig(exclude=("Newsletter",))), tmp_path)
    assert set(dataset.features.names) == {"Visits", "Source"}
    assert "Newsletter" in dataset.ignored


@pytest.fixture
def history(tmp_path):
    """A history whose leads have columns that no model uses, for one reason or another."""
    rows = [
        f"L{n:02d},2026-01-{1 + n % 28:02d},{won},A{n % 3},{n % 7},?,note {n},x,{n % 2}"
        for n in range(60)
        for won in ["2026-02-20" if n % 3 else ""]
    ]
    head = "lead,born,won_on,firm,size,never,owner,same,late"
    (tmp_path / "leads.csv").write_text("\n".join([head, *rows]) + "\n")
    (tmp_path / "firms.csv").write_text("firm,sector,boss\nA0,steel,x\nA1,wood,x\nA2,steel,x\n")
    table = TableMapping(
        file=tmp_path / "leads.csv",
        columns={"lead_id": "lead", "created_at": "born", "account_id": "firm"},
        missing=("", "?"),
    )
    won = TableMapping(
        file=tmp_path / "leads.csv",
        columns={"lead_id": "lead", "occurred_at": "won_on"},
        constants={"stage": "won"},
    )
    return Config(
        leads=table,
        transitions=(won,),
        accounts=TableMapping(file=tmp_path / "firms.csv", columns={"account_id": "firm"}),
        attributes=AttributesConfig(exclude=("late",)),
        funnel=FunnelConfig(("won",), "won"),
        label=LabelConfig(horizon=60 * DAY),
        report=ReportConfig(),
        observed_until=1_790_000_000,
    )


def test_a_history_knows_every_column_of_its_leads_that_no_feature_uses(history, tmp_path):
    dataset = read_dataset(history, tmp_path)
    assert "size" in dataset.features.names
    unused = {
        "lead",
        "born",
        "won_on",
        "firm",
        "never",
        "owner",
        "same",
        "late",
        "account.firm",
        "account.boss",
    }
    assert set(dataset.ignored) == unused
    assert dataset.missing == ("", "?")


def test_columns_beyond_those_named_are_known_too(history, tmp_path):
    only = replace(history, attributes=AttributesConfig(**vars(AttributeSelection(only=("size",)))))
    dataset = read_dataset(only, tmp_path)
    assert [name for name in dataset.features.names if name != "lead.age"] == ["size"]
    assert {"owner", "late", "account.sector"} <= set(dataset.ignored)


def test_a_crm_may_send_every_column_of_its_leads(history, tmp_path):
    from training.pipeline.fit_model import train_model  # noqa: PLC0415

    model = train_model(read_dataset(history, tmp_path), TrainingConfig()).model
    cells = {"size": "3", "never": "?", "owner": "note 3", "late": "1", "born": "2026-01-01", "same": "x"}
    lead = {"lead_id": "L99", "created_at": "2026-03-01T00:00:00Z", "attributes": cells}
    odd = lead | {"attributes": {"size": "?", "sizes": "3"}}
    fine, unknown = Scorer(model).score([lead, odd])
    assert 0 < fine.probability < 1
    assert unknown.error.field == "attributes.sizes"


def test_the_charts_are_tracked_as_pictures_of_their_own(tracked_run, tmp_path):
    client, run = tracked_run
    folder = Path(client.download_artifacts(run.info.run_id, "plots", str(tmp_path)))
    pictures = {path.name: ET.fromstring(path.read_text()) for path in folder.glob("*.svg")}  # noqa: S314  # ours
    assert set(pictures) == {"gains.svg", "reliability.svg", "families.svg"}
    assert {picture.tag for picture in pictures.values()} == {"{http://www.w3.org/2000/svg}svg"}


def test_the_interactive_page_has_every_figure_and_loads_nothing(trained):
    """A name from the data cannot end the script that it stands in."""
    choice = (replace(trained.fitted.choice[0], name="</script><script>alert(1)"), *trained.fitted.choice[1:])
    page = draw_interactive_page(trained.report, replace(trained.fitted, choice=choice))
    assert not re.findall(r"<script[^>]*src=|<link|alert\(1\)</script>|</script><script>alert", page)
    spec = json.loads(re.search(r"const spec = (.*);$", page, re.MULTILINE)[1])
    gains, _, rounds, recipes = (chart["layer"][-1]["data"]["values"] for chart in spec["concat"])
    assert [(row["called"], row["captured"]) for row in gains][1:] == list(trained.report.worth.gains)
    assert {row["rounds"]: row["log-loss"] for row in rounds} == trained.fitted.round_log_losses
    assert {row["recipe"] for row in recipes} == {score.name for score in choice}


def test_rounds_and_folds_are_curves(trained, tracked_run):
    client, run = tracked_run
    rounds = client.get_metric_history(run.info.run_id, "trees_log_loss_by_round")
    assert {point.step: point.value for point in rounds} == trained.fitted.round_log_losses
    assert min(rounds, key=lambda point: point.value).step not in {5, 1000}
    chosen = next(s for s in trained.fitted.choice if s.name == trained.model.card.recipe)
    folds = client.get_metric_history(run.info.run_id, "log_loss_by_fold")
    assert [point.value for point in folds] == list(chosen.fold_log_losses)
    assert min(chosen.fold_log_losses) <= chosen.log_loss <= max(chosen.fold_log_losses)


def test_each_candidate_is_a_run_below_it(trained, tracked_run):
    client, run = tracked_run
    nested = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    by_recipe = {each.data.params["recipe"]: each for each in nested}
    assert by_recipe.keys() == trained.model.card.candidates.keys()
    assert {each.info.status for each in nested} == {"FINISHED"}
    losses = {recipe: each.data.metrics["log_loss"] for recipe, each in by_recipe.items()}
    assert losses == trained.model.card.candidates
    chosen = [
        recipe for recipe, each in by_recipe.items() if each.data.tags["leadloop.candidate"] == "chosen"
    ]
    assert chosen == [trained.model.card.recipe]


def test_a_report_of_another_release_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "report.json").write_text('{"version": "1"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="another release of leadloop"):
        rerender_report(tmp_path, tmp_path / "report.html", "en")
    assert not (tmp_path / "report.html").exists()
