"""Database servers that the tests of ingest share."""

from __future__ import annotations

import pytest
from crm_databases import mariadb_server, postgresql_server


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL cluster of the tests' own."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb():
    """The URL of a MariaDB server of the tests' own."""
    with mariadb_server() as url:
        yield url
