"""The pages of funnel, timing and accounts: in both languages, with the figures they are made from."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from markupsafe import escape
from report_inputs import report_input
from small_crm import history

from features.clock import DAY
from features.labels import LabelSpec
from training.analysis import accounts, funnel, time_to_conversion
from training.analysis.inputs import ReportSettings
from training.analysis.stage_entries import stage_entries
from training.report.layout import BLOCKS
from training.report.render import environment
from training.report.report import ReportSections, build_report
from training.report.sections.takeaways import takeaway
from training.report.translator import translator
from training.simulation.simulator import simulate

STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")
SPEC = LabelSpec("sql", 60 * DAY)
COMPANY = ReportSettings(SPEC, STAGES)
OF_TIME = ("funnel", "time-to-sql", "accounts")


@pytest.fixture(scope="module")
def plain():
    return build_report(report_input(200))


def filled(plain, crm):
    """A report of ``crm`` alone, its open leads scored by their number."""
    inputs = replace(report_input(200), history=crm, company=COMPANY)
    a_report = stage_entries(crm, STAGES, SPEC)
    active = accounts.active_leads(a_report)
    scores = active.select("lead_id", probability=(pl.col("lead_id").hash() % 90 + 5) / 100)
    text = accounts.accounts_from_entries(a_report, active, scores)
    result = ReportSections(
        funnel=funnel.funnel(inputs), time_to_sql=time_to_conversion.timing(inputs), accounts=text
    )
    return replace(plain, insights=result)


def page(report, block, lang):
    t = translator(lang)
    template = environment().get_template(f"{block}.html")
    sentence = str(escape(takeaway(report, block, t)))
    return sentence + template.render(report=report, t=t, view=BLOCKS[block](report, t))


@pytest.fixture(scope="module")
def large(plain):
    return filled(plain, simulate(3000, seed=2).history)


@pytest.fixture(scope="module")
def tiny(plain):
    """Two leads of which one converted a day ago: nearly nothing is known."""
    return filled(plain, history({"a": 0, "b": 1}, [("a", "sql", 3)], until=4))


@pytest.mark.parametrize("lang", ["en", "de"])
@pytest.mark.parametrize("block", OF_TIME)
def test_every_block_can_be_written_for_much_and_for_nearly_nothing(large, tiny, block, lang):
    for a_report in (large, tiny):
        assert len(page(a_report, block, lang)) > 50
    assert "<svg" in page(large, block, lang)


def test_both_ways_of_counting_stand_side_by_side(large):
    whole, html = large.insights.funnel.overall, page(large, "funnel", "en")
    assert whole.naive > whole.matured.high
    assert f"<dd>{100 * whole.naive:.1f}%</dd>" in html
    assert f"<dd>{100 * whole.matured.value:.1f}%</dd>" in html
    assert html.count("not complete") >= sum(c.maturing for c in large.insights.funnel.cohorts) > 0


def test_the_narrowest_place_is_that_of_the_lowest_matured_rate(large):
    rates = {s.stage: s.onward.matured.value for s in large.insights.funnel.steps if s.target is not None}
    lowest = min(rates, key=rates.get)
    assert f"Most leads are lost after “{lowest.upper()}”: {100 * rates[lowest]:.1f}%" in page(
        large, "funnel", "en"
    )


def test_the_pace_after_a_request_is_that_of_its_first_week(large):
    result = large.insights.time_to_sql.hand_over
    new = [pace for pace in result.since_request if pace.until is not None and pace.until <= 7]
    pace = sum(item.hits for item in new) / sum(item.weeks for item in new)
    assert f"after a request, {100 * pace:.1f}% of open leads" in page(large, "time-to-sql", "en")


def test_channels_whose_intervals_overlap_are_not_ranked_without_saying_so(large):
    result = large.insights.time_to_sql
    rates = [next(r.share for r in item.rates if r.days == 90) for item in result.segments]
    overlap = min(rates, key=lambda r: r.value).high >= max(rates, key=lambda r: r.value).low
    assert ("the order may be chance" in page(large, "time-to-sql", "en")) == overlap


def test_accounts_say_what_their_score_takes_for_granted(large):
    html = page(large, "accounts", "en")
    assert "as if they were independent" in html
    assert html.count("<tr>") == 1 + len(large.insights.accounts.accounts)
    assert "No account has more than one active lead" in page(
        replace(large, insights=replace(large.insights, accounts=_without_accounts(large))), "accounts", "en"
    )


def _without_accounts(large):
    return replace(large.insights.accounts, several=0, together=0, accounts=())


def test_german_bends_its_days(large):
    for block in OF_TIME:
        assert "innerhalb von 60 Tage " not in page(large, block, "de")
    assert "innerhalb von 60 Tagen" in page(large, "funnel", "de")


def test_what_comes_from_data_is_escaped(plain):
    crm = history({f"<b>{n}</b>": (0, "<i>x</i>") for n in range(3)}, [("<b>0</b>", "sql", 2)], until=9)
    html = page(filled(plain, crm), "accounts", "en")
    assert "<i>x" not in html
    assert "&lt;i&gt;x" in html


@pytest.mark.parametrize("lang", ["en", "de"])
@pytest.mark.parametrize("reason", ["no_history", "too_few", "no_accounts", "no_model"])
def test_why_a_block_is_missing_is_said_in_words(reason, lang):
    assert " " in translator(lang)(f"absent.{reason}")
