"""The owner's end of the zygote: start it when needed, pass it one document, read one answer within the limits."""

from __future__ import annotations

import array
import contextlib
import dataclasses
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
from pathlib import Path

from pipeline.errors import Unavailable
from pipeline.offline import SWITCHES
from pipeline.parse.confine import sandbox_level
from pipeline.parse.protocol import ChildExit, ParseRequest, Receiver, SandboxSupport

#: seconds that a zygote may take to import the readers on a loaded machine
START_SECONDS = 180.0
#: seconds between the order to kill a child and the end of its zygote, should the monitor not obey
GRACE_SECONDS = 5.0

_ENVIRONMENT = {
    # readers/language.py chooses the language detector itself
    **{k: v for k, v in SWITCHES.items() if k != "UNSTRUCTURED_USE_LANGDETECT_RS"},
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


class Zygote:
    """Owns one warm process, restarted after its death or a fork of its owner. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        #: what the running process reported; nothing before the first start
        self.support = SandboxSupport()
        _live.add(self)

    @property
    def sandbox_level(self) -> str:
        """One of "strong", "medium" and "weak"; starts the process if it is not running."""
        self._ensure()
        return sandbox_level(self.support.network_isolated, self.support.landlock > 0)

    def run(self, request: ParseRequest, content: int, receiver: Receiver) -> ChildExit | None:
        """Have one document read, feed the answer to ``receiver``, and return how the child ended.

        None means that the zygote itself was lost. Raises what ``receiver.feed`` raises, after the child was killed;
        Unavailable("internal") if the zygote does not start.
        """
        output, child_output = socket.socketpair()
        report, monitor_report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with output, report:
            try:
                process = self._send(request, [content, child_output.fileno(), monitor_report.fileno()])
            finally:
                child_output.close()
                monitor_report.close()
            if process is None:
                return None
            child = _AnswerReader(output, report, request.limits.wall_seconds, receiver).run()
            if child is None:
                self._kill(process)
            return child

    def stop(self) -> None:
        """End the process and everything that it started."""
        with self._lock:
            self._discard()

    def after_fork(self) -> None:
        """Forget the parent's zygote without touching it; called in a forked child of the owner."""
        self._lock = threading.Lock()
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.returncode = 0  # only the parent can wait for it
        self._process = self._control = None

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a zygote whose monitor did not obey, and all of its descendants."""
        with self._lock:
            if process is self._process:
                self._discard()

    def _send(self, request: ParseRequest, handles: list[int]) -> subprocess.Popen[bytes] | None:
        """Pass a request and its handles to a running process. Return the process; None if three were lost."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))]
        for _ in range(3):
            process, control = self._ensure()
            try:
                control.sendmsg([request.to_json()], rights)
                return process
            except OSError:
                self._kill(process)
        return None

    def _ensure(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Return the running process and its control socket; start it if necessary."""
        with self._lock:
            if self._process is not None and self._control is not None and self._process.poll() is None:
                return self._process, self._control
            self._discard()
            control, zygote_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-P", "-m", "pipeline.parse.zygote"]
            with zygote_control:
                process = subprocess.Popen(
                    command,
                    stdin=zygote_control.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=_ENVIRONMENT,
                    cwd="/",
                    start_new_session=True,
                )
            self._process, self._control = process, control
            ready, _, _ = select.select([control], [], [], START_SECONDS)
            answer = control.recv(4096) if ready else b""
            if not answer:
                self._discard()
                raise Unavailable(
                    "internal", "The parsing process did not start; its message is in the log of this worker."
                )
            self.support = SandboxSupport(**json.loads(answer))
            return process, control

    def _discard(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._process.send_signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
        self._process = self._control = None


class _AnswerReader:
    """Reads one answer until the monitor reports the child's end, or does not obey the order to kill it."""

    def __init__(self, output: socket.socket, report: socket.socket, seconds: float, receiver: Receiver) -> None:
        self._output, self._report, self._receiver = output, report, receiver
        self._deadline = time.monotonic() + seconds
        self._hung_up = False
        self._late = False
        self._failure: Exception | None = None
        self._poll = select.poll()
        self._poll.register(output, select.POLLIN)
        self._poll.register(report, select.POLLIN)

    def run(self) -> ChildExit | None:
        """Return how the child ended; None if the monitor is gone or does not obey. Raises what the receiver raised."""
        while True:
            ready = {handle for handle, _ in self._poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000)}
            if not ready:
                if self._hung_up:
                    return None
                self._late = True
                self._hang_up()
            if self._output.fileno() in ready:
                self._read()
            if self._report.fileno() in ready:
                return self._finish(self._report.recv(4096))

    def _hang_up(self) -> None:
        """Order the monitor to kill the child."""
        if not self._hung_up:
            self._hung_up = True
            self._deadline = time.monotonic() + GRACE_SECONDS
            self._report.shutdown(socket.SHUT_WR)

    def _read(self) -> bool:
        """Feed the receiver what has arrived. Return False if nothing more is expected."""
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

    def _finish(self, report: bytes) -> ChildExit | None:
        """Read what the child sent before it ended, then decode the monitor's report."""
        if self._failure is None and not self._receiver.complete:
            self._output.setblocking(False)
            with contextlib.suppress(KeyError):
                while self._read():
                    pass
        if self._failure is not None:
            raise self._failure
        if not report:
            return None
        child = ChildExit(**json.loads(report))
        return dataclasses.replace(child, killed=child.killed or self._late)


def _forget_zygotes() -> None:
    for zygote in list(_live):
        zygote.after_fork()


os.register_at_fork(after_in_child=_forget_zygotes)
