"""Months, segments, today's rule, all leads, spreads, interplay, stability: each counted by other means."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from report_inputs import contributions, report_input
from scipy.stats import spearmanr

from features.clock import DAY
from features.history import TRANSITION_SCHEMA, LeadHistory
from features.labels import LabelSpec
from models.explanation import log_odds_to_points
from training.analysis.drivers import QUANTILES, compare_drivers, feature_importance
from training.analysis.inputs import ReportSettings, current_rule_handover
from training.analysis.interactions import find_interactions
from training.report.render import render
from training.report.report import build_report
from training.report.sections.summary import looks
from training.report.translator import translator

DAYS_60 = 60 * DAY


@pytest.fixture(scope="module")
def inputs():
    return report_input(1200)


@pytest.fixture(scope="module")
def report(inputs):
    return build_report(inputs)


def test_each_month_counts_its_own_leads(inputs, report):
    by_month = defaultdict(list)
    rows = zip(inputs.scores["as_of"], inputs.scores["probability"], inputs.label, strict=True)
    for as_of, probability, label in rows:
        by_month[datetime.fromtimestamp(as_of, UTC).strftime("%Y-%m-01")].append((probability, label))
    months = report.calibration.months
    assert [month.name for month in months] == sorted(by_month)
    for month in months:
        assert month.rows == len(by_month[month.name])
        assert (month.forecast, month.observed.value) == pytest.approx(np.mean(by_month[month.name], axis=0))


def test_segments_are_channels_and_hold_every_lead_once(inputs, report):
    result = report.calibration.segments
    assert result.by.name == "first_channel"
    assert result.others is None
    for group in result.groups:
        mask = (inputs.held_out_rows["first_channel"] == group.name).to_numpy()
        assert group.observed.value == pytest.approx(inputs.label[mask].mean())
    assert sum(group.rows for group in result.groups) == len(inputs.label)


def test_leads_without_a_value_are_among_the_others(inputs):
    holes = pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise(pl.col("first_channel"))
    result = build_report(
        replace(inputs, held_out_rows=inputs.held_out_rows.with_columns(first_channel=holes))
    ).calibration.segments
    assert result.others.rows == 400


def test_leads_per_week_are_those_of_the_held_out_rows(inputs, report):
    weeks = (inputs.scores["as_of"].max() - inputs.scores["as_of"].min()) / (7 * DAY)
    assert report.worth.weekly == pytest.approx(len(inputs.label) / weeks)


def history_of(entries, leads=4, until=1000 * DAY):
    """Leads "0", "1", ... created at day 0, and (lead, day, stage) entries."""
    moments = [
        {"lead_id": lead, "occurred_at": day * DAY, "known_at": day * DAY, "stage": stage, "reason": None}
        for lead, day, stage in entries
    ]
    return LeadHistory(
        leads=pl.DataFrame(
            {
                "lead_id": [str(i) for i in range(leads)],
                "created_at": [0] * leads,
                "account_id": [None] * leads,
            },
            schema_overrides={"account_id": pl.String},
        ),
        touchpoints=LeadHistory.from_leads(pl.DataFrame({"lead_id": ["0"]}), 0).touchpoints,
        transitions=pl.DataFrame(moments, schema=TRANSITION_SCHEMA),
        observed_until=until,
    )


def with_history(inputs, history, **company):
    spec = LabelSpec("sql", DAYS_60)
    return replace(
        inputs, history=history, company=ReportSettings(label=spec, stages=("mql", "sql"), **company)
    )


def test_today_hands_over_who_was_known_to_be_there_by_then(inputs):
    first = int(inputs.scores["as_of"][1] // DAY)
    history = history_of([("0", 1, "mql"), ("1", first + 400, "mql")], until=10**6 * DAY)
    flags = current_rule_handover(with_history(inputs, history, hand_over="mql"))
    assert flags.tolist() == [True] + [False] * (len(inputs.label) - 1)


def test_without_a_stage_or_table_there_is_no_rule_of_today(inputs):
    assert current_rule_handover(with_history(inputs, history_of([("0", 1, "mql")]))) is None
    assert current_rule_handover(inputs) is None


def test_all_leads_are_counted_from_creation_by_hand(inputs):
    entries = [("0", 10, "sql"), ("1", 30, "sql"), ("2", 90, "sql"), ("3", 20, "disqualified")]
    leads = build_report(with_history(inputs, history_of(entries))).summary.leads
    assert (leads.all, leads.matured) == (4, 4)
    # The third came after 60 days and the fourth never can: two of four, half of them within ten days.
    assert leads.rate.value == 0.5
    assert leads.half == pytest.approx(10 * DAY, abs=2)


def test_leads_from_before_outcomes_were_kept_have_no_part_in_the_rate(inputs):
    entries = [("0", 10, "sql"), ("1", 30, "sql")]
    whole = with_history(inputs, history_of(entries))
    since = int(np.sort(whole.history.leads["created_at"].to_numpy())[1])
    leads = build_report(replace(whole, company=replace(whole.company, since=since))).summary.leads
    created = whole.history.leads["created_at"].to_numpy()
    assert (leads.all, leads.matured) == (len(created), int((created >= since).sum()))


def test_a_lead_with_two_snapshots_is_counted_once_and_the_page_says_so(inputs, report):
    assert report.summary.people == len(inputs.scores)
    twice = inputs.scores.with_columns(lead_id=pl.Series([str(i // 2) for i in range(len(inputs.scores))]))
    changed = build_report(replace(inputs, scores=twice))
    assert changed.summary.people == len(inputs.scores) / 2
    for lang in ("en", "de"):
        t = translator(lang)
        assert looks(changed, t) in render(changed, lang)
        assert t.number(changed.summary.people) in looks(changed, t)
        assert looks(report, t) == ""


def test_a_report_remembers_the_one_before(inputs, report):
    last = replace(report, version="before")
    now = build_report(inputs, last)
    assert [model.version for model in now.summary.before] == ["before"]
    assert now.summary.before[0].roc_auc == report.worth.roc_auc
    third = build_report(replace(inputs, version="third"), now)
    assert [model.version for model in third.summary.before] == [inputs.version, "before"]


def test_a_report_of_another_question_is_no_report_before(inputs, report):
    other = replace(report, version="before", card=replace(report.card, label="something else"))
    assert build_report(inputs, other).summary.before == ()


def test_spreads_are_quantiles_of_points(inputs, report):
    names = inputs.features.names
    for driver in report.drivers.features:
        points = log_odds_to_points(1.0) * inputs.contributions[:, names.index(driver.spec.name)]
        assert driver.spread == pytest.approx(np.quantile(points, QUANTILES))
        assert driver.likely.low <= driver.importance <= driver.likely.high


def test_stability_is_the_rank_correlation_of_common_features(inputs):
    now = feature_importance(inputs.features, inputs.explained_rows, inputs.contributions)
    other = inputs.contributions * np.linspace(0.1, 3, len(inputs.features))
    before = feature_importance(inputs.features, inputs.explained_rows, other)
    result = compare_drivers(now, before, "before").stability
    sizes = [{d.spec.name: d.importance for d in item.features} for item in (now, before)]
    common = sorted(sizes[0])
    expected = spearmanr([sizes[0][name] for name in common], [sizes[1][name] for name in common])
    assert result.correlation == pytest.approx(expected.statistic)
    assert result.features == len(common)


def test_features_that_add_up_do_not_interact(inputs):
    specs = inputs.features.specs
    assert (
        find_interactions(specs, inputs.explained_rows, log_odds_to_points(1.0) * inputs.contributions) == ()
    )


def test_two_features_that_multiply_are_found(inputs):
    specs, rows = inputs.features.specs, inputs.held_out_rows
    parts = log_odds_to_points(1.0) * contributions(rows)
    product = ((rows["demo_request.count.30d"] > 0) & (rows["industry"] == "Software")).fill_null(value=False)
    parts[:, 0] += 8 * product.to_numpy()
    [strongest, *_] = find_interactions(specs, rows, parts)
    # Who asked for a demo is known by the count and by the time since.
    assert strongest.first.name == "industry"
    assert strongest.second.name.startswith("demo_request")
    assert (strongest.most.first, strongest.most.second > 0) == ("Software", True)
    assert strongest.most.points > strongest.least.points


def test_a_figure_says_its_months_in_words():
    assert translator("de").month("2025-03-01") == "März 2025"
