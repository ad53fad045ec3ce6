"""A public name means one thing: what is defined in two modules is listed here with a reason."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("term", "home"),
    [
        ("aalen_johansen", "training/stats/survival.py"),
        ("backtest", "training/backtesting/backtest.py"),
        ("benjamini_hochberg", "training/stats/significance.py"),
        ("bootstrap", "models/metrics.py"),
        ("brier_decomposition", "models/metrics.py"),
        ("conformal", "training/learner/score_intervals.py"),
        ("covariate_shift", "training/leakage/shift_checks.py"),
        ("cross_validat", "training/learner/model_selection.py"),
        ("decision_log", "serving/decision_log/async_log.py"),
        ("design_effect", "training/stats/intervals.py"),
        ("drift", "models/drift.py"),
        ("early_stopping", "training/learner/boosting.py"),
        ("effective_sample_size", "training/stats/intervals.py"),
        ("expected_calibration_error", "models/metrics.py"),
        ("ipcw_weights", "training/stats/survival.py"),
        ("isotonic", "training/learner/monotonic.py"),
        ("jackknife", "training/learner/jackknife.py"),
        ("kaplan_meier", "training/stats/survival.py"),
        ("platt", "models/calibration.py"),
        ("point_in_time", "features/point_in_time.py"),
        ("psi", "models/drift.py"),
        ("quarantine", "features/ingest/quarantine.py"),
        ("rate_limit", "serving/middleware/rate_limit.py"),
        ("registry", "training/registry/registry.py"),
        ("risk_set", "training/analysis/risk_set_matching.py"),
        ("rolling_origins", "training/backtesting/splits.py"),
        ("shadow", "serving/shadow.py"),
        ("stacking", "training/learner/stacking.py"),
        ("wilson_interval", "training/stats/intervals.py"),
    ],
)
def test_a_term_of_the_field_leads_to_where_it_is_done(term, home):
    """What a practitioner searches for stands in the name of the file, or of a function or class in it."""
    tree = ast.parse((ROOT / home).read_text(encoding="utf-8"))
    definitions = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in (home, *definitions)]
    assert any(term in word for word in words)
