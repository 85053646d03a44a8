"""`mailroom up`: starts every role on this machine, watches them, restarts what dies, stops them all."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Thread

from pipeline.errors import Unavailable
from workers.hints import connect
from workers.process import OnlyOne, Stopping
from workers.settings import Settings

log = logging.getLogger(__name__)

#: Started in this order, stopped in the reverse.
ROLES: dict[str, list[str]] = {
    "broker": ["broker"],
    "writer": ["writer"],
    "workers": ["celery", "--queues=ingest"],
    # On their own: a webhook's receiver that hangs must not hold up documents.
    "couriers": ["celery", "--queues=deliver,reclassify"],
    "sweeper": ["sweeper"],
    "api": ["api"],
    "tray": ["tray"],
}
STOP_SECONDS = 10.0
#: Seconds before a role that died is started again: doubled each time, back to the first after a minute of health.
FIRST_PAUSE, LONGEST_PAUSE, HEALTHY_SECONDS = 0.5, 30.0, 60.0
LOG_BYTES, LOG_FILES = 5_000_000, 3


@dataclass
class Child:
    """One role's process, in a session of its own so that all it started can be stopped with it."""

    role: str
    process: subprocess.Popen[bytes]
    started: float
    pause: float = FIRST_PAUSE
    again_at: float | None = None
    restarts: int = field(default=0)


class Supervisor:
    """`run` blocks until SIGTERM or SIGINT, or until ``until`` returns True."""

    def __init__(self, settings: Settings, arguments: list[str], environ: Mapping[str, str] = os.environ) -> None:
        self._settings, self._arguments, self._environ = settings, arguments, dict(environ)
        self._children: dict[str, Child] = {}

    def run(self, ready: Callable[[], None] = lambda: None, stopping: Stopping | None = None) -> int:
        """Start all, call ``ready`` once the API answers, watch until told to stop. Returns 0."""
        stopping = stopping or Stopping()
        for folder in (self._settings.home, self._settings.run_path, self._settings.logs_path):
            folder.mkdir(parents=True, exist_ok=True)
        with OnlyOne(self._settings.run_path / "up.lock", "Mailroom"):
            try:
                self._start_all()
                ready()
                while not stopping.wait(0.2):
                    self._watch()
            finally:
                self._stop_all()
        return 0

    def pids(self) -> dict[str, int]:
        return {role: child.process.pid for role, child in self._children.items()}

    def _start_all(self) -> None:
        for role in ROLES:
            if role == "broker" and not self._settings.broker_is_embedded:
                continue
            self._children[role] = self._start(role)
            if role == "broker":
                self._await_broker()

    def _start(self, role: str) -> Child:
        command = [sys.executable, "-m", "workers.run", *ROLES[role], f"--supervised={os.getpid()}", *self._arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**self._environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        Thread(target=_keep_log, args=(process, self._settings.logs_path / f"{role}.log"), daemon=True).start()
        return Child(role, process, time.monotonic())

    def _await_broker(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if connect(self._settings).ping():
                    return
            except Exception:  # not up yet, in one of a dozen ways
                time.sleep(0.05)
        raise Unavailable("broker-unavailable", f"The broker did not start; see {self._settings.logs_path}/broker.log.")

    def _watch(self) -> None:
        now = time.monotonic()
        for role, child in list(self._children.items()):
            if child.again_at is None and child.process.poll() is not None:
                kill_group(child.process.pid, signal.SIGKILL)
                if now - child.started > HEALTHY_SECONDS:
                    child.pause = FIRST_PAUSE
                log.warning("%s ended (%s); starting it again", role, child.process.returncode)
                child.again_at = now + child.pause
            elif child.again_at is not None and now >= child.again_at:
                fresh = self._start(role)
                fresh.pause = min(LONGEST_PAUSE, child.pause * 2)
                fresh.restarts = child.restarts + 1
                self._children[role] = fresh

    def _stop_all(self) -> None:
        """SIGTERM in reverse order, SIGKILL to whatever is left; then no process of ours remains."""
        children = [self._children[role] for role in reversed(list(ROLES)) if role in self._children]
        for child in children:
            if child.role != "broker":
                kill_group(child.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in children:
            if child.role == "broker":
                kill_group(child.process.pid, signal.SIGTERM)
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop in time", child.role)
            kill_group(child.process.pid, signal.SIGKILL)
            child.process.wait()


def kill_group(pid: int, number: int) -> None:
    """Signal a child and all it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _keep_log(process: subprocess.Popen[bytes], path: Path) -> None:
    """Copy a child's output into a log that is turned over before it fills the disk."""
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", errors="replace")
    assert process.stdout is not None
    for line in process.stdout:
        handler.emit(logging.makeLogRecord({"msg": line.decode("utf-8", "replace").rstrip(), "levelno": logging.INFO}))
    handler.close()
