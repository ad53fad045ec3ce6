"""What the console shows of the other models of a service: to whom, and in words of their language."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from console_browser import start_console

from features.clock import DAY
from serving.middleware.api_keys import create_key

RENEWAL, UPSELL = "/models/renewal", "/models/upsell"
LEAD = {"id": "a", "type": "lead", "lead_id": "ada", "created_at": int(time.time()) - DAY}


@pytest.fixture(scope="module")
def service(by_hand, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models = {
        "any": by_hand,
        RENEWAL: replace(by_hand, base=1.0, version="renewal00000"),
        UPSELL: replace(by_hand, base=-1.0, version="upsell000000"),
    }
    named = {"LEADLOOP_MODELS": f"renewal={RENEWAL},upsell={UPSELL}", "LEADLOOP_RESCORE": "on"}
    with ExitStack() as stack:
        browser = start_console(models, folder, stack, **named)
        file = folder / "keys.json"
        browser.key_file = file
        browser.keys = {
            "all": create_key(file, "all", [], role="admin"),
            "one": create_key(file, "one", [], role="sales", models=["default", "upsell"]),
        }
        crm = {"authorization": f"Bearer {create_key(file, 'crm', ['events', 'admin', 'score'])}"}
        assert browser.client.post("/v1/events", json={"events": [LEAD]}, headers=crm).status_code == 200
        browser.chances = {
            model: browser.client.post(
                f"/v1/score?model={model}", json={"lead_ids": ["ada"]}, headers=crm
            ).json()["results"][0]["points"]
            for model in ("renewal", "upsell")
        }
        browser.sign_in(browser.keys["all"])
        deadline = time.monotonic() + 30
        while len(models_shown(browser.get("/console/leads/ada").text)) < len(browser.chances):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield browser


def models_shown(page):
    """By the name of each model of the table its row as text."""
    section = page.partition('<h2 id="by-models">')[2].partition("</section>")[0]
    rows = re.findall(r'<tr><th scope="row">(.*?) .*?</th>(.*?)</tr>', section, re.DOTALL)
    return {name: " ".join(re.sub("<[^>]*>", " ", cells).split()) for name, cells in rows}


def visit(service, key, lang):
    service.client.cookies.clear()
    service.client.headers["accept-language"] = lang
    service.sign_in(service.keys[key])
    return service.get("/console/leads/ada").text


@pytest.mark.parametrize(
    ("lang", "title"), [("en", "Scores by the other models"), ("de", "Scores der anderen Modelle")]
)
def test_a_lead_has_its_score_by_each_other_model(service, lang, title):
    page = visit(service, "all", lang)
    assert title in page
    shown = models_shown(page)
    assert list(shown) == ["renewal", "upsell"]
    for model, points in service.chances.items():
        assert shown[model].split()[-1] == str(points)


def test_a_key_that_may_ask_some_models_sees_the_scores_of_no_other(service):
    assert models_shown(visit(service, "one", "en")).keys() == {"upsell"}


def test_a_key_that_may_not_ask_the_default_model_opens_no_console(service):
    # As a file that was written by hand, or by a release that created such keys, may have it.
    content = json.loads(service.key_file.read_text())
    token = create_key(service.key_file, "two", [], role="sales", models=["default", "renewal"])
    added = json.loads(service.key_file.read_text())["keys"][-1] | {"models": ["renewal"]}
    service.key_file.write_text(json.dumps(content | {"keys": [*content["keys"], added]}))
    service.client.cookies.clear()
    service.client.headers["accept-language"] = "en"
    answer = service.sign_in(token)
    assert "This key opens no console" in answer.text
    assert "ada" not in service.get("/console/leads/ada").text
