"""The notebooks run from a clean kernel, hold no outputs, and only import, call and show."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OURS = ("features", "models", "training", "serving")


def code_of(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def tree_of(path):
    return ast.parse("\n".join(cell.source for cell in code_of(path)))


def test_there_are_six():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_a_clean_kernel(path, tmp_path):
    """In a process of its own: what a kernel warns of is not what our code warns of."""
    command = [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=800", "-q", "-p", "no:randomly"]
    own_home = os.environ | {"IPYTHONDIR": str(tmp_path)}
    run = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(FOLDER), str(path)],
        env=own_home,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "1 passed" in run.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_holds_no_outputs(path):
    for cell in code_of(path):
        assert not cell.outputs
        assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_has_no_logic_of_its_own(path):
    logic = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.If | ast.While | ast.Try
    assert not [node for node in ast.walk(tree_of(path)) if isinstance(node, logic)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_uses_the_public_interface_only(path):
    private = [
        name
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(OURS)
        for name in (*str(node.module).split("."), *(alias.name for alias in node.names))
        if name.startswith("_")
    ]
    used = [
        n.attr for n in ast.walk(tree_of(path)) if isinstance(n, ast.Attribute) and n.attr.startswith("_")
    ]
    assert not private + used


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_a_short_story(path):
    """Words lead to every figure, and no cell does several things."""
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown"
    assert len(cells) < 30
    assert max(len(cell.source.splitlines()) for cell in cells) <= 20
