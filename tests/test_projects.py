"""Projects on the command line: a folder without a champion never answers with that of another folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from small_export import write
from typer.testing import CliRunner

from leadloop import app
from models import artifact
from models.active_model import set_active
from models.project import mark_promoted_for, read_project, store_name
from models.trial import TrialResult
from training.registry import registry

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A BentoML store of the test's own, and no settings of whoever runs it."""
    from bentoml._internal.configuration.containers import BentoMLContainer  # noqa: PLC0415  # slow, warns
    from bentoml._internal.models import ModelStore  # noqa: PLC0415

    for name in ("MLFLOW_TRACKING_URI", "LEADLOOP_PROJECT", "LEADLOOP_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    folder = tmp_path / "bentoml" / "models"
    folder.mkdir(parents=True)
    with BentoMLContainer.model_store.patch(ModelStore(str(folder))):
        yield folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in a folder; the result, with what it said."""

    def command(folder, *words):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        return CliRunner().invoke(app, list(map(str, words)))

    return command


def entry(store, project, content="trees"):
    """A champion of a project in the store: no more than what a look at it reads."""
    folder = store / store_name(project) / "first"
    folder.mkdir(parents=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    (folder / "model.lgb").write_text(content)
    (folder / artifact.SUMS).write_text(f"{digest}  model.lgb\n")
    mark_promoted_for(folder, project)
    set_active(folder)


def refusal(result):
    """What a command that refused wrote, in one line whatever the width of the terminal."""
    return " ".join(f"{result.output} {result.exception}".replace("│", " ").split())


COMMANDS = (
    ("score", "--leads", "new.csv", "--out", "s.csv"),
    ("monitor", "--scores", "s.csv", "--outcomes", "o.csv", "--id", "Id", "--label", "Converted"),
    ("serve", "--port", "0"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_folder_without_a_champion_uses_no_other_projects(store, run, tmp_path, words):
    entry(store, "client-a")
    (tmp_path / "b").mkdir()
    files = ("new.csv", "o.csv", "s.csv")
    for name in files:
        (tmp_path / "b" / name).write_text("Id,Converted\n1,1\n")
    result = run("b", *words)
    message = refusal(result)
    assert "there is no champion of this folder" in message
    assert "`leadloop models` lists" in message
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == sorted(files)
    assert "there is no champion of the project client-b" in refusal(
        run("b", *words, "--project", "client-b")
    )


CASE = Path(__file__).parents[2] / "shared" / "cases" / "71-champion-of-another-project"


def test_the_leads_of_a_client_are_not_scored_by_the_champion_of_another(store, run, tmp_path):
    if not CASE.is_dir():
        pytest.skip(f"{CASE} is not on this machine")
    shutil.copytree(CASE, tmp_path / CASE.name)
    entry(store, "client-a")
    before = sorted(path.name for path in (tmp_path / CASE.name).iterdir())
    result = run(CASE.name, "score", "--leads", "new.csv", "--out", "s.csv")
    assert result.exit_code != 0
    assert "there is no champion of this folder" in refusal(result)
    assert sorted(path.name for path in (tmp_path / CASE.name).iterdir()) == before


def test_models_says_whose_is_what(store, run, tmp_path):
    entry(store, "client-a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "leadloop.toml").write_text('project = "client-b"\n')
    result = run("b", "models", "--json", "-")
    shown = json.loads(result.stdout)
    assert shown["project"] == {"name": "client-b", "origin": "the key project of leadloop.toml"}
    assert [(each["project"], each["own"]) for each in shown["stored"]] == [("client-a", False)]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["leadloop.toml"]


@pytest.mark.slow
def test_two_folders_of_one_user_have_a_champion_each(store, run, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "require_trial", lambda _: TrialResult("tried elsewhere"))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder)
        (export,) = (tmp_path / folder).glob("*.csv")
        trained = run(folder, "train", "--leads", export.name, "--id", "Id", "--label", "Converted")
        assert trained.exit_code == 0, trained.output
        promoted = run(folder, "promote", "leadloop-out/model", "--force", "a test")
        assert promoted.exit_code == 0, promoted.output
    names = {folder: read_project(tmp_path / folder / "leadloop-out") for folder in ("a", "b")}
    assert names["a"] != names["b"]
    for folder, name in names.items():
        assert (store / store_name(name) / "in-charge").is_file()
        _, card = artifact.read_card(tmp_path / folder / "leadloop-out" / "model")
        assert card.project == name
    refused = run("a", "promote", "../b/leadloop-out/model")
    assert f"model of the project {names['b']}" in str(refused.exception)
