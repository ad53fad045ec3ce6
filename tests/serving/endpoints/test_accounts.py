"""Accounts over HTTP: the list best first, one with its leads, and whose they are."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from service_client import start_client

from features.clock import DAY
from models.account_chance import AccountDependence, chance_of_any
from serving.account_scores import RankedAccount
from serving.current_scores.records import CurrentScore
from serving.current_scores.writing import ScoredLead, ScoreUpdate, write_scores
from serving.decision_log.database import open_log, writing
from serving.endpoints import accounts
from serving.middleware.api_keys import create_key
from serving.schemas import MAX_NAME, AccountsQuery

NOW = int(time.time())
MEASURED = AccountDependence(0.3, 0.1, 0.6, 200, 300)
# By account, the leads with their probabilities.
ACCOUNTS = {"acme": {"ada": 0.3, "bob": 0.2}, "globex": {"cy": 0.36}, "initech": {"di": 0.1, "eve": 0.1}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return str(tmp_path_factory.mktemp("log") / "decisions.db")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    return file, {
        "score": create_key(file, "score", ["score", "events"]),
        "north": create_key(file, "north", ["score", "events"], tenant="north"),
        "outcomes": create_key(file, "outcomes", ["outcomes"]),
    }


@pytest.fixture(scope="module")
def client(by_hand, place, tokens):
    model = replace(by_hand, account_dependence=MEASURED)
    with ExitStack() as stack:
        client = start_client(model, place, stack, LEADLOOP_KEYS=str(tokens[0]))
        fill(client, tokens[1]["score"], place)
        yield client


def fill(client, token, place):
    """Accounts with leads in the store, and current scores of them that were written down by hand."""
    events = [
        {"id": "acc", "type": "account", "account_id": "acme", "attributes": {"company": "Acme <b>Ltd</b>"}}
    ]
    scores = []
    for account, leads in ACCOUNTS.items():
        for lead, probability in leads.items():
            events += [
                {
                    "id": f"l-{lead}",
                    "type": "lead",
                    "lead_id": lead,
                    "created_at": NOW - 50 * DAY,
                    "account_id": account,
                },
                {
                    "id": f"t-{lead}",
                    "type": "touchpoint",
                    "lead_id": lead,
                    "occurred_at": NOW - 3 * DAY,
                    "kind": "visit",
                },
            ]
            scores.append(current(lead, account, probability))
    events += [
        {"id": "sql", "type": "transition", "lead_id": "bob", "occurred_at": NOW - 9 * DAY, "stage": "sql"},
        {"id": "new", "type": "lead", "lead_id": "new", "created_at": NOW - DAY, "account_id": "acme"},
        {"id": "moved", "type": "lead", "lead_id": "mo", "created_at": NOW - 9 * DAY, "account_id": "acme"},
        {
            "id": "moved2",
            "type": "lead",
            "lead_id": "mo",
            "created_at": NOW - 9 * DAY,
            "known_at": NOW - DAY,
            "account_id": "globex",
        },
    ]
    answer = ask(client, token, "POST", "/v1/events", json={"events": events})
    assert {each["status"] for each in answer.json()["results"]} == {"accepted"}
    scores.append(current("gone", "hooli", 0.9, state="closed"))
    log = writing(open_log(place))
    with log.begin() as connection:
        write_scores(connection, ScoreUpdate([ScoredLead(each) for each in scores], float(NOW)))
    log.dispose()


def current(lead_id, account_id, probability, state="open"):
    return CurrentScore(
        lead_id,
        "",
        "byhand000000",
        NOW - 60,
        NOW,
        NOW,
        state,
        lead_id.title(),
        probability=probability,
        points=100,
        grade="B",
        account_id=account_id,
        last_activity_at=NOW - 3 * DAY,
    )


def ask(client, token, method, path, **more):
    return client.request(method, path, headers={"authorization": f"Bearer {token}"}, **more)


def test_accounts_are_listed_best_first_and_in_pages(client, tokens):
    token = tokens[1]["score"]
    whole = ask(client, token, "GET", "/v1/accounts").json()
    assert [each["account_id"] for each in whole["accounts"]] == ["acme", "globex", "initech"]
    assert (whole["count"], whole["next"]) == (3, None)
    acme = whole["accounts"][0]
    assert acme["chance"]["value"] == pytest.approx(chance_of_any([0.3, 0.2], 0.3))
    assert (acme["best"]["lead_id"], acme["open"], acme["active"]) == ("ada", 2, 2)
    assert acme["name"] == "Acme <b>Ltd</b>"
    paged, after = [], None
    for _ in range(3):
        params = {"limit": 1} | ({} if after is None else {"after": after})
        page = ask(client, token, "GET", "/v1/accounts", params=params).json()
        paged += page["accounts"]
        after = page["next"]
    assert (paged, after) == (whole["accounts"], None)
    found = ask(client, token, "GET", "/v1/accounts", params={"text": "GLOB"}).json()
    assert [each["account_id"] for each in found["accounts"]] == ["globex"]


@pytest.mark.parametrize("query", ["after=%00", "after=WzFd", "limit=0", "sort=name"])
def test_a_page_that_is_none_is_refused(client, tokens, query):
    answer = ask(client, tokens[1]["score"], "GET", f"/v1/accounts?{query}")
    assert answer.status_code == 400
    assert answer.json()["field"] == query.partition("=")[0]


def test_an_account_is_shown_with_its_leads_whom_to_call_and_what_happened(client, tokens):
    token = tokens[1]["score"]
    account = ask(client, token, "GET", "/v1/accounts/acme", params={"lang": "de"}).json()
    assert [lead["lead_id"] for lead in account["leads"]] == ["ada", "bob"]
    assert account["attributes"] == {"company": "Acme <b>Ltd</b>"}
    assert (account["target"], account["reached"], account["unscored"]) == ("sql", 1, 1)
    assert [(each["lead_id"], each["what"]) for each in account["timeline"]] == [
        ("bob", "visit"),
        ("ada", "visit"),
        ("bob", "sql"),
    ]
    assert len(account["reasons"]) == 5
    # Who is told why is logged.
    (decision,) = ask(client, token, "GET", "/v1/leads/ada", params={}).json() and [
        each for each in read_decisions(client, tokens, "ada") if each["endpoint"] == "/v1/accounts/{id}"
    ]
    assert decision["as_of"] == NOW - 60


def read_decisions(client, tokens, lead_id):
    token = create_key(tokens[0], f"admin-{lead_id}", ["admin"])
    return ask(client, token, "GET", f"/v1/leads/{lead_id}/decisions").json()["decisions"]


def test_a_lead_that_moved_to_another_account_is_none_of_the_old_one(client, tokens):
    account = ask(client, tokens[1]["score"], "GET", "/v1/accounts/globex").json()
    assert account["unscored"] == 1
    assert [lead["lead_id"] for lead in account["leads"]] == ["cy"]


def test_an_unknown_account_is_a_404_that_says_so(client, tokens):
    answer = ask(client, tokens[1]["score"], "GET", "/v1/accounts/nobody%2Fhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_account")


def test_a_tenant_sees_none_of_anothers_accounts(client, tokens):
    token = tokens[1]["north"]
    assert ask(client, token, "GET", "/v1/accounts").json()["accounts"] == []
    assert ask(client, token, "GET", "/v1/accounts/acme").status_code == 404


def test_accounts_take_the_scope_that_leads_take(client, tokens):
    for path in ("/v1/accounts", "/v1/accounts/acme"):
        assert ask(client, tokens[1]["outcomes"], "GET", path).json()["code"] == "scope_missing"
        assert client.get(path).status_code == 401


def test_a_model_that_the_service_has_not_ranks_no_accounts(client, tokens):
    for path in ("/v1/accounts", "/v1/accounts/acme"):
        answer = ask(client, tokens[1]["score"], "GET", f"{path}?model=renewal")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")


def test_a_ranking_that_takes_long_is_kept_for_a_while(monkeypatch):
    monkeypatch.setattr(accounts, "_LONG", 0.0)
    monkeypatch.setattr(accounts, "_TIMES_AS_LONG", 1e9)
    journal, counted = SimpleJournal(), []

    def rank():
        counted.append(1)
        return [accounts.RankedAccount(0.5, f"account {len(counted)}")]

    first = [accounts._kept_ranking(journal, key, rank) for key in ("north", "south", "north")]
    assert first[0] == first[2] != first[1]
    monkeypatch.setattr(accounts, "_LONG", 1e9)
    other = SimpleJournal()
    assert accounts._kept_ranking(other, "north", rank) != accounts._kept_ranking(other, "north", rank)


class SimpleJournal:
    """Stands for a log: rankings are kept as long as it is."""


def test_the_end_of_a_page_after_the_longest_id_is_read_back():
    last = RankedAccount(1 / 3, "\U0001f4a1" * MAX_NAME)
    after = AccountsQuery(after=accounts.encode_account(last)).after
    assert accounts.parse_account(after) == last
