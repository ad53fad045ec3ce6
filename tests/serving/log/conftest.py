"""A log on SQLite and one on PostgreSQL: every law holds for both."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest

from serving.log.database import open_log, writing

NUMBERS = count()


def _tools():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found and (own := shutil.which("initdb")) is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return found[-1].parent if found else Path(own).parent


def _user():
    """PostgreSQL refuses to run as root: another user is borrowed where the tests do."""
    users = [user.pw_name for user in pwd.getpwall() if user.pw_name in {"postgres", "nobody"}]
    return max(users) if os.geteuid() == 0 else None


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL of its own in a temporary folder, on a port that was free."""

    folder: Path
    port: int
    user: str | None

    def run(self, tool, *arguments):
        command = [_tools() / tool, "-D", self.folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, user=self.user)

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        self.run("pg_ctl", "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self):
        self.run("pg_ctl", "-w", "-m", "immediate", "stop")

    def database(self):
        """The URL of a database that is empty."""
        url = f"postgresql://me@127.0.0.1:{self.port}"
        name = f"log_{next(NUMBERS)}"
        with psycopg.connect(f"{url}/postgres", autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")
        return f"{url}/{name}"


@pytest.fixture(scope="session")
def cluster():
    _tools()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Cluster(Path(tempfile.mkdtemp()), port, _user())
    if made.user is not None:
        shutil.chown(made.folder, made.user)
    try:
        made.run("initdb", "-U", "me", "-A", "trust", "-E", "UTF8", "--no-sync")
        made.start()
        yield made
        made.stop()
    finally:
        shutil.rmtree(made.folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "decisions.db")
    return request.getfixturevalue("cluster").database()


@pytest.fixture
def log(place):
    engine = writing(open_log(place))
    yield engine
    engine.dispose()
