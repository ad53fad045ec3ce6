"""The offline call list and the service hand over the same leads, by the same plan."""

from __future__ import annotations

import json
import time
import tomllib
from dataclasses import replace

import polars as pl
import pytest
from log_entries import in_transaction, log_decisions, make_decision
from small_model import build_small_model
from sqlalchemy import insert
from typer.testing import CliRunner

from features.clock import DAY
from features.history import TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.merges import MERGE_SCHEMA
from leadloop import app
from models import artifact
from models.additive import PiecewiseLinearTerm
from models.handover_lists import ListWish
from models.handover_plan import attribute_text, parse_plan
from models.handover_selection import HandoverRequest
from models.uncertainty import FeatureSupport, InsufficientEvidence, ScoreUncertainty
from serving.decision_log import handovers
from serving.decision_log.database import open_log, writing
from serving.decision_log.tables import CURRENT_SCORES
from serving.lead_store.lead_details import describe_lead
from serving.lead_store.loading import synchronise
from serving.lead_store.stored_leads import read_stored_leads
from training import batch_scoring
from training.batch_scoring import ScoringError, read_flat_leads
from training.call_list import CallListOptions, call_list_of_file, list_best_leads
from training.data.dataset import flat_features, flat_rows
from training.lead_attributes import read_lead_attributes

