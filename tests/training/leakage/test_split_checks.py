"""Checks of where rows come from: stages in disguise, companions on both sides, what no day could know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from small_export import leads, write

from features.clock import DAY
from features.cohort import CohortRule
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from features.labels import LabelSpec
from training.data.dataset import from_flat_export, from_history
from training.leakage.checks import run_checks
from training.leakage.lead_sample import age_strata
from training.simulation.simulator import simulate

CLOSED = ("sql", "disqualified")
RULE = CohortRule(on=("mql",), every=30 * DAY, closed=CLOSED, until_age=60 * DAY)


@pytest.fixture(scope="module")
def dated():
    return from_history(simulate(1500, 4).history, RULE, LabelSpec("sql", 60 * DAY))


def check(dataset, code):
    return next(each for each in run_checks(dataset) if each.code == code)


def flat(tmp_path, frame, mapping=None):
    mapping = mapping or FlatMapping(id="Id", label="Converted", time="No")
    return from_flat_export(read_flat(write(tmp_path, frame), mapping), mapping)


def test_a_stage_under_another_name_is_named(tmp_path):
    frame = leads(2000)
    rng = np.random.default_rng(1)
    notes = np.where(frame["Converted"] == "Yes", "Closed won", "in talks").astype(object)
    notes[rng.random(2000) < 0.6] = "new"
    result = check(flat(tmp_path, frame.with_columns(pl.Series("Note", notes.tolist()))), "LC009")
    assert [(f.column, f.severity) for f in result.findings] == [("Note", "high")]
    assert "'Closed won'" in result.findings[0].message


@pytest.mark.parametrize(("rare", "reported"), [(10, True), (60, False)])
def test_a_value_that_converted_leads_alone_have_is_named_in_any_language(tmp_path, rare, reported):
    won, every = pl.col("Converted") == "Yes", pl.col("No") % rare == 0
    word = pl.when(won & every).then(pl.lit("Angebot")).otherwise(pl.lit("in Arbeit"))
    result = check(flat(tmp_path, leads(600).with_columns(word.alias("Stand"))), "LC009")
    assert [f.column for f in result.findings] == (["Stand"] if reported else [])
    assert {f.severity for f in result.findings} <= {"medium"}


def test_a_value_with_one_lead_that_did_not_convert_is_no_alarm(tmp_path):
    won, every = pl.col("Converted") == "Yes", pl.col("No") % 10 == 0
    first = pl.col("No") == leads(600).filter(pl.col("Converted") == "No")["No"][0]
    word = pl.when((won & every) | first).then(pl.lit("Angebot")).otherwise(pl.lit("in Arbeit"))
    assert check(flat(tmp_path, leads(600).with_columns(word.alias("Stand"))), "LC009").outcome == "clean"


def test_where_hardly_anybody_converts_the_result_of_an_earlier_campaign_is_no_stage(tmp_path):
    """Of every group fewer than 5 % convert; these convert more often than the others."""
    random = np.random.default_rng(0)
    frame = leads(9_000)
    before = random.choice(["unknown", "failure", "success"], 9_000, p=[0.82, 0.12, 0.06])
    won = random.random(9_000) < np.where(before == "success", 0.06, 0.013)
    ordinary = frame.with_columns(Converted=pl.Series(np.where(won, "Yes", "No")), poutcome=pl.Series(before))
    assert check(flat(tmp_path, ordinary), "LC009").outcome == "clean"
    stage = np.where(won, "open", random.choice(["open", "failure"], 9_000, p=[0.4, 0.6]))
    disguised = ordinary.with_columns(poutcome=pl.Series(stage))
    assert [f.column for f in check(flat(tmp_path, disguised), "LC009").findings] == ["poutcome"]


def test_words_of_success_that_do_not_settle_the_outcome_are_no_stage(tmp_path):
    result = check(
        flat(tmp_path, leads(2000).with_columns(pl.col("Source").replace("Ads", "Customer"))), "LC009"
    )
    assert result.outcome == "clean"


def test_the_companys_own_word_for_a_stage_is_known(dated):
    status = np.where(dated.label == 1, "sql", "x")
    spec = next(s for s in dated.features.specs if s.is_category)
    disguised = replace(dated, rows=dated.rows.with_columns(pl.Series(spec.name, status)))
    assert [f.column for f in check(disguised, "LC009").findings] == [spec.name]


def test_companions_on_both_sides_are_counted_behind_the_gap(dated):
    start = np.quantile(dated.order, 0.8, method="higher")
    taught = set(dated.accounts[dated.order < start - dated.gap])
    share = np.mean([account in taught for account in dated.accounts[dated.order >= start]])
    result = check(dated, "LC010")
    assert result.findings[0].message.startswith(f"{share:.0%} of the held-out rows belong to accounts")
    assert {f.severity for f in result.findings} == {"info"}


def test_rows_that_share_neither_lead_nor_account_cannot_be_on_both_sides(tmp_path):
    result = check(flat(tmp_path, leads()), "LC010")
    assert result.outcome == "not applicable"
    assert result.reason.startswith("no two rows share a lead or an account")


def test_where_nobody_knows_the_order_companions_are_a_warning(dated):
    (finding, *_) = check(replace(dated, order=None, gap=0), "LC010").findings
    assert finding.severity == "medium"


def test_a_feature_that_knows_the_future_is_named(dated):
    assert check(dated, "LC011").outcome == "clean"
    late = dated.rows.with_columns(pl.col("touch.count") + 1)
    result = check(replace(dated, rows=late), "LC011")
    assert [(f.column, f.severity) for f in result.findings] == [("touch.count", "high")]


def test_events_known_before_they_happened_are_told(dated):
    early = dated.history.touchpoints.with_columns(known_at=pl.col("occurred_at") - 3600)
    (finding,) = check(replace(dated, history=replace(dated.history, touchpoints=early)), "LC011").findings
    assert finding.message.startswith("100.0% of the touchpoints")


def test_a_flat_export_says_of_no_value_when_it_was_written(tmp_path):
    assert check(flat(tmp_path, leads()), "LC011").outcome == "not applicable"


def test_outcomes_that_reach_the_crm_late_are_noticed(dated):
    newest = dated.order >= np.quantile(dated.order, 0.8)
    late = replace(dated, label=np.where(newest, 0, dated.label).astype(np.int8))
    assert "[label] settle" in check(late, "LC008").findings[0].message
    assert check(dated, "LC008").outcome == "clean"


def test_a_few_outcomes_less_are_chance(tmp_path):
    frame = leads(100).with_columns(
        Converted=pl.when(pl.col("No").is_in([3, 9, 25, 31, 44, 51, 66, 75]))
        .then(pl.lit("Yes"))
        .otherwise(pl.lit("No"))
    )
    assert check(flat(tmp_path, frame), "LC008").outcome == "clean"


def test_checks_run_where_no_row_is_old_enough_to_learn_from(dated):
    """A log of few weeks: a label's gap before the newest rows there is none."""
    young = replace(dated, gap=10**9)
    assert {each.code: each.outcome for each in run_checks(young)}["LC010"] == "clean"


def test_rows_without_a_history_are_compared_within_ages_too(dated):
    """Rows of a log have no history, and leads that convert are young there as well."""
    logged = replace(dated, history=None)
    assert (age_strata(logged) == age_strata(dated)).all()
    assert len(np.unique(age_strata(logged))) > 5
    assert check(logged, "LC001").findings == check(dated, "LC001").findings
