"""Tables under a company's own names: the SELECT reads them as leadloop reads them, or refuses."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import polars as pl
import pytest
import sqlglot
from warehouse_history import as_feature_rows, run_parsed

from features import batch
from features.catalogue import build_feature_set
from features.clock import DAY
from features.cohort import CohortRule, open_lead_snapshots
from features.extraction import ColumnExtraction
from features.ingest.mapping import Database, HistoryMapping, TableJoin, TableMapping
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.spec import DisplayText, FeatureSet, extracted_attribute

pytest.importorskip("ibis", reason="Ibis is not installed (leadloop[warehouse])")

from features.warehouse.dialects import WAREHOUSES
from features.warehouse.source_columns import name_source_columns
from features.warehouse.sql import OpenLeads, features_to_sql

AS_OF = 19_800 * DAY + DAY // 2
RULE = CohortRule(closed=("won", "lost"))
TABLES = """
CREATE TABLE contacts (id INTEGER, created TIMESTAMP, company VARCHAR, "Lead Source" VARCHAR, staff INTEGER,
                       newsletter BOOLEAN, won_on DATE, mql_at TIMESTAMP);
INSERT INTO contacts VALUES
  (1, '2024-01-03 10:00:01', 'A', ' Web ', 10, true, NULL, '2024-01-04'),
  (2, '2024-01-03', 'A', 'N/A', NULL, false, '2024-02-01', '2024-01-20 08:00:00'),
  (3, '2024-02-29 23:59:59', 'B', 'Fair', 7, NULL, NULL, NULL),
  (4, '2024-02-01', NULL, '', 1, true, '2024-03-18', NULL);
CREATE TABLE companies (id VARCHAR, sector VARCHAR);
INSERT INTO companies VALUES ('A', 'Steel'), ('B', NULL);
CREATE TABLE activities (contact INTEGER, moment TIMESTAMPTZ, type VARCHAR, source VARCHAR,
                         value DECIMAL(12, 3), took INTEGER, phase VARCHAR);
INSERT INTO activities VALUES
  (1, '2024-01-05 12:00:00+01', 'Web visit', 'ad', NULL, 30, NULL),
  (1, '2024-02-05 12:00:00Z', ' Demo ', 'NULL', 12.345, NULL, 'Decision'),
  (2, '2024-01-31 00:00:00Z', 'Demo', 'mail', -0.005, 7, 'decision'),
  (3, '2024-03-16 12:00:00Z', 'Web visit', 'Ad', NULL, NULL, 'none of them'),
  (3, '1900-01-01 00:00:00Z', 'Web visit', 'ghost', NULL, NULL, NULL),
  (9, '2024-01-31 00:00:00Z', 'Demo', 'mail', 1, 7, NULL);
CREATE TABLE changes (contact INTEGER, changed TIMESTAMP, field VARCHAR, new_value VARCHAR);
INSERT INTO changes VALUES (1, '2024-01-04', 'seats', '5'), (1, '2024-03-04', 'seats', '12.5'),
  (3, '2024-03-01', 'seats', '7'), (3, '2024-03-01', 'plan', 'Gold');
"""


def table(database, name, **settings):
    columns = settings.pop("columns", {})
    return TableMapping(database=Database(database), table=name, columns=columns, **settings)


def mapping_of(database):
    activities = {"lead_id": "contact", "occurred_at": "moment", "kind": "type", "channel": "source"}
    activities |= {"amount": "value", "seconds": "took", "offer_stage": "phase"}
    changes = {"lead_id": "contact", "known_at": "changed", "name": "field", "value": "new_value"}
    return HistoryMapping(
        leads=table(
            database,
            "contacts",
            columns={"lead_id": "id", "created_at": "created", "account_id": "company"},
        ),
        accounts=table(database, "companies", columns={"account_id": "id"}),
        touchpoints=(
            table(
                database,
                "activities",
                columns=activities,
                values={"kind": {"Web visit": "visit", "Demo": "demo_request"}},
            ),
        ),
        transitions=(
            table(database, "contacts", columns={"lead_id": "id"}, stages={"won_on": "won", "mql_at": "mql"}),
        ),
        attributes=(table(database, "changes", columns=changes),),
        stages=("mql", "won", "lost"),
        observed_until=AS_OF,
        max_share=1.0,
    )


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """The mapping of a company's database, what leadloop reads of it, and its features."""
    file = str(tmp_path_factory.mktemp("crm") / "crm.duckdb")
    with duckdb.connect(file) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(TABLES)
    reading = read_history(mapping_of(file), AS_OF)
    flags = {role.column: "flag" for role in reading.roles if role.role == "flag"}
    return file, reading.history, build_feature_set(reading.history, target="won", units=flags)


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_a_companys_tables_are_read_as_leadloop_reads_them(warehouse, company):
    file, history, features = company
    sql = features_to_sql(features, warehouse, OpenLeads(RULE, AS_OF), mapping_of(file))
    with duckdb.connect(file, read_only=True) as connection:
        rows = as_feature_rows(run_parsed(sql, warehouse, connection), features)
    want = batch.compute_features(features, history, open_lead_snapshots(history, RULE))
    assert rows.drop("feature_set").equals(want.sort("as_of", "lead_id").collect())
    assert want.select(pl.len()).collect().item() == 2
    assert {"visit.count", "seats", "newsletter", "account.sector", "Lead Source"} <= set(features.names)


