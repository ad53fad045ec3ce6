"""Queries of joined tables: names quoted as the database does, values bound, for databases near and far."""

from __future__ import annotations

import sys

import pytest
import sqlalchemy
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql, sqlite

from features.ingest.mapping import TableJoin, TableSource, ValueLookup
from features.ingest.quarantine import SourceError
from features.ingest.table_query import BASE, SqlDialect, TableQueryBuilder
from features.ingest.tables import open_table

SOURCE = TableSource(
    database="warehouse://account/crm",
    table="salesforce.lead_history",
    where={"field": ["Status", "it's"], "is_deleted": False},
    join=(TableJoin("salesforce.lead", {"lead_id": "id"}, where={"country": "NA"}),),
    lookup={"new_value": ValueLookup("salesforce.status", key="id", value="label")},
)
TABLES = {
    BASE: {
        'odd "name': "text",
        "lead_id": "text",
        "field": "text",
        "is_deleted": "boolean",
        "new_value": "",
        "data": "",
    },
    "lead": {"id": "text", "country": "text", "data": "nested"},
}
DIALECTS = {
    "postgresql": (postgresql.dialect(), '"odd ""name"'),
    "duckdb": (postgresql.dialect(), '"odd ""name"'),
    "sqlite": (sqlite.dialect(), '"odd ""name"'),
    "mysql": (mysql.dialect(), '`odd "name`'),
    "mssql": (mssql.dialect(), '[odd "name]'),
    "oracle": (oracle.dialect(), '"odd ""name"'),
}


def build(name, columns):
    dialect = SqlDialect(name, DIALECTS[name][0])
    relations = {BASE: dialect.quote_table(SOURCE.table), "lead": dialect.quote_table("salesforce.lead")}
    lookups = {"new_value": (dialect.quote_table("salesforce.status"), {"id": "text", "label": "text"})}
    return TableQueryBuilder(SOURCE, dialect, TABLES, relations, lookups).build(columns)


@pytest.mark.parametrize("name", DIALECTS)
def test_names_are_quoted_as_the_database_does_and_values_are_bound(name):
    query = build(name, {"odd": 'odd "name', "status": "new_value", "size": "lead.data.size"})
    assert DIALECTS[name][1] in query.sql
    assert {"Status", "it's", "NA"} <= {v for v in query.parameters.values() if isinstance(v, str)}
    for value in ("Status", "it's", "NA", "size"):
        assert f"'{value}'" not in query.sql
    assert query.columns == ("odd", "status", "size")
    assert "salesforce" in query.sql
    assert "salesforce.lead_history" not in query.sql  # each part is quoted on its own


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "duckdb"])
def test_a_driver_gets_every_value_by_its_own_kind_of_mark(name):
    """SQLAlchemy makes of the text what the driver takes; nothing in it is taken for a value that is none."""
    query = build(name, {"odd": 'odd "name', "size": "lead.data.size"})
    compiled = sqlalchemy.text(query.sql).compile(dialect=DIALECTS[name][0])
    assert set(compiled.params) == set(query.parameters)


def test_a_colon_or_a_percent_sign_in_a_name_is_part_of_it(tmp_path):
    path = tmp_path / "odd.sqlite"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.begin() as db:
        db.exec_driver_sql('CREATE TABLE "a:b" ("x%:y" TEXT)')
        db.exec_driver_sql("INSERT INTO \"a:b\" VALUES ('1')")
    engine.dispose()

    for where in ({}, {"x%:y": "1"}):
        source = TableSource(database=str(path), table="a:b", where=where)
        assert open_table(source).read()["x%:y"].to_list() == ["1"]


@pytest.mark.parametrize(
    ("url", "package"),
    [("snowflake://account/crm", "snowflake-sqlalchemy"), ("bigquery://project/crm", "sqlalchemy-bigquery")],
)
def test_a_missing_driver_is_named_with_the_package_that_brings_it(url, package):
    with pytest.raises(SourceError, match=f"need a driver that is not installed: install {package}"):
        open_table(TableSource(database=url, table="leads"))


def test_the_catalog_of_spark_is_read_by_spark_alone():
    with pytest.raises(SourceError, match="catalog of a Spark session; read it with --engine spark"):
        open_table(TableSource(database="spark://", table="crm.leads"))


def test_mysql_without_its_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)
    source = TableSource(database="mysql://me@127.0.0.1:1/crm", table="leads")
    with pytest.raises(SourceError, match=r"install leadloop\[mysql\]"):
        open_table(source)
