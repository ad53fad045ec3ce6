"""What is told to whom: grades entered, jumps, stale scores, hand-overs, outcomes; ids and figures only."""

from __future__ import annotations

import json
import time

import pytest
from sqlalchemy import insert, select, update

from features.clock import DAY
from models.handover_plan import parse_plan
from models.handover_selection import HandoverRequest
from serving.current_scores.records import CurrentScore
from serving.decision_log.records import Outcome
from serving.decision_log.tables import DECISIONS, WEBHOOK_MESSAGES
from serving.webhooks.messages import WebhookWriter, score_events
from serving.webhooks.settings import Subscription, WebhookSettings, WebhookSettingsError, check_models

NOW = 1_790_000_000
SCORE = CurrentScore(
    "ada", "", "m1", NOW, NOW, NOW, "open", "Ada Lovelace", 0.4, 60, "B", 0.3, 0.5, created_at=NOW - 90 * DAY,
    attributes={"email": "ada@example.com"}, decision_id=7,
)  # fmt: skip
ALL = Subscription("all", "https://a.example", ())
A_ONLY = Subscription("a-only", "https://b.example", (), grades=frozenset("A"), jump=30)


def changed(**fields):
    return SCORE._replace(**fields)


@pytest.mark.parametrize(
    ("before", "after", "types"),
    [
        (SCORE, changed(grade="A", points=65), ["score.grade_entered"]),
        (SCORE, changed(grade="C", points=30), ["score.grade_entered", "score.jumped"]),
        (SCORE, changed(points=40), ["score.jumped"]),
        (SCORE, changed(points=79), []),
        (SCORE, changed(state="dormant", grade="A"), ["score.stale"]),
        (changed(state="dormant"), changed(state="open"), []),
        (SCORE, changed(state="closed", grade="A"), []),
        (SCORE, changed(probability=None, points=None, grade=None), []),
        # Scores that are made anew for all leads are no news of old ones.
        (None, SCORE, []),
        (None, changed(created_at=NOW - 60), ["score.grade_entered"]),
    ],
)
def test_a_change_of_a_score_is_told_for_what_it_is(before, after, types):
    assert list(score_events(before, after, 20)) == types


def messages(log):
    columns = WEBHOOK_MESSAGES.c
    with log.connect() as connection:
        rows = connection.execute(
            select(columns.subscription, columns.tenant, columns.lead_id, columns.payload).order_by(
                columns.id
            )
        )
        return [(*row[:3], json.loads(row[3])) for row in rows]


def add_decision(connection, number, lead_id, grade, reasons=None):
    row = {
        "id": number, "decided_at": NOW, "lead_id": lead_id, "as_of": NOW, "endpoint": "rescore",
        "model_version": "m1", "probability": 0.4, "log_odds": -0.4, "points": 60, "grade": grade,
        "row": "{}", "reasons": reasons, "shadow": 0, "explored": 0, "tenant": "",
    }  # fmt: skip
    connection.execute(insert(DECISIONS), [row])


def test_a_message_has_figures_reasons_and_ids_and_nothing_else_of_the_person(log):
    reasons = json.dumps(
        [{"feature": "f", "text": f"reason {n}", "points": n, "value": "x"} for n in range(9)]
    )
    with log.begin() as connection:
        add_decision(connection, 7, "ada", "A", reasons)
        WebhookWriter([ALL]).write_score_change(connection, SCORE, changed(grade="A"))
    ((name, tenant, lead_id, payload),) = messages(log)
    assert (name, tenant, lead_id) == ("all", "", "ada")
    assert payload.keys() == {"type", "timestamp", "data"}
    assert payload["type"] == "score.grade_entered"
    data = payload["data"]
    assert data["before"] == {
        "probability": 0.4, "points": 60, "grade": "B", "interval": [0.3, 0.5], "insufficient": None,
        "as_of": NOW, "model_version": "m1",
    }  # fmt: skip
    assert (data["grade"], data["decision"], data["model_version"]) == ("A", 7, "m1")
    assert data["reasons"] == [{"text": f"reason {n}", "points": n} for n in range(3)]
    assert "Lovelace" not in json.dumps(payload)
    assert "example.com" not in json.dumps(payload)


def test_a_score_of_the_background_is_told_with_the_reasons_of_its_own_model(log, by_hand):
    row = {name: 100 if name == "employees" else None for name in by_hand.features.names}
    with log.begin() as connection:
        for number, version in ((7, by_hand.version), (8, "another")):
            add_decision(connection, number, "ada", "A")
            change = {"row": json.dumps(row), "model_version": version}
            connection.execute(update(DECISIONS).where(DECISIONS.c.id == number).values(change))
            writer = WebhookWriter([ALL], {"": by_hand}.get)
            writer.write_score_change(connection, SCORE, changed(grade="A", decision_id=number))
    own, other = (payload["data"]["reasons"] for *_, payload in messages(log))
    assert len(own) == 3
    assert own[0]["text"] == "100"
    assert other == []


