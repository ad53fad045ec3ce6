"""The lead store over HTTP: events one by one, leads by id, and a lead as a person reads it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from service_client import start_client

from features.clock import DAY
from models.next_offers import NextOffer, NextOffers, OfferHistory

CREATED = 1_777_000_000


NEXT = NextOffers(
    60.0, {"guide": OfferHistory(30, (NextOffer("webinar", None, 20, 15, 3, 0.2, 0.07, 0.45),))}
)


@pytest.fixture(scope="module")
def client(by_hand, tmp_path_factory):
    with ExitStack() as stack:
        yield start_client(
            replace(by_hand, next_offers=NEXT), str(tmp_path_factory.mktemp("log") / "decisions.db"), stack
        )


def send(client, *events):
    answer = client.post("/v1/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def lead_event(lead_id, event_id=None, **fields):
    row = {"id": event_id or f"lead-{lead_id}", "type": "lead", "lead_id": lead_id, "created_at": CREATED}
    return row | fields


def visit(lead_id, event_id, at, **fields):
    return {
        "id": event_id,
        "type": "touchpoint",
        "lead_id": lead_id,
        "occurred_at": at,
        "kind": "visit",
    } | fields


def statuses(results):
    return [result["status"] for result in results]


def test_a_bad_event_is_answered_in_its_own_place_and_the_good_ones_are_stored(client):
    results = send(
        client,
        lead_event("good"),
        visit("good", "g1", CREATED + 5),
        visit("good", "g2", "yesterday"),
        visit("good", "g3", CREATED + 5, chanel="ads"),
        visit("good", "g4", int(time.time()) + DAY),
        {"id": "g5", "type": "tuchpoint", "lead_id": "good"},
        {"id": "g6", "lead_id": "good"},
        "no event",
    )
    assert statuses(results) == ["accepted"] * 2 + ["rejected"] * 6
    errors = [(result["id"], result["error"]["code"], result["error"]["field"]) for result in results[2:]]
    assert errors == [
        ("g2", "invalid_value", "occurred_at"),
        ("g3", "unknown_field", "chanel"),
        ("g4", "in_the_future", "occurred_at"),
        ("g5", "invalid_value", "type"),
        ("g6", "missing_field", "type"),
        (None, "invalid_value", ""),
    ]
    assert "did you mean 'channel'?" in results[3]["error"]["message"]


def test_an_event_sent_again_counts_once_and_its_id_stands_for_no_other(client):
    first = send(
        client, lead_event("once"), visit("once", "o1", CREATED + 5), visit("once", "o1", CREATED + 5)
    )
    assert statuses(first) == ["accepted", "accepted", "duplicate"]
    again = send(client, visit("once", "o1", CREATED + 5), visit("once", "o1", CREATED + 6))
    assert statuses(again) == ["duplicate", "rejected"]
    assert (again[1]["error"]["code"], again[1]["error"]["field"]) == ("key_conflict", "id")


def full(lead, account):
    """The same lead as a request holds it, from its events and those of its colleague."""
    return lead | {"as_of": CREATED + 30 * DAY, "account": account}


def test_a_lead_by_its_id_is_the_same_lead_sent_in_full(client):
    attributes = {"industry": "machinery", "employees": 120, "business_email": True}
    colleague = {"occurred_at": CREATED + 7, "kind": "visit"}
    send(
        client,
        {"id": "acc", "type": "account", "account_id": "acme", "attributes": {"region": "north"}},
        # What this model does not know is kept for another one.
        lead_event("full", account_id="acme", attributes=attributes | {"shoe size": 46}),
        lead_event("peer", account_id="acme"),
        visit("full", "f1", CREATED + 5, channel="ads", amount=5),
        visit("peer", "f2", CREATED + 7),
        {"id": "f3", "type": "transition", "lead_id": "full", "occurred_at": CREATED + 9, "stage": "mql"},
        {
            "id": "f4",
            "type": "attribute",
            "lead_id": "full",
            "known_at": CREATED + 9,
            "name": "Need",
            "value": "urgent",
        },
    )
    in_full = {
        "lead_id": "full",
        "created_at": CREATED,
        "attributes": attributes,
        "attribute_history": [{"name": "Need", "known_at": CREATED + 9, "value": "urgent"}],
        "touchpoints": [{"occurred_at": CREATED + 5, "kind": "visit", "channel": "ads", "amount": 5}],
        "transitions": [{"occurred_at": CREATED + 9, "stage": "mql"}],
    }
    account = {"attributes": {"region": "north"}, "touchpoints": [colleague | {"lead_id": "peer"}]}
    for path in ("/v1/score", "/v1/explain"):
        by_id = client.post(path, json={"lead_ids": ["full"], "as_of": CREATED + 30 * DAY})
        sent = client.post(path, json={"leads": [full(in_full, account)]})
        assert by_id.status_code == 200
        assert by_id.json() == sent.json()


def test_an_id_that_is_none_is_answered_alone_with_the_one_that_is_meant(client):
    send(client, lead_event("00123"))
    answer = client.post("/v1/score", json={"lead_ids": ["00123", "123", "nobody", 5]}).json()["results"]
    assert answer[0]["lead_id"] == "00123"
    assert [(each["lead_id"], each["error"]["code"]) for each in answer[1:]] == [
        ("123", "unknown_lead"),
        ("nobody", "unknown_lead"),
        (None, "invalid_value"),
    ]
    assert "did you mean '00123'?" in answer[1]["error"]["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"leads": [{"lead_id": "a"}], "lead_ids": ["a"]}, "lead_ids"),
        ({"leads": [{"lead_id": "a"}], "as_of": CREATED}, "as_of"),
        ({}, "leads"),
    ],
)
def test_a_request_holds_leads_or_ids(client, body, field):
    answer = client.post("/v1/score", json=body)
    assert answer.status_code == 400
    assert answer.json()["field"] == field


def test_ids_in_a_large_body_are_read_in_pieces(client):
    send(client, lead_event("piece"))
    lead_ids = ["piece", *("é" * 180 + str(i) for i in range(900))]
    answer = client.post("/v1/score", json={"lead_ids": lead_ids})
    assert answer.status_code == 200
    assert answer.json()["results"][0]["probability"] is not None
    assert len(answer.json()["results"]) == 901


def test_a_lead_without_as_of_is_scored_as_of_now(client):
    send(client, lead_event("now"))
    (result,) = client.post("/v1/score", json={"lead_ids": ["now"]}).json()["results"]
    assert abs(result["as_of"] - time.time()) < 60


def test_a_lead_is_shown_with_its_trend_its_timeline_and_what_changed(client):
    now = int(time.time())
    send(
        client,
        lead_event("seen", created_at=now - 20 * DAY, attributes={"industry": "machinery"}),
        visit("seen", "s1", now - 15 * DAY),
        {
            "id": "s2",
            "type": "touchpoint",
            "lead_id": "seen",
            "occurred_at": now - DAY,
            "kind": "demo_request",
        },
    )
    answer = client.get("/v1/leads/seen", params={"top": 3, "lang": "de"})
    assert answer.status_code == 200, answer.text
    lead = answer.json()
    assert [event["what"] for event in lead["timeline"]] == ["demo_request", "visit"]
    assert [point["as_of"] for point in lead["trend"]] == [
        lead["result"]["as_of"] - weeks * 7 * DAY for weeks in (2, 1, 0)
    ]
    assert lead["trend"][-1]["probability"] == lead["result"]["probability"]
    assert lead["trend"][-2]["probability"] == lead["result"]["change"]["since"]["probability"]
    assert len(lead["result"]["reasons"]) == 3
    assert client.get("/v1/leads/seen/decisions").json()["decisions"][0]["as_of"] == lead["result"]["as_of"]


def test_a_lead_is_shown_with_what_is_missing_and_what_similar_leads_took_next(client):
    now = int(time.time())
    send(
        client,
        lead_event("lacks", created_at=now - 20 * DAY, attributes={"industry": "machinery"}),
        visit("lacks", "k1", now - 15 * DAY, offer="guide", offer_stage="awareness"),
        visit("lacks", "k2", now - 19 * DAY, offer="demo"),
    )
    lead = client.get("/v1/leads/lacks").json()
    missing = [(fact["name"], fact["kind"]) for fact in lead["missing"]]
    assert missing[:4] == [
        ("Budget", "qualification"),
        ("Need", "qualification"),
        ("business_email", "contact"),
        ("consent", "consent"),
    ]
    assert "industry" not in [name for name, _ in missing]
    assert lead["next_offers"] == {
        "by": "offer",
        "name": "guide",
        "leads": 30,
        "days": 60.0,
        "offers": [
            {
                "offer": "webinar",
                "offer_stage": None,
                "leads": 20,
                "settled": 15,
                "converted": 3,
                "rate": 0.2,
                "low": 0.07,
                "high": 0.45,
            }
        ],
    }
    send(client, consent("lacks", "k3", now - DAY, word=True))
    facts = client.get("/v1/leads/lacks").json()["missing"]
    assert "consent" not in [fact["name"] for fact in facts]


def test_a_lead_that_the_store_does_not_know_is_a_404_that_says_so(client):
    answer = client.get("/v1/leads/nobody")
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown_lead"


def test_a_lead_is_read_and_erased_at_one_address(client):
    answer = client.put("/v1/leads/anybody")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "DELETE"}


def consent(lead_id, event_id, at, *, word):
    return {"id": event_id, "type": "consent", "lead_id": lead_id, "consent": word, "known_at": at}


def is_known(client, lead_id):
    (result,) = client.post("/v1/score", json={"lead_ids": [lead_id]}).json()["results"]
    return "error" not in result


def test_whoever_does_not_consent_is_forgotten_and_not_taken_in_until_they_do(client):
    events = [lead_event("ada"), visit("ada", "a1", CREATED + 5)]
    assert statuses(send(client, *events)) == ["accepted"] * 2
    assert is_known(client, "ada")
    assert statuses(send(client, consent("ada", "a2", CREATED + 9, word=False))) == ["accepted"]
    assert not is_known(client, "ada")
    assert client.get("/v1/leads/ada/decisions").json()["decisions"] == []
    refused = send(client, *events)
    assert [result["error"]["code"] for result in refused] == ["forgotten"] * 2
    # An earlier yes does not lift a later no.
    send(client, consent("ada", "a3", CREATED + 8, word=True))
    assert not is_known(client, "ada")
    assert statuses(send(client, consent("ada", "a4", CREATED + 10, word=True), *events)) == ["accepted"] * 3
    assert is_known(client, "ada")


def test_a_no_that_comes_after_a_later_yes_forgets_nobody(client):
    send(client, lead_event("bea"), consent("bea", "b1", CREATED + 9, word=True))
    send(client, consent("bea", "b2", CREATED + 5, word=False))
    assert is_known(client, "bea")


def test_an_erasure_takes_all_that_were_merged_into_one_person(client):
    merge = {"id": "m1", "type": "merge", "lead_id": "old", "merged_into": "new", "known_at": CREATED + 9}
    send(client, lead_event("old"), lead_event("new"), visit("old", "m2", CREATED + 5), merge)
    assert client.delete("/v1/leads/old").json()["events"] == 4
    assert not is_known(client, "new")
    assert [result["error"]["code"] for result in send(client, merge)] == ["forgotten"]
