"""The call list: who is on it, what one decides, and what nobody's data can do to it."""

from __future__ import annotations

import html
import re
import time
from contextlib import ExitStack

import pytest
from console_browser import form_token, start_console

from features.clock import DAY
from serving.console import today
from serving.console.lead_rows import grade_before, points_in_a_week, sparkline
from serving.current_scores import reading
from serving.current_scores.records import CurrentScore, ScorePoint
from serving.middleware.api_keys import create_key

NASTY = """<script>window.x=1</script>"'><img src=x onerror=window.x=2>{{7*7}}&amp;</textarea>"""
ROLES = ("sales", "marketing", "admin")
PAGES = (
    "/console",
    "/console/decided",
    "/console/model",
    "/console?text=kim&grade=A&segment=industry&value=ads",
)


def event(name, number, **fields):
    return {"type": name, "id": f"{name}-{number}", **fields}


def lead_events(number, name, *, owner, channel="ads", stage="mql", industry="machinery", account=None):
    """A lead of the store with a touchpoint and a stage, some days old."""
    lead_id, now = f"lead {number}", int(time.time())
    attributes = {"name": name, "owner": owner, "industry": industry, "employees": 10 ** (number % 7)}
    lead = {"lead_id": lead_id, "created_at": now - 20 * DAY, "attributes": attributes}
    return [
        event("lead", number, **lead | ({"account_id": account} if account else {})),
        event(
            "touchpoint",
            number,
            lead_id=lead_id,
            occurred_at=now - 3 * DAY,
            kind="visit",
            channel=channel,
        ),
        event("transition", number, lead_id=lead_id, occurred_at=now - 2 * DAY, stage=stage),
    ]


COMPANY = [
    event("account", 1, account_id="Kiesel & Söhne", attributes={"Company name": "Kiesel Maschinenbau"}),
    *lead_events(1, "Ada Kim", owner="Lena", channel="email", account="Kiesel & Söhne"),
    *lead_events(2, "Ben Ode", owner="Lena", industry="ads"),
    *lead_events(3, "Cem Ruiz", owner="Tom", stage="sal"),
    *lead_events(4, "Dora Kimm", owner="Tom"),
    *lead_events(5, "Edith", owner="Tom"),
    *lead_events(6, NASTY, owner=NASTY, channel=NASTY, stage=NASTY, industry=NASTY, account=NASTY),
]


def wait_for_all(browser):
    """The scorer in the background puts a lead on the list, and back on it, within some seconds."""
    deadline = time.monotonic() + 30
    while "6 open leads" not in browser.get("/console").text:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def service(by_hand, tmp_path_factory):
    folder = tmp_path_factory.mktemp("today")
    with ExitStack() as stack:
        browser = start_console(by_hand, folder, stack, LEADLOOP_RESCORE="on")
        file = folder / "keys.json"
        browser.keys = {role: create_key(file, role, [], role=role) for role in ROLES}
        crm = {"authorization": f"Bearer {create_key(file, 'crm', ['events', 'outcomes', 'admin'])}"}
        answer = browser.client.post("/v1/events", json={"events": COMPANY}, headers=crm)
        assert {each["status"] for each in answer.json()["results"]} == {"accepted"}
        browser.crm = crm
        browser.sign_in(browser.keys["admin"])
        wait_for_all(browser)
        yield browser


@pytest.fixture
def visit(service):
    """Signs in as a role, and takes back what was decided when the test ends."""

    def sign_in(role="sales", lang="en"):
        service.client.cookies.clear()
        service.client.headers["accept-language"] = lang
        service.sign_in(service.keys[role])
        return service

    yield sign_in
    browser = sign_in("admin")
    while keys := re.findall(
        r'name="lead_id" value="([^"]+)"><input type="hidden" name="corrects" value="([^"]+)"',
        browser.get("/console/decided").text,
    ):
        for lead_id, key in keys:
            browser.post("/console/decisions/undo", "/console/decided", lead_id=lead_id, corrects=key)
    wait_for_all(browser)


def names(page):
    return [html.unescape(name) for name in re.findall(r"<h2><a[^>]*>(.*?)</a></h2>", page.text, re.DOTALL)]


def key_of(page, lead_id):
    return re.search(rf'value="{lead_id}"><input type="hidden" name="key" value="([^"]+)"', page.text)[1]


def test_the_list_is_of_all_open_leads_best_first(visit):
    page = visit().get("/console")
    chances = [float(figure) for figure in re.findall(r"<strong>&?l?t?;?(\d+)%</strong>", page.text)]
    assert len(names(page)) == 6
    assert chances == sorted(chances, reverse=True)


