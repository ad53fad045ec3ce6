"""A lead and the accounts in the console: what is shown, to whom, and what a visit changes."""

from __future__ import annotations

import html
import re
import time
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import quote

import pytest
from console_browser import form_token, start_console

from features.clock import DAY
from models.account_chance import AccountDependence
from models.next_offers import NextOffer, NextOffers, OfferHistory
from models.observed_rates import ObservedRates, RateTable
from serving.console.score_path import HEIGHT, WIDTH, ScorePath, path_chart, score_path
from serving.middleware.api_keys import create_key
from serving.request_parsing import LeadById
from serving.schemas import TimelineEvent, TrendPoint

NASTY = """<script>window.x=1</script>"'><img src=x onerror=window.x=2>{{7*7}}&amp;/\\"""
ROLES = ("sales", "marketing", "admin")
RATES = ObservedRates(
    100,
    20,
    {
        "industry": RateTable((30, 60, 10, 0), (1, 2, 3, 0), words=("ads", NASTY)),
        "employees": RateTable((50, 30, 20, 0), (1, 2, 3, 0), edges=(10.0, 500.0)),
    },
)
OFFERS = NextOffers(60.0, {NASTY: OfferHistory(30, (NextOffer(NASTY, NASTY, 20, 15, 3, 0.2, 0.07, 0.45),))})


def lead_events(lead_id, text, account, attributes):
    now = int(time.time())
    told = [
        {
            "type": "lead",
            "created_at": now - 20 * DAY,
            "account_id": account,
            "attributes": {"name": text, "owner": text} | attributes,
        },
        {
            "type": "touchpoint",
            "occurred_at": now - 3 * DAY,
            "kind": "demo_request",
            "channel": text,
            "offer": text,
        },
        {"type": "touchpoint", "occurred_at": now - 5 * DAY, "kind": text},
        {"type": "transition", "occurred_at": now - 2 * DAY, "stage": text},
        {"type": "attribute", "known_at": now - 2 * DAY, "name": "Need", "value": text},
    ]
    return [each | {"id": f"{each['type']} {lead_id} {n}", "lead_id": lead_id} for n, each in enumerate(told)]


COMPANY = [
    *lead_events("plain", "Ada Kim", "Kiesel & Söhne", {"employees": 10}),
    *lead_events("peer", "Ben Ode", "Kiesel & Söhne", {"industry": "ads"}),
    *lead_events("bad/one", NASTY, NASTY, {"industry": NASTY}),
    {"type": "account", "id": "a", "account_id": NASTY, "attributes": {"name": NASTY, "region": NASTY}},
]


