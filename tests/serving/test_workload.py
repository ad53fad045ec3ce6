"""What is costly is done beside the event loop, what is too much is refused, and answers stay the same."""

from __future__ import annotations

import asyncio
import json
import threading

import bentoml
import pytest
from starlette.testclient import TestClient

from models import artifact
from serving import body_splitter, scorer, workload
from serving.endpoints.outcomes import parse_outcome_report
from serving.middleware import request_body, request_validation
from serving.problems import InvalidLead, ProblemResponse
from serving.scorer import Scorer
from serving.service import Leadloop
from serving.workload import Workload

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(by_hand):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLOOP_MODEL", "by-hand")
        patch.setenv("LEADLOOP_LOG", "off")
        patch.setattr(artifact, "load", lambda _: by_hand)
        with TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)) as client:
            yield client


@pytest.fixture
def in_threads(monkeypatch):
    """All work is costly, and every body large."""
    monkeypatch.setattr(workload, "INLINE_MS", -1.0)
    monkeypatch.setattr(request_validation, "_AT_ONCE", 0)
    monkeypatch.setattr(request_validation, "_FEW", 0)


LEADS = [
    {"lead_id": "a", "as_of": 1_780_000_000, "attributes": {"industry": "it"}},
    {"lead_id": 7},
    "text",
    {"lead_id": "é"},
]
OUTCOME = {"key": "k", "lead_id": "a", "outcome": "won", "occurred_at": "2026-05-01T10:00:00Z"}
BODIES = [
    ("/v1/score", {"leads": LEADS}),
    ("/v1/explain", {"leads": LEADS, "lang": "de", "top": 2}),
    ("/v1/score", {"leads": []}),
    ("/v1/score", {"leads": [{}] * 1001}),
    ("/v1/score", {"leads": [1], "lang": "en"}),
    ("/v1/explain", {"leads": [1], "lang": ["en"]}),
    ("/v1/score", {"leads": {"lead_id": "a"}}),
    ("/v1/score", [LEADS]),
    ("/v1/score", {}),
    ("/v1/outcomes", {"outcomes": [OUTCOME, {"key": 1}]}),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_an_answer_is_the_same_byte_for_byte_whichever_way_it_went(client, path, body, request):
    inline = client.post(path, json=body)
    request.getfixturevalue("in_threads")
    beside = client.post(path, json=body)
    assert (beside.status_code, beside.content) == (inline.status_code, inline.content)


def test_costly_work_leaves_the_thread_of_the_loop(client, lead, monkeypatch, request):
    threads = []
    monkeypatch.setattr(
        Scorer,
        "score",
        lambda *_, score=Scorer.score, **__: threads.append(threading.get_ident()) or score(*_),
    )
    parse = request_validation._parse_body
    monkeypatch.setattr(
        request_validation, "_parse_body", lambda *_: threads.append(threading.get_ident()) or parse(*_)
    )
    to_json = request_validation.serialise
    monkeypatch.setattr(
        request_validation, "serialise", lambda *_: threads.append(threading.get_ident()) or to_json(*_)
    )
    client.post("/v1/score", json={"leads": [lead]})
    assert len(set(threads)) == 1
    (loop,) = set(threads)
    request.getfixturevalue("in_threads")
    client.post("/v1/score", json={"leads": [lead]})
    assert len(threads) == 6
    assert loop not in threads[3:]


@pytest.mark.parametrize(("path", "leads"), [("/v1/score", 100), ("/v1/explain", 10)])
def test_what_many_leads_cost_is_beside_the_loop_and_what_one_costs_is_not(path, leads):
    per_lead = workload.MS_PER_ITEM[path]
    assert leads * per_lead > workload.INLINE_MS > per_lead


@pytest.fixture
def full(client):
    assert client.get("/livez").status_code == 200
    """A service whose budget other requests have used up."""
    service = bentoml.get_current_service()
    with service.workload.admit(workload.BUDGET_MS):
        yield service


@pytest.mark.usefixtures("full")
def test_where_the_budget_is_used_up_a_request_is_told_when_to_come_back(client, lead):
    for path, body in (("/v1/score", {"leads": [lead]}), ("/v1/outcomes", {"outcomes": [OUTCOME]})):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) == workload.BUDGET_MS / 1_000


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v1/model"])
def test_health_is_answered_however_much_work_there_is(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.usefixtures("in_threads")
def test_room_is_given_back_however_a_request_ends(client, lead, monkeypatch):
    service = bentoml.get_current_service()
    client.post("/v1/score", json={"leads": [lead]})
    client.post("/v1/score", content=b"{", headers=JSON)
    monkeypatch.setattr(Scorer, "score", lambda *_, **__: 1 / 0)
    assert client.post("/v1/score", json={"leads": [lead]}).status_code == 500
    with service.workload.admit(workload.BUDGET_MS):
        pass


def test_the_costliest_request_fits_into_the_budget_several_times():
    most = request_body.MAX_BODY / 1_000 * workload.MS_PER_KILOBYTE
    costliest = most + request_validation.MAX_LEADS * max(workload.MS_PER_ITEM.values())
    assert 4 * costliest < workload.BUDGET_MS


def test_work_beside_the_loop_does_not_keep_it():
    async def both():
        work, done = Workload(), threading.Event()
        waiting = asyncio.ensure_future(work.run(1e3, lambda: done.wait(20)))
        await asyncio.sleep(0)
        done.set()
        return await waiting

    assert asyncio.run(both())


def test_what_is_cheap_takes_no_room_from_others():
    work = Workload(budget=100)
    with work.admit(100), pytest.raises(ProblemResponse), work.admit(1):
        pass
    with work.admit(workload.INLINE_MS), work.admit(100):
        pass


WIDE = {f"unknown_{i}": 1 for i in range(5_000)}
EVENT = {"occurred_at": "2026-05-01T10:00:00Z", "kind": "visit"}


@pytest.mark.parametrize(
    ("wide", "field", "code"),
    [
        ({"lead_id": "x"} | WIDE, "unknown_0", "unknown_field"),
        ({"lead_id": "x", "attributes": WIDE}, "attributes.unknown_0", "unknown_attribute"),
        ({"lead_id": "x", "touchpoints": [EVENT, WIDE]}, "touchpoints.1.unknown_0", "unknown_field"),
        ({"lead_id": "x", "touchpoints": [EVENT, WIDE, 5]}, "touchpoints.1.unknown_0", "unknown_field"),
        ({"lead_id": "x", "transitions": [WIDE]}, "transitions.0.unknown_0", "unknown_field"),
        ({"lead_id": "x", "attribute_history": [WIDE]}, "attribute_history.0.unknown_0", "unknown_field"),
        ({"lead_id": "x", "account": WIDE}, "account.unknown_0", "unknown_field"),
        (
            {"lead_id": "x", "account": {"attributes": WIDE}},
            "account.attributes.unknown_0",
            "unknown_attribute",
        ),
        (
            {"lead_id": "x", "account": {"touchpoints": [WIDE]}},
            "account.touchpoints.0.unknown_0",
            "unknown_field",
        ),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_of_surplus_fields_the_first_is_named_and_no_error_is_built_for_the_others(
    client, lead, wide, field, code, beside, request, monkeypatch
):
    if beside:
        request.getfixturevalue("in_threads")
        monkeypatch.setattr(body_splitter, "MAX_ITEM_VALUES", 4_000)
    monkeypatch.setattr("serving.request_parsing.invalid_lead", lambda error: pytest.fail(error.title))
    first, refused, last = client.post("/v1/score", json={"leads": [lead, wide, lead]}).json()["results"]
    assert first["probability"] == last["probability"] > 0
    assert (refused["lead_id"], refused["error"]["field"], refused["error"]["code"]) == ("x", field, code)


def test_an_outcome_of_surplus_fields_is_refused_by_the_first(monkeypatch):
    monkeypatch.setattr("serving.endpoints.outcomes.invalid_lead", lambda *_: pytest.fail("built"))
    with pytest.raises(InvalidLead) as refused:
        parse_outcome_report(OUTCOME | WIDE, 0)
    assert refused.value.error.field == "unknown_0"


@pytest.mark.usefixtures("in_threads")
def test_an_oversized_lead_is_told_how_large_it_may_be(client, monkeypatch):
    monkeypatch.setattr(body_splitter, "MAX_ITEM_VALUES", 20)
    large = {"lead_id": "x", "touchpoints": [EVENT] * 50}
    answer = client.post("/v1/score", json={"leads": [{"lead_id": "a"}, large, {"lead_id": "b"}]})
    first, refused, last = answer.json()["results"]
    assert first["probability"] == last["probability"] > 0
    assert refused["lead_id"] == "x"
    assert "150,000 values" in refused["error"]["message"]
    assert "this one has 153 values" in refused["error"]["message"]


@pytest.mark.usefixtures("in_threads")
def test_an_envelope_of_surplus_fields_names_one_of_them(client):
    answer = client.post("/v1/score", json={"leads": [{"lead_id": "a"}]} | WIDE)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_field")
    assert answer.json()["field"] in WIDE


@pytest.mark.usefixtures("in_threads")
def test_fields_that_are_repeated_without_end_are_refused(client):
    body = '{"lang": "en", "leads": [{"lead_id": "a"}]' + ', "lang": "en"' * 50 + "}"
    answer = client.post("/v1/explain", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_value")


@pytest.mark.usefixtures("in_threads")
def test_a_body_of_too_many_values_is_refused_as_a_whole(client, monkeypatch):
    monkeypatch.setattr(body_splitter, "MAX_BODY_VALUES", 100)
    answer = client.post("/v1/score", json={"leads": [{"lead_id": "a"}] * 200})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_values")


@pytest.mark.usefixtures("in_threads")
def test_a_lead_that_is_no_json_fails_the_request_in_pieces_as_at_once(client):
    body = '{"leads": [{"lead_id": "a"}, {"lead_id": tru}]}'
    answer = client.post("/v1/score", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


def test_of_misspelt_attributes_only_the_first_are_compared_with_what_there_is(client, monkeypatch):
    compared = []
    monkeypatch.setattr("serving.request_parsing.suggest", lambda name, _: compared.append(name) or "; hint")
    leads = [{"lead_id": str(i), "attributes": {f"Budgett{i}": 1}} for i in range(100)]
    results = client.post("/v1/score", json={"leads": leads}).json()["results"]
    assert len(compared) == 20
    hints = [result["error"]["message"].endswith("; hint") for result in results]
    assert hints == [True] * 20 + [False] * 80


def test_an_explanation_is_as_long_as_it_may_be_and_no_longer(client, lead, by_hand, monkeypatch):
    features = len(by_hand.features)
    monkeypatch.setattr(scorer, "MAX_REASONS", 3 * features)
    since = lead | {"since": "2026-05-02T00:00:00Z"}

    def explain(leads, **options):
        return client.post("/v1/explain", json={"leads": leads} | options)

    assert explain([lead] * 3).status_code == 200
    assert explain([lead] * 50, top=1).status_code == 200
    assert explain([lead] * 25, top_each=1).status_code == 200
    assert explain([since]).status_code == 200
    for leads, most in (([lead] * 4, 3), ([since] * 2, 1)):
        answer = explain(leads)
        assert (answer.status_code, answer.json()["code"]) == (400, "answer_too_large")
        assert f"at most {most} leads at once" in answer.json()["detail"]
        assert json.loads(explain(leads[:most]).content)["results"][-1]["reasons"]
