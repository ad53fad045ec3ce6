"""Time to the target: curves against the simulator's truth, paces against a count lead by lead."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input
from small_crm import history

from features.catalogue import REQUESTS, build_feature_set
from features.clock import DAY
from features.labels import LabelSpec
from training.analysis.inputs import ReportSettings
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import stage_entries
from training.analysis.time_to_conversion import (
    AGES,
    SINCE,
    TimeToConversion,
    call_timing,
    conversion_curves,
    segment_at_creation,
    segment_feature,
    timing,
)
from training.serialization import from_dict
from training.simulation.simulator import simulate

STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")
SPEC = LabelSpec("sql", 60 * DAY)


@pytest.fixture(scope="module")
def crm():
    return simulate(6000, seed=9)


@pytest.fixture(scope="module")
def entries(crm):
    return stage_entries(crm.history, STAGES, SPEC)


@pytest.fixture(scope="module")
def result(crm):
    inputs = report_input(200, history=crm.history, company=ReportSettings(SPEC, STAGES))
    return timing(inputs)


def true_share(world, days):
    """Each intent's leads leave at a constant rate, its SQLs being a fixed share of those that leave."""
    gone = 1 - np.exp(-world.closing_rates * days * DAY)
    return float((world.shares * world.sql_rates / world.closing_rates * gone).sum())


def test_the_rates_are_the_simulators(crm, result):
    assert [rate.days for rate in result.overall.rates] == [30, 60, 90]
    for rate in result.overall.rates:
        width = rate.share.high - rate.share.low
        assert width < 0.025
        assert rate.share.value == pytest.approx(true_share(crm.world, rate.days), abs=0.75 * width)


def test_half_is_the_day_that_the_truth_says(crm, result):
    half = true_share(crm.world, 90) / 2
    assert true_share(crm.world, result.half - 4) < half < true_share(crm.world, result.half + 4)


def test_all_segments_together_are_everybody(crm, result):
    curves = [*result.segments, result.other]
    assert sum(curve.leads for curve in curves) == crm.history.leads["first_channel"].count()
    assert [c.segment for c in result.segments] == [
        name
        for name, _ in sorted(
            crm.history.leads["first_channel"].drop_nulls().value_counts().rows(), key=lambda row: -row[1]
        )
    ][: len(result.segments)]


def test_a_segments_rate_is_that_of_its_leads_alone(crm, result):
    name = result.segments[0].segment
    alone = replace(crm.history, leads=crm.history.leads.filter(pl.col("first_channel") == name))
    assert (
        conversion_curves(stage_entries(alone, STAGES, SPEC), None).overall.rates == result.segments[0].rates
    )


def test_a_curve_ends_where_too_few_were_watched():
    leads = {str(i): 0 for i in range(29)} | {"old": -1}
    short = conversion_curves(
        stage_entries(history(leads, [("0", "sql", 2)], until=35), STAGES, SPEC), None
    ).overall
    assert [rate.days for rate in short.rates] == [30]
    assert short.points[-1].days == 33


def test_small_segments_are_pooled():
    leads = {str(i): 0 for i in range(330)}
    moves = [(str(i), "sql", 5) for i in range(0, 330, 10)]
    columns = {"channel": ["big"] * 200 + ["tiny"] * 30 + ["small"] * 100}
    crm = history(leads, moves, **columns)
    spec = segment_feature(build_feature_set(crm, target="sql", closed=("disqualified",)), crm)
    result = conversion_curves(stage_entries(crm, STAGES, SPEC), spec)
    assert [(c.segment, c.leads) for c in result.segments] == [("big", 200), ("small", 100)]
    assert result.other.leads == 30


