from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from models.project import (
    PROJECT_FILE,
    ProjectError,
    check_project_name,
    demo_project,
    project_of,
    read_project,
    resolve_project,
    store_entries,
    store_name,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_project_is_named_once_and_its_name_says_where_it_lives(tmp_path: Path) -> None:
    folder = tmp_path / "Kunde Müller & Co" / "leadloop-out"
    assert read_project(folder) is None
    name = project_of(folder)
    assert name.startswith("kunde-m-ller-co-")
    assert check_project_name(name) == project_of(folder) == read_project(folder) == name
    assert sorted(path.name for path in folder.iterdir()) == [PROJECT_FILE]


def test_two_folders_are_two_projects(tmp_path: Path) -> None:
    assert project_of(tmp_path / "a" / "leadloop-out") != project_of(tmp_path / "b" / "leadloop-out")
    assert project_of(tmp_path / "1" / "x" / "out") != project_of(tmp_path / "2" / "x" / "out")


def test_of_many_who_draw_at_once_one_decides(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(project_of, [tmp_path / "leadloop-out"] * 32))
    assert len(names) == 1


@pytest.mark.parametrize("name", ["", "Acme", "a b", "-a", "a-", "a.b", "a/b", "..", "a" * 41, "ä", "a\n"])
def test_a_name_that_a_store_could_not_hold_is_refused(name: str) -> None:
    with pytest.raises(ProjectError, match="lower-case"):
        check_project_name(name)


@pytest.mark.parametrize("text", ["", "[]", '{"project": 7}', '{"project": "A B"}', "{}"])
def test_a_file_that_holds_no_name_is_refused_and_named(tmp_path: Path, text: str) -> None:
    (tmp_path / PROJECT_FILE).write_text(text)
    with pytest.raises(ProjectError, match=r"project\.json"):
        project_of(tmp_path)


SERVER = "https://mlflow.example.org/prefix"


def test_a_name_that_was_given_goes_before_one_that_was_kept_or_derived(tmp_path: Path) -> None:
    drawn = project_of(tmp_path)
    assert resolve_project(tmp_path, chosen="a", configured="b", registry=SERVER).name == "a"
    assert resolve_project(tmp_path, configured="b", registry=SERVER).name == "b"
    assert resolve_project(tmp_path).name == drawn
    assert read_project(tmp_path) == drawn


def test_whoever_shares_a_server_shares_its_project_whatever_their_password(tmp_path: Path) -> None:
    uris = (SERVER, f"{SERVER}/", SERVER.replace("//", "//ada:geheim@"), SERVER.replace("mlflow", "MLflow"))
    names = {resolve_project(tmp_path / str(i), registry=uri).name for i, uri in enumerate(uris)}
    assert len(names) == 1
    (name,) = names
    assert check_project_name(name).startswith("mlflow-example-org-")
    assert resolve_project(tmp_path, registry="https://mlflow.example.org/other").name != name
    assert resolve_project(tmp_path, registry="postgresql://ada@db/mlflow").name.startswith("db-")
    # An embedded store is nobody else's.
    for own in ("", "sqlite:////somewhere/mlflow.db", "file:///somewhere"):
        assert resolve_project(tmp_path / "own", registry=own).name == read_project(tmp_path / "own")


def test_a_name_that_was_given_once_is_found_again_and_one_that_was_drawn_yields_to_a_server(
    tmp_path: Path,
) -> None:
    resolve_project(tmp_path / "given", chosen="acme")
    assert resolve_project(tmp_path / "given").name == "acme"
    assert resolve_project(tmp_path / "given", registry=SERVER).name == "acme"
    resolve_project(tmp_path / "drawn")
    assert resolve_project(tmp_path / "drawn", registry=SERVER).name.startswith("mlflow-")


def test_a_command_that_only_looks_names_nothing(tmp_path: Path) -> None:
    assert resolve_project(tmp_path / "out", draw=False).name == ""
    assert resolve_project(tmp_path / "out", chosen="acme", draw=False).name == "acme"
    assert not (tmp_path / "out").exists()


def test_the_demo_never_takes_the_project_of_somebody(tmp_path: Path) -> None:
    mine = project_of(tmp_path / "mine")
    assert demo_project(tmp_path / "mine").startswith("demo-")
    assert read_project(tmp_path / "mine") == mine
    fresh = demo_project(tmp_path / "fresh")
    assert fresh == demo_project(tmp_path / "fresh") == project_of(tmp_path / "fresh")
    assert fresh != demo_project(tmp_path / "another")


def test_the_entries_of_a_store_say_whose_they_are(tmp_path: Path) -> None:
    names = (
        store_name("b"),
        store_name("b", challenger=True),
        store_name("a"),
        "leadloop",
        "leadloop-challenger",
    )
    for name in (*names, "other", "leadloop.B", "leadloop.a.b", "leadloop."):
        (tmp_path / name).mkdir()
    (tmp_path / "leadloop.file").write_text("")
    found = [(entry.project, entry.challenger) for entry in store_entries(tmp_path)]
    assert found == [("a", False), ("b", False), ("b", True), (None, False), (None, True)]
    assert store_entries(tmp_path / "nowhere") == ()
