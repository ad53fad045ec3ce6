"""A package and a line of the configuration, as a data scientist meets them at the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from small_export import leads

from training.simulation.export import write_csv
from training.simulation.simulator import simulate

ROOT = Path(__file__).parents[3]
MINE = """
import numpy as np


def spread(y, p, weights):
    return float(np.average((p - np.average(p, weights=weights)) ** 2, weights=weights))


leadloop_metrics = {"spread": spread}
"""


def run(folder, *words, site=None):
    path = os.pathsep.join([str(ROOT), *([str(site)] if site else [])])
    home = {"BENTOML_HOME": str(folder / "bentoml"), "PYTHONPATH": path}
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | home
    return subprocess.run(
        [sys.executable, "-m", "leadloop", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def configured(folder, *, top="", training=""):
    leads(400).write_csv(folder / "leads.csv")
    (folder / "mine.py").write_text(MINE)
    text = f'{top}\n[flat]\nleads = "leads.csv"\nid = "Id"\nlabel = "Converted"\ntime = "No"\n'
    (folder / "leadloop.toml").write_text(text + f"[training]\n{training}\n")


@pytest.mark.slow
def test_a_learner_a_metric_and_a_section_from_end_to_end(acme, tmp_path):
    configured(tmp_path, top='plugins = ["mine"]', training='learner = "acme-logit"')
    done = run(tmp_path, "train", "--json", "-", site=acme.folder)
    assert done.returncode == 0, done.stderr
    trained = json.loads(done.stdout)
    assert {"top_tenth", "spread"} <= set(trained["metrics"]["validation"])
    assert "validation spread " in done.stderr
    report = json.loads((tmp_path / "leadloop-out" / "report.json").read_text())
    assert report["card"]["recipe"] == "acme-logit"
    assert report["card"]["metrics"]["top_tenth"] == trained["metrics"]["validation"]["top_tenth"]
    assert set(report["custom"]) == {"regions"}
    page = (tmp_path / "leadloop-out" / "report.html").read_text()
    assert '<th scope="row">spread</th>' in page
    assert "Our regions" in page
    model = ["--model", "leadloop-out/model", "--leads", "leads.csv", "--out", "scores.csv", "--explain", "1"]
    done = run(tmp_path, "score", *model, site=acme.folder)
    assert done.returncode == 0, done.stderr
    assert pl.read_csv(tmp_path / "scores.csv")["low"].null_count() == 0
    done = run(tmp_path, "score", *model)
    assert done.returncode == 2
    assert "learner 'acme-logit' of acme-leads 1.2, which is not installed here; install it" in done.stderr
    done = run(tmp_path, "report", "--lang", "de")
    assert done.returncode == 0, done.stderr
    assert "Unsere Regionen" in (tmp_path / "leadloop-out" / "report.html").read_text()


@pytest.mark.slow
def test_the_backtest_has_the_learners_and_the_metrics(acme, tmp_path):
    configured(tmp_path, top='plugins = ["mine"]')
    done = run(tmp_path, "backtest", "--origins", "1", "--json", "-", site=acme.folder)
    assert done.returncode == 0, done.stderr
    (origin,) = json.loads(done.stdout)["origins"]
    assert {"acme-logit", "acme-forest", "default"} <= set(origin["candidates"])
    for figures in origin["candidates"].values():
        assert figures["spread"]["low"] <= figures["spread"]["value"] <= figures["spread"]["high"]
    assert "acme-forest" in done.stderr


@pytest.mark.slow
def test_features_of_a_package_are_checked_with_the_others(acme, tmp_path):
    write_csv(simulate(600, seed=4), tmp_path)
    done = run(tmp_path, "points", "--json", "points.json", site=acme.folder)
    assert done.returncode == 0, done.stderr
    config = tmp_path / "leadloop.toml"
    unknown = config.read_text().replace("[training]\n", '[training]\nexclude = ["touches.recent_shar"]\n')
    config.write_text(unknown)
    done = run(tmp_path, "check", site=acme.folder)
    assert done.returncode == 2
    assert "did you mean 'touches.recent_share'" in done.stderr


@pytest.mark.parametrize(
    ("top", "training", "says"),
    [
        ('plugins = ["mein"]', "", "error: plugins: there is no module 'mein'; did you mean 'mine'?"),
        ("", 'learner = "acme-logti"', "error: [training] learner: there is no plug-in 'acme-logti'"),
        ('plugins = "mine"', "", "line 1, [plugins]: this should be a list, not 'mine'"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_used_is_one_line_and_exit_code_2(acme, tmp_path, top, training, says):
    configured(tmp_path, top=top, training=training)
    done = run(tmp_path, "train", site=acme.folder)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