def test_a_channel_learned_after_creation_makes_no_segments():
    """To touch anything on day 9 a lead must be there on day 9."""
    touches = [("a", "visit", 0), ("b", "visit", 9), ("c", "visit", 0, 2)]
    crm = history({"a": 0, "b": 0, "c": 0}, [("a", "sql", 20)], touches)
    crm = replace(crm, touchpoints=crm.touchpoints.with_columns(channel=pl.lit("search")))
    spec = segment_feature(build_feature_set(crm, target="sql", closed=()), crm)
    assert spec.reduce == "earliest"
    assert segment_at_creation(stage_entries(crm, STAGES, SPEC), spec).to_list() == ["search", None, None]


def test_where_touchpoints_have_campaigns_alone_these_tell_leads_apart():
    crm = history({"a": 5, "b": 5}, touchpoints=[("a", "visit", 5), ("b", "visit", 6)], until=100)
    crm = replace(crm, touchpoints=crm.touchpoints.with_columns(campaign=pl.lit("spring")))
    spec = segment_feature(build_feature_set(crm, target="sql", closed=()), crm)
    assert (spec.of, segment_at_creation(stage_entries(crm, STAGES, SPEC), spec).to_list()) == (
        "campaign",
        ["spring", None],
    )


def counted(entries, edges, clock):
    """Weeks watched and targets entered between ``edges``, second by second of each lead's stretches."""
    edges = [*(edge * DAY for edge in edges), float("inf")]
    weeks, hits = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1, int)
    for row in range(len(entries.lead_id)):
        for zero, start, end, won in clock(row):
            for at, (low, high) in enumerate(pairwise(edges)):
                weeks[at] += max(0, min(end - zero, high) - max(start - zero, low)) / (7 * DAY)
                hits[at] += won and low <= end - zero < high
    return weeks, hits


def check(paces, expected):
    weeks, hits = expected
    assert [pace.weeks for pace in paces] == pytest.approx(weeks)
    assert [pace.hits for pace in paces] == hits.tolist()


def test_the_pace_by_age_is_counted_lead_by_lead(entries, result):
    def since_creation(row):
        yield entries.created[row], entries.created[row], entries.resolved_at[row], entries.won[row]

    check(result.hand_over.by_age, counted(entries, AGES, since_creation))


def test_the_pace_since_a_request_is_counted_lead_by_lead(crm, entries, result):
    requests = crm.history.touchpoints.filter(pl.col("kind").is_in(REQUESTS))
    moments = {lead: sorted(rows["known_at"]) for (lead,), rows in requests.group_by("lead_id")}

    def stretches(row):
        mine = [at for at in moments.get(entries.lead_id[row], ()) if at < entries.resolved_at[row]]
        for at, following in zip(mine, [*mine, None][1:], strict=True):
            yield at, at, following or entries.resolved_at[row], entries.won[row] and following is None

    def before(row):
        mine = [at for at in moments.get(entries.lead_id[row], ()) if at < entries.resolved_at[row]]
        first = mine[0] if mine else entries.resolved_at[row]
        yield entries.created[row], entries.created[row], first, entries.won[row] and not mine

    check(result.hand_over.since_request, counted(entries, SINCE, stretches))
    check([result.hand_over.unasked], counted(entries, (0,), before))


def test_within_counts_from_the_first_request_that_was_known_before():
    leads = dict.fromkeys("abcd", 0)
    moves = [("a", "sql", 10), ("b", "sql", 10), ("c", "sql", 10), ("d", "disqualified", 10)]
    touches = [
        *(("a", "demo_request", 3), ("a", "price_request", 9)),
        *(("b", "contact_request", 2, 10), ("c", "demo_request", 1, 9.5), ("d", "demo_request", 9)),
    ]
    result = call_timing(stage_entries(history(leads, moves, touches), STAGES, SPEC))
    assert (result.hits, result.asked) == (3, 2)
    assert {point.days: point.share.value for point in result.within} == {
        1: 0.5,
        3: 0.5,
        7: 0.5,
        14: 1,
        30: 1,
    }


def test_a_visitor_who_asked_before_being_a_lead_is_watched_from_creation():
    result = call_timing(
        stage_entries(history({"a": 5}, [("a", "sql", 6)], [("a", "demo_request", 1)]), STAGES, SPEC)
    )
    assert {pace.since: (pace.weeks, pace.hits) for pace in result.since_request} == {3: (1 / 7, 1)}
    assert result.unasked is None


