"""Current scores in a running service: kept up by itself, and told where a lead is asked for."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from service_client import start_client

from features.clock import DAY
from serving.decision_log.database import open_log, writing
from serving.settings import RESCORE

CREATED = int(time.time()) - 60 * DAY


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return str(tmp_path_factory.mktemp("log") / "decisions.db")


@pytest.fixture(scope="module")
def client(by_hand, place):
    with ExitStack() as stack:
        yield start_client(by_hand, place, stack, **{RESCORE: "on"})


def send(client, *events):
    answer = client.post("/v1/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text


def lead(lead_id, **fields):
    return {"id": f"lead-{lead_id}", "type": "lead", "lead_id": lead_id, "created_at": CREATED} | fields


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


def scored(client, lead_id):
    """What is told of a lead, once it was scored in the background."""

    def known():
        answer = client.get(f"/v1/leads/{lead_id}")
        return answer.json() if answer.status_code == 200 and answer.json()["state"] else None

    return wait_until(known)


def test_a_lead_is_scored_without_being_asked_for_and_handed_over(client):
    send(client, lead("hot", attributes={"industry": "machinery"}))
    (decision,) = wait_until(lambda: client.get("/v1/leads/hot/decisions").json()["decisions"])
    assert (decision["endpoint"], decision["request_id"]) == ("rescore", None)
    assert scored(client, "hot")["state"] == "open"
    handed_over = client.post("/v1/handover", json={"capacity": 5}).json()["leads"]
    assert "hot" in [each["lead_id"] for each in handed_over]


def test_a_trend_has_the_scores_that_were_kept_and_before_them_weekly_ones(client, place):
    send(client, lead("trend"))
    scored(client, "trend")
    log = writing(open_log(place))
    kept = int(time.time()) - 10 * DAY
    with log.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE score_history SET as_of = ?, hour = ?, points = 999 WHERE lead_id = 'trend'",
            (kept, kept // 3_600),
        )
    log.dispose()
    trend = client.get("/v1/leads/trend").json()["trend"]
    ages = [(trend[-1]["as_of"] - point["as_of"]) / DAY for point in trend]
    assert ages == sorted(ages, reverse=True)
    assert [(point["as_of"], point["points"]) for point in trend if point["model_version"]] == [(kept, 999)]
    assert ages[-3] == 14
    assert ages[-1] == 0


def test_the_metrics_say_how_much_is_waiting(client):
    send(client, lead("counted"))
    scored(client, "counted")
    metrics = client.get("/metrics").text
    assert "leadloop_rescored_leads_total" in metrics
    wait_until(lambda: "leadloop_rescore_waiting 0.0" in client.get("/metrics").text)
