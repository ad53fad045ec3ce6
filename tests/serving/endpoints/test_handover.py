"""Hand-overs in both databases, and as a CRM asks for them."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from threading import Barrier

import pytest
from log_entries import in_transaction, log_decisions, make_decision, make_outcome
from service_client import start_client
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from features.clock import DAY
from models.handover_lists import ListWish
from models.handover_plan import HandoverPlan
from models.handover_selection import HandoverCandidate, HandoverRequest, NoSuchValueError, select_leads
from models.uncertainty import InsufficientEvidence
from serving.decision_log import handovers, queries
from serving.decision_log.async_log import DecisionLog
from serving.decision_log.settings import OFF, LogSettings
from serving.decision_log.statements import add_outcomes, erase, probe_writable, prune
from serving.decision_log.tables import CONTROL_LEADS, HANDED_OVER, HANDOVERS, OUTCOMES
from serving.settings import ServiceSettings, SettingsError


def names(choice):
    return [lead.candidate.lead_id for lead in choice.leads]


def candidates(log, value=""):
    selection = handovers.select_handover(log, HandoverRequest(7 * DAY, 1_000, value=value))
    return {lead.candidate.lead_id: lead.candidate for lead in selection.leads}


def open_leads(log, value="", tenant=""):
    """What may be handed over, from the decisions and outcomes alone: the oracle of the ranks."""
    closed = {(outcome.tenant, outcome.lead_id) for outcome in every_outcome(log)}
    newest = [
        decision
        for decision in queries.latest_decisions(log, tenant)
        if not decision.withheld and (decision.tenant, decision.lead_id) not in closed
    ]
    numbers = {decision.id: decision.row.get(value) for decision in newest}
    known = {number: float(v) for number, v in numbers.items() if isinstance(v, int | float)}
    typical = median(known.values()) if known else 1.0
    return [
        HandoverCandidate(
            decision.lead_id,
            decision.id,
            decision.probability * (known.get(decision.id, typical) if value else 1.0),
            known.get(decision.id),
            decision.tenant,
        )
        for decision in newest
    ]


def every_outcome(log):
    with log.connect() as connection:
        return connection.execute(select(OUTCOMES)).all()


def random_history(log, seed):
    """Leads of three tenants that are scored again, reported, corrected, erased and pruned."""
    numbers = random.Random(seed)  # noqa: S311
    for turn in range(60):
        tenant = numbers.choice(["", "", "acme", "umbrella"])
        made = [
            make_decision(
                f"lead {numbers.randrange(40)}",
                {"deal": numbers.choice([None, 0.0, 10.0, -5.0, 250.0, 7.5]), "industry": "ads"},
                probability=numbers.choice([0.1, 0.25, 0.5, numbers.random()]),
                insufficient=numbers.choice([None] * 5 + [TOO_FEW]),
            )
            for _ in range(numbers.randrange(1, 8))
        ]
        log_decisions(log, *made, now=turn, tenant=tenant, shadow=numbers.random() < 0.2)
        if numbers.random() < 0.3:
            report = make_outcome(f"k{turn}", f"lead {numbers.randrange(40)}", tenant=tenant)
            in_transaction(log, add_outcomes, [report], turn)
        if numbers.random() < 0.1:
            in_transaction(log, erase, f"lead {numbers.randrange(40)}", turn, numbers.choice(["", tenant]))
        if turn == 20:
            handovers.rank_by_value(log, "deal")
        if turn in (30, 50):
            in_transaction(log, prune, turn - 20, 1_000)


TOO_FEW = InsufficientEvidence("too_few_outcomes", None, "Too few.")


def test_of_no_lead_none_is_selected(log):
    for value in ("", "deal"):
        selection = handovers.select_handover(log, HandoverRequest(7 * DAY, 5, 0.5, value))
        assert (selection.leads, selection.open) == ((), 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_database_selects_what_the_definition_selects(log, seed):
    random_history(log, seed)
    for tenant, value in [("", ""), ("", "deal"), ("acme", ""), ("acme", "deal"), ("nobody", "")]:
        everybody = open_leads(log, value, tenant)
        for capacity, explore in [(1, 0.0), (5, 0.0), (5, 0.4), (12, 0.1), (4, 1.0), (500, 0.5)]:
            for day, control in ((7, 0.0), (8, 0.0), (8, 0.4)):
                wish = HandoverRequest(day * DAY, capacity, explore, value, tenant, control)
                assert handovers.select_handover(log, wish) == select_leads(everybody, wish), wish


def test_leads_that_all_tie_are_drawn_as_the_definition_draws_them(log):
    log_decisions(log, *[make_decision(f"lead {n}", probability=0.5) for n in range(300)])
    for capacity, explore in [(1, 0.0), (100, 0.0), (100, 0.5), (299, 0.9), (10, 1.0)]:
        wish = HandoverRequest(7 * DAY, capacity, explore)
        assert handovers.select_handover(log, wish) == select_leads(open_leads(log), wish)


def test_what_a_lead_is_worth_by_value_follows_its_decisions_and_its_end(log):
    """Also of a lead that is closed before it is ever scored, and of one that was there before."""
    log_decisions(log, make_decision("ada", {"deal": 10.0}), make_decision("bob", {"deal": 20.0}))
    assert set(candidates(log, "deal")) == {"ada", "bob"}
    in_transaction(log, add_outcomes, [make_outcome("1", "cy"), make_outcome("2", "bob")], 1)
    log_decisions(log, make_decision("cy", {"deal": 30.0}), make_decision("ada", {"deal": 40.0}))
    assert {lead: each.value for lead, each in candidates(log, "deal").items()} == {"ada": 40.0}


def test_only_so_many_features_are_kept_up(log):
    names = [f"deal_{n}" for n in range(handovers.MOST_VALUES + 1)]
    log_decisions(log, make_decision("ada", dict.fromkeys(names, 5.0)))
    for name in names[:-1]:
        assert set(candidates(log, name)) == {"ada"}
    with pytest.raises(NoSuchValueError, match="at most 8 features"):
        candidates(log, names[-1])
    assert set(candidates(log, names[0])) == {"ada"}


def test_a_lead_is_ranked_by_its_newest_told_decision(log):
    log_decisions(log, make_decision("ada", probability=0.9), make_decision("bob", probability=0.3), now=10)
    log_decisions(log, make_decision("ada", probability=0.2), now=20)
    log_decisions(log, make_decision("bob", probability=0.8), now=30, shadow=True)
    assert {lead: candidate.worth for lead, candidate in candidates(log).items()} == {"ada": 0.2, "bob": 0.3}


@pytest.mark.parametrize("kind", ["accepted", "qualified", "rejected", "disqualified", "won", "lost"])
def test_any_outcome_closes_a_lead_also_a_corrected_one(log, kind):
    log_decisions(log, make_decision("ada"), make_decision("bob"), make_decision("cy"))
    reports = [
        make_outcome("1", "ada", kind),
        make_outcome("2", "cy"),
        make_outcome("3", "cy", "lost", corrects="2"),
    ]
    in_transaction(log, add_outcomes, reports, 1)
    assert set(candidates(log)) == {"bob"}


def test_a_number_that_was_withheld_ranks_nobody(log):
    log_decisions(
        log, make_decision("ada", insufficient=InsufficientEvidence("too_few_outcomes", None, "Too few."))
    )
    log_decisions(log, make_decision("bob", insufficient=InsufficientEvidence("too_wide", None, "Too wide.")))
    assert set(candidates(log)) == {"bob"}


def test_a_lead_without_a_value_counts_with_the_median(log):
    for name, p, value in [("ada", 0.1, 1000.0), ("bob", 0.5, 100.0), ("cy", 0.4, None), ("di", 0.9, 10.0)]:
        log_decisions(log, make_decision(name, {"deal": value, "industry": "ads"}, probability=p))
    by_lead = candidates(log, "deal")
    assert {lead: candidate.worth for lead, candidate in by_lead.items()} == pytest.approx(
        {"ada": 100, "bob": 50, "cy": 40, "di": 9}
    )
    assert by_lead["cy"].value is None


def test_a_value_that_nobody_has_is_refused_with_a_hint(log):
    log_decisions(log, make_decision("ada", {"deal_size": 5.0, "industry": "ads"}))
    with pytest.raises(NoSuchValueError, match="'deal_sise'; did you mean 'deal_size'"):
        candidates(log, "deal_sise")
    with pytest.raises(NoSuchValueError, match="industry"):
        candidates(log, "industry")


def hand_over(log):
    wish = HandoverRequest(7 * DAY, 2, 0.5)
    choice = handovers.select_handover(log, wish)
    in_transaction(log, handovers.add_handover, wish, choice)
    return choice


@pytest.fixture
def handed(log):
    log_decisions(log, *[make_decision(f"lead {n}", probability=n / 10) for n in range(1, 6)], now=6 * DAY)
    return hand_over(log)


def test_what_was_handed_over_is_read_back_as_it_was_chosen(log, handed):
    handover = handovers.find_handover(log, HandoverRequest(7 * DAY, 2, 0.5))
    assert [lead.decision.lead_id for lead in handover.leads] == names(handed)
    assert [(lead.explored, lead.propensity, lead.worth) for lead in handover.leads] == [
        (lead.explored, lead.propensity, lead.candidate.worth) for lead in handed.leads
    ]
    assert (handover.open, handover.tied, handover.tied_taken) == (5, 1, 1)
    assert handovers.find_handover(log, HandoverRequest(8 * DAY, 2, 0.5)) is None
    assert handovers.find_handover(log, HandoverRequest(7 * DAY, 2, 0.5, "deal")) is None


def test_only_the_first_hand_over_of_a_day_counts(log, handed):
    with pytest.raises(IntegrityError):
        hand_over(log)
    assert len(handovers.find_handover(log, HandoverRequest(7 * DAY, 2, 0.5)).leads) == len(handed.leads)


def test_a_person_who_is_erased_is_on_no_list(log, handed):
    first, *others = names(handed)
    in_transaction(log, erase, first, 0)
    assert [
        lead.decision.lead_id for lead in handovers.find_handover(log, HandoverRequest(7 * DAY, 2, 0.5)).leads
    ] == others


@pytest.mark.usefixtures("handed")
def test_old_hand_overs_are_forgotten(log):
    in_transaction(log, prune, 8 * DAY - 1, 100)
    assert handovers.find_handover(log, HandoverRequest(7 * DAY, 2, 0.5)) is not None
    in_transaction(log, prune, 8 * DAY, 100)
    assert handovers.find_handover(log, HandoverRequest(7 * DAY, 2, 0.5)) is None


@pytest.fixture
def client(by_hand, place):
    with ExitStack() as stack:
        yield start_client(by_hand, place, stack, LEADLOOP_EXPLORE="0.25")


@pytest.fixture
def scored(client, lead):
    leads = [
        lead | {"as_of": int(time.time())} | {"lead_id": f"{n}", "attributes": {"employees": 10**n}}
        for n in range(1, 7)
    ]
    return client.post("/v1/score", json={"leads": leads}).json()["results"]


def ask(client, **query):
    answer = client.post("/v1/handover", json=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_leads_of_the_day_are_the_best_that_were_scored(client, scored):
    response = ask(client, capacity=4, explore=0)
    best = sorted(scored, key=lambda lead: -lead["probability"])[:4]
    assert [lead["lead_id"] for lead in response["leads"]] == [lead["lead_id"] for lead in best]
    assert response["expected"]["conversions"] == pytest.approx(sum(lead["probability"] for lead in best))
    assert [lead["rank"] for lead in response["leads"]] == [1, 2, 3, 4]
    assert (response["open"], response["handed_over"], response["explored"]) == (6, 4, 0)
    assert [(lead["age_days"], lead["stale"]) for lead in response["leads"]] == [(0, False)] * 4


def test_the_configured_share_is_drawn_by_lot_where_the_request_does_not_say(client, scored):
    response = ask(client, capacity=4)
    assert (response["explore"], response["explored"], len(scored)) == (0.25, 1, 6)
    assert response["leads"][-1]["propensity"] == pytest.approx(1 / 3)


def test_the_list_of_a_day_stays_what_it_is(client, scored, lead):
    before = ask(client, capacity=3)
    best = lead | {"as_of": int(time.time()), "attributes": {"employees": 10**9}}
    sent = client.post("/v1/score", json={"leads": [best]})
    assert sent.json()["results"][0]["probability"] > max(each["probability"] for each in scored)
    assert ask(client, capacity=3) == before
    assert ask(client, capacity=2)["leads"][0]["lead_id"] == lead["lead_id"]


def test_a_lead_with_an_outcome_is_not_handed_over(client, scored):
    best = max(scored, key=lambda lead: lead["probability"])["lead_id"]
    event = {"key": "k", "lead_id": best, "outcome": "accepted", "occurred_at": "2026-05-06T09:00:00Z"}
    client.post("/v1/outcomes", json={"outcomes": [event]})
    assert best not in [lead["lead_id"] for lead in ask(client, capacity=50)["leads"]]


@pytest.mark.usefixtures("scored")
def test_by_expected_value(client):
    response = ask(client, capacity=6, value="employees")
    assert [lead["lead_id"] for lead in response["leads"]] == ["6", "5", "4", "3", "2", "1"]
    assert [lead["worth"] for lead in response["leads"]] == pytest.approx(
        [lead["probability"] * lead["value"] for lead in response["leads"]]
    )


def test_a_day_without_leads_is_not_held_on_to(client, lead):
    assert ask(client, capacity=5)["leads"] == []
    client.post("/v1/score", json={"leads": [lead]})
    assert len(ask(client, capacity=5)["leads"]) == 1


def test_what_holds_no_number_is_refused_whoever_is_open(client, lead):
    parameters = {"capacity": 5, "value": "employes"}
    nobody = client.post("/v1/handover", json=parameters)
    client.post("/v1/score", json={"leads": [lead]})
    somebody = client.post("/v1/handover", json=parameters)
    assert nobody.status_code == somebody.status_code == 400
    assert nobody.json() == somebody.json()
    assert "did you mean 'employees'" in nobody.json()["detail"]


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({}, "missing_field", "capacity"),
        ({"capacity": 0}, "invalid_value", "capacity"),
        ({"capacity": "ten"}, "invalid_value", "capacity"),
        ({"capacity": 5, "explore": 1.5}, "invalid_value", "explore"),
        ({"capacity": 5, "explore": "nan"}, "invalid_value", "explore"),
        ({"capacity": 5, "explor": 0.5}, "unknown_field", "explor"),
        ({"capacity": 5, "value": "employes"}, "invalid_value", "value"),
        ({"capacity": 5, "value": "\0"}, "invalid_value", "value"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(client, query, code, field):
    for answer in (client.get("/v1/handover", params=query), client.post("/v1/handover", json=query)):
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        assert (answer.json()["code"], answer.json()["field"]) == (code, field)


def rows_of(log):
    with log.connect() as connection:
        counts = (select(func.count()).select_from(table) for table in (HANDOVERS, HANDED_OVER))
        return [connection.execute(query).scalar_one() for query in counts]


@pytest.mark.usefixtures("scored")
def test_reading_the_list_of_a_day_writes_nothing(client, log):
    wish = {"capacity": 3, "explore": 0}
    for _ in range(3):
        answer = client.get("/v1/handover", params=wish)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_handover")
    assert rows_of(log) == [0, 0]
    made = ask(client, **wish)
    assert client.get("/v1/handover", params=wish).json() == made
    for _ in range(3):
        assert ask(client, **wish) == made
    assert rows_of(log) == [1, 3]


@pytest.mark.usefixtures("scored")
def test_requests_that_come_at_once_get_one_list(client, log):
    with ThreadPoolExecutor(8) as pool:
        lists = list(pool.map(lambda _: ask(client, capacity=4, explore=0.5), range(16)))
    assert all(each == lists[0] for each in lists)
    assert rows_of(log) == [1, 4]


def test_another_method_is_told_which_there_are(client):
    answer = client.put("/v1/handover", json={"capacity": 3})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert {name.strip() for name in answer.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_form_of_another_page_makes_no_list(client, media_type):
    headers = {"content-type": media_type} if media_type else {}
    answer = client.post("/v1/handover", content=b'{"capacity": 3}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_value"),
        (b" " * 10_001, 413, "body_too_large"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(client, body, status, code):
    answer = client.post("/v1/handover", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_stale_score_is_marked(place, by_hand, log):
    now = int(time.time())
    # Both were told today: a score of long ago, asked for again, is no newer for that.
    log_decisions(log, make_decision("old", probability=0.9, as_of=now - 20 * DAY), now=now)
    log_decisions(log, make_decision("new", probability=0.1, as_of=now), now=now)
    with ExitStack() as stack:
        client = start_client(by_hand, place, stack)
        old, new = ask(client, capacity=2)["leads"]
        assert (old["age_days"], old["stale"], new["age_days"], new["stale"]) == (20, True, 0, False)
        assert not ask(client, capacity=2, stale_days=20)["leads"][0]["stale"]


def test_without_a_log_there_is_nobody_to_hand_over(by_hand):
    with ExitStack() as stack:
        answer = start_client(by_hand, OFF, stack).post("/v1/handover", json={"capacity": 5})
    assert (answer.status_code, answer.json()["code"]) == (501, "log_off")


def test_the_api_page_tells_of_it(client):
    paths = client.get("/docs.json").json()["paths"]["/v1/handover"]
    page = paths["get"]
    parameters = {parameter["name"]: parameter["required"] for parameter in page["parameters"]}
    names = ("capacity", "owner", "reserve", "dormant", "explore", "value", "stale_days", "model")
    assert parameters == dict.fromkeys(names, False)
    assert {"200", "400", "404", "501", "503"} <= set(page["responses"])
    assert not {"413", "415"} & set(page["responses"])
    making = paths["post"]
    assert {"200", "400", "413", "415", "501", "503"} <= set(making["responses"])
    schema = making["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {*parameters, "owners"} - {"model"}
    # Of which model is a question of the address, there as here.
    assert "model" in {parameter["name"] for parameter in making["parameters"]}
    assert "required" not in schema


def control_leads(log):
    with log.connect() as connection:
        return connection.execute(select(CONTROL_LEADS)).mappings().all()


def test_the_control_group_is_logged_beside_the_list_and_erased_with_its_lead(log):
    log_decisions(log, *[make_decision(f"lead {n}", probability=0.5 + n / 100) for n in range(30)])
    wish = HandoverRequest(7 * DAY, 10, control_share=0.4)
    selection = handovers.select_handover(log, wish)
    in_transaction(log, handovers.add_handover, wish, selection)
    rows = control_leads(log)
    assert {row["lead_id"] for row in rows} == {lead.candidate.lead_id for lead in selection.control}
    assert {(row["propensity"], row["explored"]) for row in rows} == {(0.6, 0)}
    assert handovers.find_handover(log, wish).control == len(rows) > 2
    # The list of a day stays what it is where the share is changed.
    later = handovers.find_handover(log, HandoverRequest(7 * DAY, 10, control_share=0.1))
    assert later == handovers.find_handover(log, wish)
    in_transaction(log, erase, rows[0]["lead_id"], 1)
    assert len(control_leads(log)) == len(rows) - 1
    in_transaction(log, prune, 9 * DAY, 100)
    assert control_leads(log) == []


def test_the_answer_counts_the_control_group_and_names_none_of_it(place, by_hand, log):
    log_decisions(log, *[make_decision(f"lead {n}", probability=0.9 - n / 100) for n in range(40)])
    with ExitStack() as stack:
        client = start_client(by_hand, place, stack, LEADLOOP_CONTROL="0.3")
        answer = ask(client, capacity=10)
    absent = {row["lead_id"] for row in control_leads(log)}
    assert (answer["control_share"], answer["control"], answer["handed_over"]) == (0.3, len(absent), 10)
    assert len(absent) > 1
    assert not absent & {lead["lead_id"] for lead in answer["leads"]}


def test_workers_that_choose_at_once_agree(log, place):
    log_decisions(log, *[make_decision(f"lead {n}", probability=0.5) for n in range(40)])
    wish, barrier = HandoverRequest(7 * DAY, 10, 0.5), Barrier(4)

    async def ask_worker(number):
        journal = DecisionLog(LogSettings(place))
        try:
            await journal.writer.write(probe_writable)
            await asyncio.to_thread(barrier.wait)
            # What a worker sees of the log may differ from what the others do.
            log_decisions(log, make_decision(f"late {number}", probability=0.9))
            (handover,) = await journal.get_or_create_handovers(
                ListWish(wish, HandoverPlan(), by_owner=False)
            )
            return handover
        finally:
            journal.close()

    with ThreadPoolExecutor(4) as pool:
        lists = list(pool.map(lambda number: asyncio.run(ask_worker(number)), range(4)))
    assert lists[0] == lists[1] == lists[2] == lists[3]
    assert len(lists[0].leads) == 10


@pytest.mark.parametrize("name", ["LEADLOOP_EXPLORE", "LEADLOOP_CONTROL"])
@pytest.mark.parametrize("share", ["half", "1.5", "-0.1", "nan"])
def test_a_configured_share_that_is_none_is_refused_at_the_start(name, share):
    with pytest.raises(SettingsError, match="share from 0 to 1"):
        ServiceSettings.of({name: share})


def test_the_configured_shares_reach_the_service():
    settings = ServiceSettings.of({"LEADLOOP_EXPLORE": "0.1", "LEADLOOP_CONTROL": "0.05"})
    assert (settings.explore, settings.control) == (0.1, 0.05)
    again = ServiceSettings.of(settings.environment)
    assert (again.explore, again.control) == (0.1, 0.05)
