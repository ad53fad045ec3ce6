"""Settings that every test shares."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, settings

slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large]
common = settings(
    deadline=None,
    suppress_health_check=slow_is_fine,
    # Explaining a failure re-runs it hundreds of times; the shrunk example is enough.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
settings.register_profile("local", common, max_examples=20)
settings.register_profile("ci", common, max_examples=60)
settings.load_profile("ci" if os.environ.get("CI") else "local")


# Promotions of tests go to a store of their own, whatever a test forgets. BentoML reads this at its import.
os.environ["BENTOML_HOME"] = tempfile.mkdtemp(prefix="leadloop-tests-bentoml-")
atexit.register(shutil.rmtree, os.environ["BENTOML_HOME"], ignore_errors=True)
for name in ("LEADLOOP_STORE", "LEADLOOP_PROJECT"):
    os.environ.pop(name, None)


# As many tests that are not slow take as long as a slow one.
_SLOW_COUNTS = 30


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


def pytest_collection_modifyitems(items):
    """Long modules first, so that no worker begins one when the others have nothing left to do."""
    weights = Counter()
    for item in items:
        weights[item.path] += _SLOW_COUNTS if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -weights[item.path])


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL cluster of the tests' own."""
    from crm_databases import postgresql_server  # noqa: PLC0415 - most tests need no database

    with postgresql_server() as url:
        yield url


@pytest.fixture
def postgres_database(postgres):
    """The URL of a database of the test's own in the cluster, for tests that ask what tables there are."""
    import psycopg  # noqa: PLC0415

    name = f"d_{secrets.token_hex(4)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="session")
def mariadb():
    """The URL of a MariaDB server of the tests' own."""
    from crm_databases import mariadb_server  # noqa: PLC0415

    with mariadb_server() as url:
        yield url
