"""The catalogue's contract runs over SQLite and over a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes.catalogue.catalogue import Catalogue
from indexes.open import open_catalogue
from tests.support.needs import missing_program
from tests.support.postgres import PostgresServer, find_binaries


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(missing_program("PostgreSQL", "postgresql"))
    server = PostgresServer(binaries)
    yield server
    server.stop()


def _url(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "postgresql":
        return request.getfixturevalue("postgres").database()
    return "memory:" if kind == "memory" else f"sqlite:///{folder / 'catalogue.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database that outlives the process."""
    return _url(request.param, request, tmp_path)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalogue]:
    opened = open_catalogue(_url(request.param, request, tmp_path))
    yield opened
    opened.close()
