from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest
from small_export import write

from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from models import artifact
from models.account_chance import AccountDependence
from models.artifact import ArtifactError, load, save
from models.next_offers import NextOffer, NextOffers, OfferHistory
from training.config.settings import TrainingConfig
from training.data.dataset import from_flat_export
from training.pipeline.fit_model import train_model


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    mapping = FlatMapping(id="Id", label="Converted", time="No")
    return train_model(
        from_flat_export(read_flat(write(tmp_path_factory.mktemp("data")), mapping), mapping),
        TrainingConfig(),
    )


@pytest.fixture
def folder(fitted, tmp_path):
    save(fitted.model, tmp_path / "model")
    return tmp_path / "model"


def resealed(folder, name, text):
    """The folder with one file rewritten and its checksum made to fit."""
    (folder / name).write_text(text)
    lines = (folder / artifact.SUMS).read_text().splitlines()
    digest = hashlib.sha256(text.encode()).hexdigest()
    fixed = [f"{digest}  {name}" if line.endswith(f"  {name}") else line for line in lines]
    (folder / artifact.SUMS).write_text("\n".join(fixed) + "\n")


def test_a_loaded_model_scores_to_the_bit_like_the_saved_one(fitted, folder):
    rows = fitted.dataset.rows
    assert load(folder).score_frame(rows).equals(fitted.model.score_frame(rows))
    assert load(folder).card == fitted.model.card


def test_the_version_is_told_by_the_content(fitted, tmp_path):
    first_score, two = save(fitted.model, tmp_path / "a"), save(fitted.model, tmp_path / "b")
    assert first_score.version == two.version == load(tmp_path / "a").version
    assert first_score.version != fitted.model.version


@pytest.mark.parametrize(
    "harm", [lambda content: content + b" ", lambda content: content[: len(content) // 2]]
)
def test_an_altered_or_truncated_file_is_refused_by_name(folder, harm):
    for path in folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(harm(content))
        if path.name != artifact.SUMS:
            with pytest.raises(ArtifactError, match=f"{path.name}: altered or truncated"):
                load(folder)
        path.write_bytes(content)
    load(folder)


def test_a_missing_file_is_refused(folder):
    (folder / "encodings.json").unlink()
    with pytest.raises(ArtifactError, match=r"encodings\.json is missing"):
        load(folder)


def test_a_folder_that_is_no_model_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ArtifactError, match="leadloop train"):
        load(tmp_path)


def test_a_model_of_another_version_is_refused(folder):
    resealed(folder, "format.json", json.dumps({"format": 99}))
    with pytest.raises(ArtifactError, match=r"format 99.*train it again"):
        load(folder)


def test_a_part_of_another_shape_is_refused_although_its_checksum_fits(folder):
    resealed(folder, "features.json", json.dumps([{"name": "x"}]))
    with pytest.raises(ArtifactError, match="train it again"):
        load(folder)


def test_a_path_out_of_the_folder_is_not_followed(folder):
    sums = folder / artifact.SUMS
    sums.write_text(sums.read_text() + f"{'0' * 64}  ../secret\n")
    with pytest.raises(ArtifactError, match="missing"):
        load(folder)


def test_a_full_disk_leaves_the_old_model_as_it_was(fitted, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(_path, _text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifact, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        save(fitted.model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_nothing_in_the_folder_is_a_pickle(folder):
    for path in folder.iterdir():
        path.read_text(encoding="utf-8")


def test_the_checksums_are_those_of_sha256sum(folder):
    for line in (folder / artifact.SUMS).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_one_row_alone_scores_and_explains_like_all_at_once(fitted):
    model, rows = fitted.model, fitted.dataset.rows.head(50)
    scored = model.score_frame(rows)
    base, weights = model.contributions(rows)
    for i, row in enumerate(rows.select(model.features.names).to_dicts()):
        scores = model.explain(row, "a", 1)
        assert scores.score == model.score(row, "a", 1)
        assert scores.score.log_odds == scored["log_odds"][i]
        assert (scores.score.probability, scores.score.points, scores.score.grade) == (
            scored["probability"][i],
            scored["points"][i],
            scored["grade"][i],
        )
        named = dict(zip(model.features.names, weights[i].tolist(), strict=True))
        assert {reason.feature: reason.contribution for reason in scores.reasons} == named
        assert scores.base + sum(named.values()) == pytest.approx(scores.score.log_odds, abs=1e-9)
    assert base == scores.base


def test_scoring_changes_nothing(fitted):
    before = fitted.model.score_frame(fitted.dataset.rows)
    fitted.model.contributions(fitted.dataset.rows.head(5))
    fitted.model.score_frame(fitted.dataset.rows.with_columns(pl.lit("never seen").alias("Source")))
    assert fitted.model.score_frame(fitted.dataset.rows).equals(before)


@pytest.mark.parametrize("name", ["model.lgb", "report.html", "anything", "deeper"])
def test_a_link_in_a_model_folder_is_refused_wherever_it_leads(folder, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_bytes((folder / name).read_bytes() if (folder / name).is_file() else b"other")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path if name == "deeper" else secret)
    with pytest.raises(ArtifactError, match=f"{name}: a link"):
        load(folder)


def test_a_pipe_in_a_model_folder_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(ArtifactError, match="pipe"):
        load(folder)


def test_one_changed_line_of_the_trees_is_refused_although_every_checksum_fits(folder):
    trees = (folder / "model.lgb").read_text()
    resealed(folder, "model.lgb", re.sub(r"num_leaves=\d+", "num_leaves=99", trees, count=1))
    with pytest.raises(ArtifactError, match=r"model\.lgb: LightGBM cannot read these trees .*train it again"):
        load(folder)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00  a\n", b"x  model.lgb\n"])
def test_checksums_that_are_none_are_refused(folder, content):
    (folder / artifact.SUMS).write_bytes(content)
    with pytest.raises(ArtifactError):
        load(folder)


def test_what_was_counted_of_accounts_and_offers_is_read_back(fitted, tmp_path):
    offers = NextOffers(60.0, {"": OfferHistory(30, (NextOffer("guide", None, 20, 15, 3, 0.2, 0.07, 0.45),))})
    counted = replace(
        fitted.model, account_dependence=AccountDependence(0.2, 0.1, 0.3, 60, 90), next_offers=offers
    )
    save(counted, tmp_path / "counted")
    loaded = load(tmp_path / "counted")
    assert (loaded.account_dependence, loaded.next_offers) == (counted.account_dependence, offers)
    save(fitted.model, tmp_path / "plain")
    assert load(tmp_path / "plain").account_dependence is None
    assert not {"accounts.json", "offers.json"} & {path.name for path in (tmp_path / "plain").iterdir()}


def test_reading_a_card_waits_for_no_library_of_trees():
    code = "import sys, models.artifact; print(*sys.modules.keys() & {'lightgbm', 'pandas', 'sklearn'})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []
