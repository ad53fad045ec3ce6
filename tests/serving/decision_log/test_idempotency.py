"""Idempotency-Key: asking again gives the same bytes and no second record, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import bentoml
import pytest
from service_client import start_client
from sqlalchemy import func, select

from serving import workload
from serving.decision_log import idempotency
from serving.decision_log.database import writing
from serving.decision_log.erasure import register_erasure
from serving.decision_log.settings import OFF
from serving.decision_log.tables import DECISIONS, IDEMPOTENT_ANSWER_LEADS, IDEMPOTENT_ANSWERS
from serving.middleware import api_keys
from serving.scorer import Scorer

KEY = {"idempotency-key": "crm-4711"}


@pytest.fixture
def client(by_hand, place):
    with ExitStack() as stack:
        yield start_client(by_hand, place, stack)


def rows(table):
    """How many rows a table of the log has."""
    with bentoml.get_current_service().journal.writer.log.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def score(client, *lead_ids, path="/v1/score", headers=KEY):
    leads = [{"lead_id": lead_id} for lead_id in lead_ids]
    return client.post(path, json={"leads": leads}, headers=headers)


@pytest.mark.parametrize("path", ["/v1/score", "/v1/explain"])
def test_the_same_key_gives_the_same_bytes_and_one_set_of_records(client, path, monkeypatch):
    first = score(client, "ada", "bob", path=path)
    # A model that was promoted meanwhile changes nothing.
    current = bentoml.get_current_service().champion.current
    promoted = Scorer(replace(current.scorer.model, version="promoted0000"))
    monkeypatch.setattr(bentoml.get_current_service().champion, "current", replace(current, scorer=promoted))
    again = [score(client, "ada", "bob", path=path) for _ in range(3)]
    assert {answer.content for answer in again} == {first.content}
    assert {answer.status_code for answer in [first, *again]} == {200}
    assert rows(DECISIONS) == 2
    assert score(client, "ada", "bob", path=path, headers={}).json()["model_version"] == "promoted0000"
    assert rows(DECISIONS) == 4


def test_an_answer_without_a_key_is_not_kept(client):
    score(client, "ada", headers={})
    assert (rows(DECISIONS), rows(IDEMPOTENT_ANSWERS)) == (1, 0)


def test_an_answer_that_a_thread_made_is_kept_as_well(client, monkeypatch):
    monkeypatch.setattr(workload, "INLINE_MS", -1.0)
    assert score(client, "ada").content == score(client, "ada").content
    assert rows(DECISIONS) == 1


@pytest.mark.parametrize(("lead", "path"), [("bob", "/v1/score"), ("ada", "/v1/explain")])
def test_the_same_key_for_another_request_is_refused(client, lead, path):
    score(client, "ada")
    answer = score(client, lead, path=path)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert rows(DECISIONS) == 1


@pytest.mark.parametrize("key", ["", "two words", "é".encode(), "x" * 256])
def test_a_key_is_up_to_255_visible_characters(client, key):
    answer = score(client, "ada", headers={"idempotency-key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")
    assert score(client, "ada", headers={"idempotency-key": "~" * 255}).status_code == 200


def test_two_keys_in_one_request_are_refused(client):
    answer = score(client, "ada", headers=[("idempotency-key", "a"), ("idempotency-key", "b")])
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")


def test_a_request_that_was_refused_may_be_mended_under_its_key(client):
    assert client.post("/v1/score", json={"leads": []}, headers=KEY).status_code == 400
    assert score(client, "ada").status_code == 200


def test_requests_at_the_same_time_get_one_answer_and_one_set_of_records(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: score(client, "ada", "bob"), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert rows(DECISIONS) == 2


def test_a_worker_that_lost_the_race_gives_the_answer_of_the_other(client, monkeypatch):
    first = score(client, "ada")
    # It looked before the other's answer was there.
    monkeypatch.setattr(type(bentoml.get_current_service().journal), "find_answer", _find_nothing)
    assert score(client, "ada").content == first.content
    assert score(client, "bob").json()["code"] == "idempotency_key_reused"
    assert rows(DECISIONS) == 1


async def _find_nothing(*_):
    return None


def test_decisions_and_answer_are_there_together_or_not_at_all(client, monkeypatch):
    def fail(*_):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "add_decisions", fail)
        assert score(client, "ada").status_code == 500
    assert (rows(DECISIONS), rows(IDEMPOTENT_ANSWERS), rows(IDEMPOTENT_ANSWER_LEADS)) == (0, 0, 0)
    assert score(client, "ada").status_code == 200
    assert rows(DECISIONS) == 1


def test_another_process_knows_the_answer_too(by_hand, place):
    answers = []
    for _ in range(2):
        with ExitStack() as stack:
            answers.append(score(start_client(by_hand, place, stack), "ada").content)
            assert rows(DECISIONS) == 1
    assert answers[0] == answers[1]


def test_an_answer_is_erased_with_any_lead_that_it_names(client):
    score(client, "ada", "bob")
    assert client.delete("/v1/leads/ada").status_code == 200
    assert (rows(IDEMPOTENT_ANSWERS), rows(IDEMPOTENT_ANSWER_LEADS)) == (0, 0)
    assert client.get("/v1/leads/ada/decisions").json()["decisions"] == []


def test_an_answer_that_names_somebody_who_was_erased_meanwhile_is_given_and_not_kept(client, monkeypatch):
    real = Scorer.score

    def erased_meanwhile(*arguments, **options):
        results = real(*arguments, **options)
        with writing(bentoml.get_current_service().journal.writer.log).begin() as connection:
            register_erasure(connection, "ada")
        return results

    monkeypatch.setattr(Scorer, "score", erased_meanwhile)
    assert score(client, "ada", "bob").status_code == 200
    assert (rows(IDEMPOTENT_ANSWERS), rows(DECISIONS)) == (0, 1)


def test_an_answer_is_kept_for_a_day(client, monkeypatch):
    score(client, "ada")
    assert idempotency.KEEPS == 86_400
    monkeypatch.setattr(idempotency, "KEEPS", -1)
    assert score(client, "bob").status_code == 200
    assert (rows(IDEMPOTENT_ANSWERS), rows(IDEMPOTENT_ANSWER_LEADS)) == (1, 1)


def test_one_caller_never_gets_the_answer_of_another(by_hand, place, tmp_path):
    keys = tmp_path / "keys.json"
    tokens = [api_keys.create_key(keys, name, ["score"]) for name in ("crm", "other")]
    with ExitStack() as stack:
        client = start_client(by_hand, place, stack, LEADLOOP_KEYS=str(keys))
        for token, lead in zip(tokens, ("ada", "bob"), strict=True):
            answer = score(client, lead, headers=KEY | {"authorization": f"Bearer {token}"})
            assert answer.json()["results"][0]["lead_id"] == lead


def test_without_a_log_a_key_is_refused(by_hand):
    with ExitStack() as stack:
        answer = score(start_client(by_hand, OFF, stack), "ada")
    assert (answer.status_code, answer.json()["code"]) == (501, "log_off")
