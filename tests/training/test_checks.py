from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from company import leads, write

from features.mapping import FlatMapping
from features.sources import read_flat
from models.metrics import roc_auc
from training.checks import checks, findings, single_auc
from training.dataset import of_export

MAPPING = FlatMapping(id="Id", label="Converted", time="No")


def found(tmp_path, frame, mapping=MAPPING):
    made = checks(of_export(read_flat(write(tmp_path, frame), mapping), mapping))
    return {check.code: check for check in made}


def test_honest_columns_raise_no_alarm(tmp_path):
    made = found(tmp_path, leads(3000))
    assert {code for code, check in made.items() if check.outcome == "triggered"} == set()


def test_a_column_that_repeats_the_outcome_is_named(tmp_path):
    frame = leads(2000)
    rng = np.random.default_rng(1)
    call = pl.Series("Last call", np.where(rng.random(2000) < 0.95, frame["Converted"], "open"))
    (finding,) = found(tmp_path, frame.with_columns(call))["LC001"].findings
    assert (finding.column, finding.severity) == ("Last call", "high")


def test_a_column_filled_after_the_outcome_is_named(tmp_path):
    frame = leads(2000)
    note = pl.when(pl.col("Converted") == "Yes").then(pl.lit("n") + (pl.col("No") % 7).cast(pl.String))
    check = found(tmp_path, frame.with_columns(note.alias("Sales note")))["LC002"]
    assert [(f.column, f.severity) for f in check.findings] == [("Sales note", "high")]


def test_too_few_outcomes_are_no_evidence_of_anything(tmp_path):
    frame = leads(100).with_columns(
        Converted=pl.when(pl.col("No") < 5).then(pl.lit("Yes")).otherwise(pl.lit("No"))
    )
    check = found(tmp_path, frame)["LC001"]
    assert check.outcome == "not applicable"
    assert "only 5 rows" in check.reason


def test_rows_without_time_are_said_to_prove_nothing(tmp_path):
    mapping = FlatMapping(id="Id", label="Converted")
    assert found(tmp_path, leads(), mapping)["LC004"].outcome == "triggered"
    assert found(tmp_path, leads())["LC004"].outcome == "clean"


def test_the_gravest_finding_comes_first(tmp_path):
    frame = leads(2000)
    frame = frame.with_columns(pl.lit("x").alias("Same"), frame["Converted"].alias("Copy"))
    mapping = FlatMapping(id="Id", label="Converted", time="No", roles={"Same": "category"})
    ordered = [f.severity for f in findings(tuple(found(tmp_path, frame, mapping).values()))]
    assert ordered == sorted(ordered, key=["high", "medium", "info"].index)
    assert set(ordered) == {"high", "info"}


def test_a_column_of_noise_has_an_auc_of_one_half():
    rng = np.random.default_rng(0)
    label = (rng.random(20_000) < 0.2).astype(np.int8)
    words = pl.Series(rng.choice(["a", "b", "c"], 20_000).tolist()).replace({"c": None})
    assert single_auc(words, label) == pytest.approx(0.5, abs=0.02)
    assert single_auc(pl.Series(rng.normal(size=20_000)), label) == pytest.approx(0.5, abs=0.02)


def test_the_auc_of_a_number_finds_any_shape():
    rng = np.random.default_rng(0)
    value = rng.normal(size=20_000)
    label = (np.abs(value) > 1).astype(np.int8)
    assert roc_auc(label, value) == pytest.approx(0.5, abs=0.02)
    assert single_auc(pl.Series(value), label) > 0.9
