"""What the packages export: every name resolves, and importing a package alone loads no library."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("features", "models", "training", "serving")
LIBRARIES = ("numpy", "narwhals", "polars", "lightgbm", "scipy", "sklearn", "mlflow", "bentoml", "pydantic")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_resolves(package):
    module = importlib.import_module(package)
    assert module.__all__
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_a_type_checker_is_told_of_the_names_that_are_loaded(package):
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {name.asname or name.name for node in block.body for name in node.names}
    (call,) = (node for node in ast.walk(block) if isinstance(node, ast.Call))
    loaded = ast.literal_eval(call.args[1])
    assert typed == set(loaded) == set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_exported_is_refused_as_usual(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        _ = importlib.import_module(package).nonsense


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_alone_loads_no_library(package):
    code = f"import sys, {package}; print(*sorted(sys.modules.keys() & set({LIBRARIES!r})))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.split() == []
