"""Small things about processes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import threading
from pathlib import Path
from types import TracebackType
from typing import IO

from pipeline.errors import Refused

_PR_SET_PDEATHSIG = 1
#: Exit status of a role whose settings cannot be used (EX_CONFIG): starting it again would not help.
MISCONFIGURED = 78


def die_with_parent(signal_number: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel to end this process when the thread that started it does (Linux). ``parent`` is the process that
    should be there: where it has gone already, there is nobody left whose end could be told."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


class OnlyOne:
    """A file lock that one process holds; a second one is Refused("conflict"). The kernel gives it back at death."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what
        self._file: IO[str] | None = None

    def __enter__(self) -> OnlyOne:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Refused("conflict", f"{self._what} is running already (it holds {self._path}).") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


class Stopping:
    """True once SIGTERM or SIGINT came; `wait` sleeps until then or for a time."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._event.set())

    def __bool__(self) -> bool:
        return self._event.is_set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)
