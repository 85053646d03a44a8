"""Small things about processes."""

from __future__ import annotations

import ctypes
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1
#: Exit status of a role whose settings cannot be used (EX_CONFIG): starting it again would not help.
MISCONFIGURED = 78


def die_with_parent(signal_number: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel to end this process when the thread that started it does (Linux). ``parent`` is the process that
    should be there: where it has gone already, there is nobody left whose end could be told."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


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
