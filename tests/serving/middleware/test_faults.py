"""Clients that misbehave, each on its own; a server is not needed for it."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace

import pytest
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from starlette.testclient import TestClient

from models import artifact
from serving import uvicorn_patches
from serving.middleware import request_body
from serving.middleware.access_log import AccessLogMiddleware
from serving.middleware.rate_limit import RateLimiter
from serving.middleware.request_body import ClientDisconnected, read_body
from serving.service import Leadloop

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(by_hand):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLOOP_MODEL", "by-hand")
        patch.setenv("LEADLOOP_LOG", "off")
        patch.setattr(artifact, "load", lambda _: by_hand)
        with TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)) as client:
            yield client


def ask(app, receive):
    """The status and the body of the answer to a request that is read from ``receive``."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/score", "headers": headers}
    asyncio.run(app(scope, receive, send))
    body = sent[1].get("body", b"")
    return sent[0]["status"], json.loads(body) if body else body


def guarded():
    from serving.middleware.request_validation import RequestValidationMiddleware  # noqa: PLC0415

    return AccessLogMiddleware(RequestValidationMiddleware(None))


def test_a_byte_a_second_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(request_body, "WITHIN", 0.05)

    async def slow():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"{", "more_body": True}

    status, problem = ask(guarded(), slow)
    assert (status, problem["code"]) == (408, "body_too_slow")


def test_a_client_that_goes_away_is_waited_for_by_nobody():
    """BentoML's middleware waits for the first message of a response, and so does the end of a worker."""
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def leave():
        return next(messages)

    async def ask_within(*call):
        async with asyncio.timeout(5):
            await TimeoutMiddleware(guarded(), timeout=60)(*call)

    assert ask(ask_within, leave) == (499, b"")


def test_a_body_that_never_ends_is_not_read_for_ever():
    read_bytes = 0

    async def endless():
        nonlocal read_bytes
        read_bytes += 1 << 20
        return {"type": "http.request", "body": b"x" * (1 << 20), "more_body": True}

    status, problem = ask(guarded(), endless)
    assert (status, problem["code"]) == (413, "body_too_large")
    assert read_bytes < 100 << 20


def test_bodies_have_a_limit_together_that_is_free_again_once_they_are_answered(monkeypatch):
    monkeypatch.setattr(request_body, "MAX_IN_FLIGHT", request_body.IN_FLIGHT.size + 1_000)
    before, full = request_body.IN_FLIGHT.size, []

    async def half():
        # Before its second half comes, somebody else has asked.
        if not full:
            full.append(None)
            full[0] = await asyncio.to_thread(ask, guarded(), whole)
        return {"type": "http.request", "body": b"x" * 400, "more_body": False}

    async def first():
        return {"type": "http.request", "body": b"x" * 400, "more_body": True}

    messages = iter([first, half])

    async def whole():
        return {"type": "http.request", "body": b"x" * 700, "more_body": False}

    async def receive():
        return await next(messages)()

    status, _ = ask(guarded(), receive)
    assert status == 400
    assert (full[0][0], full[0][1]["code"]) == (503, "too_much_in_flight")
    assert request_body.IN_FLIGHT.size == before
    assert ask(guarded(), whole)[0] == 400


def test_a_disconnect_is_told_apart_from_an_end():
    async def gone():
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnected):
        asyncio.run(read_body(gone))


@pytest.mark.parametrize("depth", [50, 150, 250, 5_000, 1_000_000])
@pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")])
def test_no_depth_of_nesting_is_a_failure(client, depth, pair):
    opened, closed = pair
    nested = opened * depth + "1" + closed * depth
    text = f'{{"leads": [{{"lead_id": "deep", "attributes": {{"industry": {nested}}}}}, {{"lead_id": "b"}}]}}'
    if len(text) > request_body.MAX_BODY:
        text = text[: request_body.MAX_BODY - 10]
    answer = client.post("/v1/score", content=text, headers=JSON)
    assert answer.status_code in {200, 400}
    if answer.status_code == 200:
        failed, scored = answer.json()["results"]
        assert failed["error"]["field"] == "attributes.industry"
        assert scored["probability"]
    else:
        assert answer.json()["code"] == "invalid_json"


