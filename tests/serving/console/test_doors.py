"""Each way into the console: guessed keys, a machine without keys, and none at all."""

from __future__ import annotations

import html
import re
import time
from contextlib import ExitStack
from functools import partial

from console_browser import Browser, form_token, start_console
from log_entries import make_decision
from service_client import start_client

from serving.console import rendering
from serving.current_scores.records import CurrentScore
from serving.current_scores.writing import ScoredLead, ScoreUpdate, write_scores
from serving.decision_log.async_log import DecisionLog
from serving.decision_log.database import open_log, writing
from serving.decision_log.settings import LogUnavailable
from serving.middleware import authentication
from serving.middleware.api_keys import create_key


def test_whoever_guesses_keys_must_wait_and_a_key_is_let_in(by_hand, tmp_path):
    with ExitStack() as stack:
        _guess(start_console(by_hand, tmp_path, stack), tmp_path / "keys.json")


def _guess(browser, file):
    token = form_token(browser.get("/console/login").text)
    guesses = [
        browser.client.post("/console/login", data={"form_token": token, "key": f"leadloop_{n}"}).status_code
        for n in range(authentication.GUESSES + 1)
    ]
    assert guesses == [401] * authentication.GUESSES + [429]
    assert browser.sign_in(create_key(file, "ada", [], role="sales")).status_code == 303


def test_without_keys_this_machine_comes_in_without_signing_in_and_its_forms_need_their_token(
    by_hand, tmp_path
):
    with ExitStack() as stack:
        browser = Browser(start_client(by_hand, str(tmp_path / "decisions.db"), stack))
        page = browser.get("/console")
        assert page.status_code == 200
        assert "logout" not in page.text
        assert browser.client.post("/console/logout").status_code == 400
        assert browser.client.post("/console/logout", data={"x": "1"}).status_code == 403
        assert browser.get("/console", headers={"x-forwarded-for": "192.0.2.1"}).status_code == 401


def test_the_console_can_be_switched_off(by_hand, tmp_path):
    with ExitStack() as stack:
        browser = Browser(
            start_client(by_hand, str(tmp_path / "decisions.db"), stack, LEADLOOP_CONSOLE="off")
        )
        assert browser.get("/console").status_code == 404
        assert browser.get("/readyz").status_code == 200


def test_without_what_renders_it_the_service_starts_and_has_no_console(by_hand, tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "find_spec", lambda _: None)
    with ExitStack() as stack:
        browser = Browser(start_client(by_hand, str(tmp_path / "decisions.db"), stack))
        assert browser.get("/console").status_code == 404
        assert browser.client.post("/v1/score", json={"leads": [{"lead_id": "a"}]}).status_code == 200


def test_without_a_log_the_console_says_that_it_knows_no_leads(by_hand):
    with ExitStack() as stack:
        browser = Browser(start_client(by_hand, "off", stack))
        assert browser.get("/console").status_code == 501
        assert browser.get("/console/model").status_code == 200


def test_a_database_that_is_gone_is_said_and_nothing_else(by_hand, tmp_path, monkeypatch):
    with ExitStack() as stack:
        browser = start_console(by_hand, tmp_path, stack)
        browser.sign_in(create_key(tmp_path / "keys.json", "ada", [], role="sales"))

        async def gone(*_):
            raise LogUnavailable

        monkeypatch.setattr(DecisionLog, "read", gone)
        page = browser.get("/console", headers={"accept-language": "de"})
        assert page.status_code == 503
        assert "Die Datenbank ist zurzeit nicht erreichbar" in page.text


def test_a_list_without_open_leads_says_how_many_are_dormant_and_shows_them(by_hand, tmp_path):
    place, now = str(tmp_path / "decisions.db"), int(time.time())
    with ExitStack() as stack:
        browser = Browser(start_client(by_hand, place, stack))
        assert "leadloop store load" in browser.get("/console").text
        log = writing(open_log(place))
        with log.begin() as connection:
            for number in range(3):
                lead_id = f"old {number}"
                numbers = {"probability": 0.1, "points": 80, "grade": "D"}
                score = CurrentScore(lead_id, "", "v1", now, now, now, "dormant", lead_id, **numbers)
                decide = partial(make_decision, lead_id, as_of=now)
                write_scores(connection, ScoreUpdate([ScoredLead(score, decide)], time.time()))
        log.dispose()
        page = browser.get("/console").text
        assert "3 leads are dormant" in page
        assert "leadloop store load" not in page
        link = re.search(r'class="button" href="([^"]+)">Show dormant leads', page)[1]
        shown = browser.get(html.unescape(link)).text
        assert all(f"old {number}" in shown for number in range(3))
        assert "3 dormant leads match" in shown
        assert "0 open leads" not in page + shown
        assert "3 Leads ruhen" in browser.get("/console", headers={"accept-language": "de"}).text
