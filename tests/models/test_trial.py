"""A model is tried in a process of its own: whatever ends that process ends no other."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import fields, replace
from pathlib import Path

import polars as pl
import pytest
from small_model import build_small_model

from features.spec import DisplayText, FeatureSet, attribute
from models import artifact, trial
from models.calibration import PlattCalibration
from models.conversion import ConversionModel
from models.trial import TrialError, TrialResult, check_answers, require_trial, try_model

SAYS = DisplayText("{value}", "{value}")
FEATURES = FeatureSet(
    (
        attribute("industry", family="fit", says=SAYS),
        attribute("employees", family="fit", says=SAYS, unit="number"),
    )
)


@pytest.fixture(scope="module")
def model():
    rows = {"industry": ["a", "b", None] * 20, "employees": [float(number) for number in range(60)]}
    return build_small_model(FEATURES, pl.DataFrame(rows))


@pytest.fixture
def folder(model, tmp_path):
    artifact.save(model, tmp_path / "model")
    return tmp_path / "model"


def reseal(folder):
    """Make the checksums fit what is in the folder now."""
    names = [line.partition("  ")[2] for line in (folder / artifact.SUMS).read_text().splitlines()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / artifact.SUMS).write_text("".join(lines))


def test_a_model_that_scores_passes_with_its_version(folder):
    assert require_trial(folder) == TrialResult(artifact.load(folder).version)


def test_one_changed_line_with_right_checksums_is_a_sentence_and_not_an_abort(folder):
    trees = folder / "model.lgb"
    trees.write_text(re.sub(r"num_leaves=\d+", "num_leaves=60", trees.read_text(), count=1))
    reseal(folder)
    with pytest.raises(TrialError, match=r"LightGBM cannot read these trees.*train it again"):
        require_trial(folder)


def programme(tmp_path, monkeypatch, text):
    """Puts a program in place of the interpreter that tries the model."""
    file = tmp_path / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o700)
    monkeypatch.setattr(trial.sys, "executable", str(file))


def test_an_abort_is_a_refusal_with_the_signal(folder, tmp_path, monkeypatch):
    programme(tmp_path, monkeypatch, "echo 'terminate called' >&2; kill -ABRT $$")
    result = try_model(folder)
    assert not result.passed
    assert re.search(r"SIGABRT: terminate called.*train it again", result.reason)


@pytest.mark.parametrize("answer", ["", "null", "[]", '{"passed": 1}', "words"])
def test_a_process_that_says_nothing_has_not_passed(folder, tmp_path, monkeypatch, answer):
    programme(tmp_path, monkeypatch, f"echo '{answer}'")
    assert "exit code 0" in try_model(folder).reason


def is_running(process):
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_process_that_does_not_end_is_killed_with_what_it_started(folder, tmp_path, monkeypatch):
    programme(tmp_path, monkeypatch, f"sleep 300 & echo $! > {tmp_path}/child; wait")
    assert "within 1 s" in try_model(folder, 1.0).reason
    child = int((tmp_path / "child").read_text())
    # The signal was sent; on a busy machine the kernel takes a moment to act on it.
    deadline = time.monotonic() + 60
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)


def test_the_process_knows_no_secret_of_the_one_that_starts_it(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    programme(tmp_path, monkeypatch, f"env > {tmp_path}/seen")
    try_model(folder)
    assert "secret" not in (tmp_path / "seen").read_text()


def test_a_package_in_the_folder_it_is_started_from_is_not_imported(folder, tmp_path, monkeypatch):
    (tmp_path / "here" / "models").mkdir(parents=True)
    (tmp_path / "here" / "models" / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path / "here")
    assert try_model(folder).passed


def test_numbers_that_cannot_be_right_do_not_pass(model):
    check_answers(model)
    wild = replace(model.predictor, calibration=PlattCalibration(float("nan"), 0.0))
    with pytest.raises(TrialError, match="no probability"):
        check_answers(replace(model, predictor=wild))

    class Careless(ConversionModel):
        def contributions(self, rows):
            base, shares = super().contributions(rows)
            return base, shares + 1

    with pytest.raises(TrialError, match="do not add up"):
        check_answers(Careless(**{each.name: getattr(model, each.name) for each in fields(model)}))
