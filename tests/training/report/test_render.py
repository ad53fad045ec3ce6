"""The page: complete, self-contained, safe, and the same in both languages."""

from __future__ import annotations

import itertools
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import polars as pl
import pytest
from report_inputs import report_input

from features.messages import LANGUAGES, parse_po, read_sources
from features.spec import DisplayText, FeatureSet
from models.metrics import Interval
from training.leakage.checks import AHEAD, CHECKS, ORIGINS
from training.report.charts.vega import PALETTE
from training.report.layout import BLOCKS, history_only_sections, missing_reason
from training.report.render import environment, render
from training.report.report import build_report
from training.report.table import Table
from training.report.translator import translator

VOID = {"meta", "br", "link", "img", "hr", "input"}
# "Not causes" is what the page says of its figures; that something causes something it must not say.
FORBIDDEN = re.compile(
    r"(?<!not )\bcaus(?:e|es|ed|ing)\b|guarantee|\bensur|prove that|verursach|garantier|bewirk|führt zu"
)
ATTACK = '<script>alert("x")</script>&<b onload=y>'


class Page(HTMLParser):
    """Every tag that opens and closes, and the text between them."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.opened, self.ids, self.tags, self.text, self.problems = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.opened or self.opened.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        self.text.append(data)

    def attributes(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def report():
    return build_report(report_input(600))


@pytest.fixture(scope="module", params=LANGUAGES)
def html(request, report):
    return render(report, request.param)


@pytest.fixture(scope="module")
def page(html):
    return Page(shown(html))


def shown(html):
    """The page as a reader sees it: without the language that waits."""
    return re.sub(r"<template.*</template>", "", html, flags=re.DOTALL)


def test_every_section_is_there_once_in_order_or_its_title_with_the_reason(page, report):
    missing = {block: reason for block in BLOCKS if (reason := missing_reason(report, block))}
    [lang] = [attrs["lang"] for attrs in page.attributes("html")]
    text, t = " ".join(page.text), translator(lang)
    assert tuple(name for name in page.ids if name in BLOCKS) == tuple(b for b in BLOCKS if b not in missing)
    assert missing
    for block, reason in missing.items():
        assert f"{t(f'sections.{block}')}: {t(f'absent.{reason.reason}')}" in text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_flat_export_names_what_only_a_history_shows_in_one_line(lang):
    inputs = report_input()
    report = build_report(replace(inputs, card=replace(inputs.card, flat=True)))
    beyond, t = history_only_sections(report), translator(lang)
    page = Page(shown(render(report, lang)))
    links = {attrs["href"].removeprefix("#") for attrs in page.attributes("a") if "download" not in attrs}
    assert {"funnel", "offers", "time-to-sql"} <= set(beyond)
    assert not set(beyond) & (set(page.ids) | links)
    named = ", ".join(t(f"sections.{block}") for block in beyond)
    assert page.text.count(t("page.beyond", sections=named)) == 1


def test_a_history_keeps_the_reason_of_each_block_it_cannot_fill(report):
    assert not report.card.flat
    assert history_only_sections(report) == ()


def test_tags_close_in_order_and_ids_are_unique(page):
    assert page.problems == []
    assert page.opened == []
    assert len(page.ids) == len(set(page.ids))


def test_every_link_and_label_points_to_something_on_the_page(page):
    links = [attrs["href"] for attrs in page.attributes("a") if "download" not in attrs]
    anchors = {link.removeprefix("#") for link in links}
    labels = {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs}
    assert anchors | labels <= set(page.ids)


def test_nothing_is_loaded_from_anywhere(html, page):
    downloads = [attrs["href"] for attrs in page.attributes("a") if "download" in attrs]
    assert all(href.startswith("data:text/csv;") for href in downloads)
    changed = re.sub(r"'sha256-[^']+'", "", html)  # the script's hash may hold anything
    assert not re.search(r"https?:|//[a-z]|url\(|@import|data:[^t]", changed)
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all("src" not in attrs and "onload" not in attrs for _, attrs in page.tags)


def test_a_page_is_small(html):
    assert len(html.encode()) < 3_000_000


def test_the_page_claims_no_more_than_the_data_show(html):
    assert FORBIDDEN.findall(html.lower()) == []


def test_the_page_runs_its_own_script_and_no_other(html):
    [script] = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html


def test_every_table_has_a_caption_and_every_chart_a_sentence(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") == tags.count("tbody") > 5
    assert tags.count("svg") == tags.count("figure") == tags.count("figcaption")
    assert all(attrs.get("aria-hidden") == "true" for attrs in page.attributes("svg"))


def test_a_mark_says_its_figures_where_a_reader_points_at_it(report, html, page):
    charts = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    t = translator(page.attributes("html")[0]["lang"])
    assert all(t.percent(group.observed.value, 1) in charts for group in report.calibration.bins)
    assert charts.count("<title>") > 50
    assert "aria-label" not in charts


@pytest.mark.parametrize(("rows", "left_out"), [(40, False), (41, True)])
def test_print_leaves_out_long_tables(rows, left_out):
    source = '{% from "parts.html" import folded with context %}{{ folded("all", table) }}'
    table = Table("all", ("name",), tuple((str(i),) for i in range(rows)))
    html = environment().from_string(source).render(table=table, t=translator("en"))
    assert ('<details class="behind long">' in html) == left_out


def test_landmarks_and_language_are_there(html, page):
    tags = [tag for tag, _ in page.tags]
    assert all(tags.count(landmark) == 1 for landmark in ("header", "nav", "main", "footer", "h1"))
    assert html.partition("</head>")[0].count("<title>") == 1
    assert page.attributes("html")[0]["lang"] in html
    assert page.attributes("meta")[0]["charset"] == "utf-8"


def test_headings_skip_no_level(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_charts_use_only_colours_that_the_dark_page_replaces(html):
    colours = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{3,8})"', html))
    assert colours <= set(PALETTE.values())
    assert all(f'[fill="{colour}"]' in html for colour in PALETTE.values())


def attacked():
    """A report in which every text that comes from data is an attack."""
    inputs = report_input(300)
    bad = DisplayText(ATTACK + ": {value}", ATTACK + ": {value}")
    specs = tuple(replace(spec, says=bad, family=ATTACK) for spec in inputs.features.specs)
    industry = pl.col("industry").replace("Software", ATTACK)
    finding = dict.fromkeys(("code", "severity", "column", "message"), ATTACK)
    return replace(
        inputs,
        features=FeatureSet((replace(specs[0], name="industry"), *specs[1:])),
        card=replace(
            inputs.card,
            label=ATTACK,
            created_at=ATTACK,
            recipe=ATTACK,
            candidates={ATTACK: 1.0},
            notes=(ATTACK,),
            libraries={ATTACK: ATTACK},
            findings=(finding,),
        ),
        version=ATTACK,
        explained_rows=inputs.explained_rows.with_columns(industry),
        intake=replace(inputs.intake, quarantined={ATTACK: 1}, excluded={ATTACK: ATTACK}),
    )


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_comes_from_data_stays_text(lang):
    html = render(build_report(attacked()), lang)
    assert ATTACK not in html
    page = Page(html)
    assert page.problems == []
    assert "b" not in {tag for tag, _ in page.tags}
    assert html.count("<script") == len(LANGUAGES) + 2  # sliders, counts, and our own
    assert "alert(" in "".join(page.text)


def test_figures_of_the_report_are_on_the_page(report):
    text = " ".join(" ".join(Page(render(report)).text).split())
    at, t = report.summary.at_capacity, translator("en")
    assert f"best leads first: {t.number(100 * at.rate.value)} of 100 reach" in text
    assert f"Without the model: {t.number(100 * report.summary.base_rate)}." in text
    assert t.interval(report.worth.roc_auc) in text
    assert all(t.rate(group.observed) in text for group in report.calibration.bins)
    assert all(t.number(driver.importance, 1) in text for driver in report.drivers.features)


def test_a_model_that_finds_nothing_is_not_praised(report):
    rate = Interval(report.summary.base_rate, 0.0, 1.0)
    at = replace(report.summary.at_capacity, rate=rate, lift=1.0)
    dull = replace(report, summary=replace(report.summary, at_capacity=at))
    assert "do not convert more often than leads at random beyond chance" in render(dull)


def test_a_flat_export_says_first_that_time_is_unproven():
    text = " ".join(Page(render(build_report(report_input(300, time_ordered=False)))).text)
    assert text.index("The data have no usable dates") < text.index("ROC AUC")
    assert "the data have no dates" in text


def test_an_example_sentence_is_the_one_the_service_says(report):
    text = " ".join(Page(render(report, "de")).text)
    assert "„Branche: Software“" in text


def test_every_check_has_a_title_in_the_catalogue_and_no_other_has():
    titles = {key for key in parse_po(read_sources("en")["checks.po"]) if key.startswith("checks.")}
    assert titles == {f"checks.{code}" for code in (*CHECKS, *ORIGINS, *AHEAD)}


@pytest.mark.parametrize(
    ("lang", "says"),
    [("en", "known outcome, not used: 1,234"), ("de", "bekanntes Ergebnis, nicht verwendet: 1.234")],
)
def test_the_card_says_what_was_checked_and_who_is_left_out(report, lang, says):
    check = {"code": "LC999", "title": "no <b>leak</b>", "outcome": "not applicable", "reason": "no dates"}
    card = replace(report.card, checks=(check,), left_out={"immature": 1234, "unreadable": 0})
    text = " ".join(Page(render(replace(report, card=card), lang)).text)
    assert says in text
    assert "no <b>leak</b>" in text
    assert translator(lang)("outcomes.not_applicable") in text


def test_an_unknown_language_is_refused(report):
    with pytest.raises(ValueError, match="no report in 'fr'"):
        render(report, "fr")
