"""A CRM with tables needs no code: what a sync brings is what batch reads, whenever it comes or is cut off.

Odoo's tables in PostgreSQL and HubSpot's in DuckDB: half of the leads first, then all of them with what
became known meanwhile; a sync that is killed in the middle, and the next one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from crm_company import make_company
from crm_databases import write_crm
from crm_layouts import hubspot_dlt, made_leads
from crm_tables import odoo_tables
from sqlalchemy import select

from features.batch import compute_features
from features.catalogue import build_feature_set
from features.clock import DAY
from features.cohort import Snapshots
from features.ingest.read_history import read_history
from serving.decision_log.database import open_log, writing
from serving.decision_log.tables import LEAD_EVENTS
from serving.lead_store import loading
from serving.lead_store.loading import synchronise
from serving.lead_store.stored_leads import read_stored_leads
from serving.request_parsing import LeadById
from serving.scorer import Scorer
from training.cli.store import StoreSource
from training.config.draft import draft_configs
from training.config.settings import load_config

if TYPE_CHECKING:
    from collections.abc import Callable

LEADS = made_leads(60)
CONFIGURATIONS = Path(__file__).parents[2] / "crms"


@dataclass(frozen=True)
class Crm:
    """A CRM: what its tables hold at first and later, how they are written, and its configuration."""

    first: dict[str, pl.DataFrame]
    later: dict[str, pl.DataFrame]
    write: Callable[[dict[str, pl.DataFrame]], object]
    config: Path


def odoo(folder, request):
    company = make_company(60)
    url = request.getfixturevalue("postgres")
    parts = (CONFIGURATIONS / "odoo" / f"{part}.toml" for part in ("keys", "question"))
    text = "\n".join(part.read_text(encoding="utf-8") for part in parts)
    (folder / "leadloop.toml").write_text(text.replace("{place}", url), encoding="utf-8")
    first = odoo_tables(replace(company, leads=company.leads[:30]))
    return Crm(
        first,
        odoo_tables(company),
        lambda tables: write_crm("postgresql", tables, folder, url),
        folder / "leadloop.toml",
    )


def hubspot(folder, _):
    later = hubspot_dlt(LEADS)
    history = later["contacts_property_history"]
    middle = history["timestamp"].sort()[len(history) // 2]
    half = hubspot_dlt(LEADS[: len(LEADS) // 2])
    # Of the leads that are there already, the second half of what happens is not known yet.
    known = half["contacts_property_history"].filter(pl.col("timestamp") < middle)
    place = write_crm("duckdb", later, folder)
    (draft,) = draft_configs([place], folder)
    (folder / "leadloop.toml").write_text(draft.text, encoding="utf-8")

    def write(tables):
        Path(place).unlink()
        write_crm("duckdb", tables, folder)

    return Crm(half | {"contacts_property_history": known}, later, write, folder / "leadloop.toml")


@pytest.fixture(params=[pytest.param(odoo, marks=pytest.mark.slow), hubspot], ids=lambda make: make.__name__)
def crm(request, tmp_path):
    return request.param(tmp_path, request)


@pytest.fixture
def store(tmp_path):
    engine = writing(open_log(str(tmp_path / "decisions.db")))
    yield engine
    engine.dispose()


def sync(store, crm, progress=max):
    tables = StoreSource(crm.config, crm.config.parent).read()
    return synchronise(store, tables.history, tables.merges, "", tables.read_at, progress)


def contents(store):
    """What the store holds, without when it came."""
    names = ("event_id", "kind", "subject", "known_at", "content", "removed_at")
    with store.connect() as connection:
        rows = connection.execute(select(*(LEAD_EVENTS.c[name] for name in names)))
        return sorted(map(tuple, rows), key=str)


def assert_scores_as_batch(store, crm, by_hand):
    """Of every lead at several moments, the store's score is that of the tables, to the bit."""
    mapping = replace(load_config(crm.config).history_mapping, observed_until=None)
    reading = read_history(mapping, int(time.time()))
    extractions = [role.extraction for role in reading.roles if role.extraction is not None]
    units = {role.column: "flag" for role in reading.roles if role.role == "flag"}
    model = replace(
        by_hand, features=build_feature_set(reading.history, units=units, extractions=extractions)
    )
    ids = reading.history.leads["lead_id"].to_list()
    with store.connect() as connection:
        rows = read_stored_leads(connection, ids, "")
    until = reading.history.observed_until
    compared = 0
    for as_of in (until - 90 * DAY, until, 2**32):
        frame = pl.DataFrame({"lead_id": ids, "as_of": as_of})
        batch = compute_features(model.features, reading.history, Snapshots(frame)).collect()
        expected = {score.lead_id: score for score in model.score_many(batch)}
        leads = [LeadById(each, rows, as_of=as_of) for each in ids]
        for result in Scorer(model).score(leads):
            if hasattr(result, "probability"):
                compared += 1
                assert result.probability == expected[result.lead_id].probability
    assert compared > len(ids)


def test_each_sync_brings_what_is_new_and_a_kill_in_the_middle_loses_and_doubles_nothing(
    crm, store, tmp_path, by_hand, monkeypatch
):
    monkeypatch.setattr(loading, "_CHUNK_ROWS", 20)
    crm.write(crm.first)
    first = sync(store, crm)
    assert first.added > 0
    assert_scores_as_batch(store, crm, by_hand)

    crm.write(crm.later)
    seen = []

    def kill(done, leads):
        seen.append(done)
        if done > leads // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sync(store, crm, kill)
    assert len(seen) > 1
    before = len(contents(store))
    second = sync(store, crm)
    assert (second.changed, second.removed) == (0, 0)
    assert second.added > 0
    assert len(contents(store)) == before + second.added
    third = sync(store, crm)
    assert (third.added, third.changed, third.removed) == (0, 0, 0)
    assert_scores_as_batch(store, crm, by_hand)
    # What came in three steps, one of them cut off, is what one sync brings.
    fresh = writing(open_log(str(tmp_path / "fresh.db")))
    sync(fresh, crm)
    assert contents(store) == contents(fresh)
    fresh.dispose()
