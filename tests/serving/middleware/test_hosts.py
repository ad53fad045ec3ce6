"""Under which names the service answers, to whose pages, and who counts as this machine."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from models import artifact
from serving.middleware.access_log import AccessLogMiddleware
from serving.middleware.api_keys import create_key
from serving.middleware.authentication import AuthenticationMiddleware
from serving.service import Leadloop

LEADS = {"leads": [{"lead_id": "a"}]}
FOREIGN = {"origin": "https://evil.example"}


@contextmanager
def service(by_hand, monkeypatch, address="127.0.0.1", **settings):
    """The service with these settings, asked from an address."""
    variables = {"model": "by-hand", "log": "off", "allowed_hosts": ""} | settings
    monkeypatch.setattr(artifact, "load", lambda _: by_hand)
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(f"LEADLOOP_{name.upper()}", str(value))
        with TestClient(Leadloop.to_asgi(), client=(address, 1)) as client:
            yield client


def code(answer):
    """Status and code of an answer; no code where it is none of our problems."""
    is_problem = answer.headers["content-type"].endswith("problem+json")
    return answer.status_code, answer.json()["code"] if is_problem else None


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("LOCALHOST:3000", True),
        ("127.0.0.1:3000", True),
        ("127.8.8.8", True),
        ("[::1]:3000", True),
        ("localhost.evil.example", False),
        ("evil.example:3000", False),
        ("127.0.0.1.evil.example", False),
        ("192.0.2.7", False),
        ("127.0.0.1@evil.example", False),
        ("127.0.0.1:3000:1", False),
        ("", False),
    ],
)
def test_without_keys_only_the_machines_own_names_are_answered_to(by_hand, monkeypatch, host, own):
    expected = (200, None) if own else (421, "unknown_host")
    with service(by_hand, monkeypatch) as client:
        headers = {"host": host}
        assert code(client.post("/v1/score", json=LEADS, headers=headers)) == expected
        assert code(client.get("/v1/model", headers=headers)) == expected
        assert code(client.get("/docs.json", headers=headers)) == expected
        # Whoever probes a container has its address alone.
        assert client.get("/readyz", headers=headers).status_code == 200


def test_a_name_that_was_set_is_answered_to_and_no_other(by_hand, monkeypatch, tmp_path):
    token = create_key(tmp_path / "keys.json", "crm", ["score"])
    names = {"leads.example": 200, "LEADS.example:443": 200, "127.0.0.1": 200, "evil.example": 421}
    for settings in ({}, {"keys": tmp_path / "keys.json"}, {"no_keys": 1}):
        hosts = {"allowed_hosts": "leads.example,www.leads.example"}
        with service(by_hand, monkeypatch, **hosts, **settings) as client:
            for host, status in names.items():
                headers = {"host": host, "authorization": f"Bearer {token}"}
                assert client.post("/v1/score", json=LEADS, headers=headers).status_code == status


def test_with_keys_or_open_to_all_a_service_whose_name_was_not_set_answers_to_any(
    by_hand, monkeypatch, tmp_path
):
    token = create_key(tmp_path / "keys.json", "crm", ["score"])
    for settings in ({"keys": tmp_path / "keys.json"}, {"no_keys": 1}):
        with service(by_hand, monkeypatch, **settings) as client:
            headers = {"host": "leads.example", "authorization": f"Bearer {token}"}
            assert client.post("/v1/score", json=LEADS, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:3000"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        (FOREIGN, False),
        ({"origin": "null"}, False),
        ({"origin": "http://127.0.0.1:8080"}, False),
        ({"origin": "http://127.0.0.1:3000.evil.example"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_without_keys_no_page_of_another_origin_is_answered(by_hand, monkeypatch, headers, own):
    expected = (200, None) if own else (403, "cross_site")
    headers = {"host": "127.0.0.1:3000"} | headers
    with service(by_hand, monkeypatch) as client:
        assert code(client.post("/v1/score", json=LEADS, headers=headers)) == expected
        assert code(client.get("/v1/model", headers=headers)) == expected
        # A link may lead here.
        assert client.get("/", headers=headers).status_code == 200
        assert code(client.get("/report", headers=headers))[0] != 403


def test_open_to_all_a_page_of_another_origin_reads_and_does_not_write(by_hand, monkeypatch):
    with service(by_hand, monkeypatch, address="192.0.2.7", no_keys=1) as client:
        assert client.get("/v1/model", headers=FOREIGN).status_code == 200
        assert code(client.post("/v1/score", json=LEADS, headers=FOREIGN)) == (403, "cross_site")
        assert code(client.delete("/v1/leads/a", headers=FOREIGN)) == (403, "cross_site")


def test_behind_a_proxy_that_changes_the_host_a_set_name_is_the_services_own_origin(by_hand, monkeypatch):
    with service(by_hand, monkeypatch, no_keys=1, allowed_hosts="leads.example") as client:
        headers = {"host": "127.0.0.1:3000", "origin": "https://leads.example"}
        assert client.post("/v1/score", json=LEADS, headers=headers).status_code == 200


@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "forwarded", "x-forwarded-host"])
def test_what_a_proxy_passed_on_is_not_from_this_machine(by_hand, monkeypatch, tmp_path, header):
    create_key(tmp_path / "keys.json", "crm", ["score"])
    headers = {"host": "127.0.0.1", header: "127.0.0.1"}
    with service(by_hand, monkeypatch) as client:
        assert code(client.get("/v1/model", headers=headers)) == (401, "keys_required")
        assert "industry" not in client.get("/docs.json", headers=headers).text
    with service(by_hand, monkeypatch, keys=tmp_path / "keys.json") as client:
        assert code(client.get("/metrics", headers=headers)) == (401, "key_missing")


@pytest.mark.parametrize(
    ("client", "server", "status"),
    [
        (("unknown", 0), ("127.0.0.1", 3000), 401),
        (("", 0), ("127.0.0.1", 3000), 401),
        (("/run/elsewhere", 0), ("127.0.0.1", 3000), 401),
        # As uvicorn has a TCP connection that is broken already.
        (None, ("127.0.0.1", 3000), 401),
        (None, None, 401),
        (None, ("/run/leadloop.sock", None), 200),
        (("::ffff:127.0.0.1", 1), ("::", 3000), 200),
        (("::ffff:192.0.2.7", 1), ("::", 3000), 401),
    ],
)
def test_only_an_address_or_a_local_socket_is_this_machine(monkeypatch, client, server, status):
    monkeypatch.setenv("LEADLOOP_ALLOWED_HOSTS", "")
    assert ask(client=client, server=server)[0] == status


def ask(app=None, method="DELETE", headers=(), **scope):
    """Status and headers of the answer of the middleware, before an application that answers 200."""

    async def answers(_, __, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent = []

    async def send(message):
        sent.append(message)

    head = [(b"host", b"127.0.0.1"), *headers]
    scope = {"type": "http", "method": method, "path": "/v1/leads/a", "headers": head} | scope
    asyncio.run(AccessLogMiddleware(AuthenticationMiddleware(app or answers))(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize("path", ["/v1/leads/a", "/livez", "/"])
def test_a_body_of_two_lengths_is_refused_and_its_connection_ends(path):
    both = [(b"transfer-encoding", b"chunked"), (b"content-length", b"5")]
    status, headers, body = ask(
        method="POST", headers=both, path=path, client=("127.0.0.1", 1), server=("127.0.0.1", 3000)
    )
    assert (status, json.loads(body)["code"], headers[b"connection"]) == (400, "ambiguous_length", b"close")
