"""LC017: activities that move to another id when a lead converts are named, true signals are not."""

from __future__ import annotations

from dataclasses import replace

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
from training.leakage.event_checks import events_move_with_outcome
from training.simulation.simulator import simulate

RULE = CohortRule(on=("mql",), every=30 * DAY, closed=("sql", "disqualified"), until_age=60 * DAY)
LABEL = LabelSpec("sql", 60 * DAY)


@pytest.fixture(scope="module")
def history():
    return simulate(1500, 4).history


def check(dataset):
    return next(each for each in run_checks(dataset) if each.code == "LC017")


def converted(history):
    return history.transitions.filter(pl.col("stage") == "sql")["lead_id"].unique().implode()


def test_signals_of_the_simulator_are_no_alarm(history):
    assert check(from_history(history, RULE, LABEL)).outcome == "clean"


def test_activities_that_leave_with_the_outcome_are_named(history):
    kind = history.touchpoints["kind"].mode()[0]
    moved = (pl.col("kind") == kind) & pl.col("lead_id").is_in(converted(history))
    left = replace(history, touchpoints=history.touchpoints.filter(~moved))
    findings = check(from_history(left, RULE, LABEL)).findings
    assert [finding.severity for finding in findings] == ["medium"]
    assert f"'{kind}'" in str(findings[0].message)
    assert "also" in str(findings[0].message)


def conversions(history):
    entered = history.transitions.filter(pl.col("stage") == "sql")
    return entered.group_by("lead_id", maintain_order=True).agg(pl.col("occurred_at").min())


def without(history, kind, lost):
    """The history without the rows of a kind for which ``lost`` holds, which may name ``converted``."""
    rows = history.touchpoints.join(
        conversions(history).rename({"occurred_at": "converted"}),
        on="lead_id",
        how="left",
        maintain_order="left",
    )
    gone = (pl.col("kind") == kind) & lost.fill_null(value=False)
    return replace(history, touchpoints=rows.filter(~gone).drop("converted"))


def moves(history):
    return [str(message) for _, _, message in events_move_with_outcome(from_history(history, RULE, LABEL))]


def test_activities_that_leave_since_a_day_are_named(history):
    day = conversions(history)["occurred_at"].median()
    found = moves(without(history, "visit", pl.col("converted") > day))
    assert ["'visit'" in message and "since" in message for message in found] == [True]


def test_activities_of_half_of_the_leads_that_leave_are_named(history):
    """A visit is no sign of intent in the simulator; half of the converted leads lose theirs."""
    some = pl.col("converted").is_not_null() & (pl.col("lead_id").hash(3) % 2 == 0)
    later = pl.col("occurred_at") >= pl.col("converted")  # what moves once goes to the other id from then on
    assert ["'visit'" in message for message in moves(without(history, "visit", some | later))] == [True]


@pytest.mark.parametrize("kind", ["visit", "email_click"])
def test_a_kind_that_ends_with_the_conversion_is_no_alarm(history, kind):
    assert moves(without(history, kind, pl.col("occurred_at") >= pl.col("converted"))) == []


@pytest.mark.parametrize(
    ("leads", "others", "severities"),
    [(300, 0, ["high"]), (220, 0, ["high"]), (20, 0, ["medium"]), (300, 3, ["high"]), (300, 40, [])],
)
def test_activities_that_come_with_the_outcome_are_named_as_sure_as_it_is(history, leads, others, severities):
    entered = history.transitions.filter(pl.col("stage") == "sql").select(
        "lead_id", "occurred_at", "known_at"
    )
    never = history.leads.join(entered, on="lead_id", how="anti").head(others)
    contracts = pl.concat(
        [
            entered.head(leads).with_columns(pl.col("occurred_at", "known_at") - DAY),
            never.select("lead_id", occurred_at=pl.col("created_at") + 1, known_at=pl.col("created_at") + 1),
        ]
    ).with_columns(kind=pl.lit("contract"))
    more = pl.concat([history.touchpoints, contracts], how="diagonal")
    findings = check(from_history(replace(history, touchpoints=more), RULE, LABEL)).findings
    assert [finding.severity for finding in findings] == severities
    assert all("'contract'" in str(finding.message) for finding in findings)


def test_a_flat_export_has_no_events_to_compare(tmp_path):
    mapping = FlatMapping(id="Id", label="Converted", time="No")
    dataset = from_flat_export(read_flat(write(tmp_path, leads(400)), mapping), mapping)
    assert check(dataset).outcome == "not applicable"
