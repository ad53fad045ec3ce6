"""The commands on webhooks: a secret, a trial, what waits and what was given up, and sending it again."""

from __future__ import annotations

import json
import time

import pytest
from sqlalchemy import update
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner
from webhook_receiver import receiver

from leadloop import app
from serving.decision_log.database import open_log, writing
from serving.decision_log.tables import WEBHOOK_MESSAGES
from serving.webhooks.outbox import NewMessage, add_messages, due_messages
from serving.webhooks.signatures import new_secret


def run(*words):
    return CliRunner().invoke(app, ["webhooks", *map(str, words)])


def test_a_secret_is_one_that_receivers_can_use():
    secret = run("secret").stdout.strip()
    assert len(secret) > 40
    assert Webhook(secret)
    assert run("secret").stdout.strip() != secret


@pytest.mark.parametrize(
    ("status", "code", "words"), [(204, 0, "accepted the message"), (401, 1, "status 401")]
)
def test_a_trial_says_whether_a_signed_message_was_taken(tmp_path, status, code, words):
    secret = new_secret()
    (tmp_path / "secret").write_text(secret)
    with receiver(status) as (url, requests):
        (tmp_path / "webhooks.toml").write_text(
            f'[outgoing.sales]\nurl = "{url}"\nsecret_file = "secret"\nallow_private = true\n'
        )
        result = run("test", "sales", "--webhooks", tmp_path / "webhooks.toml")
    assert (result.exit_code, words in result.stderr) == (code, True)
    ((_, headers, body),) = requests
    assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"
    missing = run("test", "sale", "--webhooks", tmp_path / "webhooks.toml")
    assert "did you mean 'sales'?" in str(missing.exception)


def test_dead_letters_are_listed_without_their_content_and_sent_again_by_name_or_number(tmp_path):
    place = tmp_path / "decisions.db"
    log = writing(open_log(str(place)))
    with log.begin() as connection:
        new = [
            NewMessage(name, "", "ada", "score.jumped", '"content"')
            for name in ("sales", "marketing", "sales")
        ]
        add_messages(connection, new, time.time())
        connection.execute(update(WEBHOOK_MESSAGES).values(given_up=1, attempts=3, error="status 500"))
    listed = json.loads(run("list", "--log", place).stdout)
    assert listed["subscriptions"] == [
        {"subscription": "marketing", "waiting": 0, "given_up": 1, "oldest": None},
        {"subscription": "sales", "waiting": 0, "given_up": 2, "oldest": None},
    ]
    letters = listed["dead_letters"]
    assert [(each["subscription"], each["attempts"], each["error"]) for each in letters] == [
        ("sales", 3, "status 500"),
        ("marketing", 3, "status 500"),
        ("sales", 3, "status 500"),
    ]
    assert "content" not in json.dumps(letters)
    assert "1 messages" in run("resend", "--log", place, "--id", letters[0]["id"]).stderr
    assert [each.id for each in due_messages(log, "sales", time.time(), 10)] == [letters[0]["id"]]
    assert "1 messages" in run("resend", "--log", place, "--subscription", "sales").stderr
    left = json.loads(run("list", "--log", place, "--subscription", "marketing").stdout)["dead_letters"]
    assert [each["subscription"] for each in left] == ["marketing"]
    log.dispose()
