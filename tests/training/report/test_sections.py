"""Channels, offers and hand-over on the page: no more is said than the intervals allow, in both languages."""

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
from training.analysis.mql_audit import HandoverAudit
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
def made():
    """A report on a simulated history; its scores know nothing of the leads, which is hard on every block."""
    n = 1200
    crm = simulate(2000, seed=5).history
    some = crm.leads.sort("created_at").head(n)
    settings = Settings(hours_per_call=0.5, costs={"referral": 4000.0})
    company = ReportSettings(SPEC, STAGES, hand_over="mql", settings=settings)
    given = report_input(n, history=crm, company=company)
    keys = {"lead_id": some["lead_id"], "as_of": some["created_at"] + 30 * DAY}
    return build_report(replace(given, scores=given.scores.with_columns(**keys)))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_section_is_on_the_page(made, lang):
    page = render(made, lang=lang)
    for block in ("channels", "offers", "mql-audit"):
        assert f'<section id="{block}"' in page


def test_a_report_with_these_blocks_survives_json(made):
    assert Report.from_json(made.to_json()) == made


def test_the_downloaded_table_holds_the_figures_unrounded(made):
    t = translator("en")
    (first, *_) = made.insights.channels.dimensions
    table = channels.view(made, t)["dimensions"][0]["table"]
    one = first.channels[0]
    assert table.rows[0][4].values == (one.rate.value, one.rate.low, one.rate.high)
    assert one.rate.value == one.won / one.matured


def test_rows_of_too_few_leads_are_grey(made):
    table = offers.view(made, translator("en"))["table"]
    few = {i for i, one in enumerate(made.insights.offers.offers) if one.verdict == "few"}
    assert table.muted_rows == few


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([("a", "level"), ("b", "few")], "None can be told from 1"),
        ([("a", "more"), ("b", "level")], "theirs: a. The others cannot be told"),
        ([("a", "more")], "More conversions than expected of leads like theirs: a."),
        ([(x, "less") for x in "abcde"], "theirs: a, b, c and 2 more."),
    ],
)
def test_the_sentence_names_only_what_can_be_told_apart(told, said):
    assert said in channels.describe_groups("channels", told, translator("en"))


def test_the_channels_to_take_away_are_the_farthest_above_and_below(made):
    found = made.insights.channels
    (first, *_) = found.dimensions
    told = {"a": 1.5, "b": 3.0, "c": 0.5, "d": 0.0, "e": 9.0}
    made_up = tuple(
        replace(
            first.channels[0],
            name=name,
            ratio=Interval(ratio, ratio, ratio),
            verdict="level" if name == "e" else "more" if ratio > 1 else "less",
        )
        for name, ratio in told.items()
    )
    one = replace(found, dimensions=(replace(first, channels=made_up),))
    said = channels.headline(one, translator("en"))
    assert "“b” brought 3.0" in said
    assert "“d” brought 0.0" in said
    assert not any(f"“{name}”" in said for name in "ace")
    level = tuple(replace(channel, verdict="level") for channel in made_up)
    none = replace(found, dimensions=(replace(first, channels=level),))
    assert channels.headline(none, translator("en")).startswith("No channel brings clearly more")


@pytest.mark.parametrize(
    ("gained", "said"),
    [
        (Interval(12.0, 3.0, 20.0), "12 conversions more (3 to 20)"),
        (Interval(-12.0, -20.0, -3.0), "12 conversions fewer (3 to 20)"),
        (Interval(4.0, -2.0, 9.0), "about as many conversions: +4 (−2 to +9), which chance may be"),  # noqa: RUF001
    ],
)
def test_what_another_threshold_would_bring_is_only_promised_beyond_chance(made, gained, said):
    found = made.insights.mql_audit
    assert isinstance(found, HandoverAudit)
    audited = replace(found, same=replace(found.same, gained=gained))
    shown = mql_audit.view(
        replace(made, insights=replace(made.insights, mql_audit=audited)), translator("en")
    )
    assert any(said in line for line in shown["same"]["offer"])


def test_hours_are_those_of_the_leads_that_came_to_nothing(made):
    found = made.insights.mql_audit
    handed = mql_audit.view(made, translator("en"))["handed"]
    assert f"{round(found.handed.lost * 0.5):,} hours" in handed


def test_names_from_the_data_stay_text():
    given = report_input(300)
    bad = (
        pl.when(pl.col("first_channel") == "referral").then(pl.lit("<b onload=y>")).otherwise("first_channel")
    )
    judged = given.judged.with_columns(first_channel=bad)
    page = render(build_report(replace(given, judged=judged, label=np.tile([1.0, 0.0, 0.0], 100))))
    assert "<b onload=y>" not in page
    assert "&lt;b onload=y&gt;" in page


@pytest.mark.parametrize(("lang", "said"), [("en", "Time in stage MQL"), ("de", "Zeit in Stufe MQL")])
def test_time_in_a_stage_has_a_title_of_its_own_and_its_sentence_stays(lang, said):
    crm = simulate(300, seed=5).history
    (spec,) = [one for one in build_feature_set(crm, target="sql").specs if one.name == "stage_mql.recency"]
    assert translator(lang).title(spec) == said
    assert spec.says.render("en") == "In stage mql for: {value}"
