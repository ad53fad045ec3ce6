"""Rows to score are held against the rows that taught: what was never seen, and what tells them apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_export import leads, write

from features.clock import DAY
from features.cohort import CohortRule
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping, TableMapping
from features.labels import LabelSpec
from features.messages import Message
from training.config.settings import CohortConfig, Config, FlatConfig, FunnelConfig, LabelConfig
from training.config.toml_reader import ConfigError, Duration
from training.data.dataset import from_flat_export, from_history
from training.data.rows_to_score import rows_to_score
from training.leakage.checks import run_checks
from training.simulation.simulator import simulate

MAPPING = FlatMapping(id="Id", label="Converted", time="No")
HERE = Path("leads.csv")
STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")


def compared(tmp_path, frame, rows=2000):
    """The findings on a file to score, beside a company's usual leads."""
    dataset = from_flat_export(read_flat(write(tmp_path, leads(rows)), MAPPING), MAPPING)
    ahead = rows_to_score(
        dataset, Config(flat=FlatConfig(HERE, "Converted")), write(tmp_path, frame, "new.csv")
    )
    return {check.code: check for check in run_checks(dataset, ahead)}


def test_leads_like_the_others_raise_no_alarm(tmp_path):
    checks = compared(tmp_path, leads(2000, seed=7))
    assert (checks["LC012"].outcome, checks["LC013"].outcome) == ("clean", "clean")


def test_words_that_training_never_saw_are_named(tmp_path):
    checks = compared(tmp_path, leads(500, seed=7).with_columns(pl.col("Source").replace("Ads", "TikTok")))
    (finding,) = checks["LC012"].findings
    assert (finding.column, finding.severity) == ("Source", "medium")
    assert "'TikTok'" in finding.message
    # It has been told; what else there is does not differ.
    assert checks["LC013"].outcome == "clean"


def test_a_rare_new_word_is_no_finding(tmp_path):
    frame = leads(500, seed=7)
    frame = frame.with_columns(
        pl.when(pl.int_range(pl.len()) < 10).then(pl.lit("TikTok")).otherwise("Source").alias("Source")
    )
    assert compared(tmp_path, frame)["LC012"].outcome == "clean"


def test_numbers_beyond_all_that_training_saw_are_named(tmp_path):
    checks = compared(tmp_path, leads(500, seed=7).with_columns(pl.col("Visits") * 60))
    (finding,) = checks["LC012"].findings
    assert finding.column == "Visits"
    assert "the range of the training" in finding.message


def test_a_column_that_is_no_longer_filled_is_named(tmp_path):
    checks = compared(tmp_path, leads(500, seed=7).with_columns(Newsletter=pl.lit(None, pl.String)))
    (finding,) = checks["LC012"].findings
    assert finding.column == "Newsletter"
    assert "100% of the training rows and 0% of the rows to score" in finding.message


def test_rows_of_another_kind_are_told_apart_and_by_what(tmp_path):
    mostly = pl.when(pl.int_range(pl.len()) % 8 > 0).then(pl.lit("Referral")).otherwise("Source")
    (finding,) = compared(tmp_path, leads(2000, seed=7).with_columns(mostly.alias("Source")))[
        "LC013"
    ].findings
    assert "mainly by Source (alone 0." in finding.message


def test_a_handful_of_leads_cannot_be_told_apart(tmp_path):
    check = compared(tmp_path, leads(12, seed=7))["LC013"]
    assert (check.outcome, check.reason) == ("not applicable", "only 12 leads are on one side; 20 are needed")


def test_without_rows_to_score_there_is_nothing_to_compare_with(tmp_path):
    dataset = from_flat_export(read_flat(write(tmp_path, leads()), MAPPING), MAPPING)
    checks = {check.code: check for check in run_checks(dataset)}
    assert checks["LC012"].reason == checks["LC013"].reason == Message("not_applicable.nothing_ahead")
    assert rows_to_score(dataset, Config(flat=FlatConfig(HERE, "Converted")), None) is None


@pytest.fixture(scope="module")
def crm():
    """A history, and its configuration as far as it says which leads are open."""
    config = Config(
        leads=TableMapping(HERE),
        transitions=(TableMapping(HERE),),
        funnel=FunnelConfig(STAGES, "sql", ("disqualified",)),
        label=LabelConfig(Duration(60 * DAY)),
        cohort=CohortConfig(("created", "mql"), Duration(30 * DAY), Duration(60 * DAY)),
    )
    return from_history(simulate(2000, 5).history, config.cohort_rule, config.label_spec), config


def test_open_leads_older_than_any_that_taught_are_told_once(crm):
    dataset, config = crm
    ahead = rows_to_score(dataset, config, None)
    older = (ahead["lead.age"] > dataset.rows["lead.age"].max()).mean()
    checks = {check.code: check for check in run_checks(dataset, ahead)}
    (age,) = [f for f in checks["LC012"].findings if f.column == "lead.age"]
    assert age.message.startswith(f"{older:.0%} of the rows to score have another age")
    assert {f.column for f in checks["LC012"].findings} <= {
        "lead.age",
        # Campaigns of a quarter are new every quarter.
        "touch.campaign.earliest",
        "touch.campaign.latest",
    }
    assert checks["LC013"].outcome == "clean"


def test_snapshots_at_creation_alone_are_not_said_to_have_a_range_of_ages(crm):
    _, config = crm
    config = replace(config, cohort=CohortConfig(("created",), None, None))
    dataset = from_history(simulate(2000, 5).history, config.cohort_rule, config.label_spec)
    checks = run_checks(dataset, rows_to_score(dataset, config, None))
    (message,) = [
        finding.message
        for check in checks
        if check.code == "LC012"
        for finding in check.findings
        if finding.column == "lead.age"
    ]
    assert message.key == "findings.older_than_created"
    assert "moment of creation" in message


def test_a_history_has_its_rows_to_score_itself(crm):
    with pytest.raises(ConfigError, match="the open leads of a history"):
        rows_to_score(*crm, HERE)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_random_halves_of_a_simulated_crm_are_alike(seed):
    rule = CohortRule(on=("mql",), closed=("sql", "disqualified"))
    dataset = from_history(simulate(3000, seed).history, rule, LabelSpec("sql", 60 * DAY))
    mixed = np.random.default_rng(seed).permutation(len(dataset))
    to_learn, to_score = np.sort(mixed[::2]), np.sort(mixed[1::2])
    half = replace(
        dataset,
        rows=dataset.rows[to_learn],
        label=dataset.label[to_learn],
        order=dataset.order[to_learn],
        settled_at=dataset.settled_at[to_learn],
        accounts=dataset.accounts[to_learn],
    )
    outcomes = {check.code: check.outcome for check in run_checks(half, dataset.rows[to_score])}
    assert (outcomes["LC012"], outcomes["LC013"]) == ("clean", "clean")
