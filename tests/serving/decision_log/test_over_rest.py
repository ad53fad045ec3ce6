"""The log seen from outside: what the CRM reports and asks, and what a person may ask."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import bentoml
import pytest
from log_entries import NASTY
from starlette.testclient import TestClient

from models import artifact
from models.uncertainty import NOTHING, ScoreUncertainty
from serving.decision_log import queries
from serving.decision_log.replay import replay
from serving.decision_log.settings import OFF, PLACE
from serving.middleware import access_log
from serving.request_context import RequestContext
from serving.schemas import MAX_LEADS
from serving.scorer import MANY
from serving.service import Leadloop

EVENT = {"key": "k1", "lead_id": "0012", "outcome": "qualified", "occurred_at": "2026-05-06T09:00:00Z"}


def serving(model, place, tmp_path_factory, stack):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(tmp_path_factory.mktemp("bentoml")))
        patch.setenv("LEADLOOP_MODEL", "any")
        patch.setenv(PLACE, place)
        patch.setattr(artifact, "load", lambda _: model)
        return stack.enter_context(TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)))


@pytest.fixture
def place(tmp_path):
    """Both databases have kept every law below; here one is enough."""
    return str(tmp_path / "decisions.db")


@pytest.fixture
def client(model, place, tmp_path_factory):
    with ExitStack() as stack:
        client = serving(model, place, tmp_path_factory, stack)
        deadline = time.monotonic() + 20
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield client


def journal():
    return bentoml.get_current_service().journal


def report(client, *events):
    answer = client.post("/v1/outcomes", json={"outcomes": list(events)})
    assert answer.status_code == 200
    return answer.json()["results"]


def test_what_is_answered_is_what_is_logged(client, lead):
    response = client.post("/v1/explain", json={"leads": [lead], "top": 3}).json()
    (decision,) = client.get("/v1/leads/0012/decisions").json()["decisions"]
    (result,) = response["results"]
    for name in ("lead_id", "as_of", "probability", "log_odds", "points", "grade", "reasons"):
        assert decision[name] == result[name]
    assert decision["model_version"] == response["model_version"]
    assert decision["endpoint"] == "/v1/explain"


def test_the_request_that_was_answered_is_named(client, lead):
    client.post("/v1/score", json={"leads": [lead]}, headers={"x-request-id": "ab" * 16})
    (decision,) = client.get("/v1/leads/0012/decisions").json()["decisions"]
    assert (decision["request_id"], decision["key_id"], decision["reasons"]) == ("ab" * 16, None, None)


@pytest.mark.parametrize("size", [1, MANY + 1])
def test_a_number_that_is_withheld_is_kept_and_said_to_be_withheld(
    model_folder, place, lead, tmp_path_factory, size
):
    lacking = replace(
        artifact.load(model_folder), uncertainty=ScoreUncertainty(NOTHING, 1.0, lacking="too_few_outcomes")
    )
    with ExitStack() as stack:
        client = serving(lacking, place, tmp_path_factory, stack)
        leads = [lead | {"lead_id": f"other {number}"} for number in range(1, size)]
        result = client.post("/v1/score", json={"leads": [lead, *leads]}).json()["results"][0]
        assert [result[name] for name in ("probability", "points", "grade", "interval")] == [None] * 4
        (decision,) = client.get("/v1/leads/0012/decisions").json()["decisions"]
        assert decision["insufficient"] == result["insufficient"]["code"] == "too_few_outcomes"
        assert 0 < decision["probability"] < 1
        assert replay(journal().writer.log, lacking).same == size


@pytest.mark.parametrize("size", [3, MANY + 2])
def test_every_decision_of_a_request_is_logged_and_replays(client, lead, model, size):
    leads = [lead | {"lead_id": str(number)} for number in range(size)]
    client.post("/v1/score", json={"leads": [*leads, {"lead_id": "bad", "attributes": {"x": 1}}]})
    client.post("/v1/explain", json={"leads": leads[:2], "lang": "de"})
    log = journal().writer.log
    assert {decision.lead_id for decision in queries.latest_decisions(log)} == {
        str(number) for number in range(size)
    }
    replayed = replay(log, model)
    assert (replayed.same, replayed.different) == (size + 2, ())


def test_the_same_request_twice_gives_the_same_answer(client, lead):
    body = {"leads": [lead, lead | {"consent": False}]}
    for path in ("/v1/score", "/v1/explain"):
        assert client.post(path, json=body).json() == client.post(path, json=body).json()


def test_who_does_not_consent_is_not_scored_and_leaves_no_trace(client, lead):
    leads = [lead | {"lead_id": "ada", "consent": False}, lead | {"consent": True}, lead]
    first, *others = client.post("/v1/explain", json={"leads": leads}).json()["results"]
    assert first["lead_id"] == "ada"
    assert (first["error"]["code"], first["error"]["field"]) == ("no_consent", "consent")
    assert all(other["probability"] for other in others)
    log = journal().writer.log
    assert [decision.lead_id for decision in queries.latest_decisions(log)] == ["0012"]
    assert client.get("/v1/leads/ada/decisions").json()["decisions"] == []


def test_an_answer_says_until_when_the_lead_was_known(client, lead):
    newest = 1777876200
    (default,) = client.post("/v1/score", json={"leads": [lead]}).json()["results"]
    earlier, now = lead | {"as_of": newest}, lead | {"as_of": None}
    (current,) = client.post("/v1/score", json={"leads": [now]}).json()["results"]
    (before,) = client.post("/v1/score", json={"leads": [earlier]}).json()["results"]
    (nothing,) = client.post("/v1/score", json={"leads": [{"lead_id": "a"}]}).json()["results"]
    assert (default["as_of"], default["known_until"]) == (newest + 1, newest)
    assert 0 <= time.time() + 1 - current["as_of"] < 600
    assert current["known_until"] == newest
    assert (before["as_of"], before["known_until"]) == (newest, 1777622400)
    assert nothing["known_until"] is None


def test_outcomes_are_answered_one_by_one_in_order(client):
    future = int(time.time()) + 86_400
    events = [
        EVENT,
        EVENT | {"key": "k2", "outcome": "rejected"},
        EVENT | {"key": "k3", "outcome": "rejected", "reason": "no budget"},
        EVENT | {"outcome": "won"},
        EVENT,
        EVENT | {"key": "k4", "occurred_at": future},
        EVENT | {"key": "k5", "outcome": "maybe"},
        EVENT | {"key": "k6", "corrects": "k6"},
        EVENT | {"key": "k7", "lead_id": "other", "corrects": "k1"},
        EVENT | {"key": "k8", "outcom": "won"},
        17,
        EVENT | {"key": "k9", "outcome": "lost", "corrects": "not-yet-known", "occurred_at": 5},
        EVENT | {"key": "k10", "outcome": "withdrawn"},
        EVENT | {"key": "k11", "outcome": "withdrawn", "corrects": "k9"},
    ]
    results = report(client, *events)
    answers = [
        (result["key"], result.get("status") or (result["error"]["code"], result["error"]["field"]))
        for result in results
    ]
    assert answers == [
        ("k1", "recorded"),
        ("k2", ("missing_field", "reason")),
        ("k3", "recorded"),
        ("k1", ("key_conflict", "key")),
        ("k1", "repeated"),
        ("k4", ("in_the_future", "occurred_at")),
        ("k5", ("invalid_value", "outcome")),
        ("k6", ("invalid_value", "corrects")),
        ("k7", ("invalid_value", "corrects")),
        ("k8", ("unknown_field", "outcom")),
        (None, ("invalid_value", "")),
        ("k9", "recorded"),
        ("k10", ("missing_field", "corrects")),
        ("k11", "recorded"),
    ]
    assert "did you mean 'outcome'" in results[9]["error"]["message"]
    assert [result["status"] for result in report(client, EVENT)] == ["repeated"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ("{", "invalid_json", None),
        ("{}", "missing_field", "outcomes"),
        ('{"outcomes": []}', "invalid_value", "outcomes"),
        (json.dumps({"outcomes": [EVENT] * (MAX_LEADS + 1)}), "invalid_value", "outcomes"),
        ('{"outcomes": [1], "lead": 1}', "unknown_field", "lead"),
    ],
)
def test_outcomes_that_make_no_sense_as_a_whole_are_one_problem(client, body, code, field):
    answer = client.post("/v1/outcomes", content=body, headers={"content-type": "application/json"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)


@pytest.mark.parametrize(
    "text", [*filter(str.isprintable, NASTY), "a/b", "a/decisions", "?x=1&y", "100%", ".."]
)
def test_no_id_is_more_than_an_id(client, text):
    client.post("/v1/score", json={"leads": [{"lead_id": text}, {"lead_id": "other"}]})
    events = [EVENT | {"key": text, "lead_id": text, "outcome": "rejected", "reason": text}]
    assert report(client, *events)[0] == {"key": text, "status": "recorded"}
    address = f"/v1/leads/{quoted(text)}"
    page = client.get(f"{address}/decisions").json()
    assert [decision["lead_id"] for decision in page["decisions"]] == [text]
    assert page["outcomes"][0]["reason"] == text.strip()
    assert client.delete(address).json() == {"decisions": 1, "outcomes": 1, "events": 0, "overwritten": True}
    assert len(client.get("/v1/leads/other/decisions").json()["decisions"]) == 1


def quoted(text):
    return "".join(f"%{byte:02X}" for byte in text.encode())


@pytest.mark.parametrize("text", NASTY)
def test_a_reason_may_be_any_text(client, text):
    report(client, EVENT | {"outcome": "rejected", "reason": text})
    assert client.get("/v1/leads/0012/decisions").json()["outcomes"][0]["reason"] == text.strip()


@pytest.mark.parametrize("field", ["key", "lead_id", "corrects", "reason"])
def test_a_zero_byte_is_refused_where_a_database_would_choke(client, field):
    (result,) = report(client, EVENT | {field: "a\x00b"})
    assert (result["error"]["code"], result["error"]["field"]) == ("invalid_value", field)


@pytest.mark.parametrize("character", ["\x00", "\n", "\r", "\x1b", "\x7f"])
def test_an_id_with_control_characters_is_refused(client, character):
    (lead,) = client.post("/v1/score", json={"leads": [{"lead_id": f"a{character}b"}]}).json()["results"]
    assert (lead["error"]["code"], lead["error"]["field"]) == ("invalid_value", "lead_id")
    assert client.get(f"/v1/leads/a{quoted(character)}b/decisions").status_code in {400, 404}


def test_all_that_was_said_comes_in_pages(client, lead):
    for _ in range(5):
        client.post("/v1/score", json={"leads": [lead]})
    report(client, EVENT)
    first = client.get("/v1/leads/0012/decisions?limit=3").json()
    second = client.get(f"/v1/leads/0012/decisions?limit=3&before={first['next']}").json()
    ids = [record["id"] for record in first["decisions"] + second["decisions"]]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), second["next"]) == (5, None)
    assert [record["key"] for record in first["outcomes"]] == ["k1"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "before=0", f"before={2**63}", "page=2"]
)
def test_a_page_that_cannot_be_is_a_problem(client, query):
    answer = client.get(f"/v1/leads/0012/decisions?{query}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["field"]) == (400, query.partition("=")[0])


def test_a_person_is_forgotten_once_and_for_all(client, lead):
    client.post("/v1/score", json={"leads": [lead, lead | {"lead_id": "other"}]})
    report(client, EVENT)
    assert client.delete("/v1/leads/0012").json() == {
        "decisions": 1,
        "outcomes": 1,
        "events": 0,
        "overwritten": True,
    }
    assert client.delete("/v1/leads/0012").json() == {
        "decisions": 0,
        "outcomes": 0,
        "events": 0,
        "overwritten": True,
    }
    page = client.get("/v1/leads/0012/decisions").json()
    assert page == {"lead_id": "0012", "decisions": [], "outcomes": [], "next": None}
    assert queries.stats(journal().writer.log)["erased"] == {"decisions": 1, "outcomes": 1}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("PUT", "/v1/leads/0012"), ("GET", "/v1/outcomes")),
        *(("POST", "/v1/leads/0012/decisions"), ("DELETE", "/v1/leads/0012/decisions")),
    ],
)
def test_other_methods_are_refused_and_change_nothing(client, method, path):
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_nothing_is_answered_that_is_not_logged(client, lead, place):
    with closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for method, path, body in (
            ("POST", "/v1/score", {"leads": [lead]}),
            ("POST", "/v1/outcomes", {"outcomes": [EVENT]}),
            ("DELETE", "/v1/leads/0012", None),
        ):
            answer = client.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
        assert client.get("/v1/model").status_code == 200
        other.execute("ROLLBACK")
    while client.get("/readyz").status_code != 200:
        time.sleep(0.05)
    assert client.post("/v1/score", json={"leads": [lead]}).status_code == 200
    assert len(client.get("/v1/leads/0012/decisions").json()["decisions"]) == 1


def test_without_a_log_there_is_nothing_to_ask_it(by_hand, lead, tmp_path_factory):
    with ExitStack() as stack:
        client = serving(by_hand, OFF, tmp_path_factory, stack)
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/score", json={"leads": [lead]}).status_code == 200
        for answer in (
            client.post("/v1/outcomes", json={"outcomes": [EVENT]}),
            client.get("/v1/leads/0012/decisions"),
            client.delete("/v1/leads/0012"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (501, "log_off")


def test_the_api_page_shows_the_log(client):
    page = client.get("/docs.json").json()
    outcomes = page["paths"]["/v1/outcomes"]["post"]
    schema = outcomes["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["outcomes"]["items"]["properties"].keys() >= {"key", "lead_id", "corrects"}
    assert schema["example"]["outcomes"]
    assert outcomes["responses"].keys() >= {"200", "400", "413", "415", "501", "503"}
    listing = page["paths"]["/v1/leads/{lead_id}/decisions"]["get"]
    assert {parameter["name"] for parameter in listing["parameters"]} == {"lead_id", "before", "limit"}
    assert page["paths"]["/v1/leads/{lead_id}"]["delete"]["responses"]["200"]["content"]
    names = {part.split('"')[0] for part in json.dumps(page).split("#/components/schemas/")[1:]}
    assert names <= page["components"]["schemas"].keys()


@pytest.mark.parametrize("lead_id", ["ends/", "/", "//", "a/b/", "/starts", "x/decisions", "x/decisions/"])
def test_a_lead_whose_id_has_slashes_can_be_listed_and_erased(client, lead, lead_id):
    client.post("/v1/score", json={"leads": [lead | {"lead_id": lead_id}]})
    address = f"/v1/leads/{quote(lead_id, safe='')}"
    assert len(client.get(f"{address}/decisions").json()["decisions"]) == 1
    assert client.delete(address).json()["decisions"] == 1
    assert client.get(f"{address}/decisions").json()["decisions"] == []


@pytest.mark.parametrize("path", ["/v1/leads/ada/", "/v1/leads/", "/v1/leads/ada/decisions/"])
def test_a_slash_too_many_is_no_part_of_an_id(client, path):
    for answer in (client.delete(path), client.get(path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.fixture
def tenant(monkeypatch):
    """Sets the tenant that the keys of the requests to come are bound to."""

    def bind(name):
        monkeypatch.setattr(access_log, "RequestContext", partial(RequestContext, tenant=name))

    return bind


def test_a_tenant_sees_hands_over_and_erases_its_own_leads_only(client, lead, tenant):
    for name in ("acme", "umbrella"):
        tenant(name)
        client.post("/v1/score", json={"leads": [lead]})
        client.post("/v1/score", json={"leads": [lead | {"lead_id": f"only of {name}"}]})
        assert report(client, EVENT) == [{"key": "k1", "status": "recorded"}]
    tenant("acme")
    listing = client.get("/v1/leads/0012/decisions").json()
    assert [each["tenant"] for each in listing["decisions"]] == ["acme"]
    assert [each["tenant"] for each in listing["outcomes"]] == ["acme"]
    assert client.get("/v1/leads/only of umbrella/decisions").json()["decisions"] == []
    assert client.delete("/v1/leads/only of umbrella").json()["decisions"] == 0
    handover = client.post("/v1/handover", json={"capacity": 9}).json()
    assert [(each["lead_id"], each["tenant"]) for each in handover["leads"]] == [("only of acme", "acme")]
    tenant("umbrella")
    assert client.get("/v1/handover", params={"capacity": 9}).status_code == 404
    assert client.delete("/v1/leads/0012").json()["decisions"] == 1
    tenant("")
    assert len(client.get("/v1/leads/0012/decisions").json()["decisions"]) == 1
    everybody = client.post("/v1/handover", json={"capacity": 9}).json()
    assert {each["tenant"] for each in everybody["leads"]} == {"acme", "umbrella"}
    tenant("acme")
    assert client.get("/v1/handover", params={"capacity": 9}).json() == handover


def test_outcomes_in_a_circle_are_refused_by_field(client):
    first, second = report(client, EVENT | {"corrects": "k2"}, EVENT | {"key": "k2", "corrects": "k1"})
    assert first["status"] == "recorded"
    assert (second["error"]["code"], second["error"]["field"]) == ("invalid_value", "corrects")


def test_an_erasure_says_that_the_content_is_overwritten(client, lead, place):
    client.post("/v1/score", json={"leads": [lead | {"lead_id": "somebody-4711"}]})
    assert client.delete("/v1/leads/somebody-4711").json() == {
        "decisions": 1,
        "outcomes": 0,
        "events": 0,
        "overwritten": True,
    }
    files = b"".join(file.read_bytes() for file in Path(place).parent.glob("decisions.db*"))
    assert b"somebody-4711" not in files
