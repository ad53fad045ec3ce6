"""A public name means one thing: what is defined in two modules is listed here with a reason."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = {
    "main": "an entry point: of the command, and of `python -m serving`",
    "openapi_paths": "what each endpoint adds to the OpenAPI document; serving.openapi calls all of them",
    "upgrade": "what Alembic calls in each revision",
    "view": "what each section of the report gives its template; training.report.layout lists them",
}


def test_no_public_name_is_defined_twice_without_a_reason():
    places = defaultdict(list)
    packages = ("features", "models", "training", "serving")
    for file in (ROOT / "leadloop.py", *(file for name in packages for file in (ROOT / name).rglob("*.py"))):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and node.name[0] != "_"
            ):
                places[node.name].append(str(file.relative_to(ROOT)))
    twice = {name: files for name, files in places.items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in SHARED} == {}
    assert set(twice) == set(SHARED), "a reason that nothing needs any more"
