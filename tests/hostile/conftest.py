"""One parser with small limits, and the canaries: a listener that nobody may call, a file that nobody may read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.parse import ParseLimits, SandboxedParser
from tests.hostile.cases import Canary

MIB = 1 << 20
SECRET = "canary-5c1d-never-in-a-result"
LIMITS = ParseLimits(
    memory_mb=700, cpu_seconds=25, wall_seconds=40.0, max_pages=500, max_bytes=64 * MIB, max_expanded=64 * MIB,
    ratio_floor=4 * MIB, max_entries=2000, max_output_bytes=16 * MIB, max_text_chars=1_000_000, max_cells=200_000,
    max_attachment_bytes=16 * MIB,
)  # fmt: skip


class Listener:
    """Counts the connections that a document causes."""

    def __init__(self) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/canary"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="session")
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(scope="session")
def canary(listener: Listener, tmp_path_factory: pytest.TempPathFactory) -> Canary:
    secret = tmp_path_factory.mktemp("canary") / "secret.txt"
    secret.write_text(SECRET)
    return Canary(listener.url, secret)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="session")
def parser(scratch: Path) -> Iterator[SandboxedParser]:
    parser = SandboxedParser(LIMITS, scratch=scratch)
    yield parser
    parser.close()
