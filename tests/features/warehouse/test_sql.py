"""The SELECT of a warehouse gives what the engine gives, to the bit: features, snapshots and labels."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import polars as pl
import pytest
from full_history import CATALOGUE, ONE_PER_SHAPE
from oracle import feature_rows
from strategies import END as LAST_DAY
from strategies import draw_companies
from warehouse_history import END, EVERY_SHAPE, TABLES, as_feature_rows, make_history, run_on_duckdb

from features import batch
from features.clock import DAY
from features.cohort import CohortRule, draw_snapshots, open_lead_snapshots
from features.labels import LabelSpec, compute_labels
from features.spec import FeatureSet

pytest.importorskip("ibis", reason="Ibis is not installed (leadloop[warehouse])")

from features.warehouse.dialects import WAREHOUSES
from features.warehouse.sql import OpenLeads, TrainingSnapshots, features_to_sql

ONE_WAY = CohortRule(("created", "mql"), every=7 * DAY, closed=("sql", "lost"))
REOPENED = CohortRule(
    ("created", "mql", "reopened"),
    every=7 * DAY,
    closed=("sql", "lost"),
    until_age=90 * DAY,
    start=20 * DAY,
    end=110 * DAY,
    reopen=("reopened",),
)
FEW = FeatureSet(EVERY_SHAPE.specs[:2])


def label(rule):
    return LabelSpec("sql", 30 * DAY, 5 * DAY, ("lost",), 3 * DAY, rule.reopen)


@pytest.fixture(scope="module")
def history():
    return make_history()


def assert_is_training_set(rows, features, history, rule):
    """The rows are the snapshots that a rule draws, with their labels and features."""
    drawn = draw_snapshots(history, rule)
    labels = compute_labels(history, drawn, label(rule)).sort("as_of", "lead_id")
    assert rows.select(labels.columns).cast(dict(labels.schema)).equals(labels)
    want = batch.compute_features(features, history, drawn).sort("as_of", "lead_id").collect()
    assert rows.select(want.columns).equals(want)
    assert set(rows["feature_set"]) == {features.fingerprint}
    accounts = dict(history.leads.select("lead_id", "account_id").iter_rows())
    assert [accounts[lead] for lead in rows["lead_id"]] == rows["account_id"].to_list()


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_a_training_set_is_that_of_the_engine_to_the_bit_in_every_dialect(warehouse, history):
    sql = features_to_sql(EVERY_SHAPE, warehouse, TrainingSnapshots(ONE_WAY, label(ONE_WAY), END))
    rows = as_feature_rows(run_on_duckdb(sql, warehouse, history), EVERY_SHAPE)
    assert_is_training_set(rows, EVERY_SHAPE, history, ONE_WAY)


@pytest.fixture(scope="module")
def companies():
    """Drawn companies, with their snapshots and what these are in plain Python: (history, rule, rows)."""
    history, _ = draw_companies(100)
    history = replace(history, leads=history.leads.with_columns(known_at="created_at"))
    rule = CohortRule(("created", "mql"), every=40 * DAY, closed=("sql", "disqualified"))
    return history, rule, feature_rows(ONE_PER_SHAPE, history, draw_snapshots(history, rule))


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_every_shape_of_feature_is_that_of_the_plain_python_definition_in_every_dialect(warehouse, companies):
    history, rule, want = companies
    spec = LabelSpec("sql", 30 * DAY, 5 * DAY, ("disqualified",))
    sql = features_to_sql(ONE_PER_SHAPE, warehouse, TrainingSnapshots(rule, spec, LAST_DAY))
    rows = as_feature_rows(run_on_duckdb(sql, warehouse, history), ONE_PER_SHAPE).select(want.columns)
    assert rows.cast(dict(want.schema)).sort("lead_id", "as_of").equals(want)
    # Nothing agrees because nothing is there.
    same = [name for name in ONE_PER_SHAPE.names if want[name].n_unique() == 1]
    assert want.height > 400
    assert len(same) <= len(ONE_PER_SHAPE) // 5


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_snapshots_and_labels_are_the_same_where_leads_are_opened_again(warehouse, history):
    sql = features_to_sql(FEW, warehouse, TrainingSnapshots(REOPENED, label(REOPENED), END))
    rows = as_feature_rows(run_on_duckdb(sql, warehouse, history), FEW)
    assert_is_training_set(rows, FEW, history, REOPENED)


@pytest.mark.parametrize("rule", [ONE_WAY, REOPENED])
@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_the_open_leads_of_a_day_are_those_that_the_crm_knew_then(warehouse, rule, history):
    sql = features_to_sql(FEW, warehouse, OpenLeads(rule, 100 * DAY))
    rows = as_feature_rows(run_on_duckdb(sql, warehouse, history), FEW)
    want = open_lead_snapshots(history.known_before(100 * DAY), rule).frame.sort("as_of", "lead_id")
    assert rows.select("lead_id", "as_of").equals(want)


@pytest.fixture
def language_database(postgres):
    """A PostgreSQL database whose words are in the order of a language."""
    import psycopg  # noqa: PLC0415

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE language TEMPLATE template0 "
            "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"
        )
    with psycopg.connect(f"{postgres.rpartition('/')[0]}/language") as connection:
        yield connection


def test_postgresql_itself_gives_the_bits_of_the_engine_whatever_its_language(language_database, history):
    types = {pl.String: "TEXT", pl.Int64: "BIGINT", pl.Float64: "DOUBLE PRECISION"}
    for name in TABLES:
        frame = getattr(history, name)
        columns = ", ".join(f'"{column}" {types[dtype]}' for column, dtype in frame.schema.items())
        language_database.execute(f"CREATE TABLE {name} ({columns})")
        with language_database.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN") as copy:
            for row in frame.iter_rows():
                copy.write_row(row)
    assert language_database.execute("SELECT MAX(w) FROM (VALUES ('B'), ('a')) AS t(w)").fetchone() == ("B",)
    features = FeatureSet(
        tuple({spec.name: spec for spec in (*CATALOGUE.specs, *EVERY_SHAPE.specs)}.values())
    )
    sql = features_to_sql(features, "postgres", TrainingSnapshots(ONE_WAY, label(ONE_WAY), END))
    # As the comment of the query says: nested loops would take minutes.
    language_database.execute("SET enable_nestloop = off; SET jit = off")
    result = language_database.execute(sql)
    names = [column.name for column in result.description]
    rows = pl.DataFrame(result.fetchall(), schema=names, orient="row", infer_schema_length=None)
    kinds = {spec.name: pl.String if spec.is_category else pl.Float64 for spec in features.specs}
    rows = as_feature_rows(rows, features).cast(kinds)
    assert_is_training_set(rows, features, history, ONE_WAY)


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_a_sample_has_whole_leads_by_a_hash_that_is_the_same_everywhere(warehouse, history):
    sql = features_to_sql(FEW, warehouse, TrainingSnapshots(ONE_WAY, label(ONE_WAY), END, share=0.5))
    rows = as_feature_rows(run_on_duckdb(sql, warehouse, history), FEW)
    drawn = draw_snapshots(history, ONE_WAY).frame.sort("as_of", "lead_id")
    hashes = [hashlib.md5(each.encode(), usedforsecurity=False).hexdigest() for each in drawn["lead_id"]]
    is_drawn = [int(each[:8], 16) < 2**31 for each in hashes]
    assert rows.select("lead_id", "as_of").equals(drawn.filter(is_drawn))
    assert 0 < rows["lead_id"].n_unique() < drawn["lead_id"].n_unique()


def test_without_a_day_the_snapshots_are_of_the_moment_at_which_the_query_runs(history):
    for warehouse in WAREHOUSES:
        rows = run_on_duckdb(features_to_sql(FEW, warehouse, OpenLeads(ONE_WAY)), warehouse, history)
        (as_of,) = set(as_feature_rows(rows, FEW)["as_of"])
        assert as_of > 1_700_000_000
