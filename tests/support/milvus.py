"""A private milvus-lite server for the tests, in a process of its own: one for a session, a database for each test."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 120.0


class MilvusServer:
    """Listens on this machine only; `url()` names an empty database."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mrmv-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        program = "from milvus_lite.cmdline import main; main()"
        options = ["--data-dir", str(self._folder / "data"), "--host", "127.0.0.1", "--port", str(self._port)]
        with (self._folder / "log").open("wb") as log:
            command = [sys.executable, "-c", program, "server", *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._await()

    def url(self, database: str = "") -> str:
        return f"milvus+http://127.0.0.1:{self._port}/{database or f't{uuid.uuid4().hex[:12]}'}"

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend the server: it accepts connections and answers nothing until the block ends."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _await(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"milvus-lite did not start: {(self._folder / 'log').read_text()[-2000:]}")
