"""For every test: nothing is sent to a network, and no setting of the machine is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from pipeline.offline import go_offline
from tests.support.milvus import MilvusServer

go_offline(os.environ)
# The machines are shared and at times slowed to a fifth: a slow draw must not fail a test.
settings.register_profile("mailroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mailroom")
for name in [name for name in os.environ if name.startswith("MAILROOM_") and name != "MAILROOM_DATA"]:
    del os.environ[name]


#: A folder in memory, and the bytes that have to be free there before it is used.
MEMORY, ROOM = "/dev/shm", 8 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' files in memory if there is enough of it: thousands of commits would wait for the disk."""
    if config.option.basetemp is None and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


@pytest.fixture(autouse=True)
def _own_working_directory(tmp_path: os.PathLike, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the test's own folder its working directory, so that relative paths stay inside it."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _readers_see_publications_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let readers look for a publication on every call, not a few times a second: tests search sooner than that."""
    monkeypatch.setattr("indexes.reader.POLL_SECONDS", 0.0)
    monkeypatch.setattr("indexes.milvus.reader.POLL_SECONDS", 0.0)


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusServer]:
    """Start milvus-lite for the first test that uses it."""
    server = MilvusServer()
    yield server
    server.stop()
