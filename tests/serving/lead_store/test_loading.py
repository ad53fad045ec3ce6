"""The store from a CRM's own tables: what batch reads of them, nothing twice, nothing lost, nobody back."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from crm_company import make_company
from crm_databases import write_crm
from crm_tables import odoo_tables, pipedrive_tables
from sqlalchemy import select

import leadloop
from features.batch import compute_features
from features.catalogue import build_feature_set
from features.clock import DAY
from features.cohort import Snapshots
from features.ingest.read_history import read_history
from serving.decision_log.database import open_log, writing
from serving.decision_log.statements import erase
from serving.decision_log.tables import LEAD_EVENTS
from serving.lead_store import loading
from serving.lead_store.lead_details import describe_lead, is_name_or_owner
from serving.lead_store.loading import synchronise
from serving.lead_store.stored_leads import read_stored_leads
from serving.request_parsing import LeadById
from serving.scorer import Scorer
from training.cli.store import StoreSource, parse_interval, repeat
from training.config.settings import load_config
from training.config.toml_reader import ConfigError

CONFIG = """
[leads]
file = "leads.csv"
[accounts]
file = "accounts.csv"
[[touchpoints]]
file = "touchpoints.csv"
[[transitions]]
file = "transitions.csv"
[[attributes.history]]
file = "changes.csv"
[[merges]]
file = "merges.csv"
[attributes.roles]
industry = "category"
employees = "number"
[funnel]
stages = ["mql", "sql"]
target = "sql"
[label]
horizon = "30d"
"""
TABLES = {
    "leads": "lead_id,created_at,account_id,industry,employees\n"
    "a,2026-01-01,A,ads,5\nb,2026-01-02,A,demo,\nc,2026-01-03,,ads,70\nd,2026-01-04,A,,8\n",
    "accounts": "account_id,region\nA,north\n",
    # Two visits in one second are two, unless they are one row twice.
    "touchpoints": "lead_id,occurred_at,kind,page\na,2026-01-05T10:00:00Z,visit,1\n"
    "a,2026-01-05T10:00:00Z,visit,2\nb,2026-01-06T10:00:00Z,demo_request,\ngone,2026-01-07T10:00:00Z,visit,\n",
    "transitions": "lead_id,occurred_at,stage\nb,2026-01-08T10:00:00Z,mql\nc,2026-01-09T10:00:00Z,sql\n",
    "changes": "lead_id,known_at,name,value\na,2026-01-05T10:00:00Z,budget,20\n"
    "gone,2026-01-06T10:00:00Z,budget,30\n",
    # Whoever was merged is no row of the leads any more.
    "merges": "lead_id,merged_into,known_at\ngone,c,2026-01-10T10:00:00Z\n",
}


@pytest.fixture
def crm(tmp_path):
    """The folder of a small CRM with its configuration."""
    for name, text in TABLES.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    (tmp_path / "leadloop.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def store(tmp_path):
    engine = writing(open_log(str(tmp_path / "decisions.db")))
    yield engine
    engine.dispose()


def change_table(crm, name, old, new):
    path = crm / f"{name}.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def sync(store, crm, progress=max):
    tables = StoreSource(crm / "leadloop.toml", crm).read()
    return synchronise(store, tables.history, tables.merges, "", tables.read_at, progress)


def contents(store):
    """What the store holds, without when it came."""
    names = ("event_id", "kind", "subject", "known_at", "content", "removed_at")
    with store.connect() as connection:
        rows = connection.execute(select(*(LEAD_EVENTS.c[name] for name in names)))
        return sorted(map(tuple, rows), key=str)


def assert_as_in_batch(store, mapping, by_hand, moments):
    """Every lead at every moment: the store computes what batch computes of the tables."""
    reading = read_history(replace(mapping, observed_until=None), int(time.time()))
    extractions = [role.extraction for role in reading.roles if role.extraction is not None]
    units = {role.column: "flag" for role in reading.roles if role.role == "flag"}
    features = build_feature_set(reading.history, units=units, extractions=extractions)
    scorer = Scorer(replace(by_hand, features=features))
    ids = reading.history.leads["lead_id"].to_list()
    with store.connect() as connection:
        rows = read_stored_leads(connection, ids, "")
    for as_of in moments:
        snapshots = Snapshots(pl.DataFrame({"lead_id": ids, "as_of": as_of}))
        expected = compute_features(features, reading.history, snapshots).collect().to_dicts()
        compared = 0
        for row in expected:
            request = scorer._read.earlier(LeadById(row["lead_id"], rows), as_of)
            if request is not None:
                compared += 1
                assert scorer.feature_row(request) == {name: row[name] for name in features.names}
        assert compared


def test_whose_a_lead_is_reaches_the_store_though_the_model_must_not_learn_it(store, crm):
    """`init` keeps owners from the model; the console lists leads by them."""
    header, *rows = (crm / "leads.csv").read_text(encoding="utf-8").splitlines()
    with_owner = [f"{header},Owner,industry2", *(f"{row},Lena,x" for row in rows)]
    (crm / "leads.csv").write_text("\n".join(with_owner), encoding="utf-8")
    with (crm / "leadloop.toml").open("a", encoding="utf-8") as file:
        file.write('\n[attributes]\nexclude = ["Owner", "industry2"]\n')
    tables = StoreSource(crm / "leadloop.toml", crm, is_name_or_owner).read()
    assert "industry2" not in tables.history.leads.columns
    synchronise(store, tables.history, tables.merges, "", tables.read_at)
    with store.connect() as connection:
        stored = read_stored_leads(connection, ["a"], "").lead("a")
    assert describe_lead(stored, tables.read_at).owner == "Lena"
    assert "Owner" not in StoreSource(crm / "leadloop.toml", crm).read().history.leads.columns


@pytest.mark.parametrize("only", [False, True])
def test_names_reach_the_store_though_the_model_must_not_learn_them(store, crm, only):
    """Nobody has to exclude what no model learns anyway; lists show people and companies by name."""
    header, *rows = (crm / "leads.csv").read_text(encoding="utf-8").splitlines()
    named = [f"{header},Full Name", *(f"{row},Person {row[0]}" for row in rows)]
    (crm / "leads.csv").write_text("\n".join(named), encoding="utf-8")
    (crm / "accounts.csv").write_text(
        "account_id,region,name\nA,north,Acme\nB,south,Bolt\n", encoding="utf-8"
    )
    if only:
        with (crm / "leadloop.toml").open("a", encoding="utf-8") as file:
            file.write('\n[attributes]\nonly = ["industry"]\n')
    tables = StoreSource(crm / "leadloop.toml", crm, is_name_or_owner).read()
    synchronise(store, tables.history, tables.merges, "", tables.read_at)
    with store.connect() as connection:
        rows = read_stored_leads(connection, ["a", "c"], "")
    named = [describe_lead(rows.lead(lead_id), tables.read_at).name for lead_id in ("a", "c")]
    assert named == ["Person a", "Person c"]
    assert rows.account_attributes("A")["name"] == "Acme"


def mapping_of(crm):
    return load_config(crm / "leadloop.toml").history_mapping


def days(first, last, step=1):
    return range(int(first.timestamp()), int(last.timestamp()), step * DAY)


JANUARY = list(days(datetime(2026, 1, 3, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC)))
NOW = [2**32]
CRMS = {"odoo": ("postgresql", odoo_tables), "pipedrive": ("duckdb", pipedrive_tables)}
CONFIGURATIONS = Path(__file__).parents[2] / "crms"


def test_a_loaded_store_says_what_batch_says_of_the_same_tables(crm, store, by_hand):
    counts = sync(store, crm)
    assert (counts.leads, counts.changed, counts.removed) == (4, 0, 0)
    assert_as_in_batch(store, mapping_of(crm), by_hand, JANUARY + NOW)


@pytest.mark.slow
@pytest.mark.parametrize("name", CRMS)
def test_a_real_crm_needs_no_code(name, store, tmp_path, by_hand, request):
    kind, tables = CRMS[name]
    url = request.getfixturevalue("postgres") if kind == "postgresql" else None
    place = write_crm(kind, tables(make_company(120)), tmp_path, url)
    text = "\n".join(
        (CONFIGURATIONS / name / f"{part}.toml").read_text(encoding="utf-8") for part in ("keys", "question")
    )
    (tmp_path / "leadloop.toml").write_text(text.replace("{place}", place), encoding="utf-8")
    sync(store, tmp_path)
    until = read_history(mapping_of(tmp_path), int(time.time())).history.observed_until
    moments = [until - 200 * DAY, until - 30 * DAY, until, *NOW]
    assert_as_in_batch(store, mapping_of(tmp_path), by_hand, moments)


def test_what_was_loaded_is_not_loaded_again(crm, store):
    first = sync(store, crm)
    before = contents(store)
    again = sync(store, crm)
    assert first.added == len(before)
    assert (again.added, again.changed, again.removed) == (0, 0, 0)
    assert contents(store) == before


def test_a_sync_brings_what_is_new_and_gone_and_what_changed_is_known_from_then_on(crm, store, by_hand):
    sync(store, crm)
    change_table(crm, "leads", "a,2026-01-01,A,ads,5", "a,2026-01-01,A,demo,5")
    change_table(crm, "leads", "d,2026-01-04,A,,8\n", "e,2026-01-04,A,ads,8\n")
    change_table(
        crm, "touchpoints", "b,2026-01-06T10:00:00Z,demo_request", "b,2026-01-06T11:00:00Z,demo_request"
    )
    change_table(
        crm,
        "transitions",
        "b,2026-01-08T10:00:00Z,mql\n",
        "b,2026-01-08T10:00:00Z,mql\nb,2026-01-11T10:00:00Z,sql\n",
    )
    counts = sync(store, crm)
    assert (counts.added, counts.changed, counts.removed) == (3, 1, 2)
    assert_as_in_batch(store, mapping_of(crm), by_hand, NOW)
    with store.connect() as connection:
        rows = read_stored_leads(connection, ["a", "b", "d"], "")
    yesterday = int(time.time()) - DAY
    assert rows.lead("a", yesterday).attributes[-1][1]["industry"] == "ads"
    assert rows.lead("a").attributes[-1][1]["industry"] == "demo"
    assert rows.lead("d", yesterday) is not None
    assert rows.lead("d") is None


def test_what_comes_back_is_back_once(crm, store, by_hand):
    sync(store, crm)
    change_table(crm, "touchpoints", "a,2026-01-05T10:00:00Z,visit,2\n", "")
    assert sync(store, crm).removed == 1
    one = "a,2026-01-05T10:00:00Z,visit,1\n"
    change_table(crm, "touchpoints", one, one + one.replace(",1", ",2"))
    assert sync(store, crm).added == 1
    assert_as_in_batch(store, mapping_of(crm), by_hand, JANUARY + NOW)


def test_an_interrupted_load_leaves_whole_leads_and_is_finished_by_the_next(
    crm, store, tmp_path, monkeypatch
):
    monkeypatch.setattr(loading, "_CHUNK_ROWS", 2)

    def interrupt(done, _):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sync(store, crm, interrupt)
    with store.connect() as connection:
        rows = read_stored_leads(connection, list("abcd"), "")
    assert len(rows.versions) == 2
    whole = {"a": 2, "b": 1, "c": 0, "d": 0}
    assert all(len(rows.events["touchpoint"][each]) == whole[each] for each in rows.versions)
    sync(store, crm)
    fresh = writing(open_log(str(tmp_path / "fresh.db")))
    sync(fresh, crm)
    assert contents(store) == contents(fresh)
    fresh.dispose()


def test_whoever_was_erased_is_not_brought_back_by_a_sync(crm, store):
    sync(store, crm)
    with store.begin() as connection:
        # The survivor of a merge is the same person.
        erase(connection, "gone", 2**31)
    counts = sync(store, crm)
    assert (counts.added, counts.forgotten) == (0, 2)
    with store.connect() as connection:
        rows = read_stored_leads(connection, ["a", "c", "gone"], "")
    assert rows.versions.keys() >= {"a"}
    assert "c" not in rows.versions
    assert not rows.events["touchpoint"].get("gone")


def test_a_flat_export_is_refused_in_words(crm):
    text = '[flat]\nleads = "leads.csv"\nlabel = "industry"\nid = "lead_id"\n'
    (crm / "leadloop.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="a flat export has no events to keep"):
        StoreSource(crm / "leadloop.toml", crm)


def test_a_sync_that_fails_is_tried_again_and_once_alone_it_fails():
    attempts, waits, lines = [], [], []

    def work():
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("busy")  # noqa: EM101
        if len(attempts) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repeat(work, parse_interval("5m"), lines.append, sleep=waits.append)
    assert (len(attempts), len(waits), len(lines)) == (3, 2, 1)
    assert all(290 < wait <= 300 for wait in waits)
    attempts.clear()
    with pytest.raises(OSError, match="busy"):
        repeat(work, None, lines.append)


def test_the_commands_fill_a_store_and_say_what_they_did(crm, monkeypatch, capsys):
    monkeypatch.chdir(crm)
    for command, line in (("load", "4 leads: 14 new rows"), ("sync", "4 leads: 0 new rows")):
        monkeypatch.setattr(sys, "argv", ["leadloop", "store", command, "--log", "own.db"])
        with suppress(SystemExit):
            leadloop.main()
        assert line in capsys.readouterr().err
