"""What is said to have changed between two reports did; where nothing did, little is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_inputs import report_input
from scipy.stats import binomtest

from features.clock import DAY
from features.labels import LabelSpec
from models.metrics import Interval
from training.analysis.inputs import ReportSettings
from training.report.report import build_report
from training.report.report_changes import compare_reports
from training.simulation.simulator import simulate
from training.stats.intervals import wilson_interval

STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")
RATE, MATURED = 0.15, 2000
SHARES = {"organic": 0.5, "paid": 0.3, "fair": 0.2}


@pytest.fixture(scope="module")
def plain():
    """A report whose counts the worlds below replace."""
    crm = simulate(400, seed=4).history
    spec = LabelSpec("sql", 60 * DAY, closed=("disqualified",))
    return build_report(report_input(300, history=crm, company=ReportSettings(spec, STAGES)))


def world(
    random, plain, *, version, before=None, matured=MATURED, rates=None, shares=None, auc=0.8, missing=0.2
):
    """A report of so many leads more than ``before`` has, whose outcomes are drawn anew."""
    rates, shares = rates or dict.fromkeys(SHARES, RATE), shares or SHARES
    leads = dict(zip(shares, random.multinomial(matured, list(shares.values())), strict=True))
    won = {name: int(random.binomial(count, rates[name])) for name, count in leads.items()}
    [breakdown, *_] = [d for d in plain.insights.channels.dimensions if d.whole]
    for channel in before.insights.channels.dimensions[0].channels if before else ():
        leads[channel.name] += channel.matured
        won[channel.name] += channel.won
    channels = tuple(
        replace(
            breakdown.channels[0],
            name=name,
            leads=int(leads[name]),
            matured=int(leads[name]),
            won=won[name],
            rate=wilson_interval(won[name], leads[name]),
            pooled=0,
        )
        for name in leads
    )
    rows, hits = sum(leads.values()), sum(won.values())
    auc = auc + 0.015 * random.standard_normal()
    called = random.binomial(200, 0.4) / 200
    gap = 0.01 * random.standard_normal()
    total = replace(
        plain.calibration.total, forecast=0.2 + gap, observed=Interval(0.2, 0.2 - 0.0196, 0.2 + 0.0196)
    )
    columns = tuple(
        replace(column, missing=random.binomial(300, missing) / 300) for column in plain.health.columns[:4]
    )
    made = replace(plain.insights.channels, dimensions=(replace(breakdown, whole=True, channels=channels),))
    return replace(
        plain,
        version=version,
        summary=replace(
            plain.summary,
            people=300,
            leads=replace(
                plain.summary.leads, all=int(rows), matured=int(rows), rate=wilson_interval(hits, rows)
            ),
            at_capacity=replace(plain.summary.at_capacity, rate=wilson_interval(200 * called, 200)),
        ),
        worth=replace(plain.worth, roc_auc=Interval(auc, auc - 0.0294, auc + 0.0294)),
        calibration=replace(plain.calibration, total=replace(total, forecast_half=0.0)),
        health=replace(plain.health, columns=columns),
        insights=replace(plain.insights, channels=made),
    )


def kinds(changes):
    return [change.kind for change in changes.changes]


def test_where_nothing_changed_one_digest_in_twenty_says_something(plain):
    random, loud, worlds = np.random.default_rng(1), 0, 300
    for _ in range(worlds):
        before = world(random, plain, version="a")
        now = world(random, plain, version="b", before=before, matured=600)
        result = compare_reports(before, now)
        assert result.compared >= 10
        loud += bool(result.changes)
    assert binomtest(loud, worlds, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"rates": dict.fromkeys(SHARES, 0.25)}, "conversion"),
        ({"rates": {"organic": RATE, "paid": 0.4, "fair": RATE}}, "channel"),
        ({"shares": {"organic": 0.2, "paid": 0.6, "fair": 0.2}}, "mix"),
        ({"auc": 0.65}, "ranking"),
        ({"missing": 0.6}, "missing"),
    ],
)
def test_a_real_change_is_found(plain, changed, kind):
    random = np.random.default_rng(2)
    before = world(random, plain, version="a")
    now = world(random, plain, version="b", before=before, matured=800, **changed)
    assert kind in kinds(compare_reports(before, now))


def test_only_the_leads_since_are_compared_with_those_before(plain):
    random = np.random.default_rng(3)
    before = world(random, plain, version="a")
    now = world(random, plain, version="b", before=before, matured=800, rates=dict.fromkeys(SHARES, 0.3))
    [change] = [c for c in compare_reports(before, now).changes if c.kind == "conversion"]
    won = [round(r.summary.leads.matured * r.summary.leads.rate.value) for r in (before, now)]
    assert (change.leads, change.now) == (800, pytest.approx((won[1] - won[0]) / 800))
    assert change.before == pytest.approx(won[0] / MATURED)


def test_the_same_report_has_no_change(plain):
    assert compare_reports(plain, plain).changes == ()


def test_reports_of_different_questions_are_not_compared(plain):
    other = replace(plain, card=replace(plain.card, label="opportunity within 90 days"))
    with pytest.raises(ValueError, match="opportunity within 90 days"):
        compare_reports(plain, other)