def test_a_company_has_the_name_that_people_know_it_by(visit):
    assert "Kiesel Maschinenbau" in visit().get("/console").text
    lead = visit().get("/console/leads/lead 1").text
    link = re.search(r'<a href="([^"]+)">Kiesel Maschinenbau</a>', lead)[1]
    assert "<h1>Kiesel Maschinenbau" in visit().get(html.unescape(link)).text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"text": "kim"}, {"Ada Kim", "Dora Kimm"}),
        ({"text": "söhne"}, {"Ada Kim"}),
        ({"owner": "Lena"}, {"Ada Kim", "Ben Ode"}),
        ({"channel": "email"}, {"Ada Kim"}),
        ({"stage": "sal"}, {"Cem Ruiz"}),
        ({"segment": "industry", "value": "ads"}, {"Ben Ode"}),
        ({"owner": "Tom", "text": "kim"}, {"Dora Kimm"}),
        ({"owner": NASTY}, {NASTY}),
        ({"state": "dormant"}, set()),
        ({"text": "%"}, set()),
    ],
)
def test_a_filter_finds_whom_it_names_and_nobody_else(visit, query, found):
    assert set(names(visit().get("/console", params=query))) == found


def test_a_long_list_is_not_counted_to_its_end(visit, monkeypatch):
    for module in (today, reading):
        monkeypatch.setattr(module, "MOST_COUNTED", 3)
    monkeypatch.setattr(today, "LEADS_PER_PAGE", 2)
    browser = visit()
    assert "3 or more open leads wait for a decision" in browser.get("/console").text
    assert "2 of them match." in browser.get("/console?owner=Lena").text
    assert "3 or more of them match." in browser.get("/console?owner=Tom").text


def test_every_lead_is_on_one_page_and_the_filter_goes_along(visit, monkeypatch):
    monkeypatch.setattr(today, "LEADS_PER_PAGE", 2)
    browser, address, pages = visit(), "/console?owner=Tom", []
    while address:
        page = browser.get(address)
        pages.append(names(page))
        following = re.search(r'href="([^"]+)" rel="next"', page.text)
        address = html.unescape(following[1]) if following else None
    assert [len(page) for page in pages] == [2, 1]
    assert {name for page in pages for name in page} == {"Cem Ruiz", "Dora Kimm", "Edith"}


def test_a_lead_that_is_accepted_is_off_the_list_and_in_the_log_as_a_persons_outcome(visit):
    browser = visit()
    key = key_of(browser.get("/console"), "lead 1")
    answer = browser.post(
        "/console/decisions",
        "/console",
        lead_id="lead 1",
        key=key,
        outcome="accepted",
        here="/console?owner=Lena",
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/console?owner=Lena&done=lead+1")
    page = browser.get(answer.headers["location"])
    assert names(page) == ["Ben Ode"]
    assert "Ada Kim is accepted." in page.text
    log = browser.get("/v1/leads/lead%201/decisions", headers=browser.crm).json()
    (outcome,) = log["outcomes"][-1:]
    assert (outcome["key"], outcome["outcome"], outcome["decided_by"]) == (key, "accepted", "person")


def test_a_double_click_counts_once_and_the_first_decision_stands(visit, monkeypatch):
    browser = visit()
    key = key_of(browser.get("/console"), "lead 2")
    for later, outcome in enumerate(("accepted", "accepted", "rejected")):
        now = time.time()
        monkeypatch.setattr(time, "time", lambda now=now, later=later: now + later)
        answer = browser.post(
            "/console/decisions", "/console", lead_id="lead 2", key=key, outcome=outcome, reason="no"
        )
        assert answer.status_code == 303
        monkeypatch.undo()
    log = browser.get("/v1/leads/lead%202/decisions", headers=browser.crm).json()
    assert [each["outcome"] for each in log["outcomes"] if each["key"] == key] == ["accepted"]


def test_what_is_taken_back_never_was_and_once_more_changes_nothing(visit):
    browser = visit()
    key = key_of(browser.get("/console"), "lead 3")
    browser.post(
        "/console/decisions", "/console", lead_id="lead 3", key=key, outcome="rejected", reason="budget"
    )
    assert "Cem Ruiz" not in names(browser.get("/console"))
    assert "budget" in browser.get("/console/decided").text
    for _ in range(2):
        answer = browser.post("/console/decisions/undo", "/console", lead_id="lead 3", corrects=key)
        assert answer.status_code == 303
    assert "Cem Ruiz" not in browser.get("/console/decided").text
    wait_for_all(browser)
    assert "Cem Ruiz" in names(browser.get("/console"))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"lead_id": "lead 4", "key": "k", "outcome": "rejected", "reason": " "}, 400),
        ({"lead_id": "lead 4", "key": "k", "outcome": "won"}, 400),
        ({"lead_id": "lead 4", "key": "", "outcome": "accepted"}, 400),
        ({"lead_id": "lead 4", "key": "k", "outcome": "rejected", "reason": "x\0"}, 400),
        ({"lead_id": "nobody", "key": "k", "outcome": "accepted"}, 404),
        ({}, 400),
    ],
)
def test_a_form_that_says_nothing_of_use_changes_nothing(visit, fields, status):
    browser = visit()
    assert browser.post("/console/decisions", "/console", **fields).status_code == status
    assert "Dora Kimm" in names(browser.get("/console"))