@pytest.fixture(scope="module")
def service(by_hand, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lead")
    model = replace(
        by_hand,
        observed_rates=RATES,
        next_offers=OFFERS,
        account_dependence=AccountDependence(0.3, 0.1, 0.5, 90, 200),
    )
    with ExitStack() as stack:
        browser = start_console(model, folder, stack, LEADLOOP_RESCORE="on")
        file = folder / "keys.json"
        browser.keys = {role: create_key(file, role, [], role=role) for role in ROLES}
        browser.crm = {"authorization": f"Bearer {create_key(file, 'crm', ['events', 'admin'])}"}
        answer = browser.client.post("/v1/events", json={"events": COMPANY}, headers=browser.crm)
        assert {each["status"] for each in answer.json()["results"]} == {"accepted"}
        browser.sign_in(browser.keys["admin"])
        deadline = time.monotonic() + 30
        while "3 open leads" not in browser.get("/console").text:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield browser


@pytest.fixture
def visit(service):
    """Signs in as a role."""

    def sign_in(role="admin", lang="en"):
        service.client.cookies.clear()
        service.client.headers["accept-language"] = lang
        service.sign_in(service.keys[role])
        return service

    return sign_in


def address(*parts):
    return "/console/" + "/".join(quote(part, safe="") for part in parts)


PAGES = (
    address("leads", "plain"),
    address("leads", "bad/one"),
    address("forget", "bad/one"),
    "/console/accounts",
    address("accounts", NASTY),
)


@pytest.mark.parametrize("lang", ["en", "de"])
@pytest.mark.parametrize("path", PAGES)
def test_no_data_becomes_markup(visit, lang, path):
    browser = visit(lang=lang)
    for query in (
        "",
        f"?text={quote(NASTY)}&if.industry={quote(NASTY)}&if.employees={quote(NASTY)}&before=x",
    ):
        page = browser.get(path + query)
        assert page.status_code == 200, page.text
        assert f'<html lang="{lang}">' in page.text
        assert len(re.findall(r"<script[^>]*>", page.text)) == 1
        assert "<img" not in page.text
        assert "x=2&gt;49" not in page.text


def test_a_lead_is_shown_whole(visit):
    page = visit().get(address("leads", "bad/one"))
    text = html.unescape(page.text)
    for title in (
        "Score over time",
        "Raises the score",
        "What if?",
        "Missing to qualify",
        "Next offers of similar leads",
        "Timeline",
        "Recorded scores",
    ):
        assert f">{title}</h" in text
    assert "20% (7% to 45%)" in re.sub(r"<[^>]+>", "", text)
    assert address("accounts", NASTY) in page.text


def decisions_of(browser, lead_id):
    path = f"/v1/leads/{quote(lead_id, safe='')}/decisions"
    return browser.get(path, headers=browser.crm).json()["decisions"]


def test_reading_a_lead_is_logged_and_what_if_is_not(visit, by_hand):
    browser = visit("sales")
    before = len(decisions_of(browser, "plain"))
    page = browser.get(address("leads", "plain"))
    asked = browser.get(f"{address('leads', 'plain')}?if.employees=500&if.industry=ads")
    decisions = decisions_of(browser, "plain")
    assert len(decisions) == before + 2
    assert {(each["endpoint"], each["key_id"]) for each in decisions[:2]} == {
        ("/console/leads/{id}", "sales")
    }
    # What was logged is what is known of the lead, whatever was asked.
    assert [each["row"]["employees"] for each in decisions[:2]] == [10.0, 10.0]
    assert (
        "the probability is"
        not in page.text.partition('id="what-if"')[2].partition("<form")[0].partition("<strong>")[2]
    )
    said = re.search(
        r"<strong>With these attributes the probability is (\S+) instead of (\S+) \(", asked.text
    )
    changed = decisions[0]["row"] | {"employees": 500.0, "industry": "ads"}
    expected = by_hand.score(changed, "plain", decisions[0]["as_of"]).probability
    assert said[1] == f"{expected:.0%}"


@pytest.mark.parametrize(
    "query", ["if.employees=many", "if.employees=1e400", "if.employees=10", "if.nobody=1", "if.industry="]
)
def test_what_is_no_other_value_changes_nothing(visit, query):
    page = visit().get(f"{address('leads', 'plain')}?{query}")
    assert page.status_code == 200
    assert "With these attributes the probability is" not in page.text


def test_roles_see_what_is_theirs(visit):
    """Sales sees accounts: who is active at a company and whom to call there is what it calls by."""
    rights = {
        "sales": {"leads": 200, "accounts": 200, "forget": 403},
        "marketing": {"leads": 200, "accounts": 200, "forget": 403},
        "admin": {"leads": 200, "accounts": 200, "forget": 200},
    }
    for role, pages in rights.items():
        browser = visit(role)
        for page, status in pages.items():
            subject = "Kiesel & Söhne" if page == "accounts" else "plain"
            assert browser.get(address(page, subject)).status_code == status, (role, page)
        lead = browser.get(address("leads", "plain")).text
        assert (address("forget", "plain") in lead) == (role == "admin")
        assert ('action="/console/decisions"' in lead) == (role != "marketing")
        assert address("accounts", "Kiesel & Söhne") in lead


@pytest.mark.parametrize(
    "path", [address("leads", "nobody"), address("accounts", "nobody"), address("forget", "x")]
)
def test_nobody_of_that_name_is_a_page_that_says_so(visit, path):
    answer = visit().get(path)
    assert answer.status_code == 404
    assert "</html>" in answer.text


@pytest.mark.parametrize("role", ["sales", "marketing"])
def test_accounts_are_shown_with_whom_to_call(visit, role):
    browser = visit(role)
    listed = html.unescape(browser.get("/console/accounts").text)
    assert "2 accounts have open leads" in listed
    found = browser.get("/console/accounts?text=kiesel").text
    assert "One account has open leads" in found
    account = browser.get(address("accounts", "Kiesel & Söhne")).text
    assert re.search(r"Call (Ada Kim|Ben Ode) first", account)
    assert address("leads", "peer") in account


def test_a_lead_is_decided_about_on_its_page(visit):
    browser = visit("sales")
    path = address("leads", "peer")
    page = browser.get(path)
    key = re.search(r'value="peer"><input type="hidden" name="key" value="([^"]+)"', page.text)[1]
    answer = browser.post(
        "/console/decisions", path, lead_id="peer", key=key, outcome="rejected", reason=NASTY, here=path
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=peer")
    page = browser.get(answer.headers["location"])
    assert "Ben Ode is rejected." in page.text
    assert "<img" not in page.text
    browser.post("/console/decisions/undo", path, lead_id="peer", corrects=key, here=path)
    page = browser.get(path).text
    assert "Ben Ode is rejected." not in page
    assert "undone" in page


def test_a_person_is_forgotten_by_an_administrator_who_confirms_it(service, visit):
    now = int(time.time())
    events = [{"type": "lead", "id": "z", "lead_id": "zoe", "created_at": now - DAY}]
    service.client.post("/v1/events", json={"events": events}, headers=service.crm)
    path = address("forget", "zoe")
    token = {"form_token": form_token(visit("sales").get("/console").text), "confirm": "yes"}
    assert service.client.post(path, data=token).status_code == 403
    browser = visit("admin")
    assert browser.client.post(path, data={"confirm": "yes"}).status_code == 403
    assert browser.post(path, path).status_code == 400
    assert browser.get(address("leads", "zoe")).status_code == 200
    answer = browser.post(path, path, confirm="yes")
    assert answer.status_code == 200
    assert "The person was erased" in answer.text
    assert browser.get(address("leads", "zoe")).status_code == 404


def test_an_event_moves_the_score_by_what_the_model_says_just_before_and_just_after(by_hand):
    from serving.lead_store.stored_leads import StoredRows  # noqa: PLC0415
    from serving.scorer import Scorer  # noqa: PLC0415

    scorer, now = Scorer(by_hand), 1_777_000_000
    rows = StoredRows()
    rows.add(
        [
            ("lead", "a", None, now - 20 * DAY, now - 20 * DAY, "{}", None, "e1"),
            (
                *("touchpoint", "a", None, now - 5 * DAY, now - 5 * DAY),
                *('{"kind": "demo_request", "offer": "a very long offer"}', None, "e2"),
            ),
        ]
    )
    item, timeline = (
        LeadById("a", rows),
        [happened(now - 5 * DAY, "demo_request"), happened(now + DAY, "visit")],
    )
    trend = scorer.trend(item, [now - 7 * DAY, now])
    path = score_path(scorer, item, trend, timeline)
    (move,) = path.moves
    before, after = scorer.trend(item, [now - 5 * DAY, now - 5 * DAY + 1])
    assert (move.before, move.points) == (before.points, after.points)
    assert move.change >= 2
    assert [moment for moment, _ in path.points] == sorted(
        [now - 7 * DAY, now - 5 * DAY, now - 5 * DAY + 1, now]
    )


def happened(moment, what):
    return TimelineEvent(type="touchpoint", occurred_at=moment, known_at=moment, what=what, details={})


@pytest.mark.parametrize("points", [(100, 100), (100, 101), (-50, 400), (0, 7)])
def test_a_chart_stays_in_its_box(points):
    path = ScorePath(((0, points[0]), (5 * DAY, points[1]), (9 * DAY, points[0])), ())
    chart = path_chart(path)
    corners = [tuple(map(float, corner.split(","))) for corner in chart.line.split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners)
    assert all(0 <= y <= HEIGHT for y, _ in chart.levels)
    assert path_chart(ScorePath(((0, 5),), ())) is None
    assert TrendPoint(as_of=1, probability=None, points=None, grade=None)
