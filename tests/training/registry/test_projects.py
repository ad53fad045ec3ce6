"""Two projects on one machine, even in one registry, neither read nor change each other's models."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace

import pytest

from models.active_model import active_folders
from models.artifact import SUMS
from models.project import Project, read_project, store_entries, store_name
from models.trial import TrialError
from training.registry import registry
from training.registry.adoption import adopt_models
from training.registry.overview import list_models
from training.registry.promotion import PromotionRefusedError, promote_model
from training.registry.registry import (
    RegistryError,
    champion_dir,
    restore_champion,
    set_challenger,
    set_champion,
)
from training.registry.tracking import Model, Tracking, log, mlflow_client

pytestmark = [
    pytest.mark.usefixtures("loadable"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]


@pytest.fixture
def other(tracked):
    return replace(tracked, project="globex")


@pytest.fixture
def train(tracked, make_folder):
    def run(name, project=""):
        folder = make_folder(name, f"trees of {name}")
        if project:
            (folder / "card").write_text(project)
        return log([Model(folder, version_of(folder))], tracking=tracked).run_id

    return run


def version_of(folder):
    return hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()[:12]


def content(folder):
    return (folder / "model.lgb").read_text()


@pytest.fixture
def legacy(tracked, train):
    """Registers as releases before projects did: everything under one name."""

    def promote(*names):
        for name in names:
            run_id = train(name)
            with mlflow_client(tracked) as client:
                version = registry.register_run(client, run_id, "leadloop")
                before = registry.find_alias(client, "leadloop", "champion")
                if before:
                    client.set_model_version_tag("leadloop", version.version, "replaced", str(before.version))
                client.set_model_version_tag("leadloop", version.version, "leadloop.gate", "passed")
                client.set_registered_model_alias("leadloop", "champion", version.version)

    return promote


@pytest.mark.parametrize("project", ["a", "a--b", "a" * 40, "1-2"])
def test_every_name_of_a_project_can_name_a_model_in_mlflow_and_in_bentoml(
    tracked, train, project, bento_store
):
    mine = replace(tracked, project=project)
    promotion = set_champion(train("first"), tracking=mine)
    set_challenger(train("second"), tracking=mine)
    assert promotion.name == store_name(project)
    assert {(entry.project, entry.challenger) for entry in store_entries(bento_store)} == {
        (project, False),
        (project, True),
    }


def test_a_promotion_of_one_project_leaves_the_champion_of_the_other(tracked, other, train, bento_store):
    set_champion(train("first"), tracking=tracked)
    set_champion(train("second"), tracking=other)
    assert content(champion_dir(tracking=tracked).folder) == "trees of first"
    assert content(champion_dir(tracking=other).folder) == "trees of second"
    assert content(active_folders(bento_store / "leadloop.acme")[0]) == "trees of first"
    assert read_project(active_folders(bento_store / "leadloop.acme")[0]) == "acme"
    with pytest.raises(RegistryError, match="nothing to go back to"):
        restore_champion(tracking=other)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////nowhere/mlflow.db"])
def test_while_the_registry_is_away_no_other_projects_copy_is_used(tracked, train, uri):
    set_champion(train("first"), tracking=tracked)
    for project, whose in (("globex", "the project globex"), ("", "this folder")):
        with pytest.raises(RegistryError, match=rf"no champion of {whose}.*`leadloop models` lists"):
            champion_dir(tracking=Tracking(uri, project=project))


def test_without_a_project_nothing_is_promoted(tracked, train):
    with pytest.raises(RegistryError, match="--project"):
        set_champion(train("first"), tracking=replace(tracked, project=""))


def test_a_model_of_another_project_is_promoted_only_with_a_reason_that_is_kept(tracked, train, tmp_path):
    run_id = train("first", "globex")
    for source in (run_id, tmp_path / "first"):
        with pytest.raises(
            PromotionRefusedError, match=r"model of the project globex.*this is the project acme"
        ):
            promote_model(source, tracking=tracked)
        with pytest.raises(RegistryError, match="model of the project globex"):
            set_challenger(source, tracking=tracked)
    with pytest.raises(RegistryError):
        champion_dir(tracking=tracked)
    result = promote_model(run_id, tracking=tracked, force="globex was bought")
    assert result.forced == "globex was bought"
    with mlflow_client(tracked) as client:
        tags = registry.find_champion(client, tracked).tags
    assert "globex" in tags["leadloop.refused_for"]
    assert read_project(active_folders(tmp_path / "bento" / "leadloop.acme")[0]) == "acme"


def test_a_model_that_fails_its_trial_changes_nothing_whatever_the_reason(
    tracked, train, monkeypatch, tmp_path
):
    def fail(_):
        msg = "it ends the process that loads it"
        raise TrialError(msg)

    run_id = train("first")
    monkeypatch.setattr(registry, "require_trial", fail)
    for source in (run_id, tmp_path / "first"):
        with pytest.raises(TrialError):
            promote_model(source, tracking=tracked, force="hurry")
        with pytest.raises(TrialError):
            set_challenger(source, tracking=tracked)
    with mlflow_client(tracked) as client:
        assert client.search_registered_models() == []
    assert list((tmp_path / "bento").iterdir()) == []


def test_a_folder_of_an_earlier_release_is_told_how_to_take_its_champion_over(tracked, legacy):
    legacy("first")
    with pytest.raises(
        RegistryError, match=r"earlier release, version 1 of leadloop.*`leadloop models adopt`"
    ):
        champion_dir(tracking=tracked)


def test_models_of_an_earlier_release_become_the_projects_with_all_that_is_known(
    tracked, legacy, bento_store
):
    legacy("first", "second", "third")
    adoption = adopt_models("leadloop", tracking=tracked)
    assert (dict(adoption.versions), dict(adoption.aliases)) == ({1: 1, 2: 2, 3: 3}, {"champion": 3})
    assert content(champion_dir(tracking=tracked).folder) == "trees of third"
    assert content(active_folders(bento_store / "leadloop.acme")[0]) == "trees of third"
    with mlflow_client(tracked) as client:
        for number in "123":
            old, new = (client.get_model_version(name, number) for name in ("leadloop", "leadloop.acme"))
            own = {"leadloop.role": "champion"} if number == "3" else {}
            assert (new.run_id, new.tags) == (old.run_id, old.tags | own)
    assert restore_champion(tracking=tracked).version == 2


def test_taking_over_twice_is_taking_over_once(tracked, legacy, train):
    legacy("first")
    adopt_models("leadloop", tracking=tracked)
    set_champion(train("mine"), tracking=tracked)
    again = adopt_models("leadloop", tracking=tracked)
    assert dict(again.aliases) == {}
    assert "another champion already" in " ".join(again.notes)
    assert content(champion_dir(tracking=tracked).folder) == "trees of mine"


def test_a_project_can_be_taken_over_under_a_new_name(tracked, other, train):
    set_champion(train("first", "globex"), tracking=other)
    set_challenger(train("second", "globex"), tracking=other)
    adoption = adopt_models("globex", tracking=tracked)
    assert dict(adoption.aliases) == {"champion": 1, "challenger": 2}
    assert content(champion_dir(tracking=tracked).folder) == "trees of first"
    assert content(champion_dir(tracking=other).folder) == "trees of first"


@pytest.mark.parametrize(
    ("source", "words"), [("leadloop", "no models"), ("acme", "is this project"), ("nobody", "no models")]
)
def test_what_is_not_there_cannot_be_taken_over(tracked, source, words):
    with pytest.raises(RegistryError, match=words):
        adopt_models(source, tracking=tracked)


def test_the_overview_says_what_is_where_and_whose(tracked, other, train, legacy, bento_store):
    legacy("old")
    set_champion(train("first"), tracking=other)
    (bento_store / "leadloop").mkdir()
    (bento_store / "leadloop" / "in-charge").write_bytes(b"\xff\x00")
    shown = list_models(Project("acme", "a test"), tracking=tracked, store=bento_store)
    assert [(entry.name, entry.own) for entry in shown.stored] == [
        ("leadloop.globex", False),
        ("leadloop", False),
    ]
    assert shown.stored[0].model_version
    assert "unusable" in shown.stored[1].problem
    assert "models adopt" in " ".join(shown.notes)
    set_champion(train("second"), tracking=tracked)
    shown = list_models(Project("acme", "a test"), tracking=tracked, store=bento_store)
    assert [(version.version, version.aliases) for version in shown.versions] == [(1, ("champion",))]
    assert [entry.own for entry in shown.stored] == [True, False, False]
    assert shown.notes == ()
    text = "\n".join(shown.in_words())
    assert "project: acme (a test)" in text
    assert "leadloop.globex (project globex): champion is model" in text


def test_the_overview_survives_a_registry_that_does_not_answer(bento_store):
    away = Tracking("http://ada:geheim@127.0.0.1:9", project="acme")
    shown = list_models(Project("acme", "a test"), tracking=away, store=bento_store)
    assert "the tracking store failed" in shown.notes[0]
    assert "geheim" not in "\n".join(shown.in_words())


def test_a_copy_that_was_moved_away_is_no_champion(tracked, train, bento_store):
    set_champion(train("first"), tracking=tracked)
    shutil.rmtree(bento_store / "leadloop.acme")
    with pytest.raises(RegistryError):
        champion_dir(tracking=replace(tracked, uri="sqlite:////nowhere/mlflow.db"))
