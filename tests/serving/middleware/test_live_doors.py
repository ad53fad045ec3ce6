"""The doors of a running service of two workers, on real connections."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from http import HTTPStatus

import pytest

from serving.middleware.api_keys import create_key
from serving.middleware.request_body import MAX_BODY
from serving.server import run_service
from serving.settings import ServiceSettings

pytestmark = pytest.mark.slow
ONE = json.dumps({"leads": [{"lead_id": "a"}]})
RATE = 40


@pytest.fixture(scope="module")
def door(model_folder, tmp_path_factory):
    """Host, port and two keys of a service that allows each of them ``RATE`` requests in a minute."""
    folder = tmp_path_factory.mktemp("door")
    tokens = [create_key(folder / "keys.json", name, ["score"]) for name in ("crm", "portal")]
    settings = ServiceSettings(str(model_folder), keys=folder / "keys.json", rate=RATE)
    with (folder / "log").open("wb") as log, run_service(settings, workers=2, log=log) as service:
        host, port = service.url.removeprefix("http://").split(":")
        yield host, int(port), tokens


def ask(host, port, token=None, body=ONE, **headers):
    """Status and problem of an answer, on a connection of its own, so that every worker is asked."""
    headers = {"Content-Type": "application/json"} | headers
    if token:
        headers["Authorization"] = f"Bearer {token}"
    with closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request("POST", "/v1/score", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()).get("code")


def test_a_key_has_its_rate_from_all_workers_together(door):
    host, port, (crm, portal) = door
    answers = [ask(host, port, crm) for _ in range(2 * RATE)]
    let_in = answers.count((200, None))
    # What time gives back meanwhile is little: the first window had nothing before it.
    assert RATE <= let_in <= RATE * 1.5
    assert set(answers) == {(200, None), (429, "too_many_requests")}
    assert ask(host, port, portal) == (200, None)


def test_who_sends_a_large_body_without_a_key_hears_why_it_is_refused(door):
    host, port, _ = door
    assert ask(host, port, body="x" * MAX_BODY) == (401, "key_missing")


def test_a_body_that_is_too_large_is_refused_by_its_head(door):
    host, port, (_, portal) = door
    with socket.create_connection((host, port), timeout=60) as connection:
        head = f"POST /v1/score HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {portal}\r\n"
        connection.sendall(f"{head}Content-Length: {MAX_BODY + 1}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    "lengths",
    [
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ],
)
def test_a_request_whose_end_two_programs_could_see_in_two_places_ends_its_connection(door, lengths):
    """The second request would be smuggled past a proxy that believes the other length."""
    host, port, _ = door
    smuggled = f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n"
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(
            f"POST /v1/score HTTP/1.1\r\nHost: {host}\r\n{lengths}\r\n0\r\n\r\n{smuggled}".encode()
        )
        text = b""
        while chunk := connection.recv(4096):
            text += chunk
    statuses = {int(line.split()[1]) for line in text.splitlines() if line.startswith(b"HTTP/1.1")}
    assert statuses <= {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_IMPLEMENTED}
    assert text.count(b"HTTP/1.1") == 1
