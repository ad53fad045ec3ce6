"""The service over HTTP: what it answers, and how it refuses."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import ExitStack

import bentoml
import pytest
from starlette.testclient import TestClient

from models import artifact
from serving.middleware.request_body import MAX_BODY
from serving.schemas import ExplainRequest, ScoreRequest
from serving.scorer import MANY, Scorer
from serving.service import Leadloop

SCORED = {
    *("lead_id", "as_of", "known_until", "probability", "points", "grade"),
    *("interval", "sufficient", "insufficient", "fit", "engagement", "combined_grade"),
}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(by_hand, tmp_path_factory):
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BENTOML_HOME", str(tmp_path_factory.mktemp("bentoml")))
            patch.setenv("LEADLOOP_MODEL", "by-hand")
            patch.setenv("LEADLOOP_LOG", "off")
            patch.setattr(artifact, "load", lambda _: by_hand)
            client = stack.enter_context(TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)))
        yield client


def test_a_score_is_what_the_contract_says_and_nothing_else(client, lead, by_hand):
    answer = client.post("/v1/score", json={"leads": [lead]})
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert answer.json().keys() == {"model_version", "results"}
    assert answer.json()["model_version"] == by_hand.version
    assert result.keys() == SCORED


def test_fit_and_engagement_come_with_a_score_by_request(client, lead):
    (result,) = client.post("/v1/score", json={"leads": [lead], "parts": True}).json()["results"]
    (explained,) = client.post("/v1/explain", json={"leads": [lead]}).json()["results"]
    assert result == {name: explained[name] for name in SCORED}
    assert result["combined_grade"] == result["fit"]["grade"] + result["engagement"]["grade"]
    assert result["fit"].keys() == {"part", "contribution", "points", "percentile", "grade"}


def test_an_explanation_is_a_score_with_base_and_reasons(client, lead):
    answer = client.post("/v1/explain", json={"leads": [lead], "lang": "de", "top": 2})
    (result,) = answer.json()["results"]
    assert result.keys() == SCORED | {"log_odds", "base", "rest", "reasons", "families", "change"}
    assert len(result["reasons"]) == 2
    assert result["reasons"][0].keys() == {
        "feature",
        "family",
        "value",
        "contribution",
        "points",
        "text",
        "evidence",
    }


def test_numbers_arrive_over_http_to_the_bit(client, lead, by_hand):
    (result,) = client.post("/v1/score", json={"leads": [lead]}).json()["results"]
    assert result == Scorer(by_hand).score([lead])[0].model_dump()


@pytest.mark.parametrize("size", [2, MANY + 2])
def test_a_bad_lead_is_answered_in_its_own_place(client, lead, size):
    leads = [lead, {"lead_id": "bad", "attributes": {"Budgett": 1}}, *[lead] * size]
    answer = client.post("/v1/score", json={"leads": leads})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert results[1] == {
        "lead_id": "bad",
        "error": {
            "code": "unknown_attribute",
            "field": "attributes.Budgett",
            "message": "the model knows no attribute 'Budgett'; did you mean 'Budget'?",
        },
    }
    assert len({json.dumps(result) for result in results}) == 2


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused_for_their_lead_alone(client, literal):
    leads = f'[{{"lead_id": "a", "attributes": {{"employees": {literal}}}}}, {{"lead_id": "b"}}]'
    body = f'{{"leads": {leads}}}'
    first, second = client.post("/v1/score", content=body, headers=JSON).json()["results"]
    assert first["error"]["field"] == "attributes.employees"
    assert second["probability"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "field"),
    [
        ("", JSON, 400, "invalid_json", None),
        ("{leads}", JSON, 400, "invalid_json", None),
        ("[" * 1_000_000, JSON, 400, "invalid_json", None),
        ("\xff", JSON, 400, "invalid_json", None),
        ("[]", JSON, 400, "invalid_value", None),
        ("{}", JSON, 400, "missing_field", "leads"),
        ('{"leads": []}', JSON, 400, "invalid_value", "leads"),
        ('{"leads": [1' + ", 1" * 1000 + "]}", JSON, 400, "invalid_value", "leads"),
        ('{"leads": [1], "lang": "en"}', JSON, 400, "unknown_field", "lang"),
        ("x" * 10_000_000, JSON, 413, "body_too_large", None),
        ("{}", {"content-type": "text/plain"}, 415, "unsupported_media_type", None),
        ("{}", {"content-type": "application/vnd.bentoml+pickle"}, 415, "unsupported_media_type", None),
        ("{}", {}, 415, "unsupported_media_type", None),
        ("{}", JSON | {"content-encoding": "gzip"}, 415, "unsupported_encoding", None),
    ],
)
def test_a_request_that_cannot_be_read_is_a_problem(client, body, headers, status, code, field):
    answer = client.post("/v1/score", content=body.encode("latin-1"), headers=headers)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() == {"type", "title", "status", "detail", "code", "field"}
    assert (answer.status_code, problem["status"]) == (status, status)
    assert (problem["code"], problem["field"]) == (code, field)
    assert len(problem["detail"]) < 200


def test_the_limit_holds_for_a_body_that_does_not_say_how_long_it_is(client):
    def chunks():
        yield b'{"leads": ["'
        yield from [b"x" * 65_536] * (MAX_BODY // 65_536)
        yield b'"]}'

    answer = client.post("/v1/score", content=chunks(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_just_under_the_limit_is_read(client):
    filler = "x" * (MAX_BODY - len('{"leads": [""]}'))
    assert client.post("/v1/score", content=f'{{"leads": ["{filler}"]}}', headers=JSON).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/score", 405, "method_not_allowed"),
        ("POST", "/v1/model", 405, "method_not_allowed"),
        ("POST", "/v1/scores", 404, "not_found"),
        ("POST", "/v1/score/", 404, "not_found"),
        ("GET", "/v1/model/", 404, "not_found"),
        ("POST", "/v2/score", 404, "not_found"),
        ("GET", "/favicon.ico", 404, "not_found"),
        ("POST", "/readyz", 405, "method_not_allowed"),
        ("POST", "/metrics", 405, "method_not_allowed"),
    ],
)
def test_a_wrong_address_or_method_is_a_problem_too(client, method, path, status, code):
    answer = client.request(method, path, follow_redirects=False)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ("", None, "the body is empty; send a JSON object"),
        ('{"leads": []}', "leads", "send at least 1 of them"),
        ('{"leads": {}}', "leads", "this should be a list, in square brackets"),
        (json.dumps({"leads": [{}] * 1001}), "leads", "at most 1000 of them are read at once"),
        ('{"leads": [{}], "lang": "fr"}', "lang", "this should be 'en' or 'de'"),
        ('{"leads": [{}], "top": "five"}', "top", "this should be a whole number"),
        ('{"leads": [{}], "top": 0}', "top", "this should be at least 1"),
    ],
)
def test_a_refused_request_is_told_what_to_send(client, body, field, says):
    problem = client.post("/v1/explain", content=body, headers=JSON).json()
    assert (problem["status"], problem["field"]) == (400, field)
    assert says in problem["detail"]


def test_a_number_for_an_id_is_told_to_be_text(client):
    (result,) = client.post("/v1/score", json={"leads": [{"lead_id": 7}]}).json()["results"]
    assert result["error"]["message"] == "this should be text, in double quotes"


def test_an_unforeseen_failure_is_a_problem_that_tells_no_secrets(client, lead, monkeypatch):
    def fail(*_):
        msg = "the password is swordfish"
        raise RuntimeError(msg)

    monkeypatch.setattr(Scorer, "score", fail)
    answer = client.post("/v1/score", json={"leads": [lead]})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "swordfish" not in answer.text


def test_what_is_refused_does_not_reach_the_log(client, caplog):
    with caplog.at_level(logging.DEBUG):
        client.post("/v1/score", json={"leads": [], "secret": "ada@example.org"})
        client.post(
            "/v1/score", json={"leads": [{"lead_id": "a", "attributes": {"employees": "ada@example.org"}}]}
        )
    assert "ada@example.org" not in caplog.text


def test_the_model_is_introduced_with_its_card(client, by_hand):
    answer = client.get("/v1/model").json()
    assert answer["model_version"] == by_hand.version
    assert answer["card"]["label"] == "sql within 60 days"


def test_readiness_follows_the_model(client, monkeypatch):
    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr(bentoml.get_current_service().champion, "current", None)
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    for answer in (client.post("/v1/score", json={"leads": [{"lead_id": "a"}]}), client.get("/v1/model")):
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")


def test_a_service_without_a_model_lives_and_says_why_it_is_not_ready(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("LEADLOOP_MODEL", str(tmp_path / "nothing"))
    assert not asyncio.run(Leadloop().__is_ready__())
    assert "no model here" in caplog.text


def test_the_service_is_a_plain_class_that_can_be_called(by_hand, lead, monkeypatch):
    monkeypatch.setenv("LEADLOOP_MODEL", "by-hand")
    monkeypatch.setattr(artifact, "load", lambda _: by_hand)
    leadloop = Leadloop()
    scored = asyncio.run(leadloop.score(ScoreRequest(leads=[lead])))
    explained = asyncio.run(leadloop.explain(ExplainRequest(leads=[lead])))
    assert scored.results[0].probability == explained.results[0].probability


def test_the_api_page_shows_leads_results_and_problems_in_full(client):
    page = client.get("/docs.json").json()
    request = page["paths"]["/v1/explain"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    lead = request["properties"]["leads"]["items"]
    assert {"lead_id", "as_of", "attributes", "touchpoints", "transitions", "account"} <= lead[
        "properties"
    ].keys()
    assert request["example"]["leads"]
    answers = page["paths"]["/v1/score"]["post"]["responses"]
    assert answers.keys() == {
        "200",
        "400",
        "401",
        "403",
        "404",
        "408",
        "413",
        "415",
        "422",
        "429",
        "501",
        "503",
    }
    assert page["paths"]["/v1/score"]["post"]["requestBody"]["required"]
    assert {"type": "null"} in request["properties"]["top"]["anyOf"]
    assert answers["400"]["content"].keys() == {"application/problem+json"}
    assert "/v1/model" in page["paths"]


def test_an_address_that_takes_another_method_says_which(client):
    answer = client.get("/v1/score")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["code"] == "method_not_allowed"


def test_every_reference_of_the_api_page_leads_somewhere(client):
    page = client.get("/docs.json").json()
    text = json.dumps(page)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= page["components"]["schemas"].keys()
    assert "$defs" not in text


def test_the_api_page_calls_nobody(client):
    page = client.get("/").text
    assert "leadloop" in page
    assert "http://" not in page
    assert "https://" not in page


def test_without_a_log_there_is_no_lead_store(client):
    event = {"id": "e", "type": "lead", "lead_id": "a", "created_at": 5}
    for answer in (
        client.post("/v1/events", json={"events": [event]}),
        client.post("/v1/score", json={"lead_ids": ["a"]}),
        client.get("/v1/leads/a"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (501, "log_off")
