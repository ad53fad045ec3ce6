"""Channels, offers and hand-over on the page: statements are only those the intervals support."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input

from features.catalogue import build_feature_set
from features.clock import DAY
from features.labels import LabelSpec
from models.metrics import Interval
from training.analysis.inputs import ReportSettings
from training.analysis.mql_audit import CallOutcome, EqualCallsComparison, HandoverAudit
from training.config.settings import ReportConfig as Settings
from training.report.render import render
from training.report.report import Report, build_report
from training.report.sections import channels, mql_audit, offers
from training.report.translator import translator
from training.simulation.simulator import simulate

LANGUAGES = ("en", "de")
SPEC = LabelSpec("sql", 60 * DAY)
STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")


@pytest.fixture(scope="module")
def report():
    """A report on a simulated history; its scores know nothing of the leads, which is hard on every block."""
    n = 1200
    crm = simulate(2000, seed=5).history
    some = crm.leads.sort("created_at").head(n)
    settings = Settings(hours_per_call=0.5, costs={"referral": 4000.0})
    company = ReportSettings(SPEC, STAGES, hand_over="mql", settings=settings)
    inputs = report_input(n, history=crm, company=company)
    keys = {"lead_id": some["lead_id"], "as_of": some["created_at"] + 30 * DAY}
    return build_report(replace(inputs, scores=inputs.scores.with_columns(**keys)))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_section_is_on_the_page(report, lang):
    page = render(report, lang=lang)
    for block in ("channels", "offers", "mql-audit"):
        assert f'<section id="{block}"' in page


def test_a_report_with_these_blocks_survives_json(report):
    assert Report.from_json(report.to_json()) == report


def test_the_downloaded_table_holds_the_figures_unrounded(report):
    t = translator("en")
    (first, *_) = report.insights.channels.dimensions
    table = channels.view(report, t)["dimensions"][0]["table"]
    item = first.channels[0]
    assert table.rows[0][4].values == (item.rate.value, item.rate.low, item.rate.high)
    assert item.rate.value == item.won / item.matured


def test_rows_of_too_few_leads_are_grey(report):
    table = offers.view(report, translator("en"))["table"]
    few = {i for i, item in enumerate(report.insights.offers.offers) if item.verdict == "few"}
    assert table.muted_rows == few


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ([("a", "level"), ("b", "few")], "None differs from 1"),
        ([("a", "more"), ("b", "level")], "leads: a. The others do not differ"),
        ([("a", "more")], "More conversions than expected of the same leads: a."),
        ([(x, "less") for x in "abcde"], "leads: a, b, c and 2 more."),
    ],
)
def test_the_sentence_names_only_what_can_be_told_apart(texts, sentence):
    assert sentence in channels.describe_groups("channels", texts, translator("en"))


def test_the_channels_to_take_away_are_the_farthest_above_and_below(report):
    result = report.insights.channels
    (first, *_) = result.dimensions
    texts = {"Ads": 1.5, "best": 3.0, "Calls": 0.5, "dark_posts": 0.0, "Events": 9.0}
    made_up = tuple(
        replace(
            first.channels[0],
            name=name,
            ratio=Interval(ratio, ratio, ratio),
            verdict="level" if name == "Events" else "more" if ratio > 1 else "less",
        )
        for name, ratio in texts.items()
    )
    item = replace(result, dimensions=(replace(first, channels=made_up),))
    sentence = channels.headline(item, translator("en"))
    assert "“Best” brought 3.0" in sentence
    assert "“Dark posts” brought 0.0" in sentence
    assert not any(f"“{name}”" in sentence for name in ("Ads", "Calls", "Events"))
    level = tuple(replace(channel, verdict="level") for channel in made_up)
    none = replace(result, dimensions=(replace(first, channels=level),))
    assert channels.headline(none, translator("en")).startswith("No channel brings clearly more")


@pytest.mark.parametrize(
    ("gained", "sentence"),
    [
        (Interval(12.0, 3.0, 20.0), "12 more conversions (3 to 20)"),
        (Interval(-12.0, -20.0, -3.0), "12 fewer conversions (3 to 20)"),
        (Interval(4.0, -2.0, 9.0), "about as many conversions: +4 (−2 to +9), within chance"),  # noqa: RUF001
    ],
)
def test_what_another_threshold_would_bring_is_only_promised_beyond_chance(report, gained, sentence):
    result = report.insights.mql_audit
    assert isinstance(result, HandoverAudit)
    same = EqualCallsComparison(1200, 150, 50, gained, gained, 0.23, (*_cells(),))
    audited = replace(result, same=same)
    at = replace(report.summary.at_capacity, lift=2.0, rate=Interval(0.4, 0.35, 0.45))
    followed = replace(report, summary=replace(report.summary, at_capacity=at, warnings=()))
    visible = mql_audit.view(
        replace(followed, insights=replace(followed.insights, mql_audit=audited)), translator("en")
    )
    assert any(sentence in line for line in visible["same"]["offer"])


def _cells():
    rate = Interval(0.3, 0.2, 0.4)
    return (CallOutcome(called, 300, 90, rate) for called in ("model", "today"))


def test_hours_are_those_of_the_leads_that_came_to_nothing(report):
    result = report.insights.mql_audit
    handed = mql_audit.view(report, translator("en"))["handed"]
    assert f"{round(result.handed.lost * 0.5):,} hours" in handed


def test_names_from_the_data_stay_text():
    inputs = report_input(300)
    bad = (
        pl.when(pl.col("first_channel") == "referral").then(pl.lit("<b onload=y>")).otherwise("first_channel")
    )
    held_out_rows = inputs.held_out_rows.with_columns(first_channel=bad)
    page = render(
        build_report(replace(inputs, held_out_rows=held_out_rows, label=np.tile([1.0, 0.0, 0.0], 100)))
    )
    assert "<b onload=y>" not in page
    assert "&lt;b onload=y&gt;" in page


@pytest.mark.parametrize(("lang", "sentence"), [("en", "Time in stage MQL"), ("de", "Zeit in Phase MQL")])
def test_time_in_a_stage_has_a_title_of_its_own_and_its_sentence_stays(lang, sentence):
    crm = simulate(300, seed=5).history
    (spec,) = [
        item for item in build_feature_set(crm, target="sql").specs if item.name == "stage_mql.recency"
    ]
    assert translator(lang).title(spec) == sentence
    assert spec.says.render("en") == "In stage MQL for: {value}"
