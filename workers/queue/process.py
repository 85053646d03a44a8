"""Processes: their end together with their parent, and signals to stop."""

from __future__ import annotations

import ctypes
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1
#: Exit status of a role whose settings cannot be used (EX_CONFIG): a restart would not help.
EXIT_MISCONFIGURED = 78


def die_with_parent(signal_number: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel to signal this process when the thread that started it ends (Linux).

    ``parent`` is the id of the expected parent process: if that has ended already, the signal is sent at once.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


class StopSignal:
    """True once SIGTERM or SIGINT has arrived."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._event.set())

    def __bool__(self) -> bool:
        return self._event.is_set()

    def is_set(self) -> bool:
        """Return True once a signal has arrived: the method that threading.Event has."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds`` or until a signal arrives. Return True if one has arrived."""
        return self._event.wait(seconds)
