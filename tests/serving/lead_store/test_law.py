"""A score from the store as of t equals the batch score of the same history as of t, to the bit.

Events come in any order, in requests of any size, some of them again, while leads are scored in the
background: in the end the table of current scores is what a file of scores would be. LEADLOOP_LAW_CASES draws
as many cases.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from dataclasses import dataclass, replace
from itertools import groupby

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from features.batch import compute_features
from features.clock import DAY
from features.cohort import MERGED, CohortRule, Snapshots, open_lead_snapshots
from features.ingest.mapping import AttributeSelection, HistoryMapping, TableMapping
from features.ingest.read_history import read_history
from models.additive import PiecewiseLinearTerm
from models.calibration import PlattCalibration
from models.conversion import ConversionModel
from models.encoding import FeatureEncoder, FeatureEncoding
from models.predictor import Predictor
from models.score_parts import PartScale, PartScales, parts_to_frame
from models.uncertainty import FeatureSupport, ScoreUncertainty
from serving import background_scorer
from serving.background_scorer import BackgroundScorer
from serving.current_scores.reading import read_page
from serving.current_scores.records import ScoreFilter
from serving.decision_log.database import writing
from serving.decision_log.replay import replay
from serving.decision_log.settings import LogSettings
from serving.decision_log.statements import erase
from serving.decision_log.tables import CURRENT_SCORES, DECISIONS
from serving.decision_log.writer import GroupCommitWriter
from serving.endpoints.events import parse_event
from serving.lead_store.events import add_events
from serving.lead_store.stored_leads import read_stored_leads
from serving.request_parsing import LeadById
from serving.scorer import Scorer

CASES = int(os.environ.get("LEADLOOP_LAW_CASES", "25"))
ON_POSTGRESQL = int(os.environ.get("LEADLOOP_LAW_CASES", "4"))
LEADS = ("0007", "b", "c", "d")
ROLES = {
    "industry": "category",
    "employees": "number",
    "business_email": "flag",
    "account.region": "category",
}
NOW = 100 * DAY
CLOSED, REOPEN = ("sql", "disqualified"), ("lead",)
# How often leads are scored between two requests with events.
SCORES_BETWEEN = 0.4
RECEIVED = 10.0**10
TENANTS = itertools.count()

moments = st.integers(1, 60).map(lambda n: n * DAY // 2)
lags = st.sampled_from([0, 0, DAY // 2, 5 * DAY])
words = st.sampled_from([None, "ads", "demo", "Ä"])
lead_ids = st.sampled_from((*LEADS, "ghost"))


def touchpoint(lead_id, at, lag, kind, channel, offer, amount):
    known = {"known_at": at + lag} if lag else {}
    details = {"channel": channel, "offer": offer, "amount": amount}
    return {"type": "touchpoint", "lead_id": lead_id, "occurred_at": at, "kind": kind} | known | details


def transition(lead_id, at, lag, stage):
    known = {"known_at": at + lag} if lag else {}
    return {"type": "transition", "lead_id": lead_id, "occurred_at": at, "stage": stage} | known


def change(lead_id, at, named):
    return {"type": "attribute", "lead_id": lead_id, "known_at": at, "name": named[0], "value": named[1]}


touchpoints = st.builds(
    touchpoint,
    lead_ids,
    moments,
    lags,
    st.sampled_from(["visit", "demo_request"]),
    words,
    words,
    st.sampled_from([None, 5, 500]),
)
transitions = st.builds(
    transition, lead_ids, moments, lags, st.sampled_from(["mql", "sql", "disqualified", "lead"])
)
changes = st.builds(
    change,
    lead_ids,
    moments,
    st.one_of(
        st.tuples(st.just("Budget"), st.sampled_from([1, 2, 30])),
        st.tuples(st.just("Need"), st.sampled_from([None, "a", "zz"])),
    ),
)
row_values = st.fixed_dictionaries(
    {
        "industry": words,
        "employees": st.sampled_from([None, 3, 0.1]),
        "business_email": st.sampled_from([None, True, False]),
    }
)


@st.composite
def merges(draw):
    """Merges without a circle: into a lead further down the list."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), moments), max_size=3))
    return [
        {"type": "merge", "lead_id": LEADS[i], "merged_into": LEADS[min(3, i + step)], "known_at": at}
        for i, step, at in pairs
    ]


