from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from models.project import PROJECT_FILE, ProjectError, check_project_name, project_of, read_project

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
