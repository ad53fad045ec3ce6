"""The console in Chromium: every page in both languages, wide and narrow, read and used by everyone."""

from __future__ import annotations

import time
from contextlib import contextmanager
from urllib.parse import quote

import httpx
import pytest
from browser import MARKS, axe_violations, chromium

from features.clock import DAY
from serving.decision_log.settings import LogSettings
from serving.middleware.api_keys import create_key
from serving.server import run_service
from serving.settings import NamedModel, ServiceSettings

pytestmark = MARKS
NASTY = """<script>window.x=1</script>"'><img src=x onerror=window.x=2>"""
LONG = "Donaudampfschifffahrtsgesellschaftskapitän" * 3
PAGES = (
    *("/console", "/console?done=lead+0&text=a", "/console/decided", "/console/model", "/console/nowhere"),
    *("/console/leads/lead%200?if.employees=500", "/console/leads/lead%201", "/console/forget/lead%200"),
    *("/console/accounts", f"/console/accounts/{quote(NASTY, safe='')}", "/console/accounts/demo"),
    *("/console?model=renewal", "/console/leads/lead%201?model=renewal", "/console/model?model=renewal"),
    *("/console/accounts?model=renewal", "/console?model=none-of-these"),
)
VIEWS = [
    ("en", 1440, "light", True),
    ("de", 390, "dark", True),
    ("de", 1440, "dark", False),
    ("en", 390, "light", False),
]


def lead_events(number, name, text):
    now, lead_id = int(time.time()), f"lead {number}"
    attributes = {"name": name, "owner": text, "industry": text, "employees": 10 * number}
    told = [
        {"type": "lead", "created_at": now - 9 * DAY, "account_id": text, "attributes": attributes},
        {"type": "touchpoint", "occurred_at": now - DAY, "kind": "visit", "channel": text},
        {"type": "transition", "occurred_at": now - DAY // 2, "stage": text},
    ]
    return [each | {"id": f"{each['type']} {number}", "lead_id": lead_id} for each in told]


@pytest.fixture(scope="module")
def service(model_folder, tmp_path_factory):
    """The address of a service with thirty leads, and keys of administrators: of all models, and of two."""
    folder = tmp_path_factory.mktemp("console")
    keys = folder / "keys.json"
    admin, crm = create_key(keys, "ada", [], role="admin"), create_key(keys, "crm", ["events"])
    renewals = create_key(keys, "lena", [], role="admin", models=["renewal", "upsell"])
    leads = [lead_events(0, NASTY, NASTY), lead_events(1, LONG, LONG)]
    leads += [lead_events(number, f"Lead {number}", "demo") for number in range(2, 30)]
    settings = ServiceSettings(
        str(model_folder),
        keys=keys,
        log=LogSettings(str(folder / "decisions.db")),
        also=tuple(NamedModel(name, str(model_folder)) for name in ("renewal", "upsell")),
    )
    with (folder / "log").open("wb") as log, run_service(settings, log=log) as running:
        events = [each for lead in leads for each in lead]
        headers = {"Authorization": f"Bearer {crm}"}
        answer = httpx.post(
            f"{running.url}/v1/events", json={"events": events}, headers=headers, trust_env=False
        )
        assert {each["status"] for each in answer.json()["results"]} == {"accepted"}
        yield running.url, admin, renewals


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def session(service, browser):
    """The cookies of somebody who has signed in, once there is a list to see."""
    url, key, _ = service
    context = browser.new_context(locale="en")
    page = context.new_page()
    page.goto(f"{url}/console")
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/console")
    deadline = time.monotonic() + 60
    while "30 open leads" not in page.inner_text("main"):
        assert time.monotonic() < deadline
        page.reload()
    page.goto(f"{url}/console/leads/lead%200")
    deadline = time.monotonic() + 60
    while not page.locator("#by-models").count():
        assert time.monotonic() < deadline
        page.reload()
    yield context.storage_state()
    context.close()


@contextmanager
def visiting(browser, state, width=1440, lang="en", **options):
    """A page that notes what it asks for and what the browser complains of."""
    options = {"viewport": {"width": width, "height": 900}, "locale": lang, "storage_state": state} | options
    context = browser.new_context(**options)
    page = context.new_page()
    page.complaints, page.requested = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requested.append(request.url))
    yield page
    context.close()


