"""What every test needs: nothing is sent, and no setting of the machine leaks in."""

from __future__ import annotations

import os
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


@pytest.fixture(autouse=True)
def _own_working_directory(tmp_path: os.PathLike, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths of a test land in its own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def milvus() -> Iterator[MilvusServer]:
    """milvus-lite, started by the first test that asks for it."""
    server = MilvusServer()
    yield server
    server.stop()
