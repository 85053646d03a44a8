"""A whole Mailroom in a folder of its own: `mailroom up` as a user starts it, and a client for its API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from workers.assemble import Mailroom
from workers.settings import load_settings

ROOT = Path(__file__).parents[2]


class Installation:
    """Starts in ``__enter__``, stops in ``__exit__``. ``settings`` are dotted keys as on the command line."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.settings = {"api.port": "0", "data.path": str(folder), **(settings or {})}
        self.start_seconds = 0.0

    def __enter__(self) -> Installation:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run" / "api.json").unlink(missing_ok=True)
        sets = [part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "workers.cli.main", *sets, "up"]
        self._log = (self.folder / "up.log").open("wb")
        started = time.monotonic()
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT, env=dict(os.environ), start_new_session=True
        )
        self._wait_until_up()
        self.start_seconds = time.monotonic() - started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._log.close()

    @property
    def url(self) -> str:
        return json.loads((self.folder / "run" / "api.json").read_text())["url"]

    @property
    def tray(self) -> Path:
        return self.folder / "tray"

    def client(self) -> httpx.Client:
        """Return a client with the administrator's key of the run folder."""
        key = (self.folder / "run" / "admin.key").read_text().strip()
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False)

    def mailroom(self) -> Mailroom:
        """Open the stores of the installation in this process."""
        return Mailroom(load_settings(self.settings, environ={}).settings)

    def memory_mb(self) -> float:
        """Return the proportional memory of all its processes in MiB: shared pages are counted once."""
        total = 0
        for process in [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/healthz", timeout=2, trust_env=False).status_code == 200:
                    return
            except (OSError, ValueError, httpx.HTTPError):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"Mailroom did not start: {(self.folder / 'up.log').read_text()[-2000:]}")