def test_postgresql_itself_reads_a_companys_tables_as_leadloop_does(company, postgres_database):
    import psycopg  # noqa: PLC0415

    file, history, features = company
    sql = features_to_sql(features, "postgres", OpenLeads(RULE, AS_OF), mapping_of(file))
    with psycopg.connect(postgres_database) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(TABLES)
        result = connection.execute(sql)
        rows = pl.DataFrame(result.fetchall(), [column.name for column in result.description], orient="row")
    want = batch.compute_features(features, history, open_lead_snapshots(history, RULE))
    want = want.sort("as_of", "lead_id").collect()
    assert as_feature_rows(rows, features).select(want.columns).cast(dict(want.schema)).equals(want)


def test_a_stage_that_is_dated_today_is_entered_before_the_snapshot(company):
    file, history, features = company
    assert history.transitions.filter(stage="won")["occurred_at"].max() == AS_OF - 1
    sql = features_to_sql(
        features, "postgres", OpenLeads(CohortRule(closed=("won",)), AS_OF), mapping_of(file)
    )
    with duckdb.connect(file, read_only=True) as connection:
        assert set(run_parsed(sql, "postgres", connection)["lead_id"]) == {"1", "3"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"where": {"deleted": (False,)}}, "where"),
        ({"join": (TableJoin("owners", {"owner": "id"}),)}, "join"),
        ({"id": "uid"}, "id"),
        ({"time_format": "day_first"}, "day_first"),
        ({"time_format": "%d.%m.%Y"}, "%d.%m.%Y"),
        ({"time_zone": "Europe/Berlin"}, "Europe/Berlin"),
        ({"columns": {"lead_id": "owner.contact", "occurred_at": "moment", "kind": "type"}}, "owner.contact"),
    ],
)
def test_what_sql_does_not_express_is_refused_by_its_name(change, word, company):
    file, _, features = company
    mapping = mapping_of(file)
    mapping = replace(mapping, touchpoints=(replace(mapping.touchpoints[0], **change),))
    with pytest.raises(SourceError, match=word.replace(".", r"\.")):
        features_to_sql(features, "trino", OpenLeads(RULE, AS_OF), mapping)


def test_merges_attributes_of_accounts_and_extractions_are_refused(company):
    file, _, features = company
    mapping = mapping_of(file)
    text = DisplayText("Domain: {value}", "Domain: {value}")
    domain = extracted_attribute(ColumnExtraction("Mail", "email_domain"), family="fit", says=text)
    of_accounts = table(file, "changes", columns={"account_id": "contact"})
    refused = [
        (features, replace(mapping, merges=(table(file, "merges"),)), "merges"),
        (features, replace(mapping, attributes=(of_accounts,)), "attributes of accounts"),
        (FeatureSet((domain,)), mapping, "Mail: domain"),
    ]
    for specs, tables, word in refused:
        with pytest.raises(SourceError, match=word):
            features_to_sql(specs, "trino", OpenLeads(RULE, AS_OF), tables)


def test_a_table_at_hand_says_which_columns_of_the_contract_it_has(tmp_path):
    (tmp_path / "moves.csv").write_text("lead_id,occurred_at,known_at,stage\n1,2024-01-01,2024-01-02,won\n")
    (tmp_path / "leads.csv").write_text("Id,created_at,account_id\n1,2024-01-01,A\n")
    mapping = HistoryMapping(
        leads=TableMapping(file=tmp_path / "leads.csv", columns={"lead_id": "Id"}),
        transitions=(
            TableMapping(file=tmp_path / "moves.csv", constants={"stage": "won"}),
            TableMapping(database=Database(str(tmp_path / "none.db")), table="far_away"),
        ),
    )
    named = name_source_columns(mapping)
    assert named.leads.columns == {"lead_id": "Id", "created_at": "created_at", "account_id": "account_id"}
    assert set(named.transitions[0].columns) == {"lead_id", "occurred_at", "known_at"}
    assert named.transitions[1] == mapping.transitions[1]


def test_a_table_that_no_feature_reads_is_not_in_the_query(company):
    file, _, features = company
    age = FeatureSet(tuple(spec for spec in features.specs if spec.name == "lead.age"))
    sql = features_to_sql(age, "trino", OpenLeads(RULE, AS_OF), mapping_of(file))
    tables = {table.name for table in sqlglot.parse_one(sql, read="trino").find_all(sqlglot.exp.Table)}
    assert {name for name in tables if not name.startswith("leadloop_")} == {"contacts"}


def test_the_query_says_what_it_takes_for_granted(company):
    file, _, features = company
    sql = features_to_sql(features, "trino", OpenLeads(RULE, AS_OF), mapping_of(file))
    comment = [line for line in sql.splitlines() if line.startswith("-- ")]
    assert features.fingerprint in comment[0]
    assert any("bad rows" in line for line in comment)
    assert any("no column known_at is known" in line for line in comment)


def test_snowflake_finds_names_in_capitals_and_the_querys_own_in_small_letters(company):
    file, _, features = company
    sql = features_to_sql(features, "snowflake", OpenLeads(RULE, AS_OF), mapping_of(file))
    names = list(sqlglot.parse_one(sql, read="snowflake").find_all(sqlglot.exp.Identifier))
    assert all(name.quoted for name in names)
    words = {str(name.this) for name in names}
    assert {"CONTACTS", "CREATED", "Lead Source", "leadloop_leads", "VISIT_COUNT", "LEAD_ID"} <= words
    assert not {"contacts", "created", "LEAD SOURCE", "visit_count"} & words
