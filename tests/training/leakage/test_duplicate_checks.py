"""The same person on both sides of a split, and leads that stand there twice."""

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
from training.leakage.duplicate_checks import count_duplicates
from training.simulation.simulator import simulate

ROWS = 1000


def flat(tmp_path, frame, **columns):
    mapping = FlatMapping(id="Id", label="Converted", **({"time": "No"} | columns))
    return from_flat_export(read_flat(write(tmp_path, frame), mapping), mapping)


def check(dataset, code):
    return next(each for each in run_checks(dataset) if each.code == code)


def mails(frame, persons):
    """The frame with an e-mail address of so many persons, in turn."""
    return frame.with_columns(Mail="p" + (pl.col("No") % persons).cast(pl.String) + "@firm.example")


def test_a_person_on_both_sides_is_counted_by_the_column_that_tells(tmp_path):
    # Leads 900 to 999 have the addresses of the first hundred; 800 and later judge.
    (finding,) = check(flat(tmp_path, mails(leads(ROWS), 900)), "LC010").findings
    assert (finding.column, finding.severity) == ("Mail", "info")
    assert finding.message.startswith(
        "50% of the held-out rows belong to leads whose Mail occurs in training too"
    )


def test_without_an_order_every_companion_counts_and_it_is_a_warning(tmp_path):
    result = check(flat(tmp_path, mails(leads(ROWS), 900).drop("No"), time=None), "LC010")
    (finding,) = result.findings
    assert finding.severity == "medium"
    assert finding.message.startswith("20% of the held-out rows")


def test_persons_who_stand_there_once_are_clean(tmp_path):
    result = check(flat(tmp_path, mails(leads(ROWS), ROWS)), "LC010")
    assert result.outcome == "clean"


def test_a_few_persons_who_came_back_are_no_alarm(tmp_path):
    assert check(flat(tmp_path, mails(leads(ROWS), 995)), "LC010").outcome == "clean"


def test_without_a_column_that_points_at_a_person_nothing_can_be_said(tmp_path):
    result = check(flat(tmp_path, leads(ROWS)), "LC010")
    assert result.outcome == "not applicable"
    assert "no column identifies a person" in result.reason


def test_the_snapshots_of_one_lead_are_not_the_same_person_met_again():
    rule = CohortRule(on=("mql",), every=30 * DAY, closed=("sql", "disqualified"), until_age=60 * DAY)
    data = from_history(simulate(800, 4).history, rule, LabelSpec("sql", 60 * DAY))
    ids = data.rows["lead_id"].unique(maintain_order=True)
    own = pl.DataFrame({"lead_id": ids, "Mail": range(len(ids))})
    assert "Mail" not in {f.column for f in check(replace(data, persons=own), "LC010").findings}
    paired = own.with_columns(Mail=pl.col("Mail") % (len(ids) // 2))
    assert "Mail" in {f.column for f in check(replace(data, persons=paired), "LC010").findings}


def wide(rows, seed=0):
    rng = np.random.default_rng(seed)
    more = [pl.Series(f"Answer {n}", rng.choice(["a", "b", "c"], rows).tolist()) for n in range(4)]
    return leads(rows, seed).with_columns(*more, Minutes=pl.Series(rng.gamma(2, 20, rows).round(1)))


def test_rows_that_a_join_multiplied_are_noticed(tmp_path):
    frame = wide(600)
    again = frame.head(60).with_columns(pl.col("Id") + "b", No=pl.col("No") + 600)
    result = check(flat(tmp_path, pl.concat([frame, again])), "LC014")
    (finding,) = result.findings
    assert finding.severity == "medium"
    assert finding.message.startswith("120 of 660 leads equal another lead in all 9 columns")
    assert check(flat(tmp_path, frame), "LC014").outcome == "clean"


@pytest.mark.parametrize("levels", [2, 3, 6])
@pytest.mark.parametrize("columns", [5, 8])
def test_leads_alike_by_chance_in_coarse_columns_are_no_alarm(tmp_path, levels, columns):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        words = rng.integers(0, levels, (ROWS, columns))
        answers = [pl.Series(f"q{n}", [f"w{v}" for v in words[:, n]]) for n in range(columns)]
        frame = leads(ROWS, seed).select("Id", "No", "Converted").with_columns(answers)
        assert check(flat(tmp_path, frame), "LC014").outcome == "clean"


def test_of_very_few_columns_nothing_follows(tmp_path):
    assert check(flat(tmp_path, leads(ROWS).drop("Noise")), "LC014").outcome == "not applicable"


def test_twins_and_near_misses_are_those_that_a_comparison_of_all_pairs_finds():
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 3, (120, 4))
    apart = (rows[:, None, :] != rows[None, :, :]).sum(axis=2)
    frame = pl.DataFrame({f"c{n}": [None if v == 0 else f"{v}" for v in rows[:, n]] for n in range(4)})
    twins, misses = count_duplicates(frame)
    assert twins.tolist() == ((apart == 0).sum(axis=1) - 1).tolist()
    assert misses.tolist() == (apart == 1).sum(axis=1).tolist()