def test_subscriptions_are_told_of_their_grades_their_tenant_and_their_types(log):
    theirs = Subscription("acme", "https://c.example", (), tenant="acme")
    outcomes = Subscription("outcomes", "https://d.example", (), events=frozenset({"outcome.recorded"}))
    writer = WebhookWriter([ALL, A_ONLY, theirs, outcomes])
    with log.begin() as connection:
        writer.write_score_change(connection, SCORE, changed(grade="A"))
        writer.write_score_change(connection, SCORE, changed(grade="C"))
        writer.write_score_change(connection, SCORE, changed(grade="A", tenant="acme"))
        writer.write_outcomes(connection, [Outcome("k", "bob", "sql", None, NOW, None)], time.time())
    told = [(name, tenant, payload["type"]) for name, tenant, _, payload in messages(log)]
    assert told == [
        ("all", "", "score.grade_entered"),
        ("a-only", "", "score.grade_entered"),
        ("all", "", "score.grade_entered"),
        ("all", "acme", "score.grade_entered"),
        ("a-only", "acme", "score.grade_entered"),
        ("acme", "acme", "score.grade_entered"),
        ("all", "", "outcome.recorded"),
        ("a-only", "", "outcome.recorded"),
        ("outcomes", "", "outcome.recorded"),
    ]


def test_a_score_of_a_further_model_is_told_to_those_who_ask_for_it_under_its_name(log):
    theirs = Subscription("success", "https://c.example", (), models=frozenset({"renewal"}))
    both = Subscription("both", "https://d.example", (), models=frozenset({"default", "renewal"}))
    writer = WebhookWriter([ALL, theirs, both])
    with log.begin() as connection:
        writer.write_score_change(connection, SCORE, changed(grade="A"))
        writer.write_score_change(connection, SCORE, changed(grade="A", model="renewal"))
    told = [(name, payload["data"]["model"]) for name, *_, payload in messages(log)]
    assert sorted(told) == [
        ("all", "default"),
        ("both", "default"),
        ("both", "renewal"),
        ("success", "renewal"),
    ]


def test_a_subscription_to_a_model_that_is_not_there_is_refused_with_the_nearest():
    theirs = Subscription("success", "https://c.example", (), models=frozenset({"renwal"}))
    settings = WebhookSettings({"success": theirs})
    with pytest.raises(WebhookSettingsError, match=r"outgoing\.success.*renwal.*did you mean 'renewal'"):
        check_models(settings, ["default", "renewal"])
    check_models(WebhookSettings({"all": ALL}), ["default"])


def test_hand_overs_and_outcomes_of_a_further_model_are_told_to_those_who_ask_for_it(log):
    theirs = Subscription("success", "https://c.example", (), models=frozenset({"renewal"}))
    writer = WebhookWriter([ALL, theirs])
    row = {"lead_id": "ada", "tenant": "", "decision_id": 1, "rank": 1, "explored": 0}
    with log.begin() as connection:
        add_decision(connection, 1, "ada", "A")
        for model in ("", "renewal"):
            request = HandoverRequest(NOW // DAY * DAY, 3, model=model)
            writer.write_handover(connection, request, [row])
            outcome = Outcome("k", "bob", "won", None, NOW, model=model)
            writer.write_outcomes(connection, [outcome], time.time())
    told = {(name, payload["type"], payload["data"]["model"]) for name, *_, payload in messages(log)}
    kinds = ("lead.handed_over", "outcome.recorded")
    names = {"all": "default", "success": "renewal"}
    assert told == {(name, kind, model) for name, model in names.items() for kind in kinds}


def test_each_lead_of_a_hand_over_is_told_in_its_rank(log):
    rows = [
        {"lead_id": lead, "tenant": "", "decision_id": n, "rank": n, "explored": 0}
        for n, lead in enumerate(("ada", "bob", "cleo"), 1)
    ]
    with log.begin() as connection:
        for row, grade in zip(rows, "ABA", strict=True):
            add_decision(connection, row["decision_id"], row["lead_id"], grade)
        request = HandoverRequest(NOW // DAY * DAY, 3, 0.0, "", "")
        WebhookWriter([A_ONLY]).write_handover(connection, request, rows)
    told = [(lead_id, payload["data"]["rank"], payload["type"]) for _, _, lead_id, payload in messages(log)]
    assert told == [("ada", 1, "lead.handed_over"), ("cleo", 3, "lead.handed_over")]


def test_a_hand_over_tells_whose_list_it_is_and_of_which_teams_as_the_plan_is_then(log):
    plan = parse_plan({"owners": {"Ann": 3, "Ben": 2}, "teams": {"north": ["Ben", "Ann"], "south": ["Ben"]}})
    plans = iter([plan, None, plan])
    writer = WebhookWriter([ALL], find_plan=lambda: next(plans))
    row = {"lead_id": "ada", "tenant": "", "decision_id": 1, "rank": 1, "explored": 0}
    with log.begin() as connection:
        add_decision(connection, 1, "ada", "A")
        for owner in ("Ben", "Ann", ""):
            request = HandoverRequest(NOW // DAY * DAY, 3, 0.0, "", "", owner=owner)
            writer.write_handover(connection, request, [row])
    addressed = [(payload["data"]["owner"], payload["data"]["teams"]) for *_, payload in messages(log)]
    assert addressed == [("Ben", ["north", "south"]), ("Ann", []), (None, [])]
