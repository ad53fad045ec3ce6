"""Folders of parts: cut and scored they give what the whole gives, and no work is done twice."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import polars as pl
import pytest
from small_model import build_small_model
from typer.testing import CliRunner

from features.catalogue import build_feature_set
from features.cohort import open_lead_snapshots
from features.ingest.read_history import read_history
from leadloop import app
from models import artifact
from training import part_scoring
from training.batch_scoring import ScoringError, ScoringOptions, score_history
from training.config.settings import load_config
from training.data.dataset import compute_feature_rows
from training.part_scoring import score_part_folders, write_history_parts
from training.simulation.export import write_csv
from training.simulation.simulator import simulate
from training.worker_pool import WorkerPool, Workers


@pytest.fixture(scope="module")
def crm(tmp_path_factory):
    """The configuration of a small company, the folder of a model of it, and the model."""
    folder = tmp_path_factory.mktemp("crm")
    config = load_config(write_csv(simulate(150, seed=3), folder))
    history = read_history(config.history_mapping, 0).history
    features = build_feature_set(history)
    rows = compute_feature_rows(features, history, open_lead_snapshots(history, config.cohort_rule))
    artifact.save(
        build_small_model(features, rows, closed_stages=config.cohort_rule.closed), folder / "model"
    )
    return config, folder / "model", artifact.load(folder / "model")


@pytest.fixture(scope="module")
def cut(crm, tmp_path_factory):
    config, _, model = crm
    folder = tmp_path_factory.mktemp("cut") / "parts"
    write_history_parts(model, config, folder, print, ("country",), leads=40)
    return folder


@pytest.fixture
def parts(cut, tmp_path):
    return shutil.copytree(cut, tmp_path / "parts")


@pytest.fixture
def scored(monkeypatch):
    """The numbers of the parts that are scored from now on."""
    numbers, score_folder = [], part_scoring._score_folder

    def remember(model, task):
        numbers.append(task.part.number)
        return score_folder(model, task)

    monkeypatch.setattr(part_scoring, "_score_folder", remember)
    return numbers


def score(model, parts, options, workers=None):
    return score_part_folders(model, parts, options, lambda _: None, workers)


def test_folders_of_parts_give_the_scores_of_the_history(crm, parts, tmp_path):
    config, _, model = crm
    for name in ("whole", "parts"):
        options = ScoringOptions(
            tmp_path / f"{name}.parquet",
            reasons=2,
            contributions=tmp_path / f"{name}-weights.parquet",
            carried=("country",),
        )
        if name == "whole":
            result = score_history(model, config, options, print)
        else:
            assert score(model, parts, options).leads == result.leads
    for file in ("{}.parquet", "{}-weights.parquet"):
        frames = [
            pl.read_parquet(tmp_path / file.format(name)).sort("lead_id") for name in ("whole", "parts")
        ]
        assert frames[0].equals(frames[1])
    assert not (tmp_path / ".parts.parquet.parts").exists()


def test_a_bad_part_fails_alone_and_is_the_only_one_that_is_scored_again(crm, parts, tmp_path, scored):
    model, options = crm[2], ScoringOptions(tmp_path / "s.csv")
    count = len(list(parts.iterdir()))
    leads = parts / "part-2" / "leads.parquet"
    whole = leads.read_bytes()
    leads.write_bytes(whole[:100])
    with pytest.raises(ScoringError, match=r"1 of 4 parts could not be scored: part 2 of 4 .*leads\.parquet"):
        score(model, parts, options)
    assert scored == list(range(1, count + 1))
    assert not (tmp_path / "s.csv").exists()
    scored.clear()
    leads.write_bytes(whole)
    score(model, parts, options)
    assert scored == [2]
    assert (tmp_path / "s.csv").exists()


def test_a_run_that_was_interrupted_goes_on_where_it_stopped(crm, parts, tmp_path, scored, monkeypatch):
    model, options = crm[2], ScoringOptions(tmp_path / "s.csv")
    remember = part_scoring._score_folder

    def interrupt(model, task):
        if task.part.number == 3:
            raise KeyboardInterrupt
        return remember(model, task)

    monkeypatch.setattr(part_scoring, "_score_folder", interrupt)
    lines = []
    with pytest.raises(KeyboardInterrupt):
        score_part_folders(model, parts, options, lines.append)
    assert lines[-1] == "2 of 4 parts are scored and kept; run the same command again to go on"
    monkeypatch.setattr(part_scoring, "_score_folder", remember)
    score(model, parts, options)
    assert scored == [1, 2, 3, 4]


@pytest.mark.parametrize("change", ["options", "model", "part"])
def test_results_of_another_model_or_of_other_options_or_parts_are_not_used(
    crm, parts, tmp_path, scored, change, monkeypatch
):
    model, options = crm[2], ScoringOptions(tmp_path / "s.csv")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(part_scoring, "write_scored_leads", stop)
        with pytest.raises(KeyboardInterrupt):
            score(model, parts, options)
    scored.clear()
    if change == "options":
        options = replace(options, reasons=1)
    elif change == "model":
        model = replace(model, version="0123456789ab")
    else:
        os.utime(parts / "part-4" / "touchpoints.parquet", ns=(1, 1))
    score(model, parts, options)
    assert scored == ([4] if change == "part" else [1, 2, 3, 4])


def test_parts_that_were_cut_for_other_features_are_refused(crm, parts, tmp_path):
    model = crm[2]
    other = replace(model, features=model.features.without({model.features.names[0]}))
    with pytest.raises(ScoringError, match="part-1 was written for a model with other features"):
        score(other, parts, ScoringOptions(tmp_path / "s.csv"))


def test_a_folder_with_something_in_it_is_not_cut_into(crm, tmp_path):
    (tmp_path / "letters.txt").touch()
    with pytest.raises(ScoringError, match="is not empty; name another folder"):
        write_history_parts(crm[2], crm[0], tmp_path, print)


def test_the_commands_cut_and_score(crm, tmp_path, monkeypatch):
    monkeypatch.chdir(crm[1].parent)
    out, scores = str(tmp_path / "parts"), tmp_path / "scores.csv"
    cut = CliRunner().invoke(
        app, ["parts", "--model", "model", "--out", out, "--part-size", "60", "--json", "-"]
    )
    assert cut.exit_code == 0, cut.output
    assert '"parts": 3' in cut.stdout
    run = ["score", "--model", "model", "--parts-dir", out, "--out", str(scores)]
    result = CliRunner().invoke(app, run)
    assert result.exit_code == 0, result.output
    assert scores.is_file()
    assert CliRunner().invoke(app, [*run, "--config", "leadloop.toml"]).exit_code == 2
    (tmp_path / "parts" / "part-1" / "leads.parquet").unlink()
    result = CliRunner().invoke(app, run)
    assert result.exit_code != 0
    assert "1 of 3 parts could not be scored: part 1 of 3" in str(result.exception)


@pytest.mark.slow
def test_any_number_of_processes_scores_folders_alike(crm, parts, tmp_path):
    _, folder, model = crm
    options = [ScoringOptions(tmp_path / f"{count}.parquet", reasons=1) for count in (1, 2)]
    score(model, parts, options[0])
    score(model, parts, options[1], Workers(2, folder))
    assert options[0].out.read_bytes() == options[1].out.read_bytes()


def die_at_three(_, task):
    if task == 3:
        os._exit(9)
    return task


def note_process(folder):
    (folder.parent / f"process-{os.getpid()}").touch()


def find_process(folder, _):
    return (folder.parent / f"process-{os.getpid()}").exists()


@pytest.mark.slow
def test_processes_that_start_before_there_are_tasks_are_prepared(crm):
    pool = WorkerPool(Workers(2, crm[1]), find_process)
    pool.start(note_process)
    assert list(pool.run(range(6))) == [True] * 6


@pytest.mark.slow
def test_a_process_that_dies_takes_only_its_own_part_along(crm):
    results = list(WorkerPool(Workers(2, crm[1]), die_at_three).run(range(6)))
    assert [each for each in results if not isinstance(each, Exception)] == [0, 1, 2, 4, 5]
    assert "want of memory" in str(results[3])
