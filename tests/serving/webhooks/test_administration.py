"""/v1/subscriptions over HTTP: who is told, what was given up, and sending it again, for administrators."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from service_client import start_client
from sqlalchemy import delete, select, update

from serving.decision_log.database import open_log, writing
from serving.decision_log.tables import WEBHOOK_MESSAGES
from serving.middleware.api_keys import create_key
from serving.webhooks.outbox import NewMessage, add_messages
from serving.webhooks.signatures import new_secret

SUBSCRIPTIONS = "/v1/subscriptions"
DEAD_LETTERS, RESEND = f"{SUBSCRIPTIONS}/dead-letters", f"{SUBSCRIPTIONS}/resend"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("administration")


@pytest.fixture(scope="module")
def client(by_hand, folder):
    # Nobody has a name that ends with .invalid.
    (folder / "webhooks.toml").write_text(
        '[outgoing.sales]\nurl = "https://hooks.invalid/T0/secret-path"\nsecret_env = "SIGNS"\n'
        'grades = ["A"]\n'
        '[outgoing.acme]\nurl = "https://acme.invalid/x"\nsecret_env = "SIGNS"\ntenant = "acme"\n'
    )
    keys = folder / "keys.json"
    tokens = {
        "admin": create_key(keys, "admin", ["admin"]),
        "score": create_key(keys, "score", ["score"]),
        "umbrella": create_key(keys, "umbrella", ["admin"], tenant="umbrella"),
    }
    with ExitStack() as stack:
        settings = {
            "LEADLOOP_KEYS": str(keys),
            "LEADLOOP_RESCORE": "off",
            "LEADLOOP_WEBHOOKS": str(folder / "webhooks.toml"),
            "SIGNS": new_secret(),
        }
        started = start_client(by_hand, str(folder / "decisions.db"), stack, **settings)
        started.tokens = tokens
        yield started


@pytest.fixture
def log(client, folder):  # noqa: ARG001  # the service has made the file
    engine = writing(open_log(str(folder / "decisions.db")))
    with engine.begin() as connection:
        connection.execute(delete(WEBHOOK_MESSAGES))
        messages = [
            NewMessage(name, tenant, f"lead {n}", "score.jumped", '"content"')
            for n, (name, tenant) in enumerate(
                [("sales", ""), ("sales", "acme"), ("gone", "umbrella"), ("sales", "umbrella")]
            )
        ]
        add_messages(connection, messages, time.time())
        values = {"given_up": 1, "attempts": 80, "error": "status 500"}
        connection.execute(update(WEBHOOK_MESSAGES).values(**values))
        # One waits, and for so long that it is not tried meanwhile.
        waiting = {"given_up": 0, "next_at": time.time() + 900, "created_at": 1_777_000_000}
        connection.execute(
            update(WEBHOOK_MESSAGES).where(WEBHOOK_MESSAGES.c.lead_id == "lead 0").values(**waiting)
        )
    yield engine
    engine.dispose()


def ask(client, path, key="admin", **more):
    headers = {"authorization": f"Bearer {client.tokens[key]}"}
    return client.request("POST" if "json" in more else "GET", path, headers=headers, **more)


def given_up(log):
    columns = WEBHOOK_MESSAGES.c
    with log.connect() as connection:
        query = select(columns.lead_id).where(columns.given_up == 1).order_by(columns.id)
        return list(connection.execute(query).scalars())


@pytest.mark.usefixtures("log")
def test_subscriptions_are_listed_with_what_waits_and_without_what_may_be_a_password(client):
    answer = ask(client, SUBSCRIPTIONS)
    assert "secret-path" not in answer.text
    listed = {each["name"]: each for each in answer.json()["subscriptions"]}
    assert list(listed) == ["acme", "gone", "sales"]
    assert (listed["sales"]["host"], listed["sales"]["grades"]) == ("hooks.invalid", ["A"])
    figures = {name: (each["waiting"], each["given_up"], each["oldest"]) for name, each in listed.items()}
    assert figures == {"acme": (0, 0, None), "gone": (0, 1, None), "sales": (1, 2, 1_777_000_000)}
    assert (listed["gone"]["host"], listed["gone"]["events"]) == (None, [])


@pytest.mark.usefixtures("log")
def test_dead_letters_come_page_by_page_without_their_content(client):
    first = ask(client, f"{DEAD_LETTERS}?limit=2").json()
    assert [each["lead_id"] for each in first["dead_letters"]] == ["lead 1", "lead 2"]
    assert "content" not in str(first)
    last = ask(client, f"{DEAD_LETTERS}?limit=2&after={first['next']}").json()
    assert ([each["lead_id"] for each in last["dead_letters"]], last["next"]) == (["lead 3"], None)
    only = ask(client, f"{DEAD_LETTERS}?subscription=gone").json()["dead_letters"]
    assert [(each["lead_id"], each["error"], each["attempts"]) for each in only] == [
        ("lead 2", "status 500", 80)
    ]


def test_dead_letters_are_sent_again_by_name_by_number_or_all(client, log):
    number = ask(client, f"{DEAD_LETTERS}?subscription=gone").json()["dead_letters"][0]["id"]
    assert ask(client, RESEND, json={"subscription": "sales", "ids": [number]}).json() == {"messages": 0}
    assert ask(client, RESEND, json={"ids": [number]}).json() == {"messages": 1}
    assert given_up(log) == ["lead 1", "lead 3"]
    assert ask(client, RESEND, json={}).json() == {"messages": 2}
    assert given_up(log) == []


def test_a_key_of_a_tenant_sees_and_sends_again_its_own_alone(client, log):
    listed = ask(client, SUBSCRIPTIONS, "umbrella").json()["subscriptions"]
    assert {each["name"]: each["given_up"] for each in listed} == {"gone": 1, "sales": 1}
    letters = ask(client, DEAD_LETTERS, "umbrella").json()["dead_letters"]
    assert [each["lead_id"] for each in letters] == ["lead 2", "lead 3"]
    assert ask(client, RESEND, "umbrella", json={"subscription": "sales"}).json() == {"messages": 1}
    assert given_up(log) == ["lead 1", "lead 2"]
    refused = ask(client, f"{DEAD_LETTERS}?subscription=nobody", "umbrella")
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_subscription")


@pytest.mark.parametrize(
    ("path", "more", "code"),
    [
        (f"{DEAD_LETTERS}?subscription=sale", {}, "unknown_subscription"),
        (RESEND, {"json": {"subscription": "sale"}}, "unknown_subscription"),
        (RESEND, {"json": {"ids": [0]}}, "invalid_value"),
        (RESEND, {"json": {"id": 1}}, "unknown_field"),
        (f"{DEAD_LETTERS}?limit=0", {}, "invalid_value"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(client, log, path, more, code):
    before = given_up(log)
    answer = ask(client, path, **more)
    assert answer.json()["code"] == code
    assert code != "unknown_subscription" or "did you mean 'sales'?" in answer.json()["detail"]
    assert given_up(log) == before


@pytest.mark.parametrize(("path", "more"), [(SUBSCRIPTIONS, {}), (DEAD_LETTERS, {}), (RESEND, {"json": {}})])
def test_only_administrators_are_answered(client, path, more):
    answer = ask(client, path, "score", **more)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