@st.composite
def events(draw):
    """What a CRM tells of up to four leads, each event with an id."""
    rows = []
    for lead_id in LEADS[: draw(st.integers(2, 4))]:
        created = draw(moments)
        known = [None, *draw(st.lists(moments.map(lambda at, c=created: c + at), max_size=2, unique=True))]
        for known_at in sorted(known, key=lambda at: at or 0):
            lead = {
                "type": "lead",
                "lead_id": lead_id,
                "created_at": created,
                "account_id": draw(st.sampled_from([None, "A", "B", "0007"])),
                "attributes": draw(row_values),
            }
            rows.append(lead | ({} if known_at is None else {"known_at": known_at}))
    # A table of accounts that lacks one in use would be at fault.
    rows += [
        {"type": "account", "account_id": account, "attributes": {"region": draw(words)}}
        for account in ("A", "B", "0007")
    ]
    for kind, most in ((touchpoints, 14), (transitions, 5), (changes, 6)):
        rows += draw(st.lists(kind, max_size=most))
    return [row | {"id": f"e{i}"} for i, row in enumerate([*rows, *draw(merges())])]


def persons(rows, lead_id):
    """The lead and all that it was merged with."""
    found, size = {lead_id}, 0
    while len(found) > size:
        size = len(found)
        for row in rows:
            if row["type"] == "merge" and found & {row["lead_id"], row["merged_into"]}:
                found |= {row["lead_id"], row["merged_into"]}
    return found


def without(rows, lead_id):
    gone = persons(rows, lead_id)
    return [row for row in rows if gone.isdisjoint({row.get("lead_id"), row.get("merged_into")})]


def read_batch(rows, as_of, folder):
    """The history of every lead from the CRM's tables as of then, by the way of files; None without leads."""
    tables = {
        "leads": pl.DataFrame(
            list(current_rows(rows, as_of)),
            schema={
                **dict.fromkeys(("lead_id", "created_at", "known_at", "account_id"), pl.String),
                "industry": pl.String,
                "employees": pl.Float64,
                "business_email": pl.Boolean,
            },
        ),
        # Without their ids, events that are the same in every field would be one that was delivered twice.
        "touchpoints": table(rows, "touchpoint", ("id", "kind", "channel", "offer", "amount")),
        "transitions": table(rows, "transition", ("stage",)),
        "attributes": table(rows, "attribute", ("name", "value")).sort(
            "lead_id", "known_at", "name", "value"
        ),
        "merges": table(rows, "merge", ("merged_into",)),
        "accounts": pl.DataFrame(
            [(row["account_id"], row["attributes"]["region"]) for row in rows if row["type"] == "account"],
            schema={"account_id": pl.String, "region": pl.String},
            orient="row",
        ),
    }
    if tables["leads"].is_empty():
        return None
    places = {}
    for name, frame in tables.items():
        frame.write_parquet(folder / f"{name}.parquet")
        event_id = "id" if "id" in frame.columns else None
        places[name] = TableMapping(
            file=folder / f"{name}.parquet", time_format="epoch_s", money="minor", id=event_id
        )
    mapping = HistoryMapping(
        places.pop("leads"),
        accounts=places.pop("accounts"),
        plain=AttributeSelection(only=tuple(ROLES), roles=ROLES),
        max_share=1.0,
        observed_until=NOW,
        **{name: (place,) for name, place in places.items() if tables[name].height},
    )
    return read_history(mapping, NOW).history


def batch_rows(history, as_of, features):
    """The features of every lead of a history, and which of them are open."""
    if history is None:
        return pl.DataFrame({"lead_id": []}, schema={"lead_id": pl.String}), set()
    ids = history.leads["lead_id"].sort()
    frame = compute_features(features, history, Snapshots(pl.DataFrame({"lead_id": ids, "as_of": as_of})))
    rule = CohortRule(closed=(*CLOSED, MERGED), reopen=REOPEN)
    is_open = open_lead_snapshots(replace(history, observed_until=as_of), rule)
    return frame.collect(), set(is_open.frame["lead_id"])


def current_rows(rows, as_of):
    """One row a lead, as the CRM has it just before ``as_of``."""
    of_leads = sorted((row for row in rows if row["type"] == "lead"), key=lambda row: row["lead_id"])
    for lead_id, versions in groupby(of_leads, key=lambda row: row["lead_id"]):
        ordered = sorted(versions, key=lambda row: (row.get("known_at", row["created_at"]), row["id"]))
        known = [row for row in ordered if row.get("known_at", row["created_at"]) < as_of]
        newest, first = (known or ordered[:1])[-1], ordered[0]
        yield {
            "lead_id": lead_id,
            "created_at": str(newest["created_at"]),
            "known_at": str(first.get("known_at", first["created_at"])),
            "account_id": newest["account_id"],
        } | newest["attributes"]


