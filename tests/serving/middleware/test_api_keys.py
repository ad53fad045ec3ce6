"""Who may come in where, and what is kept of a key."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from models import artifact
from serving.middleware import api_keys
from serving.middleware.api_keys import ApiKeyStore, KeysError, create_key, load_keys, revoke_key
from serving.request_context import RequestContext
from serving.service import Leadloop

ROOT = Path(__file__).resolve().parents[3]
# Adds and revokes keys of its own, one after the other.
CHANGES = """
import sys
from pathlib import Path
from serving.middleware.api_keys import create_key, revoke_key

for number in range(15):
    create_key(Path(sys.argv[1]), f"{sys.argv[2]}-{number}", ["score"])
    if number % 3:
        revoke_key(Path(sys.argv[1]), f"{sys.argv[2]}-{number}")
"""
LEADS = {"leads": [{"lead_id": "a"}]}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


@contextmanager
def service(by_hand, monkeypatch, client=("127.0.0.1", 1), **settings):
    """The service with these settings, asked from the address ``client``."""
    monkeypatch.setenv("LEADLOOP_MODEL", "by-hand")
    monkeypatch.setenv("LEADLOOP_LOG", "off")
    monkeypatch.setattr(artifact, "load", lambda _: by_hand)
    for name, value in settings.items():
        monkeypatch.setenv(f"LEADLOOP_{name.upper()}", str(value))
    with TestClient(Leadloop.to_asgi(), client=client) as answering:
        yield answering


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def test_a_token_is_kept_as_its_hash_alone_and_for_its_owner_alone(file):
    token = create_key(file, "crm", ["score"])
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(token) > 43  # 256 bits in base64


def test_several_keys_are_valid_at_once_so_that_they_can_be_rotated(file):
    old, new = create_key(file, "crm", ["score"]), create_key(file, "crm-2027", ["score"])
    store = ApiKeyStore(file)
    assert (store.find(old).name, store.find(new).name) == ("crm", "crm-2027")
    revoke_key(file, "crm")
    assert store.find(old) is None
    assert store.find(new).name == "crm-2027"


def test_a_key_is_valid_until_just_before_it_expires(file, monkeypatch):
    token = create_key(file, "crm", ["score"], days=1)
    (key,) = load_keys(file)
    monkeypatch.setattr(api_keys.time, "time", lambda: key.expires_at - 0.5)
    assert ApiKeyStore(file).find(token)
    monkeypatch.setattr(api_keys.time, "time", lambda: key.expires_at)
    assert ApiKeyStore(file).find(token) is None


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"keys": [{"name": "x"}]}'])
def test_a_file_that_cannot_be_read_leaves_the_keys_as_they_were(file, broken):
    token = create_key(file, "crm", ["score"])
    store = ApiKeyStore(file)
    assert store.find(token)
    file.write_text(broken)
    assert store.find(token)
    assert ApiKeyStore(file).find(token) is None
    with pytest.raises(KeysError, match=r"keys\.json"):
        load_keys(file)


def test_nonsense_is_refused_by_name(file):
    create_key(file, "crm", ["score"])
    for name, scopes, message in (
        ("crm", ["score"], "already"),
        ("a\nb", ["score"], "log"),
        ("x", ["fun"], "'fun'"),
    ):
        with pytest.raises(KeysError, match=message):
            create_key(file, name, scopes)
    with pytest.raises(KeysError, match="there are: crm"):
        revoke_key(file, "crn")
    assert [key.name for key in load_keys(file)] == ["crm"]


def test_the_right_key_opens_the_door_and_any_other_does_not(by_hand, monkeypatch, file):
    right, foreign = create_key(file, "crm", ["score"]), create_key(file, "reporter", ["outcomes"])
    expired = create_key(file, "old", ["score"], days=1)
    records = json.loads(file.read_text())
    records["keys"][2]["expires_at"] = int(time.time()) - 1
    file.write_text(json.dumps(records))
    cases = [
        (bearer(right), 200, None),
        ({}, 401, "key_missing"),
        ({"authorization": f"Basic {right}"}, 401, "key_missing"),
        (bearer("wrong"), 401, "key_invalid"),
        (bearer(right[:-1]), 401, "key_invalid"),
        (bearer(expired), 401, "key_invalid"),
        (bearer(foreign), 403, "scope_missing"),
    ]
    with service(by_hand, monkeypatch, keys=file) as client:
        for headers, status, code in cases:
            answer = client.post("/v1/score", json=LEADS, headers=headers)
            assert (answer.status_code, answer.json().get("code")) == (status, code), headers
            assert (answer.headers.get("www-authenticate") == "Bearer") is (status == 401)
            assert right not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/events", "events"),
        ("GET", "/v1/leads/a", "score"),
        ("DELETE", "/v1/leads/a", "admin"),
        ("POST", "/v1/score", "score"),
        ("POST", "/v1/explain", "score"),
        ("GET", "/v1/model", "score"),
        ("GET", "/v1/handover", "handover"),
        ("POST", "/v1/handover", "handover"),
        ("POST", "/v1/outcomes", "outcomes"),
        ("GET", "/v1/leads/ada/decisions", "admin"),
        ("DELETE", "/v1/leads/ada", "admin"),
        ("GET", "/v1/anything", "admin"),
        ("GET", "/schema.json", "admin"),
    ],
)
def test_each_address_takes_its_own_scope(by_hand, monkeypatch, file, method, path, scope):
    tokens = {name: create_key(file, name, [name]) for name in api_keys.SCOPES}
    with service(by_hand, monkeypatch, keys=file) as client:
        for name, token in tokens.items():
            status = client.request(method, path, headers=bearer(token)).status_code
            assert (status not in {401, 403}) is (name == scope), name


def test_probes_and_the_api_page_take_no_key(by_hand, monkeypatch, file):
    create_key(file, "crm", ["score"])
    with service(by_hand, monkeypatch, keys=file) as client:
        for path in ("/livez", "/readyz", "/healthz", "/", "/docs.json"):
            assert client.get(path).status_code == 200


def test_metrics_are_open_on_this_machine_and_to_admins(by_hand, monkeypatch, file):
    token = create_key(file, "ops", ["admin"])
    with service(by_hand, monkeypatch, keys=file) as client:
        assert client.get("/metrics").status_code == 200
    with service(by_hand, monkeypatch, client=("192.0.2.7", 1), keys=file) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=bearer(token)).status_code == 200


def test_without_keys_only_this_machine_is_answered(by_hand, monkeypatch):
    for address, status in (("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 401), ("2001:db8::7", 401)):
        with service(by_hand, monkeypatch, client=(address, 1)) as client:
            answer = client.post("/v1/score", json=LEADS)
            assert (answer.status_code, answer.json().get("code", "keys_required")) == (
                status,
                "keys_required",
            )


def test_without_keys_anybody_is_answered_where_that_was_said(by_hand, monkeypatch):
    with service(by_hand, monkeypatch, client=("192.0.2.7", 1), no_keys=1) as client:
        assert client.post("/v1/score", json=LEADS).status_code == 200


def test_changes_at_the_same_time_lose_no_key_and_no_revocation(file):
    create_key(file, "crm", ["score"])
    command = [sys.executable, "-c", CHANGES, str(file)]
    names = ("a", "b", "c")
    processes = [subprocess.Popen([*command, name], cwd=ROOT) for name in names]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    remaining = {f"{name}-{number}" for name in names for number in range(0, 15, 3)}
    assert {key.name for key in load_keys(file)} == remaining | {"crm"}


def test_nothing_beside_the_file_of_keys_is_open_to_others(file):
    create_key(file, "crm", ["score"])
    revoke_key(file, "crm")
    assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}


def test_keys_that_everybody_could_replace_are_not_trusted(file):
    create_key(file, "crm", ["score"])
    file.parent.chmod(0o777)
    with pytest.raises(KeysError, match="chmod o-w"):
        load_keys(file)
    # As /tmp is: only its owner replaces a file.
    file.parent.chmod(0o1777)
    assert len(load_keys(file)) == 1


def test_a_refused_key_is_told_which_scope_it_takes(by_hand, monkeypatch, file):
    token = create_key(file, "crm", ["score"])
    with service(by_hand, monkeypatch, keys=file) as client:
        for method in ("GET", "POST"):
            answer = client.request(method, "/v1/handover", params={"capacity": 5}, headers=bearer(token))
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
            assert "the scope handover" in answer.json()["detail"]


def test_a_key_is_bound_to_its_tenant_and_a_file_without_tenants_still_loads(by_hand, monkeypatch, file):
    bound, free = create_key(file, "crm", ["score"], tenant="acme"), create_key(file, "ops", ["score"])
    content = json.loads(file.read_text())
    del content["keys"][1]["tenant"]
    file.write_text(json.dumps(content))
    assert [key.tenant for key in load_keys(file)] == ["acme", ""]
    assert "tenant acme" in load_keys(file)[0].in_words()
    context = RequestContext()
    monkeypatch.setattr("serving.middleware.authentication.current_request", lambda: context)
    with service(by_hand, monkeypatch, keys=file) as client:
        for token, tenant in ((bound, "acme"), (free, "")):
            assert client.post("/v1/score", json=LEADS, headers=bearer(token)).status_code == 200
            assert context.tenant == tenant
    with pytest.raises(KeysError, match="name a tenant with"):
        create_key(file, "x", ["score"], tenant="a b")


def test_keys_of_one_project_open_no_service_of_another(by_hand, monkeypatch, file):
    token = create_key(file, "crm", ["score"], project="acme")
    create_key(file, "portal", ["score"], project="acme")
    revoke_key(file, "portal")
    assert json.loads(file.read_text())["project"] == "acme"
    for refused in (
        lambda: load_keys(file, "other"),
        lambda: create_key(file, "x", ["score"], project="other"),
    ):
        with pytest.raises(KeysError, match="keys of the project acme, not of other"):
            refused()
    for project, status in (("acme", 200), ("", 200), ("other", 401)):
        with service(by_hand, monkeypatch, keys=file, project=project) as client:
            assert client.post("/v1/score", json=LEADS, headers=bearer(token)).status_code == status


def test_a_file_of_no_project_opens_any(file):
    create_key(file, "crm", ["score"])
    assert len(load_keys(file, "acme")) == 1


def test_a_key_that_was_revoked_is_refused_without_a_restart(by_hand, monkeypatch, file):
    token = create_key(file, "crm", ["score"])
    with service(by_hand, monkeypatch, keys=file) as client:
        assert client.post("/v1/score", json=LEADS, headers=bearer(token)).status_code == 200
        revoke_key(file, "crm")
        assert client.post("/v1/score", json=LEADS, headers=bearer(token)).status_code == 401
        again = create_key(file, "crm", ["score"])
        assert client.post("/v1/score", json=LEADS, headers=bearer(again)).status_code == 200


def test_each_key_has_its_own_rate_and_is_told_when_to_come_back(by_hand, monkeypatch, file):
    first, second = (create_key(file, name, ["score"]) for name in ("one", "other"))
    with service(by_hand, monkeypatch, keys=file, rate=2) as client:
        statuses = [client.post("/v1/score", json=LEADS, headers=bearer(first)).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        refused = client.post("/v1/score", json=LEADS, headers=bearer(first))
        assert refused.json()["code"] == "too_many_requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert client.post("/v1/score", json=LEADS, headers=bearer(second)).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_every_key_is_compared_in_full(file, monkeypatch):
    tokens = [create_key(file, f"key-{i}", ["score"]) for i in range(5)]
    compared = []
    real = api_keys.hmac.compare_digest
    monkeypatch.setattr(api_keys.hmac, "compare_digest", lambda a, b: compared.append(a) or real(a, b))
    for token in (tokens[0], "wrong"):
        compared.clear()
        ApiKeyStore(file).find(token)
        assert len(compared) == len(tokens)


def test_a_failed_change_leaves_the_file(file, monkeypatch):
    create_key(file, "crm", ["score"])
    before = file.read_text()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        create_key(file, "other", ["score"])
    assert file.read_text() == before


def test_a_key_is_sent_once(by_hand, monkeypatch, file):
    key = f"Bearer {create_key(file, 'crm', ['score'])}"
    with service(by_hand, monkeypatch, keys=file) as client:
        for headers in ([key, "Bearer other"], ["Bearer other", key], [key, key], [f"{key}, Bearer other"]):
            sent = [("authorization", header) for header in headers]
            assert client.post("/v1/score", json=LEADS, headers=sent).status_code == 401
        assert client.post("/v1/score", json=LEADS, headers={"authorization": key}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/static_content/../v1/model", "/static_content/..%2fv1%2fmodel", "/livez/../v1/model", "//v1/model"],
)
def test_an_open_address_is_no_way_round_the_doors(by_hand, monkeypatch, file, path):
    create_key(file, "crm", ["score"])
    with service(by_hand, monkeypatch, client=("203.0.113.9", 1), keys=file) as client:
        answer = client.get(path)
        assert answer.status_code in {401, 404}
        assert "card" not in answer.text


def test_whoever_guesses_keys_is_told_to_wait_and_a_valid_key_from_there_is_not(by_hand, monkeypatch, file):
    token = create_key(file, "crm", ["score"])
    with service(by_hand, monkeypatch, client=("192.0.2.7", 1), keys=file) as client:
        guesses = [{}, bearer("wrong"), bearer("x" * 5_000)] * 20
        statuses = [client.post("/v1/score", json=LEADS, headers=guess).status_code for guess in guesses]
        assert statuses == [401] * 60
        for guess in ({}, bearer("wrong")):
            refused = client.post("/v1/score", json=LEADS, headers=guess)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_guesses")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert client.post("/v1/score", json=LEADS, headers=bearer(token)).status_code == 200


def test_a_token_of_any_length_is_not_hashed(file, monkeypatch):
    create_key(file, "crm", ["score"])
    monkeypatch.setattr(api_keys, "digest", lambda _: pytest.fail("it was hashed"))
    assert ApiKeyStore(file).find("x" * 100_000) is None


@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "forwarded", "x-forwarded-host", "host"])
def test_no_header_makes_a_stranger_a_neighbour(by_hand, monkeypatch, header):
    with service(by_hand, monkeypatch, client=("203.0.113.9", 1)) as stranger:
        assert stranger.get("/v1/model", headers={header: "127.0.0.1"}).status_code == 401


def test_the_open_page_does_not_tell_a_stranger_what_the_model_takes(by_hand, monkeypatch, file):
    create_key(file, "crm", ["score"])
    cases = [({"keys": file}, "127.0.0.1"), ({}, "203.0.113.9")]
    for settings, address in cases:
        with (
            monkeypatch.context() as patch,
            service(by_hand, patch, client=(address, 1), **settings) as client,
        ):
            text = client.get("/docs.json").text
        assert "industry" not in text
        assert "webinar" in text
    with service(by_hand, monkeypatch) as client:
        assert "industry" in client.get("/docs.json").text


def test_a_role_is_one_that_the_console_knows_and_a_key_may_something(file):
    create_key(file, "ada", [], role="sales")
    create_key(file, "crm", ["score"])
    assert {key.name: key.role for key in load_keys(file)} == {"ada": "sales", "crm": None}
    assert "console as sales" in load_keys(file)[0].in_words()
    with pytest.raises(KeysError, match="no role 'boss'"):
        create_key(file, "eve", ["score"], role="boss")
    with pytest.raises(KeysError, match="eve has no rights"):
        create_key(file, "eve", [])
    file.write_text(file.read_text().replace('"sales"', '"boss"'))
    with pytest.raises(KeysError, match="no role 'boss'"):
        load_keys(file)


def test_a_key_for_the_console_may_be_limited_to_any_models(file):
    create_key(file, "ada", [], role="sales", models=["default", "renewal"])
    create_key(file, "eve", [], role="sales", models=["renewal"])
    create_key(file, "crm", ["score"], models=["renewal"])
    assert [key.may_ask("default") for key in load_keys(file)] == [True, False, False]
