"""The demo as a newcomer runs it: what the README shows of it is what it does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_demo_goes_from_a_simulated_crm_to_a_served_and_explained_lead(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    result = subprocess.run(
        [sys.executable, "-m", "leadloop", "demo", "--json", "-"],
        cwd=tmp_path,
        env=environment | {"BENTOML_HOME": str(tmp_path / "bentoml")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    output = json.loads(result.stdout)
    match = re.search(r"ROC AUC ([\d.]+) where ([\d.]+) is the best possible; ([\d.]+)% of what", README)
    figures = [output["roc_auc"], output["roc_auc_bayes"], 100 * output["information_captured"]]
    assert figures == pytest.approx([float(figure) for figure in match.groups()], rel=0.01)
    assert output["calibration_error"] <= 0.015
    assert (tmp_path / output["report"]).is_file()
    # What only a history with accounts and offers can tell.
    assert {"accounts.json", "offers.json"} <= {
        each.name for each in (tmp_path / output["model_dir"]).iterdir()
    }
    # A console full of leads is left behind, which is not waited at where nobody sits.
    assert output["console_leads"] > 500
    assert "leadloop serve --log" in result.stderr
    assert (tmp_path / "leadloop-out" / "demo.db").is_file()
    lead = output["scored_lead"]
    total = lead["base"] + lead["rest"] + sum(reason["contribution"] for reason in lead["reasons"])
    assert total == pytest.approx(lead["log_odds"], abs=1e-9)
    junk = pl.read_csv(tmp_path / "leadloop-out" / "quarantine.csv")
    assert junk.height == 12 + 9 + 7 + 5 + 6
