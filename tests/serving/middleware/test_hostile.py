"""What an attacker sends, in every field and header: refused, or taken as the text that it is."""

from __future__ import annotations

import json
import logging
import os
import time
import unicodedata

import pytest
from log_entries import NASTY
from starlette.testclient import TestClient

from models import artifact
from models.active_model import active_folders, set_active
from serving.middleware.api_keys import KeysError, create_key, load_keys
from serving.monitoring.json_logging import JsonFormatter
from serving.service import Leadloop

MARK = "payload-7f3a"
WHEN = "2026-05-01T10:00:00Z"
# Each with the place of one text that a client chooses.
LEADS = {
    "lead_id": lambda text: {"lead_id": text},
    "attribute": lambda text: {"lead_id": "a", "attributes": {"industry": text}},
    "attribute's name": lambda text: {"lead_id": "a", "attributes": {text: 1}},
    "created_at": lambda text: {"lead_id": "a", "created_at": text},
    "field": lambda text: {"lead_id": "a", text: 1},
    "history's name": lambda text: _with("attribute_history", name=text, known_at=WHEN, value=1),
    "history's value": lambda text: _with("attribute_history", name="Need", known_at=WHEN, value=text),
    **{
        name: lambda text, name=name: _with(
            "touchpoints", **{"occurred_at": WHEN, "kind": "visit", name: text}
        )
        for name in ("kind", "channel", "campaign", "offer", "offer_stage", "known_at", "amount")
    },
    "stage": lambda text: _with("transitions", occurred_at=WHEN, stage=text),
    "why": lambda text: _with("transitions", occurred_at=WHEN, stage="mql", reason=text),
    "account": lambda text: {"lead_id": "a", "account": {"attributes": {"region": text}}},
    "colleague": lambda text: {
        "lead_id": "a",
        "account": {"touchpoints": [{"lead_id": text, "occurred_at": WHEN, "kind": "visit"}]},
    },
}
EVENT = {"key": "k", "lead_id": "a", "outcome": "rejected", "reason": "no", "occurred_at": WHEN}


def _with(part, **event):
    return {"lead_id": "a", part: [event]}


@pytest.fixture(scope="module")
def client(by_hand, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLOOP_MODEL", "by-hand")
        patch.setenv("LEADLOOP_LOG", str(tmp_path_factory.mktemp("log") / "decisions.db"))
        patch.setattr(artifact, "load", lambda _: by_hand)
        with TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)) as client:
            # The log is opened meanwhile; until then whoever asks for it is told to wait.
            deadline = time.monotonic() + 30
            while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
                time.sleep(0.01)
            # What a hand-over is to be ranked by is looked for among open leads: there is one.
            assert client.post("/v1/score", json={"leads": [{"lead_id": "open"}]}).status_code == 200
            yield client


@pytest.fixture
def lines(caplog):
    """Everything that was logged meanwhile, as it would be written."""

    def read_lines():
        # The test's own client says where it goes.
        return [
            JsonFormatter().format(record) for record in caplog.records if not record.name.startswith("http")
        ]

    with caplog.at_level(logging.DEBUG):
        yield read_lines


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("path", ["/v1/score", "/v1/explain"])
def test_no_text_of_a_lead_is_more_than_text(client, lines, path, text):
    leads = [make(text + MARK) for make in LEADS.values()]
    answer = client.post(path, json={"leads": [*leads, {"lead_id": "good"}]})
    assert answer.status_code == 200
    *results, good = answer.json()["results"]
    assert good["probability"]
    assert all("error" in result or result["probability"] for result in results)
    assert MARK not in "".join(lines())
    assert MARK not in client.get("/metrics").text
    assert all("\n" not in line and "\x1b" not in line for line in lines())


