"""Leads that a model has no current score of: what the store knows of them, and why there is none."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
import service_client
from console_browser import start_console

from features.clock import DAY
from serving.middleware.api_keys import create_key

RENEWAL = "/models/renewal"
SENTENCES = {
    ("waiting", "en"): "renewal has no current score of this lead yet: the lead waits to be scored",
    ("waiting", "de"): "renewal hat noch keinen aktuellen Score dieses Leads: Der Lead wartet darauf",
    ("off", "en"): "because this service scores no leads in the background",
    ("off", "de"): "weil dieser Dienst keine Leads im Hintergrund bewertet",
}


class _LateScorer:
    """The background scorer before it comes to the first lead."""

    def start(self):
        """It begins, and has not scored anything yet."""

    def close(self):
        """It ends."""


def events():
    now = int(time.time())
    told = {
        "lead": {
            "created_at": now - 9 * DAY,
            "account_id": "acme",
            "attributes": {"name": "Ada Kim", "owner": "Zoe"},
        },
        "touchpoint": {"occurred_at": now - DAY, "kind": "visit", "channel": "trade_fair"},
        "transition": {"occurred_at": now - DAY // 2, "stage": "mql"},
    }
    return [{"id": kind, "type": kind, "lead_id": "ada"} | each for kind, each in told.items()]


@pytest.fixture(scope="module", params=["waiting", "off"])
def service(request, by_hand, tmp_path_factory):
    folder = tmp_path_factory.mktemp("without-score")
    models = {"any": by_hand, RENEWAL: replace(by_hand, base=1.0, version="renewal00000")}
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(service_client, "_background_scorer", lambda *_: _LateScorer())
        switch = {"LEADLOOP_RESCORE": "on" if request.param == "waiting" else "off"}
        browser = start_console(models, folder, stack, LEADLOOP_MODELS=f"renewal={RENEWAL}", **switch)
        file = folder / "keys.json"
        browser.why = request.param
        browser.crm = {"authorization": f"Bearer {create_key(file, 'crm', ['events', 'score'])}"}
        answer = browser.client.post("/v1/events", json={"events": events()}, headers=browser.crm)
        assert {each["status"] for each in answer.json()["results"]} == {"accepted"}
        browser.sign_in(create_key(file, "lena", [], role="admin"))
        yield browser


@pytest.mark.parametrize("lang", ["en", "de"])
def test_a_lead_without_a_score_of_the_model_is_shown_as_the_store_knows_it(service, lang):
    service.client.headers["accept-language"] = lang
    page = service.get("/console/leads/ada?model=renewal").text
    assert "<h1>Ada Kim</h1>" in page
    facts = page.partition('<p class="facts">')[2].partition("</p>")[0]
    words = re.sub("<[^>]*>", " ", facts)
    for value in ("ada", "acme", "Trade fair", "Zoe"):
        assert value in words
    sentence = page.partition('<p class="notice" id="no-score">')[2].partition("</p>")[0]
    assert SENTENCES[service.why, lang] in sentence
    # Nobody can decide about it in a list that it is not on.
    assert 'action="/console/decisions' not in page


def test_the_answer_about_such_a_lead_says_so(service):
    answer = service.client.get("/v1/leads/ada?model=renewal", headers=service.crm | {"cookie": ""}).json()
    assert (answer["state"], answer["no_current_score"]) == (None, service.why)
    known = {name: answer[name] for name in ("name", "account_id", "owner", "channel", "stage")}
    assert known == {
        "name": "Ada Kim",
        "account_id": "acme",
        "owner": "Zoe",
        "channel": "trade_fair",
        "stage": "mql",
    }


def test_the_page_that_forgets_a_person_calls_them_by_their_name(service):
    service.client.headers["accept-language"] = "en"
    page = service.get("/console/forget/ada?model=renewal").text
    assert "Ada Kim" in page


def test_the_page_of_an_account_calls_its_leads_by_their_names(service):
    page = service.get("/console/accounts/acme?model=renewal").text
    rows = page.partition("<tbody>")[2]
    assert ">Ada Kim</a>" in rows
