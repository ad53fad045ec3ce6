"""The board page says each thing once, in words that a reader without the configuration understands."""

from __future__ import annotations

import json
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import polars as pl
import pytest
from report_inputs import report_input

from features.messages import Message
from models.metrics import Interval
from training.analysis.actions import most_missed
from training.analysis.channels import Channel, CostPerSql, has_codes
from training.analysis.data_health import CheckNote
from training.analysis.not_applicable import NotApplicable
from training.analysis.summary import ReportWarning
from training.config.toml_reader import ConfigError
from training.data.load import _check_value_column
from training.monitoring.results import GroupCalibration, MonitoringReport
from training.report.render import render, render_board
from training.report.report import MonitorVerdict, Report, build_report
from training.report.sections import data_health
from training.report.sections.recommendations import recommendations
from training.report.sections.summary import view
from training.report.translator import translator


@pytest.fixture(scope="module")
def report():
    return build_report(report_input(600))


def breakdown_of(*names):
    return SimpleNamespace(channels=[SimpleNamespace(name=name, leads=10) for name in names])


def test_channels_named_by_hashes_and_numbers_are_codes_and_words_are_not():
    assert has_codes(breakdown_of("b76ef37428e6799c421989521c0e5077", "4711", None))
    assert not has_codes(breakdown_of("organic_search", "Facade", "Q3-2024 fair", "4711"))
    assert not has_codes(breakdown_of(None))


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_board_says_the_base_rate_first(report, lang):
    t = translator(lang)
    first = view(report, t)["facts"][0]
    assert t.percent(report.summary.base_rate, 1) in first
    assert t.number(report.summary.positives) in first


def test_little_signal_is_not_said_twice(report):
    t = translator("de")
    weak = replace(report, summary=replace(report.summary, warnings=(ReportWarning("little_signal", 0.53),)))
    assert (
        len(view(weak, t)["trust"])
        == len(view(replace(report, summary=replace(report.summary, warnings=())), t)["trust"]) - 1
    )


def test_the_reason_of_the_first_step_is_not_the_headline_again(report):
    what = view(report, translator("en"))
    assert "100" not in what["steps"][0].why


def test_a_value_column_that_is_not_there_or_holds_words_is_refused_with_its_nearest():
    history = SimpleNamespace(
        leads=pl.DataFrame({"lead_id": ["1"], "deal_amount": [9.5], "source": ["fair"]}),
        attributes=pl.DataFrame({"name": ["budget"], "number": [3.0]}),
    )
    for column in (None, "deal_amount", "budget"):
        _check_value_column(history, column)
    with pytest.raises(ConfigError, match=r"\[report\] value.*'deal_amout'; did you mean 'deal_amount'"):
        _check_value_column(history, "deal_amout")
    with pytest.raises(ConfigError, match="'source' holds no number"):
        _check_value_column(history, "source")


CHANNEL = Channel(
    "Referral", 300, 300, 90, Interval(0.3, 0.25, 0.35), 300, 90, 50.0, Interval(1.8, 1.4, 2.2), "more"
)


def with_channels(report, *channels):
    [breakdown, *_] = report.insights.channels.dimensions
    analysis = replace(report.insights.channels, dimensions=(replace(breakdown, channels=channels),))
    return replace(report, insights=replace(report.insights, channels=analysis))


def steps_of(report, lang="en"):
    return [step.do for step in recommendations(report, translator(lang))]


def test_a_channel_is_only_advised_where_it_is_better_beyond_chance_and_has_a_name(report):
    win = translator("en")("monday.channel", channel="Referral")
    assert win in steps_of(with_channels(report, CHANNEL))
    for other in (replace(CHANNEL, verdict="level"), replace(CHANNEL, pooled=3), replace(CHANNEL, name=None)):
        assert win not in steps_of(with_channels(report, other))


def test_costs_are_only_asked_for_where_nobody_named_them(report):
    costs = translator("en")("monday.costs")
    assert costs in steps_of(with_channels(report, CHANNEL))
    priced = replace(CHANNEL, cost=CostPerSql(10.0, 8.0, 12.0))
    assert costs not in steps_of(with_channels(report, priced))
    absent = replace(report, insights=replace(report.insights, channels=NotApplicable("no_channels")))
    assert costs not in steps_of(absent)


def test_only_an_important_attribute_that_many_lack_is_to_be_filled_in(report):
    driver = next(each for each in report.drivers.features if each.spec.source == "leads")
    of_column = {column.column: column for column in report.health.columns}

    def lacking(share):
        column = replace(of_column[driver.spec.name], missing=share)
        return replace(report, health=replace(report.health, columns=(column,)))

    assert most_missed(report.drivers, lacking(0.45).health) == (driver, 0.45)
    assert most_missed(report.drivers, lacking(0.05).health) is None
    assert any("45%" in step.why for step in recommendations(lacking(0.45), translator("en")))


@pytest.mark.parametrize("lang", ["en", "de"])
def test_a_board_with_fewer_than_three_steps_says_that_the_data_give_no_more(report, lang):
    t, page = translator(lang), render_board(report, lang)
    fewer = replace(
        report,
        insights=replace(
            report.insights, channels=NotApplicable("no_channels"), offers=NotApplicable("no_offers")
        ),
        health=replace(report.health, columns=(), findings=()),
        summary=replace(report.summary, warnings=()),
    )
    assert len(steps_of(fewer)) < 3
    assert t("summary.fewer_steps") in render_board(fewer, lang)
    assert (t("summary.fewer_steps") in page) is (len(steps_of(report)) < 3)


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_headline_names_the_stage_and_its_horizon_stands_beside_the_base_rate(report, lang):
    t = translator(lang)
    card = replace(report.card, label="Sales Qualified Lead within 90 days")
    what = view(replace(report, card=card), t)
    assert "Sales Qualified Lead" in what["headline"]
    assert "90" not in what["headline"]
    assert t.plural("page.dative_days", 90) in what["facts"][0]
    flat = view(replace(report, card=replace(report.card, label="Converted")), t)
    assert t("summary.convert") in flat["headline"]


