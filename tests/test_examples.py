"""Every example runs as a reader would run it, from a checkout, and says what its page promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each example prints at least once; the folder that it writes to comes last, where it takes one.
EXAMPLES = {
    "flat_export.py": ("LC001 high Call Result", "300 leads scored", "reason_1"),
    "history.py": ("saved in", "leads scored", "reason_1"),
    "custom_feature.py": (
        "touch.kind.distinct.14d",
        "Kinds of touchpoint in the last 14 days",
        "Share of touchpoints in 7 days",
    ),
    "rest_client.py": ("answers", "grade", "recorded"),
}
TAKES_A_FOLDER = ("flat_export.py", "history.py")


def run(example, folder, *words):
    home = {"BENTOML_HOME": str(folder / "bentoml"), "PYTHONPATH": str(ROOT)}
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | home
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def test_every_example_is_tried():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_it_runs_and_shows_what_it_promises(example, tmp_path):
    folder = ["crm"] if example in TAKES_A_FOLDER else []
    result = run(example, tmp_path, *folder)
    assert result.returncode == 0, result.stderr[-3000:]
    for text in EXAMPLES[example]:
        assert text in result.stdout, result.stdout[-3000:]


@pytest.mark.parametrize("example", TAKES_A_FOLDER)
def test_it_can_write_its_files_only(example, tmp_path):
    result = run(example, tmp_path, "crm", "--files-only")
    assert result.returncode == 0, result.stderr[-3000:]
    assert {path.suffix for path in (tmp_path / "crm").iterdir()} == {".csv"}


def test_both_paths_agree_on_the_features_of_the_example(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", _COMPARE], cwd=tmp_path, env=os.environ | {"PYTHONPATH": _PATHS},
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]


_PATHS = os.pathsep.join([str(ROOT), str(ROOT / "examples")])
_COMPARE = """
from custom_feature import RECENT_KINDS, RECENT_SHARE
from features.cohort import CohortRule, draw_snapshots
from features.online import OnlineFeatures
from features.record import to_records
from features.spec import FeatureSet
from training.data.dataset import compute_feature_rows
from training.simulation.simulator import simulate

history, features = simulate(200, seed=2).history, FeatureSet((RECENT_KINDS, RECENT_SHARE))
rule = CohortRule(on=("created", "mql"))
batch = compute_feature_rows(features, history, draw_snapshots(history, rule))
online, by_id = OnlineFeatures(features), {record.lead_id: record for record in to_records(history)}
rows = batch.rows()
assert len(rows) > 200
for lead_id, as_of, *values in rows:
    assert list(online(by_id[lead_id], as_of).values()) == values
assert batch[RECENT_KINDS.name].max() > 1
assert batch[RECENT_SHARE.name].drop_nulls().n_unique() > 5
"""
