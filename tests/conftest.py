"""What every test needs: nothing is sent, and no setting of the machine leaks in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from pipeline.offline import go_offline
from tests.support.milvus import MilvusServer

go_offline(os.environ)
# The machines are shared and at times slowed to a fifth: a slow draw is no failure.
settings.register_profile("mailroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mailroom")
for name in [name for name in os.environ if name.startswith("MAILROOM_") and name != "MAILROOM_DATA"]:
    del os.environ[name]


#: Where files lie in memory, and how much of it has to be free for that.
MEMORY, ROOM = "/dev/shm", 8 << 30


def pytest_configure(config: pytest.Config) -> None:
    """The tests' own files lie in memory where there is plenty: each of their thousands of commits would wait for the disk."""
    if config.option.basetemp is None and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


@pytest.fixture(autouse=True)
def _own_working_directory(tmp_path: os.PathLike, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths of a test land in its own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _readers_look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A house's readers see a publication a few tenths of a second after it; a quick machine's tests ask sooner than that."""
    monkeypatch.setattr("indexes.reader.POLL_SECONDS", 0.0)
    monkeypatch.setattr("indexes.milvus.reader.POLL_SECONDS", 0.0)


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusServer]:
    """milvus-lite, started by the first test that asks for it."""
    server = MilvusServer()
    yield server
    server.stop()