@pytest.mark.parametrize(("state", "is_warning"), [("healthy", False), ("watch", True), ("retrain", True)])
@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_monitors_verdict_stands_on_the_board_and_warns_unless_it_is_healthy(
    report, lang, state, is_warning
):
    t = translator(lang)
    observed = replace(report, monitor=MonitorVerdict(state, report.version, 1234, 0.121, 0.155))
    what = view(observed, t)
    warned = [text for _, text in what["warnings"]]
    assert any(t(f"monitor.verdict_{state}") in text for text in warned) is is_warning
    assert any(t(f"monitor.verdict_{state}") in text for text in what["trust"]) is not is_warning
    assert t.number(15.5, 1) in " ".join([*warned, *what["trust"]])
    assert Report.from_json(observed.to_json()) == observed
    assert '"monitor"' not in report.to_json()


def test_a_verdict_is_read_from_what_the_monitor_writes():
    rate = Interval(0.155, 0.13, 0.18)
    total = GroupCalibration("all", 1234, 0.121, rate, 1.28, 3.0, 191.0)
    written = MonitoringReport("m1", 2000, (), None, (), None, total, (), (), None, {})
    record = json.loads(json.dumps(written.to_dict()))
    assert MonitorVerdict.from_record(record) == MonitorVerdict("healthy", "m1", 1234, 0.121, 0.155)
    assert MonitorVerdict.from_record(record | {"total": None}) == MonitorVerdict("healthy", "m1")
    with pytest.raises(ValueError, match="fine"):
        MonitorVerdict.from_record(record | {"state": "fine"})


def test_a_german_interval_stays_in_one_line():
    assert "95-\N{WORD JOINER}%-\N{WORD JOINER}Intervall" in translator("de")("page.interval")


def test_leads_of_unknown_channels_are_nothing_to_win_more_of(report):
    channels = [replace(CHANNEL, name=name) for name in ("unknown", "Sonstige", "(not set)", "4711")]
    for channel in channels:
        assert not any("Win more" in step for step in steps_of(with_channels(report, channel)))


def test_rows_that_could_not_be_used_and_findings_that_are_not_grave_are_steps(report):
    repair, check = translator("en")("monday.repair"), translator("en")("monday.check")
    report = replace(
        report,
        summary=replace(report.summary, warnings=()),
        health=replace(report.health, findings=()),
    )
    assert not {repair, check} & set(steps_of(report))
    warned = replace(report.summary, warnings=(ReportWarning("quarantined", 500),))
    assert repair in steps_of(replace(report, summary=warned))
    note = CheckNote("LC003", "medium", "pages", "without it the model loses 61% of its information")
    steps = recommendations(
        replace(report, health=replace(report.health, findings=(note,))), translator("en")
    )
    assert [step.why for step in steps if step.do == check] == [translator("en")("monday.findings_why")]


def test_no_raw_name_of_a_feature_stands_in_the_state_of_the_data(report):
    t = translator("de")
    of_events = next(each.spec for each in report.drivers.features if each.spec.source == "touchpoints")
    note = CheckNote("LC006", "info", of_events.name, "constant")
    noted = replace(report, health=replace(report.health, findings=(note,)))
    tables = data_health.view(noted, t)
    assert tables["findings"].rows[0][2] == t.title(of_events)
    assert of_events.name not in {row[0] for row in tables["columns"].rows}


def test_notes_on_the_data_are_in_the_language_of_the_page():
    note = Message("columns.notice_email", column="Email")
    inputs = report_input(300)
    reported = build_report(replace(inputs, card=replace(inputs.card, notes=(note,))))
    page = unescape(render(Report.from_json(reported.to_json()), "de"))
    assert str(note) in page
    assert note.render("de") in page


@pytest.mark.parametrize(("lang", "words"), [("en", "best lead of"), ("de", "den besten Lead")])
def test_a_single_lead_to_call_is_one_lead(report, lang, words):
    one = replace(report, worth=replace(report.worth, weekly=0.5))
    assert words in recommendations(one, translator(lang))[0].do


def test_the_board_shows_the_channel_of_its_step_in_the_column_that_has_it(report):
    """A reader who is told to get more leads by a channel finds that channel on the same page."""
    [breakdown, *_] = report.insights.channels.dimensions
    small = replace(CHANNEL, name="Welcome page", leads=3, matured=3)
    large = tuple(
        replace(CHANNEL, name=f"form {i}", leads=900 + i, verdict="level", ratio=Interval(1.0, 0.9, 1.1))
        for i in range(8)
    )
    other = replace(breakdown, spec=replace(breakdown.spec, name="origin"), channels=large)
    chosen = replace(breakdown, spec=replace(breakdown.spec, name="source"), channels=(*large, small))
    analysis = replace(report.insights.channels, dimensions=(other, chosen))
    with_step = replace(report, insights=replace(report.insights, channels=analysis))
    assert with_step.actions.channel == (chosen, small)
    names = [row[0] for row in view(with_step, translator("en"))["channels"].rows]
    assert len(names) == 6
    assert names[-1] == "Welcome page"
