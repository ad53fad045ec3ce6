"""What accounts are read out of, on both databases."""

from __future__ import annotations

import time

import pytest

from serving.current_scores.account_reading import read_open_probabilities, read_scores_of_accounts
from serving.current_scores.records import CurrentScore
from serving.current_scores.writing import ScoredLead, ScoreUpdate, write_scores

NOW = int(time.time())


def score(lead_id, account_id, probability, state="open", tenant=""):
    return CurrentScore(
        lead_id,
        tenant,
        "v1",
        NOW,
        NOW,
        NOW,
        state,
        lead_id,
        probability=probability,
        points=None if probability is None else 100,
        grade=None if probability is None else "B",
        account_id=account_id,
        attributes={"industry": "ads"},
    )


SCORES = [
    score("a", "acme", 0.5),
    score("b", "acme", 0.2),
    score("c", "acme", 0.9, "closed"),
    score("d", "acme", None),
    score("e", "Globex", 0.3),
    score("f", None, 0.4),
    score("g", "acme", 0.7, "dormant"),
    score("a", "acme", 0.6, tenant="north"),
]


@pytest.fixture
def connection(log):
    with log.begin() as opened:
        write_scores(opened, ScoreUpdate([ScoredLead(each) for each in SCORES], float(NOW)))
        yield opened


def test_only_open_leads_of_the_tenant_with_a_number_and_an_account_rank_it(connection):
    rows = read_open_probabilities(connection, "")
    assert sorted(rows) == sorted([("acme", 0.5), ("acme", 0.2), ("Globex", 0.3)])
    # In whichever order the database puts names, those of one account stand together.
    assert [account for account, _ in rows] in (["acme", "acme", "Globex"], ["Globex", "acme", "acme"])
    assert read_open_probabilities(connection, "north") == [("acme", 0.6)]


def test_the_leads_of_an_account_are_all_that_it_has(connection):
    scores = read_scores_of_accounts(connection, ["acme", "nobody"], "")
    assert {each.lead_id for each in scores["acme"]} == set("abcdg")
    assert scores["nobody"] == []
    assert scores["acme"][0].attributes == {"industry": "ads"}