@pytest.mark.parametrize(
    "lead",
    [
        {"lead_id": "x" * 100_000},
        {"lead_id": "a", "attributes": {"industry": "x" * 100_000}},
        {"lead_id": "a", "attributes": {"x" * 100_000: 1}},
        {"lead_id": "a", "touchpoints": [{"occurred_at": 1_770_000_000, "kind": "visit"}] * 10_001},
        {"lead_id": "a", "touchpoints": [{"occurred_at": 1_770_000_000, "kind": "x" * 100_000}]},
        {"lead_id": "a", "attributes": {str(i): 1 for i in range(10_001)}},
        {"lead_id": 5},
        {"lead_id": "a", "touchpoints": "many"},
        {"lead_id": "a", "touchpoints": [{"occurred_at": 10**400, "kind": "visit"}]},
        {"lead_id": "a", "attributes": {"employees": 10**400}},
        "lead",
        None,
    ],
)
def test_too_much_or_of_the_wrong_type_fails_alone_and_briefly(client, lead):
    results = client.post("/v1/score", json={"leads": [lead, {"lead_id": "good"}]}).json()["results"]
    assert results[0]["error"]["code"] in {"invalid_value", "unknown_attribute"}
    assert len(json.dumps(results[0])) < 1_000
    assert results[1]["lead_id"] == "good"
    assert "error" not in results[1]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused_for_its_lead_alone(client, literal):
    text = (
        f'{{"leads": [{{"lead_id": "a", "touchpoints": [{{"occurred_at": {literal}, "kind": "visit"}}]}}]}}'
    )
    (result,) = client.post("/v1/score", content=text, headers=JSON).json()["results"]
    assert result["error"]["code"] == "invalid_value"


class Transport:
    """A connection as far as a protocol sees it."""

    closed = False

    def close(self):
        self.closed = True

    def set_write_buffer_limits(self, high):
        self.high = high


class Protocol:
    """A protocol as far as impatience needs one."""

    cycle = None
    server_state = SimpleNamespace()

    def __init__(self, loop):
        self.loop = loop

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        pass

    def on_response_complete(self):
        pass


class Answering:
    def __init__(self, *, response_complete):
        self.response_complete = response_complete


@pytest.mark.parametrize(
    ("cycle", "closed"),
    [(None, True), (Answering(response_complete=True), True), (Answering(response_complete=False), False)],
)
def test_only_a_connection_that_says_nothing_is_closed(monkeypatch, cycle, closed):
    class Impatient(uvicorn_patches._Clock, Protocol):
        pass

    monkeypatch.setattr(uvicorn_patches, "SPEAKS_WITHIN", 0.01)

    async def silent():
        protocol, transport = Impatient(asyncio.get_running_loop()), Transport()
        protocol.connection_made(transport)
        protocol.cycle = cycle
        await asyncio.sleep(0.05)
        return transport.closed

    assert asyncio.run(silent()) is closed


def test_a_clock_set_back_gives_nobody_more_requests_and_no_negative_times(client, lead, monkeypatch):
    rate = RateLimiter(2)
    assert [rate.retry_after("crm"), rate.retry_after("crm")] == [0, 0]
    first = client.post("/v1/score", json={"leads": [lead]})
    monkeypatch.setattr("time.time", lambda: -1e9)
    assert rate.retry_after("crm") > 0
    again = client.post("/v1/score", json={"leads": [lead]})
    assert (again.status_code, again.json()) == (200, first.json())
    seconds = re.findall(r"^leadloop_\w*seconds_sum\S* (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert seconds
    assert min(map(float, seconds)) >= 0
