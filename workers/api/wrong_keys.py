"""Wrong keys, counted by the address that sends them; an address with too many is slowed."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter

from pipeline.errors import Refused

K = TypeVar("K")
V = TypeVar("V")
log = logging.getLogger(__name__)

#: Addresses, and pairs of address and correct key, that are remembered; beyond them the oldest are forgotten.
MAX_REMEMBERED = 10_000
#: Seconds after which an address has all its attempts back, and between two lines of the log.
WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class WrongKeys:
    """Counts wrong keys by address. May be called by several threads at once.

    An address may send ``per_minute`` wrong keys at once, and then one for each share of a minute; 0 switches that off.
    A key that was correct from an address before works there meanwhile, so nobody behind a common proxy is locked out
    by others.
    """

    per_minute: int
    total: Counter
    _lock: Lock = field(default_factory=Lock)
    #: address -> when all its attempts are back, by `time.monotonic`
    _full_at: dict[str, float] = field(default_factory=dict)
    _correct: dict[tuple[str, bytes], None] = field(default_factory=dict)
    _logged_at: float = -math.inf

    @classmethod
    def of(cls, per_minute: int, registry: CollectorRegistry) -> WrongKeys:
        """Return an empty count whose metric is in the registry."""
        text = "Wrong API keys: refused, or not looked at since their address was slowed"
        return cls(per_minute, Counter("mailroom_wrong_keys", text, ("outcome",), registry=registry))

    def check(self, address: str, secret: str) -> None:
        """Raise Refused("too-many-requests") if the address is slowed and the key was not correct from there before."""
        with self._lock:
            seconds = self._seconds_to_wait(address, time.monotonic())
            if seconds <= 0 or (address, _digest(secret)) in self._correct:
                return
        self.total.labels("slowed").inc()
        error = Refused("too-many-requests", "There were many wrong keys from this address; try again in a moment.")
        error.retry_after = math.ceil(seconds)
        raise error

    def count(self, address: str, secret: str, correct: bool) -> None:
        """Count a key that was looked up: correct, or wrong."""
        with self._lock:
            if correct:
                _remember(self._correct, (address, _digest(secret)), None)
                return
            self.total.labels("refused").inc()
            self._correct.pop((address, _digest(secret)), None)
            if not self.per_minute:
                return
            now = time.monotonic()
            full_at = max(self._full_at.pop(address, now), now) + WINDOW_SECONDS / self.per_minute
            _remember(self._full_at, address, full_at)
            if self._seconds_to_wait(address, now) > 0 and now - self._logged_at > WINDOW_SECONDS:
                self._logged_at = now
                log.warning("%s sent %d wrong API keys within a minute, and is slowed", address, self.per_minute)

    def _seconds_to_wait(self, address: str, now: float) -> float:
        if not self.per_minute:
            return 0.0
        # The bucket as one number: each wrong key moves the moment at which all attempts are back.
        return self._full_at.get(address, now) - now + WINDOW_SECONDS / self.per_minute - WINDOW_SECONDS


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
