"""A push with OAuth client credentials: a token is fetched, renewed, never shown; errors are plain."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from training.crm import oauth
from training.crm.http_client import TOKEN, UnreachableError
from training.crm.oauth import CLIENT_ID, CLIENT_SECRET
from training.crm.protocol import PushError, PushStopped, Request
from training.crm.target import CrmTarget

SECRET = "client-secret-of-nobody"  # noqa: S105  # nobody's


class Server:
    """A CRM with a token endpoint as RFC 6749 has it: tokens are numbered, old ones are refused."""

    def __init__(self):
        self.asked, self.used = [], []
        self.answers = []
        self.expires_in = 3600
        self.revoked = set()

    def token(self, form):
        self.asked.append(form)
        if self.answers:
            return self.answers.pop(0)
        if form["client_secret"] != [SECRET]:
            error = {"error": "invalid_client", "error_description": "no such client"}
            return 401, json.dumps(error).encode()
        number = len(self.asked)
        answer = {"access_token": f"token-{number}", "token_type": "Bearer", "expires_in": self.expires_in}
        return 200, json.dumps(answer).encode()

    def call(self, authorization):
        self.used.append(authorization)
        return (
            (401, b'[{"errorCode":"INVALID_SESSION_ID","message":"gone"}]')
            if authorization in self.revoked
            else (200, b"{}")
        )


@pytest.fixture
def server():
    with serving(Server()) as running:
        yield running


@contextmanager
def serving(state):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path == "/services/oauth2/token":
                assert "authorization" not in {name.lower() for name in self.headers}
                assert self.headers["content-type"] == "application/x-www-form-urlencoded"
                status, content = state.token(parse_qs(body.decode()))
            else:
                status, content = state.call(self.headers["authorization"])
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv(CLIENT_ID, "me")
    monkeypatch.setenv(CLIENT_SECRET, SECRET)
    monkeypatch.delenv(TOKEN, raising=False)


def send_twice(target):
    with target.session() as send:
        request = Request("POST", f"{target.url}/api", {}, b"{}")
        return [send(request).status for _ in range(2)]


@pytest.mark.usefixtures("client")
def test_a_token_is_fetched_once_and_used_for_all_calls(server):
    assert send_twice(CrmTarget("salesforce", server.url)) == [200, 200]
    assert server.asked == [
        {"grant_type": ["client_credentials"], "client_id": ["me"], "client_secret": [SECRET]}
    ]
    assert server.used == ["Bearer token-1"] * 2


@pytest.mark.usefixtures("client")
def test_a_token_is_renewed_before_it_expires_and_where_the_crm_refuses_it(server):
    server.expires_in = "0"
    assert send_twice(CrmTarget("salesforce", server.url)) == [200, 200]
    assert server.used == ["Bearer token-1", "Bearer token-2"]
    server.expires_in = 3600
    server.revoked = {"Bearer token-3"}
    assert send_twice(CrmTarget("salesforce", server.url)) == [200, 200]
    assert server.used[2:] == ["Bearer token-3", "Bearer token-4", "Bearer token-4"]


@pytest.mark.usefixtures("client")
def test_a_crm_that_refuses_every_token_is_asked_twice_and_no_more(server):
    server.revoked = {f"Bearer token-{n}" for n in range(9)}
    assert send_twice(CrmTarget("salesforce", server.url)) == [401, 401]
    assert len(server.asked) == 3


@pytest.mark.usefixtures("client")
def test_dynamics_asks_for_its_environment_and_needs_an_address_for_tokens(server):
    token_url = f"{server.url}/services/oauth2/token"
    assert send_twice(CrmTarget("dynamics", server.url, token_url=token_url)) == [200, 200]
    assert server.asked[0]["scope"] == [f"{server.url}/.default"]
    with pytest.raises(PushError, match="--token-url is missing"):
        CrmTarget("dynamics", server.url).session()


def test_a_wrong_secret_stops_with_the_servers_words_and_without_the_secret(server, monkeypatch):
    monkeypatch.setenv(CLIENT_ID, "me")
    monkeypatch.setenv(CLIENT_SECRET, "wrong-secret")
    monkeypatch.delenv(TOKEN, raising=False)
    with pytest.raises(PushStopped) as stopped:
        send_twice(CrmTarget("salesforce", server.url))
    assert str(stopped.value) == "the token endpoint answered 401: invalid_client: no such client"


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((503, b""), UnreachableError, "the token endpoint answered 503"),
        ((429, b""), UnreachableError, "the token endpoint answered 429"),
        ((200, b"<html>"), PushStopped, "no access_token in it; is --token-url right?"),
        ((200, b'{"access_token": 7}'), PushStopped, "no access_token in it"),
        ((302, b""), PushStopped, "the token endpoint answered 302"),
    ],
)
def test_what_the_token_endpoint_answers_is_said_and_only_what_passes_is_tried_again(
    server, answer, error, message
):
    server.answers = [answer]
    with pytest.raises(error, match=message.replace("?", r"\?")):
        send_twice(CrmTarget("salesforce", server.url))
    assert server.used == []


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        ({CLIENT_ID: "me"}, {}, "belong together"),
        ({CLIENT_SECRET: SECRET}, {}, "belong together"),
        ({CLIENT_ID: "me", CLIENT_SECRET: SECRET, TOKEN: "t"}, {}, "are both set"),
        ({TOKEN: "t"}, {"token_url": "https://login.example/token"}, "--token-url is for OAuth"),
        (
            {CLIENT_ID: "me", CLIENT_SECRET: SECRET},
            {"token_url": "http://login.example/t"},
            "--token-url http",
        ),
    ],
)
def test_half_a_client_or_two_ways_at_once_are_refused(monkeypatch, variables, options, message):
    for name in (CLIENT_ID, CLIENT_SECRET, TOKEN):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PushError, match=message) as refusal:
        CrmTarget("salesforce", "https://acme.my.salesforce.com", **options).session()
    assert SECRET not in str(refusal.value)


def test_a_client_shows_no_secret():
    assert SECRET not in repr(oauth.ClientCredentials("https://x.example", "me", SECRET))
