"""A service without keys, asked from another machine: whoever signs is believed, and nobody else.

In a file of its own: one process has one service at a time.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime

from service_client import start_client
from standardwebhooks.webhooks import Webhook

from serving.webhooks.signatures import new_secret

SECRET = new_secret()


def test_a_service_without_keys_takes_signed_messages_from_elsewhere_and_no_others(by_hand, tmp_path):
    (tmp_path / "webhooks.toml").write_text(
        '[incoming.signed]\nrecipe = "generic"\nproof = "standard"\nsecret_env = "SIGNS"\n'
        '[incoming.plain]\nrecipe = "generic"\n'
    )
    webhooks = str(tmp_path / "webhooks.toml")
    with ExitStack() as stack:
        keyless = start_client(
            by_hand, str(tmp_path / "log.db"), stack, LEADLOOP_WEBHOOKS=webhooks, SIGNS=SECRET
        )
        elsewhere = {"x-forwarded-for": "203.0.113.9"}
        event = {"type": "lead", "id": "ada", "lead_id": "ada", "created_at": 1_777_000_000}
        content, moment = json.dumps({"events": [event]}), datetime.fromtimestamp(time.time(), UTC)
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": Webhook(SECRET).sign("msg_1", moment, content),
        }

        def post(client, source, content, headers):
            return client.post(f"/v1/webhooks/{source}", content=content, headers=headers)

        assert post(keyless, "signed", content, headers | elsewhere).status_code == 200
        codes = [
            post(keyless, source, content, elsewhere).json()["code"] for source in ("signed", "plain", "none")
        ]
        assert codes == ["signature_invalid", "keys_required", "keys_required"]
        assert keyless.get("/v1/webhooks/signed", headers=elsewhere).json()["code"] == "keys_required"
        assert post(keyless, "plain", content, {}).status_code == 200
