"""The owner's end of the zygote: start it when needed, pass it one document, read one answer within the limits."""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import Unavailable
from pipeline.offline import SWITCHES
from pipeline.parse.confine import level
from pipeline.parse.limits import ParseLimits
from pipeline.parse.protocol import Receiver

#: seconds that a zygote may take to import the readers on a loaded machine
START_SECONDS = 180.0
#: seconds between telling a keeper to kill and giving up on its zygote
GRACE_SECONDS = 5.0

_ENVIRONMENT = {
    **{k: v for k, v in SWITCHES.items() if k != "UNSTRUCTURED_USE_LANGDETECT_RS"},  # languages are told by us
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}

_live: weakref.WeakSet[Zygote] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended. ``killed``: by its keeper (time, or the owner hung up). ``status`` is waitpid's."""

    status: int
    killed: bool
    rss_kb: int
    cpu: float

    @property
    def signal(self) -> int | None:
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else None


class Zygote:
    """One warm process. Safe to use from several threads; restarts by itself after a death or a fork of its owner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._pid = os.getpid()
        self.facts: Mapping[str, Any] = {}
        _live.add(self)

    @property
    def sandbox_level(self) -> str:
        """One of "strong", "medium" and "weak"; starts the process if it is not running."""
        self._ensure()
        return level(bool(self.facts.get("networkless")), bool(self.facts.get("landlock")))

    def run(self, request: Mapping[str, Any], content: int, limits: ParseLimits, receiver: Receiver) -> Ending | None:
        """Have one document read; the answer's frames go to ``receiver``. None when the zygote itself was lost.

        Raises what ``receiver.feed`` raises, after the child has been killed.
        """
        output, output_far = socket.socketpair()
        status, status_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with output, status:
            try:
                sent = self._send(request, [content, output_far.fileno(), status_far.fileno()])
            finally:
                output_far.close()
                status_far.close()
            if sent is None:
                return None
            ending = _Watch(output, status, limits.wall_seconds, receiver).run()
            if ending is None:
                self.kill(sent)
            return ending

    def stop(self) -> None:
        """End the process and everything that it started."""
        with self._lock:
            self._discard()

    def after_fork(self) -> None:
        """In a forked child of the owner: forget the owner's zygote without touching it."""
        self._lock = threading.Lock()
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.returncode = 0  # not ours to wait for
        self._process = self._control = None

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """A keeper did not obey: the zygote and all of its descendants go."""
        with self._lock:
            if process is self._process:
                self._discard()

    def _send(self, request: Mapping[str, Any], handles: list[int]) -> subprocess.Popen[bytes] | None:
        data = json.dumps(request).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))]
        for _ in range(3):
            process, control = self._ensure()
            try:
                control.sendmsg([data], rights)
                return process
            except OSError:
                self.kill(process)
        return None

    def _ensure(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        with self._lock:
            if self._process is None or self._control is None or self._process.poll() is not None:
                self._discard()
                self._start()
            return self._process, self._control

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "pipeline.parse.zygote"]
        with theirs:
            process = subprocess.Popen(
                command, stdin=theirs, stdout=subprocess.DEVNULL, env=_ENVIRONMENT, cwd="/", start_new_session=True
            )
        self._process, self._control = process, ours
        ready, _, _ = select.select([ours], [], [], START_SECONDS)
        answer = ours.recv(4096) if ready else b""
        if not answer:
            self._discard()
            raise Unavailable(
                "internal", "The parsing process did not start; its message is in the log of this worker."
            )
        self.facts = json.loads(answer)

    def _discard(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._process.send_signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
        self._process = self._control = None


class _Watch:
    """Reads one answer until its keeper has reported the child's end, or has been told to kill it in vain."""

    def __init__(self, output: socket.socket, status: socket.socket, seconds: float, receiver: Receiver) -> None:
        self._output, self._status, self._receiver = output, status, receiver
        self._deadline = time.monotonic() + seconds
        self._hung_up = False
        self._late = False
        self._failure: Exception | None = None
        self._poll = select.poll()
        self._poll.register(output, select.POLLIN)
        self._poll.register(status, select.POLLIN)

    def run(self) -> Ending | None:
        """The ending; None when the keeper is gone or does not obey. Raises what the receiver raised."""
        while True:
            ready = {handle for handle, _ in self._poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000)}
            if not ready:
                if self._hung_up:
                    return None
                self._late = True
                self._hang_up()
            if self._output.fileno() in ready:
                self._read()
            if self._status.fileno() in ready:
                return self._ended(self._status.recv(4096))

    def _hang_up(self) -> None:
        """Tell the keeper to kill."""
        if not self._hung_up:
            self._hung_up = True
            self._deadline = time.monotonic() + GRACE_SECONDS
            self._status.shutdown(socket.SHUT_WR)

    def _read(self) -> bool:
        """Take what has arrived; False at the end of the stream or once it is of no interest."""
        try:
            data = self._output.recv(1 << 20)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        try:
            self._receiver.feed(data)
        except Exception as error:
            self._failure = error
        if data and self._failure is None and not self._receiver.complete:
            return True
        self._poll.unregister(self._output)
        if self._failure is not None or self._receiver.complete:
            self._hang_up()
        return False

    def _ended(self, report: bytes) -> Ending | None:
        if self._failure is None and not self._receiver.complete:
            self._output.setblocking(False)
            with contextlib.suppress(KeyError):
                while self._read():
                    pass
        if self._failure is not None:
            raise self._failure
        if not report:
            return None
        facts = json.loads(report)
        return Ending(facts["status"], self._late or facts["killed"], facts["rss_kb"], facts["cpu"])


os.register_at_fork(after_in_child=lambda: [zygote.after_fork() for zygote in list(_live)])
