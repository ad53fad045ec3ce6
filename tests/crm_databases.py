"""Databases of their own for tests, and tables of a CRM written into each kind of place."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest
import sqlalchemy

JSON_COLUMNS = (
    "crm_lead.lead_properties",
    "crm_lost_reason.name",
    "crm_stage.name",
    "crm_tag.name",
    "ir_model_fields.field_description",
    "mail_activity_type.name",
    "mail_message_subtype.name",
    "res_country.name",
    "utm_campaign.title",
)
SERVER_TYPES = {
    "postgresql": {
        pl.Int64: "BIGINT",
        pl.String: "TEXT",
        pl.Boolean: "BOOLEAN",
        pl.Float64: "DOUBLE PRECISION",
        pl.Datetime: "TIMESTAMP",
        pl.Date: "DATE",
        pl.Null: "TEXT",
    },
    "mysql": {
        pl.Int64: "BIGINT",
        pl.String: "VARCHAR(255)",
        pl.Boolean: "BOOLEAN",
        pl.Float64: "DOUBLE",
        pl.Datetime: "DATETIME",
        pl.Date: "DATE",
        pl.Null: "VARCHAR(255)",
    },
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _postgresql_tools() -> Path:
    result = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not result and (own := shutil.which("initdb")) is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return result[-1].parent if result else Path(own).parent


def _other_user(*names: str) -> str | None:
    """Database servers refuse to run as root: another user is borrowed where the tests do."""
    users = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in names if name in users) if os.geteuid() == 0 else None


@contextmanager
def postgresql_server():
    """The URL of a PostgreSQL cluster of its own, in a temporary folder on a free port."""
    tools, user, port = _postgresql_tools(), _other_user("postgres", "nobody"), free_port()
    folder = Path(tempfile.mkdtemp())
    if user is not None:
        shutil.chown(folder, user)

    def run(tool, *arguments):
        command = [tools / tool, "-D", folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user)

    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
    try:
        run("initdb", "-U", "me", "-A", "trust", "-E", "UTF8")
        run("pg_ctl", "-w", "-l", folder / "log", "-o", options, "start")
        yield f"postgresql://me@127.0.0.1:{port}/postgres"
        run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@contextmanager
def mariadb_server():
    """The URL of a MariaDB server of its own, in a temporary folder on a free port."""
    pytest.importorskip("pymysql", reason="PyMySQL is not installed (leadloop[mysql])")
    server = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")
    install = shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("MariaDB is not installed (apt-get install mariadb-server)")
    user, port, folder = _other_user("mysql", "nobody"), free_port(), Path(tempfile.mkdtemp())
    if user is not None:
        shutil.chown(folder, user)
    data = f"--datadir={folder / 'data'}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "user": user}
    process = None
    try:
        setup = [install, "--no-defaults", data, "--auth-root-authentication-method=normal"]
        subprocess.run(setup, check=True, **quiet)
        options = [
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--socket={folder / 's'}",
            "--skip-grant-tables",
        ]
        options += [f"--pid-file={folder / 'pid'}", "--skip-networking=0"]
        process = subprocess.Popen([server, "--no-defaults", data, *options], **quiet)
        url = f"mysql://root@127.0.0.1:{port}/crm"
        _wait_for(url.replace("mysql:", "mysql+pymysql:").removesuffix("/crm"))
        yield url
    finally:
        if process is not None:
            process.terminate()
            process.wait(60)
        shutil.rmtree(folder)


def _wait_for(url):
    engine = sqlalchemy.create_engine(url)
    for _ in range(120):
        try:
            with engine.begin() as db:
                db.execute(sqlalchemy.text("CREATE DATABASE crm CHARACTER SET utf8mb4"))
        except sqlalchemy.exc.OperationalError:
            time.sleep(0.25)
        else:
            engine.dispose()
            return
    pytest.fail("MariaDB did not start")


def write_crm(kind: str, tables: dict[str, pl.DataFrame], folder: Path, url: str | None = None) -> str:
    """Write the tables of a CRM into a place of a kind, and say what ``database = `` is then."""
    if kind in {"csv", "parquet"}:
        for name, frame in tables.items():
            getattr(frame, f"write_{kind}")(folder / f"{name}.{kind}")
        return str(folder)
    if kind == "duckdb":
        with duckdb.connect(folder / "crm.duckdb") as db:
            for name, frame in tables.items():
                if "." in name:
                    db.execute(f"CREATE SCHEMA IF NOT EXISTS {name.partition('.')[0]}")
                db.register("frame", frame.to_arrow())
                db.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
        return str(folder / "crm.duckdb")
    if kind == "sqlite":
        with sqlite3.connect(folder / "crm.sqlite") as db:
            for name, frame in tables.items():
                types = {pl.Int64: "INTEGER", pl.String: "TEXT", pl.Boolean: "BOOLEAN"}
                columns = ", ".join(f'"{c}" {types.get(t, "")}' for c, t in frame.schema.items())
                db.execute(f"CREATE TABLE {name} ({columns})")
                db.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * frame.width)})", frame.rows())
        db.close()
        return str(folder / "crm.sqlite")
    _write_to_server(tables, url)
    return url


def _write_to_server(tables, url):
    driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
    dialect = url.partition(":")[0]
    engine = sqlalchemy.create_engine(url.replace(dialect, driver[dialect], 1))
    quote = engine.dialect.identifier_preparer.quote_identifier
    with engine.begin() as db:
        for name, frame in tables.items():
            json = "JSONB" if dialect == "postgresql" else "JSON"
            types = {
                c: json if f"{name}.{c}" in JSON_COLUMNS else SERVER_TYPES[dialect][t.base_type()]
                for c, t in frame.schema.items()
            }
            db.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {quote(name)}"))
            columns = ", ".join(f"{quote(c)} {kind}" for c, kind in types.items())
            db.execute(sqlalchemy.text(f"CREATE TABLE {quote(name)} ({columns})"))
            values = ", ".join(
                f"CAST(:c{i} AS JSONB)" if kind == "JSONB" else f":c{i}"
                for i, kind in enumerate(types.values())
            )
            rows = [{f"c{i}": cell for i, cell in enumerate(row)} for row in frame.iter_rows()]
            db.execute(sqlalchemy.text(f"INSERT INTO {quote(name)} VALUES ({values})"), rows)
    engine.dispose()