@pytest.mark.parametrize(("lang", "width", "scheme", "with_axe"), VIEWS)
def test_every_page_is_whole_and_shuts_nobody_out(service, browser, session, lang, width, scheme, with_axe):
    url, *_ = service
    with visiting(browser, session, width, lang, color_scheme=scheme) as page:
        for path in PAGES:
            answer = page.goto(url + path)
            assert answer.headers["content-security-policy"].startswith(
                "default-src 'none'; style-src 'self'"
            )
            assert page.evaluate("document.documentElement.lang") == lang
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            assert page.evaluate("window.x") is None
            assert not with_axe or axe_violations(page) == [], path
        # The browser itself notes that a page was not found.
        assert [line for line in page.complaints if "404" not in line] == []
        assert [each for each in page.requested if not each.startswith(url)] == []


@pytest.mark.parametrize(("lang", "width"), [("en", 390), ("de", 1440)])
def test_the_door_is_open_to_everyone_and_says_what_is_wrong(service, browser, lang, width):
    url, *_ = service
    with visiting(browser, None, width, lang) as page:
        page.goto(f"{url}/console")
        assert page.evaluate("document.activeElement.id") == "key"
        page.fill("#key", "a wrong one")
        page.keyboard.press("Enter")
        page.locator("[role=alert]").wait_for()
        assert page.locator("#key").get_attribute("aria-describedby") == "key-help failed"
        assert axe_violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scripted", [True, False])
def test_a_decision_is_made_and_taken_back_with_and_without_the_script(service, browser, session, scripted):
    url, *_ = service
    with visiting(browser, session, java_script_enabled=scripted) as page:
        page.goto(f"{url}/console?text=Lead+{7 if scripted else 8}")
        name = page.locator("h2 a").inner_text()
        page.get_by_role("button", name="Accept").click()
        page.get_by_text(f"{name} is accepted.").first.wait_for()
        assert ("done=" in page.url) != scripted
        page.get_by_role("button", name="Undo").click()
        page.get_by_role("button", name="Accept").wait_for()
        assert page.locator("h2 a").inner_text() == name


def test_everything_is_reached_by_the_keyboard(service, browser, session):
    url, *_ = service
    with visiting(browser, session) as page:
        page.goto(f"{url}/console?text=Lead+9")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.locator("details.reject summary").focus()
        page.keyboard.press("Enter")
        page.locator("[name=reason]:focus").wait_for()
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        page.keyboard.press("Enter")
        page.locator("[name=reason]:focus").wait_for()
        page.keyboard.type("no budget")
        page.keyboard.press("Enter")
        page.get_by_text("Reason: no budget").wait_for()
        assert page.evaluate("document.activeElement.textContent").startswith("Undo")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


@pytest.mark.parametrize("scripted", [True, False])
def test_a_model_is_chosen_by_the_keyboard_and_stays_while_one_goes_on(service, browser, session, scripted):
    url, *_ = service
    with visiting(browser, session, java_script_enabled=scripted) as page:
        page.goto(f"{url}/console?text=Lead+1")
        bar = page.get_by_role("navigation", name="Model", exact=True)
        assert bar.get_by_role("link").all_inner_texts() == [
            "Default SQL within 60 days",
            "renewal SQL within 60 days",
            "upsell SQL within 60 days",
        ]
        bar.get_by_role("link", name="renewal").focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}/console?text=Lead+1&model=renewal")
        assert bar.locator("[aria-current]").inner_text().startswith("renewal")
        page.fill("#text", "Lead 12")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console?model=renewal&text=Lead+12*")
        page.get_by_role("button", name="Accept").click()
        page.get_by_text("Lead 12 is accepted.").first.wait_for()
        page.goto(f"{url}/console?text=Lead+12")
        assert page.locator("h2 a").inner_text() == "Lead 12"
        page.goto(f"{url}/console/decided?model=renewal")
        page.get_by_role("link", name="Lead 12").click()
        page.wait_for_url("**/console/leads/lead%2012?model=renewal")
        page.get_by_role("button", name="Undo").click()
        page.get_by_role("button", name="Accept").wait_for()
        page.get_by_role("link", name="Accounts").click()
        page.wait_for_url(f"{url}/console/accounts?model=renewal")