def test_without_requests_there_is_the_pace_by_age_alone():
    result = call_timing(stage_entries(history({"a": 0}, [("a", "sql", 8)]), STAGES, SPEC))
    assert [(pace.since, pace.weeks, pace.hits) for pace in result.by_age] == [(0, 1, 0), (7, 1 / 7, 1)]
    assert (result.since_request, result.within, result.asked) == ((), (), 0)


def test_without_anyone_in_the_target_there_is_nothing_to_time():
    inputs = report_input(200, history=history({"a": 0}), company=ReportSettings(SPEC, STAGES))
    assert timing(inputs) == NotApplicable("too_few")


def test_timing_is_read_back_from_json(result):
    assert from_dict(TimeToConversion, json.loads(json.dumps(asdict(result), allow_nan=False))) == result


def test_a_week_that_stands_out_is_named_and_fades_where_it_ends():
    """Of 2,000 leads 20 enter in each week, and 60 in the fourth."""
    hits = [20, 20, 20, 60, *[20] * 10]
    days = [3 + 7 * week for week, count in enumerate(hits) for _ in range(count)]
    moves = [(str(n), "sql", at) for n, at in enumerate(days)]
    leads = {str(n): 0 for n in range(2000)}
    result = call_timing(stage_entries(history(leads, moves, until=120), STAGES, SPEC))
    assert (result.best.since, result.fades) == (21, 28)
    assert result.expected < result.best.rate.value / 2


@pytest.mark.parametrize("ready", [0.05, 0.1])
def test_ready_leads_that_leave_first_make_no_week_stand_out(ready):
    """Each lead has a constant rate; the ready ones convert in the first weeks, so the hazard rate falls."""
    random = np.random.default_rng(4)
    rate = np.where(random.random(4000) < ready, 0.1, 0.002)
    days = random.exponential(1 / rate)
    moves = [(str(n), "sql", at) for n, at in enumerate(days) if at < 200]
    leads = {str(n): 0 for n in range(4000)}
    result = call_timing(stage_entries(history(leads, moves, until=200), STAGES, SPEC))
    assert result.by_age[0].rate.low > result.by_age[9].rate.high
    assert (result.best, result.fades, result.expected) == (None, None, None)


def test_a_pace_that_only_grows_never_fades():
    moves = [(str(n), "sql", 3 + 7 * (n // 100)) for n in range(1300)]
    result = call_timing(
        stage_entries(history({str(n): 0 for n in range(2000)}, moves, until=95), STAGES, SPEC)
    )
    assert result.fades is None


def test_without_half_of_the_leads_followed_for_six_weeks_no_week_is_named():
    moves = [(str(n), "sql", 3 + 7 * (n % 2)) for n in range(500)]
    result = call_timing(
        stage_entries(history({str(n): 0 for n in range(2000)}, moves, until=41), STAGES, SPEC)
    )
    assert result.best is None


def test_of_several_channel_columns_the_one_with_the_largest_segments_is_shown():
    columns = {"landing": ["p1", "p2", "p3", "p4"], "source": ["x", "x", "y", "y"], "origin": ["z"] * 4}
    crm = history(dict.fromkeys("abcd", 0), **columns)
    assert segment_feature(build_feature_set(crm, target="sql", closed=()), crm).name == "source"
    assert segment_feature(build_feature_set(history({"a": 0}), target="sql", closed=()), crm) is None


def test_leads_from_before_the_outcomes_were_kept_do_not_count():
    crm = history({"a": 0, "b": 50}, [("b", "sql", 52)], until=100)
    since = ReportSettings(SPEC, STAGES, since=int(crm.leads["created_at"][1]))
    assert timing(report_input(200, history=crm, company=since)).overall.leads == 1
    assert timing(report_input(200, history=crm, company=ReportSettings(SPEC, STAGES))).overall.leads == 2
