"""What ingest and checks say in English is German on the German page, also of a report that is read back."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from report_inputs import report_input

from features import messages
from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from features.messages import Message, load_translations, read_sources
from training.data.dataset import from_history
from training.leakage.checks import run_checks, sorted_findings, to_dict
from training.report.report import Report, build_report
from training.report.sections.data_health import view
from training.report.translator import translator
from training.simulation.simulator import simulate


@pytest.fixture(scope="module")
def company():
    """The checks on a company whose data leak."""
    rule = CohortRule(on=("created", "mql"), every=30 * DAY, closed=("sql", "disqualified"))
    return run_checks(
        from_history(simulate(600, seed=3, leak=True).history, rule, LabelSpec("sql", 60 * DAY))
    )


@pytest.fixture
def reported(company):
    """A report on what these checks and ingest texts."""
    inputs, texts = report_input(300), to_dict(company)
    card = replace(inputs.card, findings=tuple(texts["findings"]), checks=tuple(texts["checks"]))
    table, reason = Message("tables.touchpoints"), Message("ingest.no_such_lead")
    why = Message("availability.unused", role=Message("roles.identifier"), reason=Message("columns.emails"))
    intake = replace(
        inputs.intake,
        quarantined={Message("ingest.of_table", table=table, reason=reason): 3},
        excluded={"Mail": why},
    )
    return build_report(replace(inputs, card=card, intake=intake))


def german_of(report):
    """The tables of what ingest and checks texts, as the German page shows them."""
    page_text = view(report, translator("de"))
    return [page_text[name].rows for name in ("quarantined", "excluded", "findings")]


def test_whatever_the_checks_say_of_a_company_is_german(company):
    texts = [finding.message for finding in sorted_findings(company)] + [
        check.reason for check in company if check.reason
    ]
    texts += [check.title for check in company]
    assert len(texts) > 20
    assert [text for text in texts if text.render("de") == text] == []


def test_the_german_page_is_german(reported):
    quarantined, excluded, hits = german_of(reported)
    assert quarantined == (("Touchpoints: kein solcher Lead", "3"),)
    assert excluded == (("Mail", "Kennung: E-Mail-Adressen"),)
    assert hits
    assert {row[3] for row in hits} & {note.message for note in reported.health.findings} == set()


def test_a_report_that_is_read_back_says_the_same(reported):
    again = Report.from_json(reported.to_json())
    assert again == reported
    assert german_of(again) == german_of(reported)


def test_a_report_with_the_english_of_yesterday_keeps_its_german(reported, monkeypatch):
    json, german = reported.to_json(), german_of(reported)

    def reworded(lang):
        texts = read_sources(lang)
        if lang == "en":
            return {
                name: re.sub(r'(?m)^(msgstr )"(?=.)', r'\1"Reworded: ', item) for name, item in texts.items()
            }
        return texts

    monkeypatch.setattr(messages, "read_sources", reworded)
    load_translations.cache_clear()
    try:
        assert Message("ingest.no_such_lead") == "Reworded: no such lead"
        assert german_of(Report.from_json(json)) == german
    finally:
        load_translations.cache_clear()


def test_a_text_without_a_message_stays_as_it_is(reported):
    assert reported.translate("something of another release", "de") == "something of another release"
    later = replace(reported, messages={"news": {"key": "findings.of_tomorrow", "values": {}}})
    assert later.translate("news", "de") == "news"