PLAN = """
territory = "country"
reserve = 3
[owners]
anna = 6
Ben = 4
zoe = 2
[teams]
dach = ["anna", "Ben"]
[territories]
DE = "dach"
[[exclude]]
reason = "customer"
attribute = "stage"
is = "customer"
[[exclude]]
reason = "student"
attribute = "job_title"
contains = ["student", "trainee"]
[[exclude]]
reason = "small town"
attribute = "row.city"
is = "Ulm"
"""
LEADS = pl.DataFrame(
    {
        "lead_id": [f"lead {n}" for n in range(300)],
        # Many leads are worth the same, so that lots decide who is above the cut.
        "visits": [float(n % 12) for n in range(300)],
        "city": [("Bern", "Graz", "Ulm", None)[n % 4] for n in range(300)],
    }
)
OWN = pl.DataFrame(
    {
        "owner": [("anna", " BEN", "zoe", "gone", None)[n % 5] for n in range(300)],
        "country": [("DE", "de", "US", None)[n // 5 % 4] for n in range(300)],
        "stage": [("mql", "Customer")[n % 11 == 0] for n in range(300)],
        "job_title": [("CEO", "Trainee", None)[n // 3 % 3] for n in range(300)],
    }
)


@pytest.fixture(scope="module")
def model():
    features = flat_features(LEADS, ())
    model = build_small_model(features, flat_rows(features, LEADS), flat=True, id_column="id")
    encodings = model.predictor.encodings
    (place,) = [n for n, each in enumerate(encodings.features) if each.name == "visits"]
    aging = (FeatureSupport("visits", encodings.sources[place], 0.0, high=10.0),)
    doubt = ScoreUncertainty(PiecewiseLinearTerm((0.0,), (0.5,), 0.5), 9.0, aging=aging)
    return replace(model, uncertainty=doubt)


@pytest.fixture(scope="module")
def leads(tmp_path_factory):
    file = tmp_path_factory.mktemp("leads") / "leads.csv"
    LEADS.rename({"lead_id": "id"}).hstack(OWN).write_csv(file)
    return file


def plan_of(text):
    return parse_plan(tomllib.loads(text))


@pytest.fixture(scope="module")
def service_log(tmp_path_factory, model):
    """The decision log of a service that knows these leads and gave them these scores."""
    log = open_log(str(tmp_path_factory.mktemp("log") / "decisions.db"))
    scored = model.score_frame_with_intervals(flat_rows(model.features, LEADS))
    decisions, current = [], []
    for score, features, own in zip(
        scored.iter_rows(named=True), LEADS.iter_rows(named=True), OWN.iter_rows(named=True), strict=True
    ):
        lead_id, why = features.pop("lead_id"), score["insufficient"]
        doubt = None if why is None else InsufficientEvidence(why, None, "")
        decisions.append(
            make_decision(lead_id, features, probability=score["probability"], insufficient=doubt)
        )
        known = {name: own.pop(name) for name in ("owner", "stage")}
        moments = dict.fromkeys(("as_of", "scored_at", "changed_at"), 0)
        known |= {"lead_id": lead_id, "tenant": "", "model_version": "v1", "state": "open", "name": ""}
        current.append(known | moments | {"attributes": json.dumps(own)})
    log_decisions(log, *decisions)
    in_transaction(log, lambda connection: connection.execute(insert(CURRENT_SCORES), current))
    yield log
    log.dispose()


def service_lists(log, plan, day):
    wish = ListWish(HandoverRequest(day, 20, reserve=plan.reserve), plan, by_owner=plan.has_owners)
    return handovers.select_handovers(log, wish)


@pytest.mark.parametrize("text", [PLAN, PLAN[PLAN.index("[[exclude]]") :], "capacity = 5\nreserve = 2\n"])
@pytest.mark.parametrize("rows", [7, 1000])
def test_the_offline_list_hands_over_the_leads_of_the_service(
    model, leads, service_log, monkeypatch, text, rows
):
    monkeypatch.setattr(batch_scoring.iter_flat_batches, "__defaults__", (rows, None))
    plan = plan_of(text)
    for day in (7 * DAY, 8 * DAY):
        found = call_list_of_file(model, leads, CallListOptions(20, handover=plan, day=day), print)
        lists = service_lists(service_log, plan, day)
        assert lists
        for each in lists:
            owner = each.request.owner or None
            own = [lead for lead in found.leads if lead.owner == owner]
            listed = [x.explanation.score.lead_id for x in own if not x.reserve]
            reserve = [x.explanation.score.lead_id for x in own if x.reserve]
            assert listed == [lead.candidate.lead_id for lead in each.selection.leads]
            assert reserve == [lead.lead_id for lead in each.selection.reserve]
        assert found.to_call == sum(len(each.selection.leads) for each in lists)
        excluded = dict(lists[0].nobodys)
        for each in lists:
            excluded = {k: excluded.get(k, 0) + each.excluded.get(k, 0) for k in {*excluded, *each.excluded}}
        assert found.excluded == excluded
        assert found.excluded["dormant"] > 0


def test_what_a_plan_decides_by_is_read_from_a_history_as_the_store_tells_it(tmp_path):
    """Stages and channels by the newest event, overwritten attributes by their newest change."""
    leads = pl.DataFrame(
        {
            "lead_id": ["a", "b", "c"],
            "created_at": [0, 0, 0],
            "account_id": ["acme", None, None],
            "owner": ["anna", " ben ", None],
            "size": [5.0, 0.5, None],
        }
    )
    touchpoints = pl.DataFrame(
        [
            {"lead_id": "a", "occurred_at": 10, "known_at": 10, "kind": "visit", "channel": "ads"},
            {"lead_id": "a", "occurred_at": 20, "known_at": 20, "kind": "visit", "channel": None},
            {"lead_id": "b", "occurred_at": 30, "known_at": 99, "kind": "visit", "channel": "mail"},
            {"lead_id": "b", "occurred_at": 40, "known_at": 40, "kind": "visit", "channel": "fair"},
            {"lead_id": "c", "occurred_at": 50, "known_at": 200, "kind": "visit", "channel": "late"},
        ],
        TOUCHPOINT_SCHEMA,
    )
    transitions = pl.DataFrame(
        [
            {"lead_id": "a", "occurred_at": 10, "known_at": 10, "stage": "mql"},
            {"lead_id": "a", "occurred_at": 20, "known_at": 20, "stage": "customer"},
        ],
        TRANSITION_SCHEMA,
    )
    attributes = pl.DataFrame(
        [
            {"lead_id": "a", "known_at": 10, "name": "country", "value": "DE"},
            {"lead_id": "a", "known_at": 20, "name": "country", "value": "AT"},
            {"lead_id": "b", "known_at": 15, "name": "size", "number": 7.0},
            {"lead_id": "c", "known_at": 150, "name": "country", "value": "later"},
        ],
        LeadHistory.from_leads(leads, 1).attributes.schema,
    )
    history = LeadHistory(leads, touchpoints, transitions, 100, attributes)
    store = open_log(str(tmp_path / "store.db"))
    try:
        synchronise(writing(store), history, pl.DataFrame(schema=MERGE_SCHEMA), "", 1_000)
        names = ("owner", "stage", "channel", "account", "country", "size")
        offline = read_lead_attributes(history, leads, names).rows(named=True)
        with store.connect() as connection:
            stored = read_stored_leads(connection, ["a", "b", "c"], "")
        for lead_id, texts in zip("abc", offline, strict=True):
            told = describe_lead(stored.lead(lead_id, 100), 100)
            known = {"owner": told.owner, "stage": told.stage, "channel": told.channel}
            known |= {"account": told.account_id, **{k: told.attributes.get(k) for k in ("country", "size")}}
            assert texts == {name: attribute_text(json.dumps(value)) for name, value in known.items()}
    finally:
        store.dispose()


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_lists_by_the_plan_and_counts_whom_it_leaves_out(model, leads, service_log, tmp_path):
    artifact.save(model, tmp_path / "model")
    plan, page = tmp_path / "handover.toml", tmp_path / "list.html"
    plan.write_text(PLAN)
    arguments = ["leads", "--html", page, "--leads", leads, "--model", tmp_path / "model"]
    result = invoke(*arguments, "--handover", plan, "--json", tmp_path / "answer.json")
    assert result.exit_code == 0, result.output
    answer = json.loads((tmp_path / "answer.json").read_text())
    lists = service_lists(service_log, plan_of(PLAN), int(time.time()) // DAY * DAY)
    assert answer["leads"] == sum(len(each.selection.leads) for each in lists) == 12
    assert answer["reserve"] == sum(len(each.selection.reserve) for each in lists) == 9
    assert answer["excluded"]["customer"] > 0
    assert page.read_text().count("Reserve: call this lead") == 9
    assert invoke(*arguments, "--handover", plan, "--top", "9").exit_code == 2
    for option in (("--owner", "owner"), ("--capacity-each", "9")):
        refused = invoke(*arguments, "--handover", plan, *option)
        assert refused.exit_code == 2
        assert "leave --owner and --capacity-each out" in str(refused.exception) + refused.output


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ('owner = "ownr"\ncapacity = 2\n', "ownr"),
        ('[[exclude]]\nreason="x"\nattribute="row.cty"\nis="b"\n', "did you mean 'city'"),
    ],
)
def test_an_attribute_that_the_leads_lack_is_refused(model, leads, plan, message):
    options = CallListOptions(20, handover=plan_of(plan))
    with pytest.raises((ScoringError, ValueError), match=message):
        call_list_of_file(model, leads, options, print)


def test_an_attribute_that_no_lead_has_is_named(model, leads):
    """It may be misspelled, or rare and without a value today: the list is made all the same."""
    batches = read_flat_leads(model, leads, ("owner",), None, print).batches
    empty = (
        replace(each, attributes=pl.DataFrame({"contry": [None] * each.rows.height})) for each in batches
    )
    plan = plan_of('territory = "contry"\ncapacity = 2\n')
    found = list_best_leads(model, empty, CallListOptions(20, handover=plan))
    assert found.unknown == ("contry",)
    assert any("'contry', but no open lead" in line for line in found.in_words(leads))
    assert found.to_call > 0
