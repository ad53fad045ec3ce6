"""Who comes in to the console: by a key with a role, for as long as the key and the session last."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from console_browser import form_token, start_console
from sqlalchemy import delete, func, select, update

from serving.console.console import idle_seconds
from serving.decision_log.database import open_log, writing
from serving.decision_log.tables import CONSOLE_SESSIONS
from serving.middleware.api_keys import create_key, load_keys, revoke_key
from serving.settings import SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def service(by_hand, folder):
    with ExitStack() as stack:
        yield start_console(by_hand, folder, stack)


@pytest.fixture
def browser(service):
    service.client.cookies.clear()
    return service


@pytest.fixture
def file(folder):
    yield folder / "keys.json"
    for key in load_keys(folder / "keys.json"):
        if key.name != "somebody":
            revoke_key(folder / "keys.json", key.name)


@pytest.fixture
def log(folder):
    engine = writing(open_log(str(folder / "decisions.db")))
    with engine.begin() as connection:
        connection.execute(delete(CONSOLE_SESSIONS))
    yield engine
    engine.dispose()


def test_whoever_has_not_signed_in_is_sent_to_do_so_and_then_to_the_page(browser, file):
    answer = browser.get("/console/model?x=1")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/console/login?next=%2Fconsole%2Fmodel%3Fx%3D1",
    )
    key = create_key(file, "ada", [], role="sales")
    answer = browser.post("/console/login", key=key, next="/console/model?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/model?x=1")
    page = browser.get("/console")
    assert page.status_code == 200
    assert "ada" in page.text


@pytest.mark.parametrize(
    "target", ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere", "/v1/model"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(browser, file, target):
    key = create_key(file, "ada", [], role="sales")
    assert browser.post("/console/login", key=key, next=target).headers["location"] == "/console"


def test_a_key_without_a_role_opens_no_console(browser, file):
    key = create_key(file, "crm", ["score", "admin"])
    answer = browser.sign_in(key)
    assert answer.status_code == 401
    assert "opens no console" in answer.text
    assert key not in answer.text


def test_a_key_with_a_role_alone_opens_nothing_else(browser, file):
    key = create_key(file, "ada", [], role="admin")
    answer = browser.client.post("/v1/score", json={"leads": []}, headers={"authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


def test_the_cookie_is_for_this_service_alone_and_is_another_one_after_signing_in(browser, file):
    before = browser.get("/console/login").headers["set-cookie"]
    browser.client.cookies.clear()
    after = browser.sign_in(create_key(file, "ada", [], role="sales")).headers["set-cookie"]
    for cookie in (before, after):
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/" in cookie
    assert before.partition(";")[0] != after.partition(";")[0]


def test_beyond_this_machine_the_cookie_is_sent_by_https_alone(browser):
    cookie = browser.get("/console/login", headers={"host": "testserver"}).headers["set-cookie"]
    assert cookie.startswith("__Host-leadloop=")
    assert "Secure" in cookie


def test_what_the_database_holds_of_a_session_opens_nothing(browser, file, log):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    with log.connect() as connection:
        (row,) = connection.execute(select(CONSOLE_SESSIONS)).mappings()
    (cookie,) = [cookie for cookie in browser.client.cookies.jar if cookie.name.startswith("leadloop")]
    assert cookie.value not in map(str, row.values())
    cookie.value = row["token_sha256"]
    assert browser.get("/console").status_code == 303


def test_a_session_ends_when_the_key_is_revoked_or_loses_its_role(browser, file):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    assert browser.get("/console").status_code == 200
    revoke_key(file, "ada")
    assert browser.get("/console").status_code == 303
    create_key(file, "ada", [], role="sales")
    assert browser.get("/console").status_code == 303


def test_a_session_ends_by_itself_and_is_then_forgotten(browser, file, log):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    with log.begin() as connection:
        connection.execute(update(CONSOLE_SESSIONS).values(expires_at=int(time.time()) - 1))
    assert browser.get("/console").status_code == 303
    browser.sign_in(create_key(file, "ben", [], role="sales"))
    with log.connect() as connection:
        assert connection.execute(select(func.count()).select_from(CONSOLE_SESSIONS)).scalar_one() == 1


def test_a_session_is_no_longer_than_its_key(browser, file, log):
    browser.sign_in(create_key(file, "ada", [], days=1, role="sales"))
    with log.connect() as connection:
        row = connection.execute(select(CONSOLE_SESSIONS)).mappings().one()
    assert row["expires_at"] - row["created_at"] == 8 * 3600


def set_session(log, **values):
    with log.begin() as connection:
        connection.execute(update(CONSOLE_SESSIONS).values(**values))


def session_ends(log):
    with log.connect() as connection:
        return connection.execute(select(CONSOLE_SESSIONS.c.expires_at)).scalar_one()


def test_a_session_lasts_while_it_is_used_and_twelve_hours_at_the_most(browser, file, log):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    now = int(time.time())
    # Three hours without a page: five are left, and a page makes them eight again.
    set_session(log, created_at=now - 3 * 3600, expires_at=now + 5 * 3600)
    assert browser.get("/console").status_code == 200
    assert abs(session_ends(log) - now - 8 * 3600) < 60
    before = session_ends(log)
    assert browser.get("/console").status_code == 200
    assert session_ends(log) == before, "not every page is a write"
    set_session(log, created_at=now - 11 * 3600, expires_at=now + 600)
    assert browser.get("/console").status_code == 200
    assert session_ends(log) == now - 11 * 3600 + 12 * 3600


def test_a_session_of_a_revoked_key_is_not_prolonged(browser, file, log):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    soon = int(time.time()) + 600
    set_session(log, expires_at=soon)
    revoke_key(file, "ada")
    assert browser.get("/console").status_code == 303
    assert session_ends(log) == soon


@pytest.mark.parametrize("text", ["soon", "5s", "0h"])
def test_a_time_without_use_that_makes_no_sense_is_refused(text):
    with pytest.raises(SettingsError, match="LEADLOOP_CONSOLE_IDLE"):
        idle_seconds({"LEADLOOP_CONSOLE_IDLE": text})


def test_whoever_signs_out_is_out_wherever_the_cookie_is(browser, file):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    jar = dict(browser.client.cookies)
    assert browser.post("/console/logout", page="/console").headers["location"] == "/console/login"
    browser.client.cookies.update(jar)
    assert browser.get("/console").status_code == 303


@pytest.mark.parametrize("fields", [{"x": "1"}, {"form_token": "0" * 64}, {"form_token": "ä"}])
def test_a_form_that_no_page_of_ours_made_is_refused(browser, file, fields):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    answer = browser.client.post("/console/logout", data=fields)
    assert answer.status_code == 403
    assert "nothing was changed" in answer.text
    assert browser.get("/console").status_code == 200


def test_a_form_of_another_visitor_is_refused(browser, file):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    jar = dict(browser.client.cookies)
    browser.client.cookies.clear()
    foreign = form_token(browser.get("/console/login").text)
    browser.client.cookies.clear()
    browser.client.cookies.update(jar)
    assert browser.client.post("/console/logout", data={"form_token": foreign}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://elsewhere.example"}, {"origin": "null"}, {"sec-fetch-site": "same-site"}],
)
def test_a_form_from_another_site_is_refused_whatever_it_brings_along(browser, file, headers):
    browser.sign_in(create_key(file, "ada", [], role="sales"))
    token = form_token(browser.get("/console").text)
    answer = browser.client.post("/console/logout", data={"form_token": token}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
