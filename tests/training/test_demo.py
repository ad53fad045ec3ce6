"""The demo as a newcomer runs it, with a smaller company."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import polars as pl
import pytest


@pytest.mark.slow
def test_the_demo_goes_from_a_simulated_crm_to_a_served_and_explained_lead(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", "leadloop", "demo", "--leads", "3000", "--seed", "3", "--json", "-"],
        cwd=tmp_path,
        env=environment | {"BENTOML_HOME": str(tmp_path / "bentoml")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # A company of 3,000 leads leaves some 2,600 snapshots to learn from; the benchmarks measure larger ones.
    assert 0.6 < told["information_captured"] < 1
    assert told["roc_auc"] < told["roc_auc_bayes"] + 0.005
    assert (tmp_path / told["report"]).is_file()
    lead = told["scored_lead"]
    total = lead["base"] + lead["rest"] + sum(reason["contribution"] for reason in lead["reasons"])
    assert total == pytest.approx(lead["log_odds"], abs=1e-9)
    junk = pl.read_csv(tmp_path / "leadloop-out" / "quarantine.csv")
    assert junk.height == 12 + 9 + 7 + 5 + 6