def test_the_language_that_is_chosen_stays(service, browser, session):
    url, *_ = service
    with visiting(browser, session, lang="en") as page:
        page.goto(f"{url}/console/model?model=renewal")
        page.get_by_role("link", name="DE", exact=True).click()
        assert page.url == f"{url}/console/model?model=renewal"
        assert page.evaluate("document.documentElement.lang") == "de"
        page.goto(f"{url}/console")
        assert page.evaluate("document.documentElement.lang") == "de"


def _sign_in(page, url, key):
    page.goto(f"{url}/console")
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_url(f"{url}/console")


@pytest.mark.parametrize(("lang", "width"), [("en", 1440), ("de", 390)])
def test_whom_a_key_limits_to_models_chooses_these_and_comes_to_no_other_by_address(
    service, browser, session, lang, width
):
    """``session`` has waited until every lead has a score by each model."""
    url, _, key = service
    words = {
        "en": ("Model", "You see no model called default here. You can choose: renewal, upsell."),
        "de": (
            "Modell",
            "Ein Modell mit dem Namen default sehen Sie hier nicht. Zur Wahl stehen: renewal, upsell.",
        ),
    }
    label, sentence = words[lang]
    with visiting(browser, None, width, lang) as page:
        _sign_in(page, url, key)
        bar = page.get_by_role("navigation", name=label, exact=True)
        links = bar.get_by_role("link")
        assert [each.split()[0] for each in links.all_inner_texts()] == ["renewal", "upsell"]
        # The first that they may see is shown where the address names none.
        assert bar.locator("[aria-current]").inner_text().startswith("renewal")
        links.nth(1).focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}/console?model=upsell")
        assert bar.locator("[aria-current]").inner_text().startswith("upsell")
        page.goto(f"{url}/console/leads/lead%2020?model=upsell")
        other = page.locator("section[aria-labelledby=by-models] tbody th a")
        assert other.all_inner_texts() == ["renewal"]
        other.click()
        page.wait_for_url(f"{url}/console/leads/lead%2020")
        for path in (
            *("/console", "/console/decided", "/console/leads/lead%2020", "/console/accounts"),
            *("/console/accounts/demo", "/console/model", "/console/report"),
        ):
            for model in ("default", ""):
                answer = page.goto(f"{url}{path}?model={model}")
                if model:
                    assert (answer.status, page.locator("h1").count()) == (404, 1), path
                    assert sentence in page.inner_text("main")
                elif page.locator("nav.models").count():
                    assert bar.locator("[aria-current]").inner_text().startswith("renewal"), path
        page.goto(f"{url}/console?model=default")
        assert axe_violations(page) == []
        # What their own pages would send, sent to another model, changes nothing of it.
        page.goto(f"{url}/console?model=upsell&text=Lead+21")
        page.locator("form[data-part]").first.evaluate(
            "form => form.setAttribute('action', form.getAttribute('action').replace('upsell', 'default'))"
        )
        page.locator("form[data-part] button").first.click()
        page.get_by_text(sentence).first.wait_for()
    with visiting(browser, session) as page:
        page.goto(f"{url}/console?text=Lead+21")
        assert page.locator("h2 a").inner_text() == "Lead 21"
