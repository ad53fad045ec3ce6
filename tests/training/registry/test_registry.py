"""Who is champion, how one becomes it, and the way back."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from models.active_model import active_folders
from models.artifact import SUMS, ArtifactError
from training.registry.registry import (
    RegistryError,
    champion_dir,
    register,
    restore_champion,
    set_challenger,
    set_champion,
)
from training.registry.tracking import Model, Tag, Tracking, TrackingError, log, mlflow_client

# MLflow's and BentoML's own use of what their dependencies deprecate.
pytestmark = [
    pytest.mark.usefixtures("loadable"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]


@pytest.fixture
def train(tracked, make_folder):
    """Trains a model, or does as if: the run that logged it."""

    def run(name):
        folder = make_folder(name, f"trees of {name}")
        return log([Model(folder, version(folder))], tracking=tracked).run_id

    return run


def version(folder):
    return hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()[:12]


def content(folder):
    return (folder / "model.lgb").read_text()


def test_a_promoted_run_is_champion(tracked, train):
    first = train("first")
    promotion = set_champion(first, tracking=tracked)
    assert (promotion.version, promotion.run_id, promotion.replaced) == (1, first, None)
    champion = champion_dir(tracking=tracked)
    assert (champion.origin, champion.notice) == ("registry", "")
    assert content(champion.folder) == "trees of first"


def test_the_next_champion_remembers_the_one_before(tracked, train):
    set_champion(train("first"), tracking=tracked)
    promotion = set_champion(train("second"), tracking=tracked)
    assert (promotion.version, promotion.replaced) == (2, 1)
    assert content(champion_dir(tracking=tracked).folder) == "trees of second"


def test_a_rollback_brings_the_champion_before_back(tracked, train, bento_store):
    set_champion(train("first"), tracking=tracked)
    set_champion(train("second"), tracking=tracked)
    assert restore_champion(tracking=tracked).version == 1
    assert content(champion_dir(tracking=tracked).folder) == "trees of first"
    gone = Tracking(f"sqlite:///{bento_store}/none.db", project="acme")
    assert content(champion_dir(tracking=gone).folder) == "trees of first"
    with pytest.raises(RegistryError, match="nothing to go back to"):
        restore_champion(tracking=tracked)


def test_promoting_twice_is_promoting_once(tracked, train):
    first = train("first")
    set_champion(first, tracking=tracked)
    assert set_champion(first, tracking=tracked).version == 1
    assert set_champion(first, tracking=tracked).replaced is None


def test_a_folder_is_promoted_as_the_run_that_logged_it(tracked, train, tmp_path):
    run_id = train("first")
    assert set_champion(tmp_path / "first", tracking=tracked).run_id == run_id


def test_a_folder_from_elsewhere_gets_a_run_of_its_own(tracked, make_folder):
    promotion = set_champion(make_folder("foreign"), tracking=tracked)
    assert promotion.version == 1
    assert content(champion_dir(tracking=tracked).folder) == "trees"


def test_an_altered_folder_is_not_promoted(tracked, make_folder):
    folder = make_folder("model")
    (folder / "model.lgb").write_text("other trees")
    with pytest.raises(ArtifactError, match="altered"):
        set_champion(folder, tracking=tracked)
    with pytest.raises(RegistryError):
        champion_dir(tracking=tracked)


def test_a_failed_promotion_leaves_the_champion(tracked, train, tmp_path):
    set_champion(train("first"), tracking=tracked)
    second = train("second")
    for path in (tmp_path / "mlflow-files").rglob("model.lgb"):
        if "second" in path.read_text():
            path.write_text("cut off")
    with pytest.raises(ArtifactError):
        set_champion(second, tracking=tracked)
    assert content(champion_dir(tracking=tracked).folder) == "trees of first"


def test_a_run_without_a_model_cannot_be_promoted(tracked):
    run = log([Tag("a", "b")], tracking=tracked)
    with pytest.raises(RegistryError, match="logged no model"):
        set_champion(run.run_id, tracking=tracked)


def test_an_unknown_run_is_named(tracked):
    with pytest.raises(RegistryError, match="nosuchrun is neither a folder nor a tracked run"):
        set_champion("nosuchrun", tracking=tracked)


def test_a_challenger_does_not_disturb_the_champion(tracked, train):
    set_champion(train("first"), tracking=tracked)
    assert register(train("second"), tracking=tracked) == 2
    assert content(champion_dir(tracking=tracked).folder) == "trees of first"
    with mlflow_client(tracked) as client:
        assert int(client.get_model_version_by_alias("leadloop.acme", "challenger").version) == 2


def test_the_service_finds_the_champion_without_mlflow(tracked, train):
    import bentoml.models  # noqa: PLC0415

    promotion = set_champion(train("first"), tracking=tracked)
    stored = bentoml.models.get("leadloop.acme:latest")
    assert str(stored.tag) == promotion.bento_tag
    assert content(Path(stored.path)) == "trees of first"
    assert stored.info.labels == {
        "model_version": promotion.model_version,
        "version": "1",
        "run_id": promotion.run_id,
    }


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////nowhere/mlflow.db"])
def test_while_the_registry_cannot_answer_the_copy_is_used_and_said_so(tracked, train, uri):
    set_champion(train("first"), tracking=tracked)
    champion = champion_dir(tracking=Tracking(uri, project="acme"))
    assert champion.origin == "store"
    assert "BentoML store" in champion.notice
    assert content(champion.folder) == "trees of first"


def test_files_that_moved_away_are_replaced_by_the_copy(tracked, train, tmp_path):
    set_champion(train("first"), tracking=tracked)
    shutil.move(tmp_path / "mlflow-files", tmp_path / "elsewhere")
    champion = champion_dir(tracking=tracked)
    assert champion.origin == "store"
    assert "moved" in champion.notice


def test_the_champion_is_found_from_another_working_folder(tracked, train, monkeypatch, tmp_path):
    set_champion(train("first"), tracking=tracked)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert champion_dir(tracking=tracked).folder.is_absolute()
    assert content(champion_dir(tracking=tracked).folder) == "trees of first"


def test_without_any_champion_the_way_to_one_is_named(tracked):
    with pytest.raises(RegistryError, match="leadloop promote"):
        champion_dir(tracking=tracked)


def test_the_pointer_changes_last_so_that_a_service_follows_only_a_finished_promotion(
    tracked, train, bento_store, monkeypatch
):
    set_champion(train("first"), tracking=tracked)
    assert content(active_folders(bento_store / "leadloop.acme")[0]) == "trees of first"

    def unreachable(*_):
        msg = "the registry is gone"
        raise TrackingError(msg)

    second = train("second")
    monkeypatch.setattr("mlflow.MlflowClient.set_registered_model_alias", unreachable)
    with pytest.raises(TrackingError, match="gone"):
        set_champion(second, tracking=tracked)
    assert content(active_folders(bento_store / "leadloop.acme")[0]) == "trees of first"


def test_a_clock_that_was_set_back_does_not_hide_a_promotion(tracked, train, bento_store):
    set_champion(train("first"), tracking=tracked)
    # BentoML's own "latest" goes by the time of creation: as if the first one came from the future.
    (copy,) = bento_store.glob("leadloop.acme/*/model.yaml")
    copy.write_text(re.sub(r"creation_time: '?20\d\d", "creation_time: '2999", copy.read_text()))
    set_champion(train("second"), tracking=tracked)
    assert content(active_folders(bento_store / "leadloop.acme")[0]) == "trees of second"
    gone = Tracking(f"sqlite:///{bento_store}/none.db", project="acme")
    assert content(champion_dir(tracking=gone).folder) == "trees of second"


def test_a_challenger_is_copied_for_a_service_that_lets_it_score_along(tracked, train, bento_store):
    set_champion(train("first"), tracking=tracked)
    set_challenger(train("second"), tracking=tracked)
    assert content(active_folders(bento_store / "leadloop.acme")[0]) == "trees of first"
    assert content(active_folders(bento_store / "leadloop.acme.challenger")[0]) == "trees of second"
