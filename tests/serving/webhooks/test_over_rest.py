"""POST /v1/webhooks/{source} and the messages that go out, over HTTP: who is believed, and what is stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from service_client import start_client
from standardwebhooks.webhooks import Webhook
from webhook_receiver import receiver

from serving.middleware.api_keys import create_key
from serving.webhooks.signatures import new_secret

CREATED = 1_777_000_000
SECRET, CLIENT_SECRET, PASSWORD = new_secret(), "hub-client-secret", "odoo-password-of-24-chars"
ADDRESS = "https://leads.example/v1/webhooks/hubspot"


@pytest.fixture(scope="module")
def receiving():
    with receiver() as (url, requests):
        yield url, requests


@pytest.fixture(scope="module")
def client(by_hand, tmp_path_factory, receiving):
    folder = tmp_path_factory.mktemp("webhooks")
    (folder / "webhooks.toml").write_text(
        f'[outgoing.sales]\nurl = "{receiving[0]}"\nsecret_env = "SIGNS"\nallow_private = true\n'
        '[incoming.signed]\nrecipe = "generic"\nproof = "standard"\nsecret_env = "SIGNS"\ntenant = "acme"\n'
        f'[incoming.hubspot]\nrecipe = "hubspot"\nproof = "hubspot"\nsecret_env = "HUB"\nurl = "{ADDRESS}"\n'
        '[incoming.odoo]\nrecipe = "odoo"\nproof = "basic"\nsecret_env = "ODOO"\n'
        '[incoming.odoo.words.stage]\n"2" = "mql"\n'
        '[incoming.salesforce]\nrecipe = "salesforce"\n'
    )
    keys = folder / "keys.json"
    tokens = {name: create_key(keys, name, [name]) for name in ("events", "score", "outcomes", "handover")}
    with ExitStack() as stack:
        started = start_client(
            by_hand,
            str(folder / "decisions.db"),
            stack,
            LEADLOOP_KEYS=str(keys),
            LEADLOOP_RESCORE="on",
            LEADLOOP_WEBHOOKS=str(folder / "webhooks.toml"),
            SIGNS=SECRET,
            HUB=CLIENT_SECRET,
            ODOO=PASSWORD,
        )
        started.tokens = tokens
        yield started


def bearer(client, scope):
    return {"authorization": f"Bearer {client.tokens[scope]}"}


def post(client, source, body, headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/v1/webhooks/{source}", content=content, headers=headers)


def signed(body, at=None, secret=SECRET):
    moment = datetime.fromtimestamp(at or time.time(), UTC)
    content = json.dumps(body)
    return content.encode(), {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", moment, content),
    }


def lead(lead_id):
    return {"type": "lead", "id": lead_id, "lead_id": lead_id, "created_at": CREATED}


def test_good_items_are_stored_and_bad_ones_are_answered_in_their_place(client):
    body = {
        "events": [lead("ada"), lead("bob") | {"created_at": "yesterday"}, {"type": "visit"}, lead("cleo")]
    }
    content, headers = signed(body)
    answer = post(client, "signed", content, headers)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(each["item"], each["id"], each["status"]) for each in results] == [
        ("events[0]", "signed-ada", "accepted"),
        ("events[1]", "signed-bob", "rejected"),
        ("events[2]", None, "ignored"),
        ("events[3]", "signed-cleo", "accepted"),
    ]
    assert results[1]["error"]["field"] == "created_at"
    # Sent again within the window it adds nothing.
    again = post(client, "signed", content, headers).json()["results"]
    assert [each["status"] for each in again] == ["duplicate", "rejected", "ignored", "duplicate"]


def test_the_leads_of_a_source_are_its_tenants(client):
    content, headers = signed({"events": [lead("dora")]})
    assert post(client, "signed", content, headers).status_code == 200
    answer = client.post("/v1/score", json={"lead_ids": ["dora"]}, headers=bearer(client, "score"))
    assert answer.json()["results"][0]["error"]["code"] == "unknown_lead"


BODY = {"events": [lead("eve")]}


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers | {"webhook-signature": "v1,AAAA"},
        lambda headers: headers | {"webhook-signature": "nonsense"},
        lambda headers: headers | {"webhook-signature": "v1,é"},
        lambda headers: headers | {"webhook-id": "msg_2"},
        lambda _: {},
        lambda _: signed(BODY, time.time() - 301)[1],
        lambda _: signed(BODY, time.time() + 301)[1],
        lambda _: signed(BODY, secret=new_secret())[1],
        lambda _: {"authorization": "Basic bWU6cHc="},
    ],
)
def test_a_message_that_does_not_show_who_sent_it_is_refused(client, change):
    content, headers = signed(BODY)
    raw = {name: value.encode() for name, value in change(headers).items()}
    answer = post(client, "signed", content, raw)
    assert (answer.status_code, answer.json()["code"]) == (401, "signature_invalid")
    assert post(client, "signed", content + b" ", headers).status_code == 401


def hubspot_headers(content, at=None, secret=CLIENT_SECRET, address=ADDRESS):
    stamp = str(int((at or time.time()) * 1000))
    text = f"POST{address}".encode() + content + stamp.encode()
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return {
        "x-hubspot-request-timestamp": stamp,
        "x-hubspot-signature-v3": base64.b64encode(digest).decode(),
    }


def test_hubspots_third_signature_counts_for_its_address_and_for_five_minutes(client):
    event = {"subscriptionType": "contact.creation", "objectId": 7, "occurredAt": CREATED * 1000}
    content = json.dumps([event]).encode()
    answer = post(client, "hubspot", content, hubspot_headers(content))
    assert [each["status"] for each in answer.json()["results"]] == ["accepted"]
    for headers in (
        hubspot_headers(content, time.time() - 301),
        hubspot_headers(content, secret="other"),  # noqa: S106  # nobody's
        hubspot_headers(content, address="https://elsewhere.example/v1/webhooks/hubspot"),
        {**hubspot_headers(content), "x-hubspot-request-timestamp": "soon"},
        {},
    ):
        refused = post(client, "hubspot", content, headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "signature_invalid")


ODOO = {
    "_model": "crm.lead", "_id": 42, "_action": "a(#1)", "create_date": "2026-01-05 09:00:00",
    "write_date": "2026-01-06 10:00:00", "stage_id": 2, "date_last_stage_update": "2026-01-06 10:00:00",
}  # fmt: skip


def basic(password):
    return {"authorization": "Basic " + base64.b64encode(f"leadloop:{password}".encode()).decode()}


def test_odoo_shows_who_it_is_by_the_password_in_its_url(client):
    answer = post(client, "odoo", ODOO, basic(PASSWORD))
    assert [each["status"] for each in answer.json()["results"]] == ["accepted", "accepted"]
    for headers in (basic("other"), {}, {"authorization": "Basic %%%"}, bearer(client, "score")):
        assert post(client, "odoo", ODOO, headers).status_code == 401


def test_what_came_by_webhook_is_the_lead_that_events_make(client):
    post(client, "odoo", ODOO | {"_id": 43}, basic(PASSWORD))
    moments = {"created_at": 1767603600, "known_at": 1767693600}
    events = [
        {"id": "e1", "type": "lead", "lead_id": "same", **moments},
        {"id": "e2", "type": "transition", "lead_id": "same", "occurred_at": 1767693600, "stage": "mql"},
    ]
    client.post("/v1/events", json={"events": events}, headers=bearer(client, "events"))
    body = {"lead_ids": ["43", "same"], "as_of": 1767800000}
    first, second = client.post("/v1/score", json=body, headers=bearer(client, "score")).json()["results"]
    assert first | {"lead_id": "same"} == second
    assert "probability" in first


def test_a_source_without_a_signature_takes_a_key_that_may_send_events(client):
    soap = (
        b'<E><Body><notifications><Notification><sObject type="sf:Lead"><Id>00Q1</Id>'
        b"<CreatedDate>2026-01-05T09:00:00.000Z</CreatedDate></sObject></Notification></notifications></Body></E>"
    )
    answer = post(client, "salesforce", soap, bearer(client, "events") | {"content-type": "text/xml"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert "<Ack>true</Ack>" in answer.text
    scored = client.post("/v1/score", json={"lead_ids": ["00Q1"]}, headers=bearer(client, "score")).json()
    assert "probability" in scored["results"][0]
    assert post(client, "salesforce", soap, bearer(client, "score")).status_code == 403
    assert post(client, "salesforce", soap, {}).status_code == 401


@pytest.mark.parametrize(
    ("source", "body", "status", "code"),
    [
        ("nobody", b"{}", 404, "unknown_source"),
        ("salesforce", b"{}", 400, "unmapped_body"),
        ("salesforce", b"<E><Body><n/></Body></E>", 400, "unmapped_body"),
        ("salesforce", b"x" * 1_048_577, 413, "body_too_large"),
    ],
)
def test_what_cannot_be_read_at_all_is_a_problem(client, source, body, status, code):
    answer = post(client, source, body, bearer(client, "events"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_outcome_and_a_hand_over_are_told_signed_once_they_are_recorded(client, receiving):
    _, requests = receiving
    leads = {"leads": [{"lead_id": f"told-{n}", "attributes": {"employees": 10 * n}} for n in range(1, 4)]}
    client.post("/v1/score", json=leads, headers=bearer(client, "score"))
    report = {"key": "o1", "lead_id": "told-1", "outcome": "won", "occurred_at": CREATED}
    client.post("/v1/outcomes", json={"outcomes": [report]}, headers=bearer(client, "outcomes"))
    client.post("/v1/handover", json={"capacity": 2}, headers=bearer(client, "handover"))
    deadline = time.monotonic() + 20
    while len(requests) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    verified = [Webhook(SECRET).verify(body, headers) for _, headers, body in requests]
    kinds = [(each["type"], each["data"]["lead_id"]) for each in verified]
    assert ("outcome.recorded", "told-1") in kinds
    handed = [each["data"] for each in verified if each["type"] == "lead.handed_over"]
    assert {each["rank"] for each in handed} == {1, 2}
    assert all(each["decision"] for each in handed)


def test_a_lead_that_comes_by_webhook_and_is_scored_in_the_background_is_told_with_its_grade(
    client, receiving
):
    """The whole way: a message comes in, its lead is scored, and one with score and reasons goes out."""
    _, requests = receiving
    now = int(time.time())
    attributes = {"industry": "machinery", "employees": 120}
    new = {"type": "lead", "lead_id": "fresh", "created_at": now - 60, "attributes": attributes}
    content, headers = signed({"events": [new]})
    assert post(client, "signed", content, headers).status_code == 200
    deadline = time.monotonic() + 30
    while not (told := [body for *_, body in requests if b'"fresh"' in body]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    message = json.loads(told[0])
    assert (message["type"], message["data"]["tenant"]) == ("score.grade_entered", "acme")
    scored = client.get("/v1/leads/fresh", headers=bearer(client, "score"))
    assert scored.status_code == 404
    assert message["data"]["before"] is None
    assert len(message["data"]["reasons"]) == 3
    assert message["data"]["decision"]


def test_a_service_without_keys_takes_signed_messages_from_elsewhere_and_no_others(by_hand, tmp_path):
    (tmp_path / "webhooks.toml").write_text(
        '[incoming.signed]\nrecipe = "generic"\nproof = "standard"\nsecret_env = "SIGNS"\n'
        '[incoming.plain]\nrecipe = "generic"\n'
    )
    webhooks = str(tmp_path / "webhooks.toml")
    with ExitStack() as stack:
        keyless = start_client(
            by_hand, str(tmp_path / "log.db"), stack, LEADLOOP_WEBHOOKS=webhooks, SIGNS=SECRET
        )
        elsewhere = {"x-forwarded-for": "203.0.113.9"}
        content, headers = signed({"events": [lead("ada")]})
        assert post(keyless, "signed", content, headers | elsewhere).status_code == 200
        codes = [
            post(keyless, source, content, elsewhere).json()["code"] for source in ("signed", "plain", "none")
        ]
        assert codes == ["signature_invalid", "keys_required", "keys_required"]
        assert keyless.get("/v1/webhooks/signed", headers=elsewhere).json()["code"] == "keys_required"
        assert post(keyless, "plain", content, {}).status_code == 200
