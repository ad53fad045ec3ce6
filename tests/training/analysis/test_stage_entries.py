"""Roads: what the CRM knew when, in the order of the funnel."""

from __future__ import annotations

import numpy as np
import pytest
from small_crm import day, history

from features.clock import DAY
from features.cohort import Snapshots
from features.labels import LabelSpec, compute_labels
from training.analysis.stage_entries import CREATED, NEVER, stage_entries
from training.simulation.simulator import simulate

STAGES = ("mql", "sal", "sql", "disqualified")
SPEC = LabelSpec("sql", 60 * DAY)


def entered(entries, stage):
    return entries.entered[:, entries.stages.index(stage)].tolist()


def test_the_clock_is_when_the_crm_knew():
    entries = stage_entries(history({"a": 0}, [("a", "mql", 3, 5)]), STAGES, SPEC)
    assert entered(entries, "mql") == [day(5)]


def test_what_is_not_known_yet_did_not_happen():
    entries = stage_entries(history({"a": 0, "b": 11}, [("a", "sql", 3, 10)], until=10), STAGES, SPEC)
    assert entries.lead_id.to_list() == ["a"]
    assert not entries.won.any()
    assert entries.resolved_at.tolist() == [day(10)]


def test_the_first_entry_counts():
    entries = stage_entries(history({"a": 0}, [("a", "mql", 9), ("a", "mql", 4)]), STAGES, SPEC)
    assert entered(entries, "mql") == [day(4)]


def test_going_back_is_no_step():
    moves = [("a", "sql", 3), ("a", "mql", 5), ("b", "mql", 3), ("b", "sql", 3)]
    entries = stage_entries(history({"a": 0, "b": 0}, moves), STAGES, SPEC)
    assert entered(entries, "mql") == [NEVER, day(3)]
    assert entered(entries, "sql") == [day(3), day(3)]


def test_a_closed_lead_enters_nothing():
    moves = [("a", "disqualified", 2), ("a", "sql", 3), ("b", "disqualified", 3), ("b", "sql", 3)]
    entries = stage_entries(history({"a": 0, "b": 0}, moves), STAGES, SPEC)
    assert entries.won.tolist() == [False, True]
    assert entries.lost.tolist() == [True, False]
    assert entries.observed_duration.tolist() == [2 * DAY, 3 * DAY]


def test_an_entry_before_the_creation_counts_from_it():
    entries = stage_entries(history({"a": 5}, [("a", "sql", 1)]), STAGES, SPEC)
    assert entries.observed_duration.tolist() == [0]
    assert entries.won.all()


def test_a_stage_that_leads_are_created_in_is_the_creation():
    leads = {"a": 0, "b": 1, "c": 2}
    moves = [("a", "lead", 0), ("b", "lead", 1), ("a", "mql", 4)]
    assert stage_entries(history(leads, moves), ("lead", *STAGES), SPEC).stages == (
        "lead",
        "mql",
        "sal",
        "sql",
    )
    assert stage_entries(history(leads, moves), STAGES, SPEC).stages == (CREATED, "mql", "sal", "sql")


@pytest.mark.parametrize("horizon", [30, 90])
def test_who_is_won_in_time_is_what_the_label_says(horizon):
    crm = simulate(3000, seed=4)
    spec = LabelSpec("sql", horizon * DAY)
    entries = stage_entries(crm.history, ("lead", *STAGES), spec)
    at_creation = Snapshots(crm.history.leads.select("lead_id", as_of="created_at"))
    known = compute_labels(crm.history, at_creation, spec)
    in_time = entries.won & (entries.observed_duration < spec.horizon)
    matured = known["matured"].to_numpy()
    assert np.array_equal(in_time[matured], known["label"].to_numpy()[matured] == 1)
    assert 0 < matured.sum() < len(matured)
