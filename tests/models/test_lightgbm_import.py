"""A process that only scores imports LightGBM without what LightGBM looks for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from models.plugin_part import PART

HEAVY = ("pandas", "sklearn", "scipy.stats", "matplotlib", "mlflow", "shap")
PROGRAM = f"""
import json, sys
from pathlib import Path
from models.lightgbm_import import import_lightgbm_alone
import_lightgbm_alone(Path(sys.argv[1]))
first = "lightgbm" in sys.modules
import training.batch_scoring, lightgbm
print(json.dumps([first, [name for name in {HEAVY} if name in sys.modules]]))
"""


@pytest.mark.parametrize("learner", [False, True])
def test_scoring_imports_no_packages_that_it_does_not_need_unless_a_learner_may(tmp_path, learner):
    if learner:
        (tmp_path / PART).touch()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, heavy = json.loads(answer)
    assert first != learner
    assert ({"pandas", "sklearn"} <= set(heavy)) if learner else (heavy == [])
