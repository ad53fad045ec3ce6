"""What the page says to do, it only says where the figures stand beyond chance; and it shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_inputs import report_input

from features.clock import DAY
from features.labels import LabelSpec
from features.messages import LANGUAGES
from models.metrics import Interval
from training.analysis.actions import Actions
from training.analysis.inputs import ReportSettings
from training.analysis.mql_audit import CallOutcome, EqualCallsComparison
from training.analysis.summary import ReportWarning
from training.report.layout import BLOCKS, PARTS, missing_reason
from training.report.render import render
from training.report.report import build_report
from training.report.sections.recommendations import recommendations
from training.report.sections.takeaways import takeaway
from training.report.translator import translator
from training.simulation.simulator import simulate

STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")
ENGLISH = translator("en")


@pytest.fixture(scope="module")
def report():
    """A report whose model tells leads apart, on a history that holds its held-out leads."""
    n = 1200
    crm = simulate(2000, seed=5).history
    some = crm.leads.sort("created_at").head(n)
    company = ReportSettings(LabelSpec("sql", 60 * DAY), STAGES, hand_over="mql")
    inputs = report_input(n, history=crm, company=company)
    keys = {"lead_id": some["lead_id"], "as_of": some["created_at"] + 30 * DAY}
    return build_report(replace(inputs, scores=inputs.scores.with_columns(**keys)))


def steps_of(report):
    return [step.block for step in recommendations(report, ENGLISH)]


def audited(report, gained):
    """The report with a comparison of rule and model, as if leads were looked at when the rule fired."""
    rate = Interval(0.3, 0.2, 0.4)
    cells = tuple(CallOutcome(called, 300, 90, rate) for called in ("model", "today"))
    same = EqualCallsComparison(1200, 150, 50, gained, gained, 0.23, cells, is_gain=gained.low > 0)
    audit = replace(report.insights.mql_audit, same=same)
    return replace(report, insights=replace(report.insights, mql_audit=audit))


def test_another_hand_over_is_only_advised_where_it_gains_beyond_chance(report):
    assert "mql-audit" in steps_of(audited(report, Interval(40.0, 12.0, 66.0)))
    assert "mql-audit" not in steps_of(audited(report, Interval(40.0, -1.0, 66.0)))


def test_the_advised_hand_over_has_the_figures_of_the_audit(report):
    gain = audited(report, Interval(40.0, 12.0, 66.0))
    [step] = [step for step in recommendations(gain, ENGLISH) if step.block == "mql-audit"]
    same = gain.insights.mql_audit.same
    assert "40 more conversions (12 to 66)" in step.why
    assert f"{same.calls:,} calls" in step.why
    assert f"{same.threshold:.1%}" in step.do


def test_an_offer_is_only_advised_where_its_takers_convert_more_often(report):
    result = report.insights.offers
    level = tuple(replace(advice, verdict="level") for advice in result.offers)
    dull = replace(report, insights=replace(report.insights, offers=replace(result, offers=level)))
    significant = (replace(level[0], verdict="more", ratio=Interval(2.5, 2.0, 3.0)), *level[1:])
    good = replace(report, insights=replace(report.insights, offers=replace(result, offers=significant)))
    assert "offers" not in steps_of(dull)
    [step] = [step for step in recommendations(good, ENGLISH) if step.block == "offers"]
    assert "2.5" in step.why
    assert "random part" in step.do


def test_a_model_that_finds_nothing_is_not_to_be_followed(report):
    at = replace(report.summary.at_capacity, lift=1.0)
    dull = replace(report, summary=replace(report.summary, at_capacity=at))
    assert steps_of(dull)[0] == "health"
    assert "worth" not in steps_of(dull)
    assert ENGLISH("monday.wait") == recommendations(dull, ENGLISH)[0].do


@pytest.mark.parametrize(("low", "called"), [(0.30, False), (0.32, True)])
def test_the_best_are_only_to_be_called_first_where_they_convert_more_beyond_chance(report, low, called):
    at = replace(report.summary.at_capacity, lift=1.2, rate=Interval(0.36, low, 0.43))
    few = replace(report, summary=replace(report.summary, at_capacity=at))
    assert at.is_worthwhile is called
    assert (
        "Keep today's order of calls." in [step.do for step in recommendations(few, ENGLISH)]
    ) is not called


def test_a_grave_finding_comes_before_all_else(report):
    grave = replace(report, summary=replace(report.summary, warnings=(ReportWarning("findings", 1.0),)))
    assert recommendations(grave, ENGLISH)[0].do == ENGLISH("monday.check")
    assert "worth" in steps_of(grave)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(
    "warned", [(), ("little_signal",), ("findings",), ("little_signal", "time_unproven")]
)
@pytest.mark.parametrize("lift", [1.0, 1.3])
def test_no_page_tells_to_call_as_today_and_to_follow_the_model(report, lift, warned, lang):
    t, gain = translator(lang), audited(report, Interval(40.0, 12.0, 66.0))
    at = replace(gain.summary.at_capacity, lift=lift, rate=Interval(0.4, 0.35, 0.45))
    warnings = tuple(ReportWarning(code, 1.0) for code in warned)
    page = replace(gain, summary=replace(gain.summary, at_capacity=at, warnings=warnings))
    as_today = t("monday.wait") in [step.do for step in recommendations(page, t)]
    by_model = {"worth", "mql-audit", "accounts"} & {step.block for step in recommendations(page, t)}
    assert as_today is (lift == 1.0 or "little_signal" in warned)
    assert bool(by_model) is not as_today
    assert (takeaway(page, "worth", t) == t("summary.headline_none")) is as_today
    assert (t("mql-audit.not_followed") in BLOCKS["mql-audit"](page, t)["same"]["offer"]) is as_today
    assert ("40" in takeaway(page, "mql-audit", t)) is not as_today
    assert BLOCKS["summary"](page, t)["better"] is not as_today


def test_actions_that_contradict_each_other_cannot_be_made():
    for wrong in ({"hand_over": True}, {"accounts": True}):
        with pytest.raises(ValueError, match="as today"):
            Actions("today", **wrong)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_summary_knows_one_base_rate(report, lang):
    t = translator(lang)
    summary = render(report, lang).split('<section id="summary"')[1].split('<div class="columns">')[0]
    base = t.percent(report.summary.base_rate, 1)
    assert f": {base} (" in summary
    assert t.percent(report.summary.leads.rate.value, 1) != base
    assert t.percent(report.summary.leads.rate.value, 1) not in summary


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_step_leads_to_a_block_that_is_there(report, lang):
    assert all(
        missing_reason(report, step.block) is None for step in recommendations(report, translator(lang))
    )


def test_the_calls_of_a_week_are_the_capacity_of_a_week(report):
    [step] = [step for step in recommendations(report, ENGLISH) if step.block == "worth"]
    calls = report.summary.at_capacity.share * report.worth.weekly
    assert f"{calls:,.0f} best leads" in step.do


def test_every_block_is_in_one_part_of_the_contents_in_the_order_of_the_page():
    assert [block for part in PARTS.values() for block in part] == list(BLOCKS)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_takeaway_is_one_short_paragraph(report, lang):
    sentence = [
        takeaway(report, block, translator(lang)) for block in BLOCKS if missing_reason(report, block) is None
    ]
    assert sum(bool(text) for text in sentence) >= 8
    assert max(map(len, sentence)) < 320
