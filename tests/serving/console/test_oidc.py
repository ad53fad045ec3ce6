"""Signing in at an identity provider: whom it vouches for comes in, and nobody by a trick."""

from __future__ import annotations

import re
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit

import pytest
from console_browser import Browser
from joserfc.jwk import ECKey, OctKey
from oidc_provider import CLIENT, SECRET, Provider, come_back, leave, run_provider
from service_client import start_client

from serving.console.oidc_settings import OidcSettings
from serving.settings import SettingsError


@pytest.fixture(scope="module")
def setup(by_hand, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oidc")
    (folder / "secret").write_text(f"{SECRET}\n")
    with run_provider() as provider, ExitStack() as stack:
        settings = {
            "LEADLOOP_OIDC_ISSUER": provider.url,
            "LEADLOOP_OIDC_CLIENT_ID": CLIENT,
            "LEADLOOP_OIDC_CLIENT_SECRET_FILE": str(folder / "secret"),
            "LEADLOOP_OIDC_TENANT_CLAIM": "tenant",
        }
        client = start_client(by_hand, str(folder / "decisions.db"), stack, **settings)
        yield Browser(client), provider


@pytest.fixture
def browser(setup):
    setup[0].client.cookies.clear()
    return setup[0]


@pytest.fixture
def provider(setup):
    """The provider, which tells the truth again when the test ends."""
    provider, key = setup[1], setup[1].key
    yield provider
    for name, value in vars(Provider(url=provider.url, key=key)).items():
        setattr(provider, name, value)


def test_whoever_the_provider_vouches_for_is_in_with_the_role_of_their_claim(browser, provider):
    provider.person = {"sub": "u1", "name": "Ada <Admin>", "roles": ["x", "sales", "admin"]}
    assert browser.get("/console").headers["location"] == "/console/login"
    assert "/console/oidc/start?next=" in browser.get("/console/login").text
    answer = come_back(browser, leave(browser))
    assert answer.status_code == 200
    assert 'content="0;url=/console/model"' in answer.text
    page = browser.get("/console/model")
    assert page.status_code == 200
    assert "Ada &lt;Admin&gt;" in page.text
    assert "Administration" in page.text


def test_what_the_browser_is_sent_with_is_bound_to_this_attempt_and_this_service(browser, provider):
    away = browser.get("/console/oidc/start")
    query = {name: values[0] for name, values in parse_qs(urlsplit(away.headers["location"]).query).items()}
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == "http://127.0.0.1/console/oidc/callback"
    assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    cookie = away.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=600" in cookie
    assert query["code_challenge"] not in cookie
    assert provider.url in away.headers["location"]


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"nonce": "another"}, 403),
        ({"nonce": None}, 403),
        ({"aud": "another"}, 403),
        ({"aud": [CLIENT, "another"], "azp": "another"}, 403),
        ({"iss": "https://another.example"}, 403),
        ({"exp": 1}, 403),
        ({"iat": None}, 403),
        ({"sub": None}, 403),
        ({"at_hash": "wrong"}, 403),
        ({"roles": ["nobody"]}, 403),
        ({"roles": {"sales": 1}}, 403),
        ({"roles": None}, 403),
        ({"aud": [CLIENT]}, 200),
        ({"roles": "marketing sales"}, 200),
    ],
)
def test_a_token_for_somebody_else_or_another_time_lets_nobody_in(browser, provider, claims, status):
    provider.claims = claims
    assert come_back(browser, leave(browser)).status_code == status
    assert browser.get("/console").status_code == (200 if status == 200 else 303)


def test_a_token_that_the_provider_did_not_sign_lets_nobody_in(browser, provider):
    provider.published = ECKey.generate_key("P-256", {"kid": "1", "alg": "ES256"})
    provider.key = ECKey.generate_key("P-256", {"kid": "1", "alg": "ES256"})
    assert come_back(browser, leave(browser)).status_code == 403


def test_a_token_that_is_signed_with_the_shared_secret_lets_nobody_in(browser, provider):
    """Whoever can read the secret of the client could make one."""
    provider.published = provider.key
    provider.key = OctKey.import_key(SECRET.ljust(32), {"kid": "1"})
    provider.header = {"alg": "HS256"}
    assert come_back(browser, leave(browser)).status_code == 403


def test_an_attempt_of_another_browser_or_of_before_is_not_finished(browser):
    address = leave(browser)
    jar = dict(browser.client.cookies)
    browser.client.cookies.clear()
    assert come_back(browser, address).status_code == 400
    browser.client.cookies.update(jar)
    forged = re.sub(r"state=[^&]+", "state=x", address)
    assert come_back(browser, forged).status_code == 400
    assert come_back(browser, re.sub(r"code=[^&]+", "code=guessed", address)).status_code == 403
    assert come_back(browser, re.sub(r"iss=[^&]+", "iss=https://another.example", address)).status_code == 403
    assert come_back(browser, address).status_code == 200
    assert come_back(browser, address).status_code != 200, "a code is used once"


@pytest.mark.parametrize("cookie", ["", "e30", "bnVsbA", "%%%", "eyJzdGF0ZSI6MX0"])
def test_a_cookie_that_is_no_attempt_is_none(browser, cookie):
    browser.client.cookies.set("leadloop_oidc_80", cookie)
    assert browser.get("/console/oidc/callback?code=x&state=").status_code == 400


def test_nobody_is_led_elsewhere_afterwards(browser):
    assert 'content="0;url=/console"' in come_back(browser, leave(browser, "//elsewhere.example")).text


def test_a_tenant_is_a_claim_too_and_log_lines_have_no_name(browser, provider, caplog):
    provider.claims = {"tenant": "north"}
    come_back(browser, leave(browser))
    with caplog.at_level("INFO", "leadloop"):
        browser.get("/console")
    (key,) = {record.fields["key"] for record in caplog.records if "key" in getattr(record, "fields", {})}
    assert re.fullmatch(r"oidc-[0-9a-f]{12}", key)


SETTINGS = {"LEADLOOP_OIDC_ISSUER": "https://id.example", "LEADLOOP_OIDC_CLIENT_ID": "x"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLIENT_ID", ""),
        ("ISSUER", "http://id.example"),
        ("ISSUER", "id.example"),
        ("CLIENT_SECRET_FILE", "/nowhere/secret"),
        ("ROLES", "boss=x"),
        ("ROLES", "sales"),
        # Names of models without the claim that holds them would limit nobody.
        ("MODELS", "renewal=success"),
        ("MODELS", "renewal"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(name, value):
    with pytest.raises(SettingsError):
        OidcSettings.of(SETTINGS | {f"LEADLOOP_OIDC_{name}": value})


def test_a_role_is_what_the_provider_calls_it_and_only_those_named_count():
    settings = OidcSettings.of(
        SETTINGS
        | {"LEADLOOP_OIDC_ROLES": "sales=crm-sales, admin=crm-it", "LEADLOOP_OIDC_ROLES_CLAIM": "realm.roles"}
    )
    assert settings.role_of({"realm": {"roles": ["crm-it", "crm-sales"]}}) == "admin"
    assert settings.role_of({"realm": {"roles": ["crm-sales"]}}) == "sales"
    assert settings.role_of({"realm": {"roles": ["admin", "marketing"]}}) is None
    assert settings.role_of({"realm": "crm-sales"}) is None
    assert OidcSettings.of({}) is None