def table(rows, kind, columns):
    names = ("lead_id", "occurred_at", "known_at", *columns)
    cells = [
        [None if row.get(name) is None else str(row[name]) for name in names]
        for row in rows
        if row["type"] == kind
    ]
    frame = pl.DataFrame(cells, schema=dict.fromkeys(names, pl.String), orient="row")
    return frame.drop("occurred_at") if kind in {"attribute", "merge"} else frame


def store(database, rows, order, tenant):
    """Send events in an order of its own, in requests of a few, some of them twice, and score in between."""
    shuffled = [*rows, *order.sample(rows, len(rows) // 3)]
    order.shuffle(shuffled)
    while shuffled:
        size = order.randint(1, 6)
        batch, shuffled = shuffled[:size], shuffled[size:]
        parsed = [parse_event(event, NOW) for event in batch]
        with database.engine.begin() as connection:
            add_events(connection, parsed, tenant, RECEIVED)
        if order.random() < SCORES_BETWEEN:
            database.background.work()
    while database.background.work():
        pass


def stored_rows(engine, scorer, lead_ids, as_of, tenant):
    """The features of leads of the store, by the way of requests; None for one that did not exist yet."""
    with engine.connect() as connection:
        rows = read_stored_leads(connection, lead_ids, tenant)
    requests = {
        lead_id: scorer._read.earlier(LeadById(lead_id, rows), as_of)
        for lead_id in lead_ids
        if rows.lead(lead_id, as_of) is not None
    }
    return {lead_id: request and scorer.feature_row(request) for lead_id, request in requests.items()}


def train_on_chance(features):
    """A model that learned every value of every feature by heart, so that none can change unnoticed."""
    random = np.random.default_rng(7)
    counts = np.array([np.nan, 0, 1, 2, 3, 4, 5, 8, 13, 21])
    rows = pl.DataFrame(
        {
            spec.name: random.choice(["ads", "demo", "machinery", "other"], 800)
            if spec.is_category
            else random.choice(counts * (DAY / 2 if spec.unit == "seconds" else 1), 800)
            for spec in features.specs
        }
    )
    encodings = FeatureEncoder(tuple(map(_encoding, features.specs)))
    matrix = encodings.encode(rows)[:, : encodings.tree_width]
    options = {"num_leaves": 63, "min_data_in_leaf": 1, "feature_fraction": 0.2, "seed": 7}
    options |= {"objective": "binary", "verbose": -1, "num_threads": 1}
    data = lgb.Dataset(matrix, random.integers(0, 2, 800), params={"min_data_in_bin": 1})
    booster = lgb.train(options, data, num_boost_round=40)
    return encodings, Predictor(encodings, PlattCalibration(0.9, -0.2), booster=booster)


@pytest.fixture(scope="module")
def scorer(by_hand):
    """A real model with intervals, for which a lead older than 20 days is dormant, with stages that close."""
    encodings, predictor = train_on_chance(by_hand.features)
    places = {each.name: source for each, source in zip(encodings.features, encodings.sources, strict=False)}
    uncertainty = ScoreUncertainty(
        PiecewiseLinearTerm((-2.0, 1.0), (0.5, 0.9), 0.8),
        3.0,
        (FeatureSupport("employees", places["employees"], 0.4, high=2.0),),
        aging=(FeatureSupport("lead.age", places["lead.age"], 0.0, high=20.0 * DAY),),
    )
    card = replace(by_hand.card, closed_stages=CLOSED, reopen_stages=REOPEN)
    scales = PartScales(*[PartScale(tuple(n / 10 - 5 for n in range(101)), (1.0, 0.5, -0.5))] * 2)
    return Scorer(
        ConversionModel(
            by_hand.features,
            predictor,
            by_hand.grades,
            card,
            version="bychance0000",
            uncertainty=uncertainty,
            part_scales=scales,
        )
    )


def _encoding(spec):
    if spec.is_category:
        levels = ("ads", "demo", "machinery")
        return FeatureEncoding(spec.name, "category", levels, rates=(0.1, 0.4, 0.5, 0.3, 0.2), alone=(0, 4))
    return FeatureEncoding(spec.name, "number")


@dataclass
class Database:
    """A store whose leads are scored in the background, by hand and as of a moment of the test's."""

    writer: GroupCommitWriter
    scorer: Scorer
    now: int = 0

    def __post_init__(self):
        deadline = time.monotonic() + 60
        while not self.writer.available:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.engine = writing(self.writer.log)
        self.background = BackgroundScorer(self.writer, lambda: self.scorer, clock=lambda: self.now)


@pytest.fixture(scope="module")
def databases(tmp_path_factory, scorer):
    place = str(tmp_path_factory.mktemp("store") / "decisions.db")
    opened = {"sqlite": Database(GroupCommitWriter(LogSettings(place)), scorer)}
    yield opened
    for database in opened.values():
        database.background.close()
        database.writer.close()


def hold(database, history, as_of, tenant):
    """Assert that the store and the batch way compute the same of every lead, alone and together."""
    engine, scorer = database.engine, database.scorer
    frame, open_leads = batch_rows(history, as_of, scorer.model.features)
    expected = {row["lead_id"]: row for row in frame.to_dicts()}
    names = scorer.model.features.names
    together = stored_rows(engine, scorer, [*LEADS, "ghost"], as_of, tenant)
    alone = {
        lead_id: row
        for each in LEADS
        for lead_id, row in stored_rows(engine, scorer, [each], as_of, tenant).items()
    }
    assert together.keys() == alone.keys() == expected.keys()
    for lead_id, row in expected.items():
        for computed in (together[lead_id], alone[lead_id]):
            if computed is not None:
                assert computed == {name: row[name] for name in names}
    if as_of % (DAY // 2):
        known = {lead_id for lead_id, row in together.items() if row is not None}
        hold_current_scores(database, frame, open_leads, tenant, known)


def hold_current_scores(database, frame, open_leads, tenant, known):
    """Assert that the table of current scores is what a file of scores of the same moment is."""
    with database.engine.connect() as connection:
        page = read_page(connection, ScoreFilter(states=()), tenant, None, 100)
    current = {score.lead_id: score for score in page.scores}
    assert current.keys() == set(frame["lead_id"])
    if frame.is_empty():
        return
    model = database.scorer.model
    scored = model.score_frame_with_intervals(frame)
    parts = parts_to_frame(model.split_contributions(model.contributions(frame)[1]))
    for row in scored.hstack(parts).to_dicts():
        lead = current[row["lead_id"]]
        is_open = lead.lead_id in open_leads
        if lead.lead_id not in known:
            assert lead.state == "unscorable"
            continue
        dormant = row["insufficient"] == "dormant"
        assert lead.state == ("dormant" if is_open and dormant else "open" if is_open else "closed")
        expected = [row[name] if is_open else None for name in SCORE_COLUMNS]
        assert [getattr(lead, name) for name in SCORE_COLUMNS.values()] == expected


# Columns of a file of scores, and what they are called in the table.
SCORE_COLUMNS = {
    **{name: name for name in ("probability", "points", "grade", "insufficient")},
    "low": "interval_low",
    "high": "interval_high",
    **{name: name for name in ("fit", "engagement", "combined_grade")},
}


def check(database, folder, rows, seed, as_of, erased):
    order = random.Random(seed)  # noqa: S311
    # Many leads are scored together, few each alone: to the same bits.
    background_scorer.MANY_LEADS = order.choice((1, 100))
    tenant = f"t{next(TENANTS)}"
    # Just before, since what is known by now counts.
    database.now = as_of - 1
    with database.engine.begin() as connection:
        # Those of other cases are of other moments.
        for table in (CURRENT_SCORES, DECISIONS):
            connection.execute(delete(table))
    store(database, rows, order, tenant)
    hold(database, read_batch(rows, as_of, folder), as_of, tenant)
    if erased is not None:
        with database.engine.begin() as connection:
            erase(connection, erased, NOW, tenant)
        # Who is gone stays gone, whatever the CRM sends again.
        store(database, rows, order, tenant)
        hold(database, read_batch(without(rows, erased), as_of, folder), as_of, tenant)
    assert replay(database.engine, database.scorer.model).different == ()


# At the very second of an event the table has it, as a request has: clocks of a CRM may be ahead.
cases = given(
    rows=events(),
    seed=st.integers(0, 2**32),
    as_of=st.one_of(moments, moments.map(lambda at: at + 100), moments.map(lambda at: at - 100)),
    erased=st.sampled_from([None, None, *LEADS]),
)
unhurried = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=CASES, **unhurried)
@cases
def test_a_score_from_the_store_is_the_batch_score_whatever_the_order_of_arrival(
    databases, tmp_path_factory, rows, seed, as_of, erased
):
    check(databases["sqlite"], tmp_path_factory.getbasetemp(), rows, seed, as_of, erased)


@settings(max_examples=ON_POSTGRESQL, **unhurried)
@cases
def test_the_same_holds_on_postgresql(
    databases, cluster, scorer, tmp_path_factory, rows, seed, as_of, erased
):
    if "postgresql" not in databases:
        databases["postgresql"] = Database(GroupCommitWriter(LogSettings(cluster.database())), scorer)
    check(databases["postgresql"], tmp_path_factory.getbasetemp(), rows, seed, as_of, erased)
