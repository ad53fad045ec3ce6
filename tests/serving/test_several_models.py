"""Several models in one service: each answers under its name, and none is mixed up with another."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import pytest
from log_entries import make_decision
from service_client import start_client
from sqlalchemy import delete, select, update

from features.clock import DAY
from models.handover_lists import ListWish
from models.handover_plan import Exclusion, HandoverPlan
from models.handover_selection import HandoverRequest, NoSuchValueError
from serving.current_scores.records import CurrentScore
from serving.current_scores.writing import ScoredLead, ScoreUpdate, write_scores
from serving.decision_log import queries
from serving.decision_log.database import open_log, writing
from serving.decision_log.frames import latest_scores
from serving.decision_log.handovers import select_handovers
from serving.decision_log.ranks import unrank_decisions
from serving.decision_log.tables import DECISIONS, LEAD_RANKS
from serving.middleware.api_keys import create_key
from serving.settings import NamedModel, ServiceSettings, SettingsError

LEAD = {"lead_id": "ada", "account": {}, "attributes": {"industry": "machinery"}}
RENEWAL = "/models/renewal"
NAMED = {"LEADLOOP_MODELS": f"renewal={RENEWAL}"}


@pytest.fixture(scope="module")
def renewal(by_hand):
    """A model that says something else of every lead, under another version."""
    return replace(by_hand, base=1.0, version="renewal00000")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return str(tmp_path_factory.mktemp("log") / "decisions.db")


@pytest.fixture(scope="module")
def client(by_hand, renewal, place):
    with ExitStack() as stack:
        yield start_client({"any": by_hand, RENEWAL: renewal}, place, stack, **NAMED)


def score(client, lead, query="", path="/v1/score", **headers):
    return client.post(f"{path}{query}", json={"leads": [lead]}, headers=headers)


def test_each_model_answers_under_its_name(client, by_hand, renewal):
    for path in ("/v1/score", "/v1/explain"):
        versions = {
            query: score(client, LEAD, query, path).json()["model_version"]
            for query in ("", "?model=default", "?model=renewal")
        }
        assert versions == {
            "": by_hand.version,
            "?model=default": by_hand.version,
            "?model=renewal": renewal.version,
        }
    probabilities = [
        score(client, LEAD, query).json()["results"][0]["probability"] for query in ("", "?model=renewal")
    ]
    assert probabilities[1] > probabilities[0] + 0.3
    told = client.get("/v1/model?model=renewal").json()
    assert (told["model_version"], told["models"]) == (renewal.version, ["default", "renewal"])


def test_a_key_is_told_the_models_that_it_may_ask(by_hand, renewal, tmp_path):
    file = tmp_path / "keys.json"
    limits = {"any": [], "renewals": ["renewal"], "both": ["renewal", "default"], "gone": ["churn"]}
    keys = {name: create_key(file, name, ["score"], models=models) for name, models in limits.items()}
    with ExitStack() as stack:
        models = {"any": by_hand, RENEWAL: renewal}
        client = start_client(models, str(tmp_path / "log.db"), stack, LEADLOOP_KEYS=str(file), **NAMED)
        told = {
            name: client.get("/v1/key", headers={"authorization": f"Bearer {key}"}).json()["models"]
            for name, key in keys.items()
        }
    assert told == {
        "any": ["default", "renewal"],
        "renewals": ["renewal"],
        "both": ["default", "renewal"],
        "gone": [],
    }


def test_an_unknown_name_is_refused_with_those_that_there_are(client):
    answer = score(client, LEAD, "?model=renewals")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
    assert answer.json()["detail"] == (
        "there is no model 'renewals' here; this service has default, renewal; did you mean 'renewal'?"
    )
    # One that is like none of them is answered with the names once.
    detail = score(client, LEAD, "?model=churn").json()["detail"]
    assert detail == "there is no model 'churn' here; this service has default, renewal"
    assert score(client, LEAD, "?model=renewal&model=default").json()["code"] == "invalid_value"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/events?model=renewal", {"events": [{}]}),
        ("DELETE", "/v1/leads/ada?model=renewal", None),
    ],
)
def test_what_is_of_leads_whichever_model_asks_takes_no_name(client, method, path, body):
    answer = client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "model_unsupported")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/handover?model=renewals", {"capacity": 5}),
        ("GET", "/v1/handover?capacity=5&model=renewals", None),
        ("GET", "/v1/handover/overrides?model=renewals", None),
        ("POST", "/v1/outcomes?model=renewals", {"outcomes": [{}]}),
        ("GET", "/v1/leads/ada?model=renewals", None),
    ],
)
def test_each_address_refuses_an_unknown_name_with_those_that_there_are(client, method, path, body):
    answer = client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
    assert "this service has default, renewal" in answer.json()["detail"]


def store_scores(place, *scores):
    """Write current scores as the background scorer does."""
    log = writing(open_log(place))
    for lead_id, model, version, as_of, points, *state in scores:
        score = CurrentScore(
            *(lead_id, "", version, as_of, as_of, as_of, *(state or ["open"]), lead_id),
            probability=points / 1_000,
            points=points,
            grade="B",
            model=model,
            owner="anna" if lead_id < "h2" else "ben",
        )
        numbers = {"points": points, "grade": "B", "probability": points / 1_000}
        decide = partial(make_decision, lead_id, {"mrr": points / 7}, as_of=as_of, version=version, **numbers)
        with log.begin() as connection:
            write_scores(connection, ScoreUpdate([ScoredLead(score, decide)], time.time()))
    log.dispose()


def test_the_trend_of_a_lead_is_the_history_that_was_kept_of_the_model_that_is_asked(
    client, place, by_hand, renewal
):
    now = int(time.time())
    event = {"id": "t1", "type": "lead", "lead_id": "trend", "created_at": now - 40 * DAY}
    client.post("/v1/events", json={"events": [event]})
    points = {"": (by_hand.version, 111), "renewal": (renewal.version, 222)}
    for model, (version, number) in points.items():
        store_scores(place, ("trend", model, version, now - 10 * DAY, number))
        store_scores(place, ("trend", model, version, now - 5 * DAY, number + 1))
    for model, (version, number) in points.items():
        answer = client.get(f"/v1/leads/trend?model={model or 'default'}").json()
        kept = [(each["points"], each["model_version"]) for each in answer["trend"] if each["model_version"]]
        assert kept == [(number, version), (number + 1, version)]
        assert (answer["state"], answer["model_version"]) == ("open", version)
        assert answer["result"]["change"] is not None


def handed_over(answer):
    return [(lead["lead_id"], lead["probability"], lead["model_version"]) for lead in answer["leads"]]


def test_a_named_model_has_lists_reserve_and_overrides_of_its_own(client, place, renewal):
    now = int(time.time())
    store_scores(
        place,
        *((f"h{n}", "renewal", renewal.version, now, 900 - n) for n in range(5)),
        ("h9", "renewal", renewal.version, now, 950, "dormant"),
        *((f"h{n}", "", "byhand000000", now, 1) for n in range(5)),
    )
    wish = {"capacity": 2, "reserve": 1}
    missing = client.get("/v1/handover?capacity=2&model=renewal")
    assert (missing.status_code, missing.json()["code"]) == (404, "no_handover")
    answer = client.post("/v1/handover?model=renewal", json=wish).json()
    assert handed_over(answer) == [("h0", 0.9, renewal.version), ("h1", 0.899, renewal.version)]
    assert [lead["lead_id"] for lead in answer["reserve"]] == ["h2"]
    assert (answer["model"], answer["excluded"]) == ("renewal", [{"reason": "dormant", "leads": 1}])
    assert client.get("/v1/handover?capacity=2&model=renewal").json() == answer
    # The default one's list of the same day has other leads, and is called otherwise.
    default = client.post("/v1/handover", json=wish).json()
    assert default["model"] == "default"
    assert not {lead["lead_id"] for lead in default["leads"]} & {"h0", "h1"}
    override = {"lead_id": "h0", "action": "take_off", "reason": "on holiday", "decided_by": "anna"}
    assert client.post("/v1/handover/overrides?model=renewal", json=override).status_code == 200
    after = client.get("/v1/handover?capacity=2&model=renewal").json()
    assert [lead[0] for lead in handed_over(after)] == ["h1"]
    assert [each["lead_id"] for each in after["taken_off"]] == ["h0"]
    assert client.get("/v1/handover/overrides").json() == {"overrides": []}
    assert len(client.get("/v1/handover/overrides?model=renewal").json()["overrides"]) == 1
    by_owner = client.post("/v1/handover?model=renewal", json={"owners": {"anna": 1, "ben": 2}}).json()
    assert [(lead["owner"], lead["lead_id"]) for lead in by_owner["leads"]] == [
        ("anna", "h1"),
        ("ben", "h2"),
        ("ben", "h3"),
    ]
    log = open_log(place)
    # Nobody learns the default model's choices from the lists of another.
    assert {decision.model for decision, _ in queries.handed_over(log)} == {""}
    assert {row["model"] for row in queries.handover_lists(log)} == {""}
    assert [row["model"] for row in queries.lists_of_lead(log, "h3")] == ["renewal"]
    log.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def own_place(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "decisions.db")
    return request.getfixturevalue("cluster").database()


def test_a_named_model_ranks_by_what_a_lead_is_worth(own_place):
    place = own_place
    store_scores(place, *((f"h{n}", "renewal", "v1", 9, 900 - n) for n in range(3)))
    log = writing(open_log(place))
    with log.begin() as connection:
        # Of one nobody knows what it is worth: it counts as much as the median of the others.
        row = update(DECISIONS).where(DECISIONS.c.lead_id == "h2").values(row="{}")
        connection.execute(row)
    wish = HandoverRequest(0, 2, value="mrr", model="renewal")
    lists = select_handovers(log, ListWish(wish, HandoverPlan(), by_owner=False))
    leads = [each.candidate for each in lists[0].selection.leads]
    assert [(each.lead_id, each.value) for each in leads] == [("h0", 900 / 7), ("h1", 899 / 7)]
    assert leads[0].worth == 0.9 * (900 / 7)
    wish = replace(wish, capacity=3)
    lists = select_handovers(log, ListWish(wish, HandoverPlan(), by_owner=False))
    last = lists[0].selection.leads[-1].candidate
    assert (last.lead_id, last.value) == ("h2", None)
    assert last.worth == pytest.approx(0.898 * (899.5 / 7))
    # Whose they are is in a column of the store, and who is left out in its attributes or the model's row.
    excluding = (Exclusion("cheap", "row.mrr", (f"{899 / 7}",)),)
    plan = HandoverPlan(owners={"anna": 5, "ben": 5}, exclusions=excluding)
    lists = select_handovers(log, ListWish(replace(wish, value=""), plan, by_owner=True))
    owned = {each.request.owner: [lead.candidate.lead_id for lead in each.selection.leads] for each in lists}
    assert owned == {"anna": ["h0"], "ben": ["h2"]}
    assert lists[0].excluded == {"cheap": 1}
    assert {each.request.model for each in lists} == {"renewal"}
    unknown = ListWish(replace(wish, value="mrrr"), HandoverPlan(), by_owner=False)
    with pytest.raises(NoSuchValueError, match="did you mean 'mrr'"):
        select_handovers(log, unknown)
    log.dispose()


def test_an_outcome_says_which_question_it_answers(client, place, by_hand, renewal):
    now = int(time.time())
    store_scores(place, ("h6", "", by_hand.version, now, 10), ("h6", "renewal", renewal.version, now, 990))
    report = {"key": "r1", "lead_id": "h6", "outcome": "accepted", "occurred_at": now}
    answer = client.post("/v1/outcomes?model=renewal", json={"outcomes": [report]})
    assert answer.json()["results"][0]["status"] == "recorded"
    assert [each["model"] for each in client.get("/v1/leads/h6/decisions").json()["outcomes"]] == ["renewal"]
    answer = client.post("/v1/handover?model=renewal", json={"capacity": 3})
    assert "h6" not in [lead["lead_id"] for lead in answer.json()["leads"]]
    default = client.post("/v1/handover", json={"capacity": 1_000}).json()
    assert "h6" in [lead["lead_id"] for lead in default["leads"]]
    log = open_log(place)
    assert [each.key for each in queries.outcomes(log)] == []
    assert [each.key for each in queries.outcomes(log, model="renewal")] == ["r1"]
    log.dispose()


def test_accounts_are_those_of_the_model_that_is_asked(client, place, by_hand, renewal):
    now = int(time.time())
    event = {"id": "o1", "type": "lead", "lead_id": "olga", "created_at": now - DAY, "account_id": "omega"}
    assert client.post("/v1/events", json={"events": [event]}).status_code == 200
    moments, log = (now, now, now), writing(open_log(place))
    for name, model, chance in (("", by_hand, 0.1), ("renewal", renewal, 0.7)):
        score = CurrentScore(
            *("olga", "", model.version, *moments, "open", "Olga"),
            probability=chance,
            points=100,
            grade="B",
            model=name,
            account_id="omega",
        )
        with log.begin() as connection:
            write_scores(connection, ScoreUpdate([ScoredLead(score)], float(now)))
    log.dispose()
    chances = {
        query: client.get(f"/v1/accounts{query}").json()["accounts"][0]["chance"]["value"]
        for query in ("", "?model=default", "?model=renewal")
    }
    assert chances == {"": 0.1, "?model=default": 0.1, "?model=renewal": 0.7}
    account = client.get("/v1/accounts/omega?model=renewal").json()
    assert (account["model_version"], account["chance"]["value"]) == (renewal.version, 0.7)


def test_the_log_says_which_model_was_asked_and_only_the_default_one_ranks(client, place, by_hand, renewal):
    lead = LEAD | {"lead_id": "logged"}
    first = score(client, lead).json()["results"][0]["probability"]
    score(client, lead, "?model=renewal")
    score(client, LEAD | {"lead_id": "only renewal"}, "?model=renewal")
    decisions = client.get("/v1/leads/logged/decisions").json()["decisions"]
    assert [(each["model"], each["model_version"]) for each in decisions] == [
        ("renewal", renewal.version),
        ("", by_hand.version),
    ]
    log = open_log(place)
    with log.connect() as connection:
        ranked = select(LEAD_RANKS.c.lead_id, LEAD_RANKS.c.worth).where(LEAD_RANKS.c.decision_id > 0)
        worth = {row.lead_id: row.worth for row in connection.execute(ranked)}
    assert worth["logged"] == first
    assert "only renewal" not in worth
    # Nor does anything that is learned, monitored or exported from the log.
    now = int(time.time())
    for told in (
        [each.lead_id for each in queries.latest_decisions(log)],
        [each.lead_id for each in queries.first_decisions(log)],
        [each.lead_id for each in queries.scores(log, 0, now + DAY)],
        [lead_id for frame in latest_scores(log) for lead_id in frame["lead_id"]],
    ):
        assert "logged" in told
        assert "only renewal" not in told
    assert {each.model_version for each in queries.latest_decisions(log)} == {by_hand.version}
    log.dispose()


def test_the_newest_decision_of_the_default_model_ranks_a_lead_again_when_a_later_one_is_pruned(
    place, client
):
    lead = LEAD | {"lead_id": "pruned"}
    first = score(client, lead).json()["results"][0]["probability"]
    score(client, lead, "?model=renewal")
    score(client, lead | {"attributes": {"industry": "ads"}})
    log = writing(open_log(place))
    with log.begin() as connection:
        (row,) = connection.execute(select(LEAD_RANKS).where(LEAD_RANKS.c.lead_id == "pruned")).mappings()
        connection.execute(delete(DECISIONS).where(DECISIONS.c.id == row["decision_id"]))
        unrank_decisions(connection, [{"id": row["decision_id"], "tenant": "", "lead_id": "pruned"}])
        (again,) = connection.execute(select(LEAD_RANKS).where(LEAD_RANKS.c.lead_id == "pruned")).mappings()
    assert again["worth"] == first != row["worth"]
    log.dispose()


def test_a_stored_lead_is_read_by_each_model(client, by_hand, renewal):
    created = int(time.time()) - 20 * DAY
    event = {"id": "l1", "type": "lead", "lead_id": "stored", "created_at": created}
    client.post("/v1/events", json={"events": [event]})
    versions = [
        client.get(f"/v1/leads/stored{query}").json()["model_version"] for query in ("", "?model=renewal")
    ]
    assert versions == [by_hand.version, renewal.version]


def test_a_request_sent_again_under_its_key_is_another_one_for_another_model(client):
    headers = {"idempotency-key": "once"}
    first = score(client, LEAD, **headers)
    assert score(client, LEAD, **headers).json() == first.json()
    other = score(client, LEAD, "?model=renewal", **headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    "text",
    ["renewal", "renewal=", "=acme", "Renewal=acme", "default=acme", "a=acme a=beta", "a=Acme!", "a=b:c"],
)
def test_a_setting_that_names_no_model_is_refused(text):
    with pytest.raises(SettingsError):
        ServiceSettings.of({"LEADLOOP_MODELS": text})


def test_the_models_come_back_from_the_environment_as_they_were(tmp_path):
    also = (
        NamedModel("renewal", project="acme-renewals", shadow="challenger"),
        NamedModel("upsell", str(tmp_path)),
    )
    settings = ServiceSettings(also=also)
    assert ServiceSettings.of(settings.environment).also == also
