"""`mailroom up`: starts every role on this machine, restarts those that die, and stops them all."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Thread

from pipeline.disk import ProcessLock
from pipeline.errors import Misconfigured, Unavailable
from workers.private_files import restrict_data_folder, restrict_new_files
from workers.queue.broker import back_up_damaged, written_by_another
from workers.queue.notify import connect
from workers.queue.process import EXIT_MISCONFIGURED, StopSignal
from workers.settings import Settings

log = logging.getLogger(__name__)

#: Each role's arguments to `workers.run`. Started in this order, stopped in the reverse.
ROLES: dict[str, list[str]] = {
    "broker": ["broker"],
    "writer": ["writer"],
    "workers": ["celery", "--queues=ingest"],
    # In a process of their own: a webhook's receiver that hangs must not delay documents.
    "couriers": ["celery", "--queues=deliver,reclassify"],
    "sweeper": ["sweeper"],
    "api": ["api"],
    "tray": ["tray"],
}
#: Seconds to finish the current work, then to release it; after that SIGKILL.
FINISH_SECONDS, RELEASE_SECONDS = 1.0, 6.0
#: Seconds for the broker to answer at the start; it may have a long file of wake-ups to read.
BROKER_SECONDS = 60.0
#: Seconds before a role that died is started again: doubled each time, back to the first once it has run for a while.
FIRST_PAUSE, LONGEST_PAUSE, HEALTHY_SECONDS = 0.2, 10.0, 10.0
LOG_BYTES, LOG_FILES = 5_000_000, 3
#: Seconds for a log's thread to write the last lines of a process that ended.
LOG_SECONDS = 0.2
#: Lines of the broker's log that belong to its last start.
TAIL_LINES = 20


@dataclass
class RoleProcess:
    """The process of a role, in a session of its own, so that whatever it started is stopped with it.

    ``started_at`` and ``restart_at`` (None while it runs) are monotonic seconds, ``pause`` seconds before the next
    restart.
    """

    role: str
    process: subprocess.Popen[bytes]
    started_at: float
    pause: float = FIRST_PAUSE
    restart_at: float | None = None
    restarts: int = 0


class Supervisor:
    """Runs all roles of one installation. ``arguments`` make `workers.run` load the same settings."""

    def __init__(self, settings: Settings, arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
        self._settings, self._arguments, self._environ = settings, list(arguments), dict(environ)
        self._children: dict[str, RoleProcess] = {}
        self._ready = False

    def run(self, ready: Callable[[], None] = lambda: None, stopping: StopSignal | None = None) -> int:
        """Start all roles, call ``ready`` once all are ready, restart those that die until SIGTERM or SIGINT. Return 0.

        Raises Refused("conflict") if another supervisor runs on the same data folder, and Misconfigured if a role
        reports that before all are ready; nothing is left running then.
        """
        stopping = stopping or StopSignal()
        restrict_new_files()
        for folder in (self._settings.home, self._settings.run_path, self._settings.logs_path):
            folder.mkdir(parents=True, exist_ok=True)
        with ProcessLock(self._settings.run_path / "up.lock", "Mailroom"):
            restrict_data_folder(self._settings, deep=True)
            try:
                for role in ROLES:
                    if role != "broker":
                        self._children[role] = self._start(role)
                    elif self._settings.broker_is_embedded:
                        self._children[role] = self._start(role)
                        self._await_broker()
                while not stopping.wait(0.1):
                    self._watch()
                    if not self._ready and all(map(self._is_ready, self._children.values())):
                        self._ready = True
                        ready()
            finally:
                self._stop_all()
        return 0

    def _start(self, role: str) -> RoleProcess:
        ready = self._ready_file(role)
        ready.unlink(missing_ok=True)
        options = [*ROLES[role], f"--supervised={os.getpid()}", f"--ready={ready}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.run", *options, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**self._environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        Thread(target=_copy_to_log, args=(process, self._log(role)), daemon=True).start()
        return RoleProcess(role, process, time.monotonic())

    def _await_broker(self) -> None:
        """Wait until the broker answers. If its files are damaged, they are renamed, and it starts without them.

        Raises Misconfigured("bad-store") if another version of the server wrote them.
        """
        deadline = time.monotonic() + BROKER_SECONDS
        backed_up = False
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):  # not up yet, in one of a dozen ways
                if connect(self._settings).ping():
                    return
            if self._children["broker"].process.poll() is not None:
                if backed_up:
                    break
                if advice := written_by_another(self._settings, self._log_tail("broker")):
                    raise Misconfigured("bad-store", advice)
                backed_up = True
                log.warning("the broker does not start; its files were moved to %s", back_up_damaged(self._settings))
                self._children["broker"] = self._start("broker")
            time.sleep(0.05)
        raise Unavailable("broker-unavailable", f"The broker did not start; see {self._log('broker')}.")

    def _watch(self) -> None:
        now = time.monotonic()
        for role, child in list(self._children.items()):
            if child.restart_at is None and child.process.poll() is not None:
                self._schedule_restart(child, now)
            elif child.restart_at is not None and now >= child.restart_at:
                successor = self._start(role)
                successor.pause = min(LONGEST_PAUSE, child.pause * 2)
                successor.restarts = child.restarts + 1
                self._children[role] = successor

    def _schedule_restart(self, child: RoleProcess, now: float) -> None:
        kill_group(child.process.pid, signal.SIGKILL)
        status = child.process.returncode
        if status == EXIT_MISCONFIGURED and not self._ready:
            lines = self._log_tail(child.role)
            reason = f": {lines[-1]}" if lines else f" did not start; see {self._log(child.role)}"
            raise Misconfigured("bad-settings", f"{child.role}{reason}")
        if now - child.started_at > HEALTHY_SECONDS:
            child.pause = FIRST_PAUSE
        log.warning("%s ended (%s), see %s; it will be restarted", child.role, status, self._log(child.role))
        child.restart_at = now + child.pause
        if child.role == "broker" and child.restarts >= 2 and now - child.started_at < HEALTHY_SECONDS:
            log.warning("the broker keeps ending; its files were moved to %s", back_up_damaged(self._settings))

    def _log_tail(self, role: str) -> list[str]:
        """Return the last lines of a role that has ended; none if its log cannot be read."""
        time.sleep(LOG_SECONDS)
        with contextlib.suppress(OSError):
            return self._log(role).read_text(errors="replace").strip().splitlines()[-TAIL_LINES:]
        return []

    def _is_ready(self, child: RoleProcess) -> bool:
        if child.restart_at is not None:
            return False
        if child.role == "broker":
            return True
        if child.role == "api":
            return self._api_answers(child.process.pid)
        return self._ready_file(child.role).exists()

    def _api_answers(self, pid: int) -> bool:
        try:
            address = json.loads((self._settings.run_path / "api.json").read_text())
            host, _, port = address["url"].rpartition("/")[2].rpartition(":")
            host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host)
            with socket.create_connection((host, int(port)), timeout=1):
                return address["pid"] == pid
        except (OSError, ValueError, KeyError):
            return False

    def _stop_all(self) -> None:
        """End every process: SIGTERM to all but the broker, which the others still need, then SIGKILL to the rest."""
        children = [self._children[role] for role in reversed(list(ROLES)) if role in self._children]
        others = [child for child in children if child.role != "broker"]
        for child in others:
            child.process.send_signal(signal.SIGTERM)
        # At SIGTERM Celery ends its idle children; at SIGQUIT the others release their jobs (`tasks._stop_now`).
        for child in _wait(others, FINISH_SECONDS):
            child.process.send_signal(signal.SIGQUIT if "celery" in ROLES[child.role] else signal.SIGTERM)
        for child in _wait(others, RELEASE_SECONDS):
            log.warning("%s did not stop by itself", child.role)
        for child in children:
            kill_group(child.process.pid, signal.SIGTERM if child.role == "broker" else signal.SIGKILL)
        _wait(children, 1.0)
        for child in children:
            kill_group(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._ready_file(child.role).unlink(missing_ok=True)

    def _ready_file(self, role: str) -> Path:
        return self._settings.run_path / f"{role}.ready"

    def _log(self, role: str) -> Path:
        return self._settings.logs_path / f"{role}.log"


def kill_group(pid: int, number: int) -> None:
    """Send a signal to a child and whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _wait(children: Sequence[RoleProcess], seconds: float) -> list[RoleProcess]:
    """Wait for children to end, for ``seconds`` at most; return those that still run."""
    deadline = time.monotonic() + seconds
    while running := [child for child in children if child.process.poll() is None]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return running


def _copy_to_log(process: subprocess.Popen[bytes], path: Path) -> None:
    """Copy a child's output into a log that is rotated before it fills the disk."""
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", errors="replace")
    assert process.stdout is not None
    for line in process.stdout:
        if text := line.decode("utf-8", "replace").rstrip():  # Celery prints empty lines
            handler.emit(logging.makeLogRecord({"msg": text, "levelno": logging.INFO}))
    handler.close()
