"""A service that is killed between the receiver's answer and its own commit sends the message again."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from process_tree import descendants
from standardwebhooks.webhooks import Webhook
from webhook_receiver import receiver

from serving.decision_log.settings import LogSettings
from serving.server import post_json, run_service
from serving.settings import ServiceSettings
from serving.webhooks.signatures import new_secret


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_message_on_its_way_when_the_service_is_killed_is_sent_again_under_its_id(model_folder, tmp_path):
    secret = new_secret()
    (tmp_path / "secret").write_text(secret)

    def settings(url):
        path = tmp_path / "webhooks.toml"
        path.write_text(f'[outgoing.sales]\nurl = "{url}"\nsecret_file = "secret"\nallow_private = true\n')
        return ServiceSettings(
            str(model_folder), log=LogSettings(str(tmp_path / "decisions.db")), webhooks=path
        )

    outcomes = [
        {"key": f"o{n}", "lead_id": "ada", "outcome": "accepted", "occurred_at": 1_777_000_000 + n}
        for n in range(3)
    ]
    with (tmp_path / "service.log").open("wb") as output:
        # It has read the message, and answers only when the service is gone.
        with receiver(delay=5) as (url, first), run_service(settings(url), log=output) as service:
            post_json(service.url, "/v1/outcomes", {"outcomes": outcomes})
            wait_for(lambda: first)
            for pid in descendants(service.process.pid):
                os.kill(pid, signal.SIGKILL)
        with receiver() as (url, again), run_service(settings(url), log=output):
            wait_for(lambda: len(again) == 3)
    verified = [Webhook(secret).verify(body, headers)["data"]["key"] for _, headers, body in again]
    assert verified == ["o0", "o1", "o2"]
    assert first[0][1]["webhook-id"] == again[0][1]["webhook-id"]
    assert json.loads(first[0][2]) == json.loads(again[0][2])
