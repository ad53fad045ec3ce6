"""Lists of owners: each a draw of its own, with what people decided beside it, in both databases."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from threading import Event

import pytest
from log_entries import in_transaction, log_decisions, make_decision
from service_client import start_client
from sqlalchemy import insert, select, update

from features.clock import DAY
from models.handover_lists import ListWish
from models.handover_plan import NO_OWNER, Exclusion, HandoverPlan
from models.handover_selection import HandoverCandidate, HandoverRequest, lead_lot, select_leads
from serving.decision_log import async_log, handovers
from serving.decision_log.async_log import DecisionLog
from serving.decision_log.overrides import action_on, add_override, is_handed_over_by_hand
from serving.decision_log.queries import handed_over
from serving.decision_log.records import Override
from serving.decision_log.settings import LogSettings, LogUnavailable
from serving.decision_log.statements import erase, probe_writable, prune
from serving.decision_log.tables import CURRENT_SCORES, HANDOVER_OVERRIDES, HANDOVERS, LEAD_RANKS, METADATA

PLAN = HandoverPlan(
    owners={"anna": 4, "ben": 2, "zoe": 3},
    territory="country",
    territories={"DE": "dach"},
    teams={"dach": ["anna", "ben"]},
    exclusions=(
        Exclusion("customer", "stage", ("customer",)),
        Exclusion("student", "job_title", contains=("student",)),
        Exclusion("competitor", "row.industry", ("crm",)),
    ),
)


def in_store(log, lead_id, tenant="", **known):
    """The row of a lead in the current scores, with its attributes."""
    columns = {name: known.pop(name) for name in ("owner", "stage") if name in known}
    row = {
        "lead_id": lead_id,
        "tenant": tenant,
        "model_version": "v1",
        "as_of": 0,
        "scored_at": 0,
        "changed_at": 0,
        "state": "open",
        "name": lead_id,
        "attributes": json.dumps(known),
    }
    in_transaction(log, lambda connection: connection.execute(insert(CURRENT_SCORES), [row | columns]))


def a_company(log, seed, leads=120):
    """Open leads of several owners, territories and stages; what is known of each, by lead."""
    numbers = random.Random(seed)  # noqa: S311
    known = {}
    for n in range(leads):
        lead = {
            "owner": numbers.choice(["anna", "Ben", "zoe", "gone", None]),
            "country": numbers.choice(["DE", "US", None]),
            "stage": numbers.choice(["mql", "mql", "customer"]),
            "job_title": numbers.choice(["CEO", "Student", 5, None]),
            "row.industry": numbers.choice(["ads", "crm"]),
        }
        known[f"lead {n}"] = lead
        probability = numbers.choice([0.25, 0.5, numbers.random()])
        log_decisions(
            log, make_decision(f"lead {n}", {"industry": lead["row.industry"]}, probability=probability)
        )
        in_store(log, f"lead {n}", **{k: v for k, v in lead.items() if k != "row.industry" and v is not None})
    return known


def as_text(value):
    return None if value is None else str(value)


@pytest.mark.parametrize("seed", range(3))
def test_each_owner_has_the_list_that_the_definition_selects_among_its_own_leads(log, seed):
    known = a_company(log, seed)
    everybody = handovers.select_handover(log, HandoverRequest(7 * DAY, 1_000))
    pools = {owner: [] for owner in PLAN.owners}
    excluded = Counter()
    for each in everybody.leads:
        candidate = each.candidate
        values = {name: as_text(value) for name, value in known[candidate.lead_id].items()}
        owner = PLAN.takers(values).owner_of(lead_lot(candidate.lead_id))
        reason = PLAN.reason(values) or ("" if owner else NO_OWNER)
        excluded[owner, reason] += 1
        if not reason:
            pools[owner].append(candidate)
    wish = HandoverRequest(7 * DAY, 1, 0.4, control_share=0.2, reserve=3)
    lists = handovers.select_handovers(log, ListWish(wish, PLAN, by_owner=True))
    assert {each.request.owner: each.selection for each in lists} == {
        owner: select_leads(pool, replace(wish, owner=owner, capacity=PLAN.owners[owner]))
        for owner, pool in pools.items()
    }
    for each in lists:
        own, nobodys = (
            {reason: n for (owner, reason), n in excluded.items() if owner == whose and reason}
            for whose in (each.request.owner, "")
        )
        assert (each.excluded, each.nobodys) == (own, nobodys)
    assert lists[0].nobodys[NO_OWNER] > 0
    (ben,) = handovers.select_handovers(log, ListWish(wish, PLAN, by_owner=True, owners=frozenset({"ben"})))
    assert ben == lists[1]


def test_one_list_of_all_leads_leaves_out_whom_the_plan_excludes(log):
    known = a_company(log, 5)
    wish = HandoverRequest(7 * DAY, 1_000)
    (everybody,) = handovers.select_handovers(log, ListWish(wish, PLAN, by_owner=False))
    listed = {each.candidate.lead_id for each in everybody.selection.leads}
    values = {lead: {name: as_text(each) for name, each in own.items()} for lead, own in known.items()}
    reasons = {lead: PLAN.reason(own) for lead, own in values.items()}
    assert listed == {lead for lead, reason in reasons.items() if not reason}
    assert everybody.excluded == Counter(filter(None, reasons.values()))


def test_the_propensities_of_every_owner_are_how_often_its_leads_are_handed_over(log):
    """Over many days, of owners with leads above the cut, tied at it, and drawn; none leans on the others."""
    worths = [0.9, 0.5, 0.5, 0.5, 0.3, 0.1, 0.1, 0.05]
    for owner in ("anna", "ben"):
        for n, probability in enumerate(worths):
            log_decisions(log, make_decision(f"{owner} {n}", probability=probability))
            in_store(log, f"{owner} {n}", owner=owner)
    plan = HandoverPlan(owners={"anna": 4, "ben": 2})
    times, chances, days = Counter(), {}, 400
    for day in range(days):
        wish = ListWish(HandoverRequest(day * DAY, 1, 0.5), plan, by_owner=True)
        for each in handovers.select_handovers(log, wish):
            for lead in each.selection.leads:
                times[lead.candidate.lead_id] += 1
                assert chances.setdefault(lead.candidate.lead_id, lead.propensity) == lead.propensity
    for lead, chance in chances.items():
        assert abs(times[lead] - days * chance) <= 4 * (days * chance * (1 - chance)) ** 0.5 + 1e-6
    assert {lead.partition(" ")[0] for lead in chances} == {"anna", "ben"}
    assert sum(chances.values()) == pytest.approx(4 + 2, abs=0.3) == sum(times.values()) / days


def override(lead_id, action="take_off", at=None, **more):
    now = int(time.time()) if at is None else at
    values = {"owner": "", "until": now + DAY} | more
    return Override(lead_id, action, "they asked", "anna", now, **values)


def test_what_people_decide_takes_no_part_in_the_draw(log):
    log_decisions(log, *[make_decision(f"lead {n}", probability=n / 10) for n in range(1, 9)])
    in_transaction(log, add_override, override("lead 8"), time.time())
    in_transaction(log, add_override, override("lead 1", "hand_over"), time.time())
    wish = HandoverRequest(int(time.time()) // DAY * DAY, 3)
    (best,) = handovers.select_handovers(log, ListWish(wish, HandoverPlan(), by_owner=False))
    names = [each.candidate.lead_id for each in best.selection.leads]
    assert (names, best.selection.open, best.excluded) == (
        ["lead 7", "lead 6", "lead 5"],
        6,
        {"taken_off": 1},
    )
    in_transaction(log, add_override, override("lead 8", "withdraw"), time.time())
    (best,) = handovers.select_handovers(log, ListWish(wish, HandoverPlan(), by_owner=False))
    assert best.selection.leads[0].candidate.lead_id == "lead 8"


def test_a_lead_that_was_never_scored_or_was_erased_is_not_overridden(log):
    came = time.time()
    log_decisions(log, make_decision("ada"))
    assert not in_transaction(log, add_override, override("bob"), came)
    assert in_transaction(log, add_override, override("ada"), came)
    in_transaction(log, erase, "ada", 0)
    assert not in_transaction(log, add_override, override("ada"), came)
    with log.connect() as connection:
        assert connection.execute(select(HANDOVER_OVERRIDES)).all() == []


def test_an_override_counts_until_its_time_is_over_or_it_is_withdrawn():
    first = override("ada", "hand_over", at=7 * DAY + 5, until=9 * DAY)
    assert [action_on([first], day * DAY) for day in (6, 7, 8, 9)] == [None, "hand_over", "hand_over", None]
    withdrawn = [first, override("ada", "withdraw", at=8 * DAY, until=20 * DAY)]
    assert (action_on(withdrawn, 7 * DAY), action_on(withdrawn, 8 * DAY)) == ("hand_over", "withdraw")
    assert (is_handed_over_by_hand([first]), is_handed_over_by_hand(withdrawn)) == (True, False)


def test_lists_their_reserve_and_overrides_are_forgotten_with_their_leads_and_in_time(log):
    log_decisions(log, *[make_decision(f"lead {n}", probability=n / 20) for n in range(1, 13)], now=6 * DAY)
    for n in range(1, 13):
        in_store(log, f"lead {n}", owner="anna", stage="customer" if n == 12 else "mql")
    plan = replace(PLAN, owners={"anna": 4}, teams={}, territories={})
    wish = ListWish(HandoverRequest(7 * DAY, 1, 0.5, control_share=0.3, reserve=3), plan, by_owner=True)
    in_transaction(log, handovers.add_handovers, handovers.select_handovers(log, wish))
    in_transaction(log, add_override, override("lead 5", at=7 * DAY), time.time())
    for n in range(1, 13):
        in_transaction(log, erase, f"lead {n}", 8 * DAY)
    with log.connect() as connection:
        for table in METADATA.sorted_tables:
            if "lead_id" in table.c:
                assert connection.execute(select(table)).all() == [], table.name
        assert len(connection.execute(select(HANDOVERS)).all()) == 1
    in_transaction(log, prune, 8 * DAY, 100)
    with log.connect() as connection:
        for name in ("handovers", "handover_exclusions"):
            assert connection.execute(select(METADATA.tables[name])).all() == []


def test_old_overrides_are_pruned_and_what_still_counts_is_not(log):
    log_decisions(log, make_decision("ada"), make_decision("bob"), now=30 * DAY)
    in_transaction(log, add_override, override("ada", at=7 * DAY, until=8 * DAY), time.time())
    in_transaction(log, add_override, override("bob", at=7 * DAY, until=40 * DAY), time.time())
    in_transaction(log, prune, 20 * DAY, 100)
    with log.connect() as connection:
        assert connection.execute(select(HANDOVER_OVERRIDES.c.lead_id)).scalars().all() == ["bob"]


def test_workers_that_make_lists_at_once_agree(log, place):
    a_company(log, 3, 40)
    wish = ListWish(HandoverRequest(7 * DAY, 1, 0.5), PLAN, by_owner=True)

    async def ask_workers():
        journals = [DecisionLog(LogSettings(place)) for _ in range(3)]
        try:
            for journal in journals:
                await journal.writer.write(probe_writable)
            one = replace(wish, owners=frozenset({"ben"}))
            wishes = [wish, one, wish]
            return await asyncio.gather(
                *(each.get_or_create_handovers(w) for each, w in zip(journals, wishes, strict=True))
            )
        finally:
            for journal in journals:
                journal.close()

    first, ben, second = asyncio.run(ask_workers())
    assert first == second
    assert [each.request.owner for each in first] == ["anna", "ben", "zoe"]
    assert ben == [first[1]]
    with log.connect() as connection:
        assert len(connection.execute(select(HANDOVERS)).all()) == 3


def test_lists_that_take_longer_than_a_request_waits_are_there_for_whoever_asks_again(
    log, place, monkeypatch
):
    log_decisions(log, make_decision("ada"))
    go_on, selections, select_them = Event(), [], handovers.select_handovers

    def slow(*arguments):
        selections.append(arguments)
        go_on.wait()
        return select_them(*arguments)

    monkeypatch.setattr(handovers, "select_handovers", slow)
    wish = ListWish(HandoverRequest(7 * DAY, 5), HandoverPlan(), by_owner=False)

    async def ask_again():
        journal = DecisionLog(LogSettings(place))
        try:
            await journal.writer.write(probe_writable)
            # Only what waits for the lists waits so short a time: a busy machine may take longer to read one.
            with monkeypatch.context() as hurried:
                hurried.setattr(async_log, "DEADLINE", 0.05)
                for _ in range(3):
                    with pytest.raises(LogUnavailable):
                        await journal.get_or_create_handovers(wish)
            go_on.set()
            await asyncio.gather(*journal._making.values())
            return await journal.find_handovers(wish)
        finally:
            go_on.set()
            journal.close()

    (handover,) = asyncio.run(ask_again())
    assert [each.decision.lead_id for each in handover.leads] == ["ada"]
    assert len(selections) == 1


def test_a_lead_that_was_taken_off_is_no_choice_of_the_model(log):
    log_decisions(log, *[make_decision(f"lead {n}", probability=n / 10) for n in range(1, 6)], now=6 * DAY)
    wish = HandoverRequest(7 * DAY, 3)
    in_transaction(log, handovers.add_handover, wish, handovers.select_handover(log, wish))
    in_transaction(log, add_override, override("lead 5", at=7 * DAY + 60), time.time())
    in_transaction(log, add_override, override("lead 4", at=9 * DAY), time.time())
    entries = {decision.lead_id: entry for decision, entry in handed_over(log)}
    assert {lead: entry["taken_off"] for lead, entry in entries.items()} == {
        "lead 5": True,
        "lead 4": False,
        "lead 3": False,
    }
    assert {entry["owner"] for entry in entries.values()} == {""}


@pytest.mark.parametrize("value", ["", "deal"])
def test_dormant_leads_are_handed_over_only_where_somebody_asks_for_them(log, value):
    rows = [{"deal": 5.0}, {"deal": None}, {"deal": 7.0}, {"deal": 2.0}]
    for n, row in enumerate(rows, 1):
        log_decisions(log, make_decision(f"lead {n}", row, probability=n / 10))
    if value:
        handovers.rank_by_value(log, value)
    in_transaction(
        log,
        lambda connection: connection.execute(
            update(LEAD_RANKS).where(LEAD_RANKS.c.lead_id.in_(["lead 2", "lead 4"])).values(dormant=1)
        ),
    )
    wish = ListWish(HandoverRequest(7 * DAY, 3, value=value), HandoverPlan(), by_owner=False)
    (awake,) = handovers.select_handovers(log, wish)
    assert [each.candidate.lead_id for each in awake.selection.leads] == ["lead 3", "lead 1"]
    assert awake.nobodys == {"dormant": 2}
    everybody = replace(wish, request=replace(wish.request, dormant=True))
    (both,) = handovers.select_handovers(log, everybody)
    assert both.selection.open == 4
    assert both.nobodys == {}
    in_transaction(log, handovers.add_handovers, [awake, both])
    assert len(handovers.find_handover(log, wish.request).leads) == 2
    assert handovers.find_handover(log, wish.request).excluded == {"dormant": 2}
    assert len(handovers.find_handover(log, everybody.request).leads) == 3


def test_a_candidate_is_told_apart_by_tenant(log):
    for tenant in ("acme", "umbrella"):
        log_decisions(log, make_decision("ada", probability=0.5), tenant=tenant)
        in_store(log, "ada", tenant, owner="anna", stage="customer" if tenant == "acme" else "mql")
    wish = ListWish(HandoverRequest(7 * DAY, 5), PLAN, by_owner=True)
    anna = handovers.select_handovers(log, wish)[0]
    assert [each.candidate.tenant for each in anna.selection.leads] == ["umbrella"]
    assert isinstance(anna.selection.leads[0].candidate, HandoverCandidate)


PLAN_FILE = """
reserve = 2
[owners]
anna = 2
ben = 1
[[exclude]]
reason = "customer"
attribute = "stage"
is = "customer"
"""


@pytest.fixture
def client(by_hand, place, tmp_path):
    file = tmp_path / "handover.toml"
    file.write_text(PLAN_FILE, encoding="utf-8")
    with ExitStack() as stack:
        yield start_client(by_hand, place, stack, LEADLOOP_HANDOVER=str(file))


@pytest.fixture
def company(client, log):  # noqa: ARG001  # the service makes the database
    now = int(time.time())
    owners = ["anna"] * 5 + ["ben"] * 3 + ["nobody"]
    for n, owner in enumerate(owners, 1):
        log_decisions(log, make_decision(f"lead {n}", probability=n / 20, as_of=now), now=now)
        in_store(log, f"lead {n}", owner=owner, stage="customer" if n == 5 else "mql")


def make(client, **order):
    answer = client.post("/v1/handover", json=order)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(leads):
    return [lead["lead_id"] for lead in leads]


@pytest.mark.usefixtures("company")
def test_with_a_plan_everybody_has_a_list_and_the_answer_says_who_was_left_out(client):
    response = make(client, explore=0)
    assert [(lead["owner"], lead["lead_id"], lead["rank"]) for lead in response["leads"]] == [
        ("anna", "lead 4", 1),
        ("anna", "lead 3", 2),
        ("ben", "lead 8", 1),
    ]
    assert [(each["owner"], each["capacity"], each["open"]) for each in response["owners"]] == [
        ("anna", 2, 4),
        ("ben", 1, 3),
    ]
    assert ids(response["reserve"]) == ["lead 2", "lead 1", "lead 7", "lead 6"]
    assert response["excluded"] == [{"reason": "customer", "leads": 1}, {"reason": "no_owner", "leads": 1}]
    assert (response["capacity"], response["handed_over"], response["open"]) == (3, 3, 7)
    assert client.get("/v1/handover", params={"explore": 0}).json() == response == make(client, explore=0)


@pytest.mark.usefixtures("company")
def test_the_list_of_an_owner_is_the_same_alone_and_with_the_others(client):
    alone = make(client, owner="BEN", explore=0)
    assert (ids(alone["leads"]), [each["owner"] for each in alone["owners"]]) == (["lead 8"], ["ben"])
    everybody = make(client, explore=0)
    assert [lead for lead in everybody["leads"] if lead["owner"] == "ben"] == alone["leads"]
    assert client.get("/v1/handover", params={"owner": "ben", "explore": 0}).json() == alone


@pytest.mark.usefixtures("company")
def test_a_request_may_bring_its_own_capacities(client):
    response = make(client, owners={"ben": 2}, explore=0)
    assert ids(response["leads"]) == ["lead 8", "lead 7"]
    again = client.get("/v1/handover", params={"owner": "ben", "capacity": 2, "explore": 0})
    assert ids(again.json()["leads"]) == ["lead 8", "lead 7"]
    assert client.get("/v1/handover", params={"explore": 0}).json()["code"] == "no_handover"


@pytest.mark.usefixtures("company")
def test_one_list_of_all_leads_is_there_for_whoever_names_a_capacity(client):
    response = make(client, capacity=3, explore=0, reserve=1)
    assert (ids(response["leads"]), ids(response["reserve"])) == (["lead 9", "lead 8", "lead 7"], ["lead 6"])
    assert (response["owners"], response["leads"][0]["owner"]) == ([], None)


@pytest.mark.usefixtures("company")
def test_people_hand_over_and_take_off_and_everybody_sees_who_and_why(client):
    before = make(client, explore=0)
    reasons = {"reason": "met at the fair", "decided_by": "anna"}
    added = client.post("/v1/handover/overrides", json={"lead_id": "lead 1", "action": "hand_over"} | reasons)
    assert (added.status_code, added.json()["owner"]) == (200, "anna")
    gone = {"lead_id": "lead 8", "action": "take_off", "reason": "on holiday", "decided_by": "ben", "days": 9}
    assert client.post("/v1/handover/overrides", json=gone).status_code == 200
    after = make(client, explore=0)
    assert ids(after["leads"]) == ["lead 4", "lead 3", "lead 1"]
    by_hand = after["leads"][-1]
    assert (by_hand["propensity"], by_hand["explored"], by_hand["rank"]) == (None, False, 3)
    assert (by_hand["override"]["reason"], by_hand["override"]["decided_by"]) == ("met at the fair", "anna")
    assert [(each["lead_id"], each["reason"]) for each in after["taken_off"]] == [("lead 8", "on holiday")]
    # What was drawn stays what it was, with its chances; the reserve is without whom people decided about.
    assert after["leads"][:2] == before["leads"][:2]
    assert ids(after["reserve"]) == ["lead 2", "lead 7", "lead 6"]
    listed = client.get("/v1/handover/overrides").json()["overrides"]
    assert [each["lead_id"] for each in listed] == ["lead 1", "lead 8"]
    client.post("/v1/handover/overrides", json=gone | {"action": "withdraw", "reason": "back"})
    assert ids(make(client, explore=0)["leads"]) == ["lead 4", "lead 3", "lead 1", "lead 8"]


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"lead_id": "nobody"}, 404, "unknown_lead", None),
        ({"reason": ""}, 400, "invalid_value", "reason"),
        ({"action": "delete"}, 400, "invalid_value", "action"),
        ({"days": 0}, 400, "invalid_value", "days"),
        ({"who": "me"}, 400, "unknown_field", "who"),
        ({"lead_id": "lead 9"}, 400, "missing_field", "owner"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(client, change, status, code, field):
    body = {"lead_id": "lead 1", "action": "hand_over", "reason": "x", "decided_by": "anna"}
    answer = client.post("/v1/handover/overrides", json=body | change)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)


@pytest.mark.parametrize(
    ("order", "code", "field"),
    [
        ({"owner": "zoe"}, "invalid_value", "owner"),
        ({"owners": {}}, "invalid_value", "owners"),
        ({"owners": {"anna": 0}}, "invalid_value", "owners.anna"),
        ({"reserve": -1}, "invalid_value", "reserve"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(client, order, code, field):
    answer = client.post("/v1/handover", json=order)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
