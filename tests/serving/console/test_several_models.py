"""The console of a service with several models: who sees which, and that no list is mixed."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import replace
from html import unescape

import pytest
from console_browser import form_token, start_console

from features.clock import DAY
from serving.console import today
from serving.middleware.api_keys import create_key

RENEWAL, UPSELL = "/models/renewal", "/models/upsell"
MODELS = ("", "renewal", "upsell")
LEADS = {"ada": "machinery", "bob": "ads", "cy": "demo", "di": "", "eve": "other words"}
TITLES = {"en": ("Scores by the other models", "Default"), "de": ("Scores der anderen Modelle", "Standard")}


def events():
    created = int(time.time()) - 9 * DAY
    for lead_id, industry in LEADS.items():
        attributes = {"name": lead_id.title(), "owner": "Anna", "industry": industry}
        lead = {"lead_id": lead_id, "created_at": created, "account_id": "acme", "attributes": attributes}
        yield {"id": lead_id, "type": "lead"} | lead


@pytest.fixture(scope="module")
def service(by_hand, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models = {
        "any": by_hand,
        # The one that renews prefers those that the default one does not.
        RENEWAL: replace(by_hand, base=1.0, version="renewal00000"),
        UPSELL: replace(by_hand, base=-1.0, version="upsell000000"),
    }
    named = {"LEADLOOP_MODELS": f"renewal={RENEWAL},upsell={UPSELL}", "LEADLOOP_RESCORE": "on"}
    with ExitStack() as stack:
        browser = start_console(models, folder, stack, **named)
        file = folder / "keys.json"
        browser.keys = {
            "all": create_key(file, "all", [], role="admin"),
            "one": create_key(file, "one", [], role="sales", models=["default", "upsell"]),
            "renewals": create_key(file, "renewals", [], role="admin", models=["upsell", "renewal"]),
            "elsewhere": create_key(file, "elsewhere", [], role="sales", models=["churn"]),
        }
        crm = {"authorization": f"Bearer {create_key(file, 'crm', ['events', 'admin', 'score'])}"}
        browser.crm = crm
        answer = browser.client.post("/v1/events", json={"events": [*events()]}, headers=crm)
        assert {each["status"] for each in answer.json()["results"]} == {"accepted"}
        browser.points = {
            model: {
                each["lead_id"]: each["points"]
                for each in browser.client.post(
                    f"/v1/score?model={model or 'default'}", json={"lead_ids": [*LEADS]}, headers=crm
                ).json()["results"]
            }
            for model in MODELS
        }
        browser.sign_in(browser.keys["all"])
        deadline = time.monotonic() + 60
        while any(len(names(browser.get(address(model)).text)) < len(LEADS) for model in MODELS):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield browser


def address(model, path="/console", **query):
    given = {"model": model} | query if model else query
    return f"{path}?{'&'.join(f'{name}={value}' for name, value in given.items())}" if given else path


def names(page):
    """Who is on a list, in its order."""
    return re.findall(r'<h2><a href="[^"]*">([^<]*)</a></h2>', page)


def chosen(page):
    """The models to choose from by their names, each with its address; and the one that is shown."""
    bar = page.partition('<nav class="models"')[2].partition("</nav>")[0]
    links = re.findall(r'<a href="([^"]*)"( aria-current="true")?><span class="name">([^<]*)</span>', bar)
    return (
        {name: unescape(place) for place, _, name in links},
        next((name for _, current, name in links if current), None),
    )


def models_shown(page):
    """By the name of each model of the table its row as text."""
    section = page.partition('<h2 id="by-models">')[2].partition("</section>")[0]
    rows = re.findall(r'<tr><th scope="row"><a [^>]*>(.*?)</a> .*?</th>(.*?)</tr>', section, re.DOTALL)
    return {name: " ".join(re.sub("<[^>]*>", " ", cells).split()) for name, cells in rows}


def visit(service, key="all", lang="en"):
    service.client.cookies.clear()
    service.client.headers["accept-language"] = lang
    service.sign_in(service.keys[key])
    return service


@pytest.mark.parametrize("lang", ["en", "de"])
def test_a_lead_has_its_score_by_each_other_model_and_the_way_there(service, lang):
    title, default = TITLES[lang]
    page = visit(service, lang=lang).get("/console/leads/ada").text
    assert title in page
    shown = models_shown(page)
    assert list(shown) == ["renewal", "upsell"]
    for model in shown:
        assert shown[model].split()[-1] == str(service.points[model]["ada"])
    page = service.get("/console/leads/ada?model=renewal").text
    assert list(models_shown(page)) == [default, "upsell"]
    assert 'href="/console/leads/ada?model=upsell"' in page


@pytest.mark.parametrize("lang", ["en", "de"])
@pytest.mark.parametrize(
    "path",
    [
        *("/console", "/console/decided", "/console/leads/ada", "/console/accounts"),
        *("/console/accounts/acme", "/console/model"),
    ],
)
def test_each_page_with_scores_lets_one_choose_the_model_and_keeps_it_in_its_links(service, lang, path):
    _, default = TITLES[lang]
    page = visit(service, lang=lang).get(path).text
    links, current = chosen(page)
    assert (list(links), current) == ([default, "renewal", "upsell"], default)
    assert "SQL" in page.partition('<nav class="models"')[2].partition("</nav>")[0]
    page = service.get(f"{path}{links['renewal']}").text
    assert chosen(page)[1] == "renewal"
    own = [unescape(each) for each in re.findall(r'(?:href|action)="(/console[^"]*)"', page)]
    elsewhere = ("/console/static/", "/console/logout", "/console/leads/ada?model=upsell")
    for link in own:
        is_table = link == "/console/leads/ada" and "leads" in path
        assert "model=renewal" in link or link.startswith(elsewhere) or is_table, link


def test_the_call_list_of_a_model_has_its_scores_filters_counts_and_pages(service, monkeypatch):
    visit(service)
    for model in MODELS:
        page = service.get(address(model)).text
        best = sorted(LEADS, key=lambda lead: (-service.points[model][lead], lead))
        assert names(page) == [lead.title() for lead in best]
        assert f"{len(LEADS)} open leads" in page
        assert names(service.get(address(model, owner="Anna", text="bo")).text) == ["Bob"]
    assert service.points["renewal"] != service.points[""]
    monkeypatch.setattr(today, "LEADS_PER_PAGE", 2)
    read, place = [], address("renewal", owner="Anna")
    while place:
        page = service.get(place).text
        read += names(page)
        following = re.search(r'href="([^"]*)" rel="next"', page)
        place = following and unescape(following[1])
        assert place is None or ("model=renewal" in place and "owner=Anna" in place)
    best = sorted(LEADS, key=lambda lead: (-service.points["renewal"][lead], lead))
    assert read == [lead.title() for lead in best]
    # The filters go along to another model, the page's end does not.
    links, _ = chosen(service.get(address("renewal", owner="Anna", after="0.5~bob")).text)
    assert links == {
        "Default": "?owner=Anna",
        "renewal": "?owner=Anna&model=renewal",
        "upsell": "?owner=Anna&model=upsell",
    }


def test_a_lead_is_shown_by_the_model_that_is_asked(service):
    visit(service)
    for model in MODELS:
        page = service.get(address(model, "/console/leads/ada")).text
        tile = page.partition('<span class="kicker">Probability</span>')[2].partition("</dd>")[0]
        answer = service.client.get(
            f"/v1/leads/ada?model={model or 'default'}", headers=service.crm | {"cookie": ""}
        ).json()
        assert tile.split("%")[0].strip() == f"{answer['result']['probability']:.0%}".rstrip("%")
        assert 'name="model" value="renewal"' in page or model != "renewal"


def test_a_decision_is_logged_with_the_model_whose_list_it_was_made_in(service):
    visit(service)
    page = service.get("/console?model=renewal").text
    form = re.search(r'<form method="post" action="([^"]*)" data-part="bob">', page)
    assert form[1] == "/console/decisions?model=renewal"
    fields = {"lead_id": "bob", "key": "click-1", "outcome": "accepted", "here": "/console?model=renewal"}
    token = {"form_token": form_token(page)}
    answer = service.client.post(form[1], data=fields | token)
    assert answer.headers["location"] == "/console?model=renewal&done=bob"
    assert "Bob is accepted" in service.get(answer.headers["location"]).text
    assert "Bob" not in names(service.get("/console?model=renewal").text)
    for model in ("", "upsell"):
        assert "Bob" in names(service.get(address(model)).text)
        assert "Bob" not in service.get(address(model, "/console/decided")).text
    assert "Bob" in service.get("/console/decided?model=renewal").text
    told = service.client.get("/v1/leads/bob/decisions", headers=service.crm).json()["outcomes"]
    assert [(each["outcome"], each["model"]) for each in told] == [("accepted", "renewal")]
    # On the lead's page by another model it says whose list it was.
    assert '<span class="badge">renewal</span>' in service.get("/console/leads/bob").text
    undo = {"lead_id": "bob", "corrects": "click-1", "here": "/console/decided?model=renewal"}
    service.client.post("/console/decisions/undo?model=renewal", data=undo | token)
    assert "Bob" in names(service.get("/console?model=renewal").text)


def test_who_is_limited_to_models_sees_these_and_no_other(service):
    page = visit(service, "one").get("/console/leads/ada").text
    assert models_shown(page).keys() == {"upsell"}
    visit(service, "renewals")
    # The first that they may see is theirs where the address names none, in the service's order.
    page = service.get("/console").text
    assert chosen(page)[0] == {"renewal": "?", "upsell": "?model=upsell"}
    assert chosen(page)[1] == "renewal"
    best = sorted(LEADS, key=lambda lead: (-service.points["renewal"][lead], lead))
    assert names(page) == [lead.title() for lead in best]
    page = service.get("/console/leads/ada").text
    assert models_shown(page).keys() == {"upsell"}
    decisions = page.partition('<h2 id="decisions">')[2]
    assert "renewal00000" in decisions
    assert "byhand000000" not in page
    for path in ("/console", "/console/leads/ada", "/console/accounts", "/console/model", "/console/report"):
        answer = service.get(f"{path}?model=default")
        assert answer.status_code == 404
        assert "You see no model called default here. You can choose: renewal, upsell." in answer.text
    fields = {"lead_id": "ada", "key": "k", "outcome": "accepted", "form_token": form_token(page)}
    assert service.client.post("/console/decisions?model=default", data=fields).status_code == 404


@pytest.mark.parametrize(
    ("lang", "sentence"), [("en", "You can choose: default, renewal"), ("de", "Zur Wahl stehen: default")]
)
def test_an_unknown_model_is_refused_with_those_that_there_are(service, lang, sentence):
    answer = visit(service, lang=lang).get("/console?model=renewals<b>")
    assert answer.status_code == 404
    assert sentence in answer.text
    assert "<b>" not in answer.text


def test_a_key_that_may_ask_no_model_of_the_service_opens_no_console(service):
    service.client.cookies.clear()
    service.client.headers["accept-language"] = "en"
    assert "This key opens no console" in service.sign_in(service.keys["elsewhere"]).text
    assert service.get("/console/leads/ada").status_code == 303