def test_the_script_gets_the_row_alone(visit):
    browser = visit()
    page = browser.get("/console")
    fields = {"form_token": form_token(page.text), "lead_id": "lead 5", "key": key_of(page, "lead 5")}
    answer = browser.client.post(
        "/console/decisions", data=fields | {"outcome": "accepted"}, headers={"x-leadloop-part": "1"}
    )
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert 'data-status="Edith is accepted."' in answer.text


RIGHTS = {
    "sales": {"/console": 200, "/console/decided": 200, "/console/model": 403, "/console/report": 403},
    "marketing": {"/console": 200, "/console/decided": 200, "/console/model": 200, "/console/report": 404},
    "admin": {"/console": 200, "/console/decided": 200, "/console/model": 200, "/console/report": 404},
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_its_pages_and_no_others(visit, role):
    browser = visit(role)
    assert {path: browser.get(path).status_code for path in RIGHTS[role]} == RIGHTS[role]
    navigation = browser.get("/console").text.partition("<nav")[2].partition("</nav>")[0]
    assert ("/console/model" in navigation) == (role != "sales")
    # Whom to call at a company, and who is active there, is what sales calls by.
    assert "/console/accounts" in navigation
    assert browser.get("/console/accounts").status_code == 200


def test_who_may_only_read_has_no_button_and_is_refused_without_one(visit):
    browser = visit("marketing")
    page = browser.get("/console")
    assert "/console/decisions" not in page.text
    fields = {"form_token": form_token(page.text), "lead_id": "lead 4", "key": "k", "outcome": "accepted"}
    for path in ("/console/decisions", "/console/decisions/undo"):
        assert browser.client.post(path, data=fields).status_code == 403


@pytest.mark.parametrize("lang", ["en", "de"])
@pytest.mark.parametrize("path", PAGES)
def test_no_data_becomes_markup_on_any_page(visit, lang, path):
    browser = visit("admin", lang)
    key = key_of(browser.get("/console"), "lead 6")
    browser.post(
        "/console/decisions", "/console", lead_id="lead 6", key=key, outcome="rejected", reason=NASTY
    )
    for address in (
        path,
        f"{path}{'&' if '?' in path else '?'}done=lead+6&text={NASTY}&owner={NASTY}&value={NASTY}",
    ):
        page = browser.get(address)
        assert page.status_code == 200
        assert f'<html lang="{lang}">' in page.text
        scripts = re.findall(r"<script[^>]*>", page.text)
        assert len(scripts) == 1, scripts
        assert "<img" not in page.text
        assert "49" not in re.findall(r"x=2>(\d*)", page.text)


def test_a_form_of_a_session_that_is_over_says_so_and_saves_nothing(visit):
    browser = visit()
    page = browser.get("/console")
    fields = {"form_token": form_token(page.text), "lead_id": "lead 4", "key": "k", "outcome": "accepted"}
    cookie = dict(browser.client.cookies)
    browser.post("/console/logout", "/console")
    browser.client.cookies.update(cookie)
    answer = browser.client.post("/console/decisions", data=fields)
    assert answer.status_code == 401
    assert "was not saved" in answer.text


NOW = 100 * DAY
SCORE = CurrentScore("a", "", "m", NOW, NOW, NOW, "open", "a", 0.4, 120, "A")


def point(days_ago, points, grade="B"):
    return ScorePoint(NOW - days_ago * DAY, 0.3, points, grade, "m")


@pytest.mark.parametrize(
    ("history", "gained"),
    [
        ([point(20, 90), point(8, 100), point(2, 130)], 20),
        ([point(7, 100)], 20),
        ([point(3, 110)], 10),
        ([point(0, 120)], None),
        ([], None),
    ],
)
def test_a_trend_is_what_the_lead_gained_since_it_was_scored_a_week_ago(history, gained):
    assert points_in_a_week(SCORE, history) == gained


def test_a_grade_is_news_only_while_it_is_new():
    history = [point(20, 100, "C"), point(0, 120, "A")]
    assert grade_before(SCORE, history, NOW - DAY) == "C"
    assert grade_before(SCORE, history, NOW + 1) is None
    assert grade_before(SCORE, [point(20, 100, "A")], NOW - DAY) is None


def test_a_sparkline_stays_in_its_box_and_noise_looks_like_noise():
    for history in ([point(90, 10), point(30, 400), point(1, 119)], [point(30, 121)]):
        corners = [tuple(map(float, corner.split(","))) for corner in sparkline(SCORE, history).split()]
        assert all(0 <= x <= 96 and 0 <= y <= 22 for x, y in corners)
        assert corners[-1][0] == 96
    heights = [y for _, y in corners]
    assert max(heights) - min(heights) < 2
    assert sparkline(SCORE, []) == ""
