"""The file of webhooks: every mistake is refused with file, line and key, before anything starts."""

# ruff: noqa: E501  # a mistake and its message in a line
from __future__ import annotations

import pytest

from serving.server import Address, StartError, start_service
from serving.settings import ServiceSettings
from serving.webhooks.settings import RECIPES, WebhookSettingsError, parse_webhooks, read_webhooks
from serving.webhooks.signatures import new_secret

SECRET = new_secret()
ENVIRONMENT = {"S": SECRET, "PASSWORD": "p" * 24, "SHORT": "p" * 23, "BAD": "whsec_c2hvcnQ="}
OUTGOING = '[outgoing.sales]\nurl = "https://hooks.example/x"\nsecret_env = "S"\n'


def parse(tmp_path, text):
    path = tmp_path / "webhooks.toml"
    path.write_text(text)
    return parse_webhooks(path, ENVIRONMENT)


def test_a_subscription_is_what_its_table_says(tmp_path):
    (tmp_path / "secret").write_text(f"{SECRET}\n{new_secret()}\n")
    settings = parse(
        tmp_path,
        '[outgoing.sales]\nurl = "http://10.0.0.5/x"\nsecret_file = "secret"\nallow_private = true\n'
        'events = ["score.jumped"]\ngrades = ["A"]\njump = 30\ntenant = "acme"\nattempts = 5\n'
        'give_up_after = "36h"\ntimeout = 2.5\n',
    )
    sales = settings.outgoing["sales"]
    assert (len(sales.secrets), sales.secrets[0]) == (2, SECRET)
    assert (sales.events, sales.grades, sales.jump) == (frozenset({"score.jumped"}), frozenset("A"), 30)
    assert (sales.tenant, sales.attempts, sales.gives_up_after, sales.timeout) == ("acme", 5, 36 * 3600, 2.5)
    assert SECRET not in repr(settings)


def test_without_a_file_there_are_no_webhooks():
    settings = read_webhooks({})
    assert (settings.outgoing, settings.incoming) == ({}, {})


@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_every_recipe_is_usable(tmp_path, recipe):
    source = parse(tmp_path, f'[incoming.crm]\nrecipe = "{recipe}"\n').incoming["crm"]
    assert source.mapper.rules
    assert source.proof == "key"


OWN = '[incoming.shop]\nitems = "orders"\n[[incoming.shop.events]]\ntype = "touchpoint"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OUTGOING + 'evnts = ["score.jumped"]', "line 4, outgoing.sales.evnts: there is no such key; did you mean 'events'?"),
        (OUTGOING + 'events = ["score.jmped"]', "line 4, outgoing.sales.events.0: Input should be 'score.grade_entered'"),
        (OUTGOING + "events = []", "line 4, outgoing.sales.events: List should have at least 1 item"),
        (OUTGOING + "jump = 0", "line 4, outgoing.sales.jump: Input should be greater than or equal to 1"),
        (OUTGOING + 'jump = "20"', "line 4, outgoing.sales.jump: Input should be a valid integer"),
        (OUTGOING + 'give_up_after = "soon"', "line 4, outgoing.sales.give_up_after: "),
        ('[outgoin.sales]\nurl = "x"', "line 1, outgoin: there is no such key; did you mean 'outgoing'?"),
        ('[outgoing.sales]\nsecret_env = "S"', "line 1, outgoing.sales: the key 'url' is missing"),
        ('[outgoing.sales]\nurl = "https://h.example"', "line 1, outgoing.sales: name one place for the secret"),
        ('[outgoing.sales]\nurl = "https://h.example"\nsecret_env = "NONE"', "line 3, outgoing.sales.secret_env: the variable NONE is not set"),
        ('[outgoing.sales]\nurl = "https://h.example"\nsecret_file = "none"', "line 3, outgoing.sales.secret_file: the secret in none cannot be read"),
        ('[outgoing.sales]\nurl = "https://h.example"\nsecret_env = "BAD"', "line 1, outgoing.sales: a secret is whsec_ and 24 to 64 random bytes"),
        ('[outgoing.sales]\nurl = "http://h.example"\nsecret_env = "S"', "line 2, outgoing.sales.url: give the receiver's address as https"),
        ('[outgoing.sales]\nurl = "https://me:pw@h.example"\nsecret_env = "S"', "without a user in it"),
        ('[outgoing.sales]\nurl = "https://169.254.169.254/latest"\nsecret_env = "S"', "line 2, outgoing.sales.url: this address is one of a private network"),
        ("[incoming.crm]\n", "line 1, incoming.crm: name a recipe (generic, hubspot, odoo"),
        ('[incoming.crm]\nrecipe = "hubspt"', "hubspt cannot be read"),
        ('[incoming.crm]\nrecipe = "odoo"\nproof = "standard"', "line 1, incoming.crm: name one place for the secret"),
        ('[incoming.crm]\nrecipe = "odoo"\nsecret_env = "S"', 'with proof = "key" the sender has a key'),
        ('[incoming.crm]\nrecipe = "odoo"\nproof = "basic"\nsecret_env = "SHORT"', "a password here has 24 characters at least"),
        ('[incoming.crm]\nrecipe = "hubspot"\nproof = "hubspot"\nsecret_env = "S"', "HubSpot signs the address that it calls"),
        (OWN + 'fields = { lead_id = "user.(id" }', "'user.(id' is not a JMESPath expression"),
        (OWN + 'field = { lead_id = "id" }', "line 5, incoming.shop.events.0.field: there is no such key; did you mean 'fields'?"),
        ("[outgoing", "is not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(WebhookSettingsError) as refusal:
        parse(tmp_path, text)
    assert message in str(refusal.value)
    assert (
        "webhooks.toml" in str(refusal.value)
        or "hubspt" in str(refusal.value)
        or "shop" in str(refusal.value)
    )


def test_a_service_with_a_mistake_in_its_webhooks_or_no_database_does_not_start(tmp_path, model_folder):
    path = tmp_path / "webhooks.toml"
    path.write_text("[outgoing")
    settings = ServiceSettings(str(model_folder), webhooks=path)
    with (
        pytest.raises(WebhookSettingsError, match="not valid TOML"),
        start_service(settings, Address(port=1)),
    ):
        pass
    path.write_text("")
    with (
        pytest.raises(StartError, match="webhooks need the database"),
        start_service(settings, Address(port=1)),
    ):
        pass
