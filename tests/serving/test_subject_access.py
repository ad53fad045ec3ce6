"""The sheet for the person that a lead is: complete, in words, in both languages, and safe to print."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import get_args

import pytest
from log_entries import NASTY, in_transaction, log_decisions, make_decision, make_outcome
from service_client import start_client
from sqlalchemy import update
from typer.testing import CliRunner

from features.clock import DAY
from leadloop import app
from models.explanation import Reason
from models.handover_selection import HandoverRequest
from models.uncertainty import InsufficientEvidence
from serving.decision_log import handovers
from serving.decision_log.database import open_log, writing
from serving.decision_log.overrides import add_override
from serving.decision_log.records import Outcome, Override
from serving.decision_log.statements import add_outcomes
from serving.decision_log.tables import WEBHOOK_MESSAGES
from serving.lead_store.events import add_events
from serving.lead_store.records import EventRow
from serving.subject_access import (
    Controller,
    SheetContext,
    read_subject_records,
    subject_access_sheet,
)
from serving.webhooks.outbox import NewMessage, add_messages
from serving.webhooks.settings import EventType

NOW = 20_000 * DAY
ACME = Controller("Acme GmbH, Berlin", "privacy@acme.example")


@pytest.fixture
def place(tmp_path):
    """Both databases keep every other law of the log; here one is enough."""
    return str(tmp_path / "decisions.db")


@pytest.fixture
def log(place):
    opened = writing(open_log(place))
    yield opened
    opened.dispose()


def text_of(sheet):
    lines = []
    for section in sheet.sections:
        lines += [section.title, *section.sentences, *(" | ".join(row) for row in section.rows)]
    return "\n".join(lines)


def sheet_of(log, lead_id="0012", lang="en", **changed):
    context = SheetContext(**{"controller": ACME, "keep_days": 365, "now": NOW, "lang": lang} | changed)
    return subject_access_sheet(read_subject_records(log, lead_id), context)


def test_what_the_store_knows_is_on_the_sheet_and_nothing_of_colleagues(log):
    rows = [
        EventRow(
            "l1", "lead", "0012", "acme", 0, 0, json.dumps({"industry": "machinery", "newsletter": True})
        ),
        EventRow(
            "l2", "lead", "0012", "acme", 0, 5 * DAY, json.dumps({"industry": "public", "newsletter": None})
        ),
        EventRow("l3", "lead", "7", "acme", 0, 0, json.dumps({"industry": "secret"})),
        EventRow(
            "t1",
            "touchpoint",
            "0012",
            None,
            2 * DAY,
            2 * DAY,
            json.dumps({"kind": "webinar", "channel": "mail"}),
        ),
        EventRow("t2", "touchpoint", "7", None, 2 * DAY, 2 * DAY, json.dumps({"kind": "hidden_visit"})),
        EventRow(
            "a1", "attribute", "0012", None, None, 3 * DAY, json.dumps({"name": "Budget", "value": 20000})
        ),
    ]
    in_transaction(log, add_events, rows, "", time.time())
    for lang in ("en", "de"):
        text = text_of(sheet_of(log, lang=lang))
        assert "industry | public" in text
        assert "newsletter" in text
        assert "webinar | channel: mail" in text
        assert "Budget | value: 20000" in text
        assert "hidden_visit" not in text
        assert "secret" not in text
    assert len(sheet_of(log).sections) == 11
    assert len(sheet_of(log, "nobody").sections) == 9


def test_messages_that_were_not_delivered_are_on_the_sheet(log):
    kinds = get_args(EventType)
    new = [NewMessage("sales", "", "0012", kind, "{}") for kind in kinds]
    in_transaction(log, add_messages, [*new, NewMessage("sales", "", "7", kinds[0], "{}")], NOW)
    with log.begin() as connection:
        own = WEBHOOK_MESSAGES.c.type == "score.stale"
        connection.execute(update(WEBHOOK_MESSAGES).where(own).values(given_up=1))
    for lang, title, states in (
        ("en", "Messages to other programs", ("waits to be delivered", "could not be delivered")),
        ("de", "Nachrichten an andere Programme", ("wartet auf Zustellung", "nicht zustellbar")),
    ):
        (section,) = (each for each in sheet_of(log, lang=lang).sections if each.title == title)
        assert [row[3] for row in section.rows].count(states[0]) == len(kinds) - 1
        assert [row[3] for row in section.rows].count(states[1]) == 1
        assert len({row[2] for row in section.rows}) == len(kinds)
        assert not any("subject-access" in cell for row in section.rows for cell in row)


def test_all_that_is_held_is_said_in_both_languages(log):
    why = (Reason("visits", "behaviour", 3.0, 0.4, 12.0, "Visits: 3", None),)
    log_decisions(log, make_decision(reasons=why), make_decision("other"), now=NOW - 3 * DAY)
    log_decisions(log, make_decision(probability=0.5), shadow=True, now=NOW - 2 * DAY)
    by_person = Outcome("k1", "0012", "rejected", "no budget", NOW - DAY, decided_by="person")
    in_transaction(log, add_outcomes, [by_person, make_outcome("k2", "0012", "lost", NOW)], NOW)
    english, german = text_of(sheet_of(log)), text_of(sheet_of(log, lang="de"))
    for part in ("Acme GmbH, Berlin", "privacy@acme.example", "v1", "no budget", "Visits: 3", "industry"):
        assert part in english
        assert part in german
    for part in ("25.0%", "+12.0 points", "after 365 days", "rejected | a person", "no sale | not recorded"):
        assert part in english
    for part in (
        "25,0\xa0%",
        "+12,0 Punkte",
        "nach 365 Tagen",
        "abgelehnt | einem Menschen",
        "Art. 22 DSGVO",
    ):
        assert part in german
    assert "trial of another model" in english
    assert len(sheet_of(log).sections) == 9


def test_of_a_lead_that_nobody_knows_it_says_that_nothing_is_held(log):
    sheet = text_of(sheet_of(log, "nobody", keep_days=None, controller=Controller()))
    assert "No data about this lead" in sheet
    assert "until somebody deletes them" in sheet
    assert "LEADLOOP_CONTROLLER" in sheet


def test_a_number_that_was_withheld_is_told_to_whom_it_is_about(log):
    few = InsufficientEvidence("too_few_outcomes", None, "Too few.")
    log_decisions(log, make_decision(insufficient=few), now=NOW)
    assert "It was not passed on" in text_of(sheet_of(log))


def test_lists_and_the_control_group_are_named(log):
    log_decisions(log, *[make_decision(f"lead {n}", probability=0.9 - n / 100) for n in range(40)], now=NOW)
    wish = HandoverRequest(NOW, 10, 0.5, control_share=0.3)
    selection = handovers.select_handover(log, wish)
    in_transaction(log, handovers.add_handover, wish, selection)
    on_it, left_out = selection.leads[0].candidate.lead_id, selection.control[0].candidate.lead_id
    assert "on the list, for its score" in text_of(sheet_of(log, on_it))
    assert "left off at random" in text_of(sheet_of(log, left_out))
    listed = {lead.candidate.lead_id for lead in (*selection.leads, *selection.control)}
    other = next(f"lead {n}" for n in range(40) if f"lead {n}" not in listed)
    assert "on no call list" in text_of(sheet_of(log, other))


def test_what_people_decided_about_call_lists_is_named_with_its_reason(log):
    log_decisions(log, make_decision(), make_decision("other"), now=NOW)
    for lead_id, action, reason in [
        ("0012", "hand_over", "met them at the fair"),
        ("0012", "withdraw", "they bought elsewhere"),
        ("other", "take_off", "their own affair"),
    ]:
        override = Override(lead_id, action, reason, "anna@acme.example", NOW, NOW + DAY)
        assert in_transaction(log, add_override, override, time.time())
    english, german = text_of(sheet_of(log)), text_of(sheet_of(log, lang="de"))
    assert "put on a list by hand | a person | met them at the fair" in english
    assert "earlier decision withdrawn | a person | they bought elsewhere" in english
    assert "von Hand auf eine Liste gesetzt | einem Menschen | met them at the fair" in german
    assert "their own affair" not in english


def test_nothing_that_a_lead_or_a_crm_writes_becomes_html(log):
    row = {f"column {n} {text}": text for n, text in enumerate(NASTY)}
    log_decisions(log, make_decision("<b>x", row), now=NOW)
    outcome = Outcome("k1", "<b>x", "rejected", "<img src=x onerror=alert(1)>", NOW)
    in_transaction(log, add_outcomes, [outcome], NOW)
    page = sheet_of(log, "<b>x").to_html()
    assert "<script>" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "&lt;img src=x" in page
    assert "http" not in page


def test_the_same_model_gives_the_reasons_in_the_language_of_the_sheet(place, by_hand, lead):
    with ExitStack() as stack:
        client = start_client(by_hand, place, stack, LEADLOOP_CONTROLLER="Acme GmbH")
        client.post("/v1/score", json={"leads": [lead]})
        report = {
            "key": "k",
            "lead_id": lead["lead_id"],
            "outcome": "won",
            "occurred_at": "2026-05-06T09:00:00Z",
        }
        sent = client.post("/v1/outcomes", json={"outcomes": [report | {"decided_by": "person"}]})
        assert sent.json()["results"][0]["status"] == "recorded"
        address = f"/v1/leads/{lead['lead_id']}/subject-access"
        sheet = client.get(address, params={"lang": "de"}).json()
        assert sheet["lang"] == "de"
        words = json.dumps(sheet, ensure_ascii=False)
        assert "Acme GmbH" in words
        assert "Branche" in words
        assert "einem Menschen" in words
        page = client.get(address, params={"format": "html"})
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-store"
        assert "sandbox" in page.headers["content-security-policy"]
        assert "<h1>What we hold about lead" in page.text
        refused = client.get(address, params={"lang": "fr"})
        assert (refused.status_code, refused.json()["field"]) == (400, "lang")
        unknown = client.get(address, params={"language": "de"})
        assert (unknown.status_code, unknown.json()["code"]) == (400, "unknown_field")
        assert client.delete(address).status_code == 405


def test_the_command_writes_json_or_a_page(log, place, tmp_path):
    log_decisions(log, make_decision(), now=NOW)
    words = ["log", "subject-access", "--lead", "0012", "--log", place]
    result = CliRunner().invoke(app, words)
    assert json.loads(result.stdout)["lead_id"] == "0012"
    page = tmp_path / "sheet.html"
    result = CliRunner().invoke(app, [*words, "--lang", "de", "--html", str(page)])
    assert result.exit_code == 0, result.output
    assert '<html lang="de">' in page.read_text(encoding="utf-8")


def test_who_decided_an_outcome_is_kept_and_may_be_left_out(log):
    told = Outcome("k1", "0012", "rejected", "no", NOW, decided_by="person")
    statuses = [in_transaction(log, add_outcomes, [each], NOW)[0] for each in (told, told)]
    assert statuses == ["recorded", "repeated"]
    assert [outcome.decided_by for outcome in read_subject_records(log, "0012").outcomes] == ["person"]
