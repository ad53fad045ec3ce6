"""One attempt over HTTP: signed, within a time, to an address that may be reached, and never further."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import time
from base64 import b64decode, b64encode
from email.utils import formatdate

import pytest
from webhook_receiver import receiver

from serving.webhooks.receivers import Attempt, Receiver
from serving.webhooks.settings import Subscription
from serving.webhooks.signatures import new_secret, signed_headers

SECRET, OLDER = new_secret(), new_secret()


def send(url, message_id="msg_1", payload='{"type":"webhook.test"}', **options):
    subscription = Subscription("sales", url, (SECRET, OLDER), **{"allow_private": True, **options})

    async def once():
        sender = Receiver(subscription)
        try:
            return await sender.send(message_id, payload)
        finally:
            await sender.close()

    return asyncio.run(once())


def expected_signature(secret, headers, body):
    """The signature as the specification has it, by the standard library alone."""
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    key = b64decode(secret.removeprefix("whsec_"))
    return "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def test_a_message_is_signed_as_the_specification_has_it_by_each_key():
    with receiver(body=b"thanks") as (url, requests):
        assert send(url, payload='{"name":"Zoë"}') == Attempt()
    ((path, headers, body),) = requests
    assert (path, body) == ("/hook?team=1", '{"name":"Zoë"}'.encode())
    assert headers["webhook-id"] == "msg_1"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signatures = headers["webhook-signature"].split(" ")
    assert signatures == [expected_signature(each, headers, body) for each in (SECRET, OLDER)]
    assert headers["content-type"] == "application/json"
    assert headers["host"] == url.split("/")[2]


def test_the_signature_is_that_of_the_example_in_the_specification():
    """Known values, published with the specification's own libraries."""
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        '{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "down"), [(500, True), (503, True), (429, True), (408, True), (400, False), (410, False)]
)
def test_a_status_says_whether_the_receiver_or_the_message_is_at_fault(status, down):
    with receiver(status) as (url, _):
        assert send(url) == Attempt(f"status {status}", receiver_is_down=down)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        # A date an hour from when the test runs: workers must draw the same names of tests.
        ("in an hour", 3_600),
        ("999999999", 86_400),
        ("soon", None),
    ],
)
def test_the_receiver_says_when_to_come_back(value, seconds):
    stated = formatdate(time.time() + 3_600, usegmt=True) if value == "in an hour" else value
    with receiver(503, [("Retry-After", stated)]) as (url, _):
        wait = send(url).retry_after
    assert wait == (None if seconds is None else pytest.approx(seconds, abs=60))


def test_a_redirect_is_not_followed():
    with receiver() as (elsewhere, requests), receiver(302, [("Location", elsewhere)]) as (url, _):
        assert send(url) == Attempt("status 302")
    assert requests == []


def test_a_receiver_that_is_slow_or_gone_has_failed_in_time():
    with receiver(delay=2) as (url, _):
        assert send(url, timeout=0.2) == Attempt("no answer in time", receiver_is_down=True)
    gone = send(url)
    assert gone.receiver_is_down
    assert gone.error.startswith("no answer (")


def test_an_answer_without_end_is_read_up_to_a_size():
    with receiver(body=b"x" * 2_000_000) as (url, _):
        assert send(url) == Attempt()


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
def test_a_name_that_leads_to_a_private_network_is_refused_unless_it_is_allowed(monkeypatch, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [(family, socket.SOCK_STREAM, 6, "", (each, 443)) for each in ("93.184.216.34", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    attempt = send("https://hooks.example/x", allow_private=False)
    assert "private network" in attempt.error
    assert attempt.receiver_is_down


def test_a_name_that_leads_nowhere_is_a_failure_and_no_fault(monkeypatch):
    def nowhere(*_, **__):
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    assert (
        send("https://hooks.example/x", allow_private=False).error
        == "the receiver's host name cannot be resolved"
    )
