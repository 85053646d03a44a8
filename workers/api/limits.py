"""What one key may ask for at a time, and a short line for requests that take seconds.

Everything here runs on the event loop, so nothing needs a lock. The numbers are those of one API process.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
from fastapi import Depends, Request

from pipeline.errors import Refused, Unavailable
from workers.settings import ApiSettings

#: Requests in progress, beyond which a further one is refused. Connections without a request do not count.
MAX_REQUESTS = 256
#: Places in line for each expensive request that runs.
LINE = 8
#: Seconds in line after which a request is refused.
MAX_WAIT_SECONDS = 30.0
#: Threads that check keys, and those that answer for health: neither waits for any other request.
KEY_CHECKS, HEALTH_CHECKS = 8, 2
#: Seconds of its rate that a key may save up.
BURST_SECONDS = 2.0
#: Keys whose rate is remembered; beyond them, those that have been silent the longest are forgotten.
MAX_KEYS = 10_000


@contextmanager
def _counted(counter: Counter[str], key_id: str) -> Iterator[None]:
    counter[key_id] += 1
    try:
        yield
    finally:
        counter[key_id] -= 1
        if not counter[key_id]:
            del counter[key_id]  # so that it holds only keys with requests


@dataclass(slots=True)
class KeyLimits:
    """The requests of each key: at a time, and a second. ``rate`` 0 switches the second limit off."""

    concurrent: int
    rate: float
    _running: Counter[str] = field(default_factory=Counter)
    #: key -> when its saved-up requests are all back, by `time.monotonic`
    _full_at: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def request(self, key_id: str) -> Iterator[None]:
        """Count a request of the key for as long as it runs.

        Raises Refused("too-many-requests") for a key over one of its limits, Unavailable("overloaded") over the
        limit of all.
        """
        if self._running.total() >= MAX_REQUESTS:
            raise Unavailable("overloaded")
        if self._running[key_id] >= self.concurrent:
            detail = f"This key has {self.concurrent} requests in progress, its limit; wait for one of them."
            raise Refused("too-many-requests", detail)
        self._spend(key_id, time.monotonic())
        with _counted(self._running, key_id):
            yield

    def _spend(self, key_id: str, now: float) -> None:
        if not self.rate:
            return
        # A token bucket as one number: each request moves the moment at which the bucket is full again.
        full_at = max(self._full_at.pop(key_id, now), now) + 1 / self.rate
        if full_at - now > max(BURST_SECONDS, 1 / self.rate):
            self._full_at[key_id] = full_at - 1 / self.rate
            detail = f"This key may send {self.rate:g} requests a second; wait a moment."
            raise Refused("too-many-requests", detail)
        self._full_at[key_id] = full_at
        if len(self._full_at) > MAX_KEYS:
            del self._full_at[next(iter(self._full_at))]


class ExpensiveRequests:
    """Lets a few of the requests that take seconds run, and a few more wait, at most half of them from one key."""

    def __init__(self, running: int) -> None:
        self._slots = anyio.Semaphore(running)
        self._places = running * (1 + LINE)
        self._by_key: Counter[str] = Counter()

    @asynccontextmanager
    async def slot(self, key_id: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the end of the block.

        Raises Refused("too-many-requests") for a key that has half of all places, Unavailable("overloaded") if all
        places are taken or the turn does not come in time.
        """
        if self._by_key[key_id] >= self._places // 2:
            detail = f"This key has {self._by_key[key_id]} requests of this kind in line; wait for one of them."
            raise Refused("too-many-requests", detail)
        if self._by_key.total() >= self._places:
            raise Unavailable("overloaded")
        with _counted(self._by_key, key_id):
            with anyio.move_on_after(MAX_WAIT_SECONDS) as wait:
                await self._slots.acquire()
            if wait.cancelled_caught:
                raise Unavailable("overloaded")
            try:
                yield
            finally:
                self._slots.release()


@dataclass(slots=True)
class Limits:
    """The limits of one application."""

    keys: KeyLimits
    expensive: ExpensiveRequests
    key_checks: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(KEY_CHECKS))
    health_checks: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(HEALTH_CHECKS))

    @classmethod
    def of(cls, settings: ApiSettings) -> Limits:
        """Return the limits that the settings describe."""
        running = settings.expensive_requests or max(1, (os.cpu_count() or 1) // 2)
        keys = KeyLimits(settings.max_requests_per_key, settings.requests_per_second_per_key)
        return cls(keys, ExpensiveRequests(running))


async def wait_for_slot(request: Request) -> AsyncIterator[None]:
    """Hold a slot for expensive requests until the route has its result. Raises what `ExpensiveRequests.slot` does."""
    limits: Limits = request.app.state.app_state.limits
    async with limits.expensive.slot(request.scope["access"].caller.key_id):
        if await request.is_disconnected():  # it gave up while it was in line
            raise Refused("request-timeout", "The client left before its turn came.")
        yield


#: For a route that takes seconds of a processor: `dependencies=[EXPENSIVE]`.
EXPENSIVE = Depends(wait_for_slot, scope="function")