@pytest.mark.parametrize("field", EVENT)
@pytest.mark.parametrize("text", NASTY)
def test_no_text_of_an_outcome_is_more_than_text(client, lines, field, text):
    event = EVENT | {"key": text, field: text + MARK}
    (result,) = client.post("/v1/outcomes", json={"outcomes": [event]}).json()["results"]
    assert ("error" in result) or result["status"] in {"recorded", "repeated"}
    assert MARK not in "".join(lines()) + client.get("/metrics").text


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("name", ["capacity", "explore", "value", "stale_days", "other"])
def test_no_text_in_an_address_is_more_than_text(client, lines, name, text):
    answer = client.get("/v1/handover", params={"capacity": 5, name: text + MARK})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert MARK not in "".join(lines()) + client.get("/metrics").text


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("part", ["top", "lang", "leads", "unknown"])
def test_no_text_of_a_request_is_more_than_text(client, lines, part, text):
    body = {"leads": [{"lead_id": "a"}], part: text + MARK}
    assert client.post("/v1/explain", json=body).status_code == 400
    assert MARK not in "".join(lines()) + client.get("/metrics").text


@pytest.mark.parametrize(
    "header", ["x-request-id", "content-type", "content-encoding", "user-agent", "referer"]
)
def test_no_header_is_repeated_in_a_log(client, lines, header):
    client.post(
        "/v1/score", content=b"{}", headers={"content-type": "application/json", header: f"%s {MARK}"}
    )
    assert MARK not in "".join(lines()) + client.get("/metrics").text


@pytest.mark.parametrize(
    "path",
    [
        "/v1/leads/..%2f..%2fetc%2fpasswd/decisions",
        "/v1/leads/%2e%2e/decisions",
        "/v1/leads/%252e%252e%252f/decisions",
        "/v1/leads/a%3Bb%3Fc%23d/decisions",
        "/v1/leads/%C0%AE%C0%AE/decisions",
        "/v1/leads/%FF%FE/decisions",
        "/static_content/..%2f..%2fserving%2fservice.py",
        "/static_content/../../serving/service.py",
        "/static_content/%2e%2e/%2e%2e/serving/service.py",
        "//v1/model",
        "/v1/%6dodel",
        "/V1/model",
    ],
)
def test_no_address_leads_anywhere_else(client, path):
    answer = client.get(path)
    assert answer.status_code in {200, 400, 404}
    assert "import" not in answer.text
    assert "root:" not in answer.text
    if path.startswith("/v1/leads/") and answer.status_code == 200:
        assert answer.json()["decisions"] == []


def test_ids_that_look_the_same_are_two_people(client):
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    client.post("/v1/score", json={"leads": [{"lead_id": composed}]})
    assert len(client.get(f"/v1/leads/{composed}/decisions").json()["decisions"]) == 1
    assert client.get(f"/v1/leads/{apart}/decisions").json()["decisions"] == []


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "BREW"])
@pytest.mark.parametrize("path", ["/v1/score", "/v1/model", "/v1/leads/a"])
def test_a_method_that_nobody_takes_is_refused(client, method, path):
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_keys_that_others_could_write_are_not_trusted(tmp_path):
    file = tmp_path / "keys.json"
    create_key(file, "crm", ["score"])
    for mode in (0o660, 0o606, 0o777):
        file.chmod(mode)
        with pytest.raises(KeysError, match="chmod go-w"):
            load_keys(file)
    file.chmod(0o644)
    assert len(load_keys(file)) == 1


def test_a_link_that_was_laid_out_is_not_written_through(tmp_path):
    victim, keys = tmp_path / "victim", tmp_path / "keys.json"
    victim.write_text("precious")
    (tmp_path / f".keys.json-{os.getpid()}").symlink_to(victim)
    create_key(keys, "crm", ["score"])
    store = tmp_path / "models"
    (store / "one").mkdir(parents=True)
    (store / f".in-charge-{os.getpid()}").symlink_to(victim)
    set_active(store / "one")
    assert victim.read_text() == "precious"
    assert json.loads(keys.read_text())["keys"][0]["name"] == "crm"
    assert active_folders(store) == (store / "one",)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "..", "a/b", "./one"])
def test_a_pointer_names_a_folder_beside_itself_or_none(tmp_path, name):
    (tmp_path / "in-charge").write_text(f"{name}\none")
    assert active_folders(tmp_path) == (tmp_path / "one",)
