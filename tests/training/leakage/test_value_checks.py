"""Values, and pairs of values, that settle the outcome; the information of pairs against scikit-learn's."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mutual_info_score
from small_export import leads, write

from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from training.data.dataset import from_flat_export
from training.leakage.checks import run_checks
from training.leakage.value_checks import pairwise_mutual_information

MAPPING = FlatMapping(id="Id", label="Converted", time="No")


def named(tmp_path, frame, code):
    checks = run_checks(from_flat_export(read_flat(write(tmp_path, frame), MAPPING), MAPPING))
    (check,) = [check for check in checks if check.code == code]
    return {finding.column: finding.message for finding in check.findings}


def with_word(frame, of_won, of_others, seed=0):
    """A column that says ``x`` of such shares of the converted leads and the others, else ``y`` or ``z``."""
    won = frame["Converted"].to_numpy() == "Yes"
    random = np.random.default_rng(seed)
    says = random.random(len(won)) < np.where(won, of_won, of_others)
    return frame.with_columns(Word=pl.Series(np.where(says, "x", random.choice(["y", "z"], len(won)))))


def test_a_value_that_multiplies_the_odds_is_named_though_few_have_it(tmp_path):
    findings = named(tmp_path, with_word(leads(3000), of_won=0.25, of_others=0.002), "LC015")
    assert list(findings) == ["Word"]
    assert "leads with 'x'" in findings["Word"]


def test_a_value_that_rules_out_most_of_the_others_is_named(tmp_path):
    assert list(named(tmp_path, with_word(leads(3000), of_won=0.004, of_others=0.6), "LC015")) == ["Word"]


@pytest.mark.parametrize(
    ("of_won", "of_others"),
    [(0.4, 0.03), (0.004, 0.15), (0.05, 0.003), (0.002, 0.0)],
    ids=["strong, but honest", "leads that never could convert", "strong, but rare", "too few to tell"],
)
def test_what_is_strong_or_rare_is_no_leak(tmp_path, of_won, of_others):
    assert not named(tmp_path, with_word(leads(3000), of_won, of_others), "LC015")


@pytest.mark.parametrize("filled", [22, 72])
def test_a_value_that_few_have_and_all_of_them_converted_is_named(tmp_path, filled):
    frame = leads(3000)
    won = frame["Converted"].to_numpy() == "Yes"
    bought = np.isin(np.arange(3000), np.flatnonzero(won)[:filled])
    spend = np.where(bought, 10 + np.arange(3000) % 90, 0)
    findings = named(tmp_path, frame.with_columns(Bought=pl.Series(bought.astype(int)), Spend=spend), "LC015")
    assert set(findings) == {"Bought", "Spend"}
    assert f"of the {filled} leads with" in findings["Bought"]


def test_two_numbers_whose_difference_is_the_outcome_are_both_named(tmp_path):
    frame, random = leads(2000), np.random.default_rng(3)
    begin = random.integers(540, 1020, 2000)
    length = np.exp(random.normal(np.where(frame["Converted"].to_numpy() == "Yes", 3.2, 1.4), 0.7))
    call = frame.with_columns(CallStart=pl.Series(begin), CallEnd=pl.Series((begin + length).round(1)))
    findings = named(tmp_path, call, "LC016")
    assert set(findings) == {"CallStart", "CallEnd"}
    assert "difference to 'CallEnd'" in findings["CallStart"]


def test_times_of_day_as_text_whose_difference_is_the_outcome_are_named(tmp_path):
    frame, random = leads(2000), np.random.default_rng(3)
    begin = random.integers(540 * 60, 1020 * 60, 2000)
    length = 60 * np.exp(random.normal(np.where(frame["Converted"].to_numpy() == "Yes", 3.2, 1.4), 0.7))
    clocks = [
        pl.Series(each.astype("datetime64[s]").astype("datetime64[ms]")).dt.strftime("%H:%M:%S")
        for each in (begin, begin + length)
    ]
    call = frame.with_columns(CallStart=clocks[0], CallEnd=clocks[1])
    checks = run_checks(from_flat_export(read_flat(write(tmp_path, call), MAPPING), MAPPING))
    accused = {finding.column for check in checks for finding in check.findings}
    assert "CallStart to CallEnd" in accused


@pytest.mark.parametrize(("later", "reported"), [(2.0, True), (0.0, False)])
def test_a_total_that_goes_on_counting_after_the_row_is_named(tmp_path, later, reported):
    frame, random = leads(4000), np.random.default_rng(3)
    count = random.poisson(15, 4000)
    after = random.poisson(5 + later * (frame["Converted"].to_numpy() == "Yes"))
    touches = frame.with_columns(touches=pl.Series(count), total_touches=pl.Series(count + after))
    assert list(named(tmp_path, touches, "LC016")) == (["total_touches"] if reported else [])


def test_two_columns_that_are_the_outcome_only_together_are_both_named(tmp_path):
    frame, random = leads(2000), np.random.default_rng(3)
    a = random.random(2000) < 0.5
    b = np.where(random.random(2000) < 0.95, a ^ (frame["Converted"].to_numpy() == "Yes"), a)
    pair = frame.with_columns(A=pl.Series(a.astype(int)), B=pl.Series(b.astype(int)))
    findings = named(tmp_path, pair, "LC016")
    assert set(findings) == {"A", "B"}
    assert "with 'B'" in findings["A"]
    assert not named(tmp_path, pair, "LC001").keys() & {"A", "B"}


def test_one_column_that_is_the_outcome_makes_no_pair_of_the_others(tmp_path):
    frame = leads(2000)
    assert not named(tmp_path, frame.with_columns(Copy=frame["Converted"]), "LC016")


def test_what_pairs_know_is_scikit_learns_mutual_information():
    random = np.random.default_rng(5)
    columns = [random.integers(0, levels, 4000) for levels in (2, 5, 8)]
    won = random.random(4000) < np.where(columns[0] ^ (columns[1] > 2), 0.5, 0.1)
    known = pairwise_mutual_information(columns, won)
    everything = mutual_info_score(won, won)
    for j, k in ((0, 1), (1, 2), (2, 0), (1, 1)):
        both = columns[j] * 8 + columns[k]
        chance = (len(np.unique(both)) - 1) / (2 * len(won))
        assert known[j, k] == pytest.approx((mutual_info_score(both, won) - chance) / everything, abs=1e-9)


def test_what_pairs_of_noise_know_is_nothing():
    random = np.random.default_rng(6)
    won = random.random(500) < 0.2
    shares = [
        pairwise_mutual_information([random.integers(0, 8, 500) for _ in range(6)], won) for _ in range(40)
    ]
    assert np.mean(shares) == pytest.approx(0, abs=0.02)
