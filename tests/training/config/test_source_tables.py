"""The tables of files, folders and databases are found by name, without their rows and without passwords."""

from __future__ import annotations

import sqlite3

import duckdb
import pytest

from features.ingest.databases import list_database_tables
from features.ingest.quarantine import SourceError
from training.config.source_tables import find_tables, has_password, public_url


def test_tables_have_their_schema_and_their_columns_in_order(tmp_path):
    with duckdb.connect(tmp_path / "crm.duckdb") as db:
        db.execute(
            "CREATE SCHEMA hub; CREATE TABLE hub.contact (b INTEGER, a VARCHAR); CREATE TABLE t (x INT)"
        )
    assert list_database_tables(str(tmp_path / "crm.duckdb")) == {"hub.contact": ("b", "a"), "t": ("x",)}
    with sqlite3.connect(tmp_path / "crm.sqlite") as db:
        db.execute("CREATE TABLE lead (id INTEGER, name TEXT)")
    db.close()
    assert list_database_tables(str(tmp_path / "crm.sqlite")) == {"lead": ("id", "name")}


def test_a_folder_is_a_database_and_files_are_themselves(tmp_path):
    (tmp_path / "leads.csv").write_text("id,created\n1,2024-01-01\n")
    (tmp_path / "notes.txt").write_text("nothing of a table\n")
    (folder,) = find_tables([tmp_path], tmp_path.parent)
    assert folder.keys == {"database": tmp_path.name, "table": "leads"}
    (file,) = find_tables([tmp_path / "leads.csv"], tmp_path)
    assert file.keys == {"file": "leads.csv"}
    assert folder.columns == file.columns == ("id", "created")


def test_a_folder_with_a_database_names_it(tmp_path):
    duckdb.connect(tmp_path / "crm.duckdb").close()
    with pytest.raises(SourceError, match=r"no CSV or Parquet file; name the database: .*crm\.duckdb"):
        find_tables([tmp_path], tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:hidden@db/crm",
        "postgresql://db/crm?user=ada&password=hidden",
        "snowflake://ada:hidden@account/db?warehouse=w&private_key_passphrase=hidden",
    ],
)
def test_a_password_stays_out_wherever_a_url_has_it(url):
    assert has_password(url)
    assert "hidden" not in public_url(url)
    assert not has_password(public_url(url))
