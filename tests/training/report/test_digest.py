"""The digest is an e-mail that any program shows, and says only what changed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from report_inputs import report_input

from features.messages import LANGUAGES
from features.spec import DisplayText, attribute
from training.report import digest, report_changes
from training.report.digest import make_digest
from training.report.report import build_report
from training.report.report_changes import ReportChange, ReportChanges

ATTACK = "<script>alert(1)</script>"
SPEC = attribute("first_channel", family="channel", says=DisplayText("Came by {value}", "Kam über {value}"))
CHANGES = tuple(
    ReportChange(kind, before, now, 0.001, SPEC, ATTACK, 120)
    for kind in ("conversion", "channel", "mix", "ranking", "called", "gap", "missing")
    for before, now in ((0.1, 0.2), (0.2, 0.1))
)


@pytest.fixture(scope="module")
def report():
    return build_report(report_input(300))


@pytest.fixture(params=LANGUAGES)
def made(request, report, monkeypatch):
    """The digest of every kind of change, in a language."""
    monkeypatch.setattr(digest, "compare_reports", lambda *_: ReportChanges(20, CHANGES))
    return make_digest(report, report, request.param), request.param


def test_every_change_has_its_sentence_in_html_and_text(made):
    result, lang = made
    html, text = result.to_html(lang), result.to_text()
    assert len(result.rows) == len({sentence for sentence, _, _ in result.rows}) == len(CHANGES)
    for sentence, before, now in result.rows:
        assert sentence in text
        assert f">{before}</td>" in html
        assert f"<strong>{now}</strong>" in html


def test_a_mail_program_can_show_it(made):
    result, lang = made
    html = result.to_html(lang)
    assert len(html.encode()) < 100_000
    assert not re.search(
        r"<script|<style|<link|<img|https?:|url\(|class=|@import|display:\s*(?:grid|flex)", html
    )
    assert all("style=" in tag for tag in re.findall(r"<(?:td|h1|p)\b[^>]*>", html))
    assert ATTACK not in html


@pytest.mark.parametrize("lang", LANGUAGES)
def test_nothing_changed_is_a_digest(report, lang):
    result = make_digest(report, report, lang)
    assert result.rows == ()
    assert result.subject in result.to_text()
    assert result.subject in result.to_html(lang)
    assert "<th" not in result.to_html(lang)


def test_a_digest_names_the_days_of_both_reports(report):
    before = replace(report, card=replace(report.card, created_at="2026-10-01T00:00:00+00:00"))
    assert "21 November 2026, compared with that of 1 October 2026" in make_digest(before, report).since


def test_the_comparison_is_the_one_of_the_analysis():
    assert digest.compare_reports is report_changes.compare_reports
