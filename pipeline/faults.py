"""Failpoints: places where a test can make a process die, stop or fail. Without an order they cost one comparison.

An order is ``POINT:ACTION`` or ``POINT:ACTION:ABOUT``; several are separated by commas. Actions are kill (SIGKILL to
this process), exit, error (an unexpected exception), eio (OSError) and sleep=SECONDS. ``ABOUT`` limits the order to
subjects that contain it. ``POINT:ACTION:ABOUT@FILE`` is executed once: the file records that it was. The entry point of
a process arms it (`workers.run`, from MAILROOM_FAULT); nothing here reads the environment.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FaultOrder:
    """An action to execute at ``point``; ``once`` is the file that marks a one-time order as executed."""

    point: str
    action: str
    about: str = ""
    once: str = ""

    @classmethod
    def parse(cls, text: str) -> FaultOrder:
        """Parse ``POINT:ACTION[:ABOUT][@FILE]``. Raises ValueError if malformed."""
        order, _, once = text.partition("@")
        point, _, rest = order.partition(":")
        action, _, about = rest.partition(":")
        if action not in ("kill", "exit", "error", "eio") and not action.startswith("sleep="):
            raise ValueError(f"{order!r} is not POINT:ACTION[:ABOUT][@FILE]")
        return cls(point, action, about, once)

    def execute(self) -> None:
        """Kill, stop or delay this process, or raise an error."""
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "exit":
            os._exit(1)
        elif self.action == "eio":
            raise OSError(errno.EIO, f"ordered at {self.point}")
        elif self.action.startswith("sleep="):
            time.sleep(float(self.action.removeprefix("sleep=")))
        else:
            raise RuntimeError(f"ordered at {self.point}")


_orders: tuple[FaultOrder, ...] = ()


def arm(text: str) -> tuple[FaultOrder, ...]:
    """Replace the orders of this process and of those that it forks; an empty text removes them. Raises ValueError for
    a malformed text."""
    global _orders
    _orders = tuple(FaultOrder.parse(part) for part in text.split(",") if part)
    return _orders


def fault(point: str, about: str = "") -> None:
    """Do nothing, unless an order names this point and its subject contains the order's ``about``."""
    for order in _orders:
        if order.point == point and order.about in about and _is_first_time(order):
            order.execute()


def _is_first_time(order: FaultOrder) -> bool:
    if not order.once:
        return True
    try:
        os.close(os.open(order.once, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return Path(order.once).exists()
