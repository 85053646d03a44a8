"""Celery's watchdog. A consumer that lost its broker has more than once stayed connected to nothing, idle for ever
(celery 8030, 10205; kombu 2629). Hints waiting, nothing running and nothing begun for a minute: the process ends, and
whoever supervises it starts it again."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from celery.signals import worker_ready
from celery.worker import state

from workers.queue.app import PREFIX
from workers.queue.notify import connect
from workers.settings import Settings

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
LOOK_SECONDS = 5.0


class Watchdog:
    """`look` says whether this worker has slept through hints for too long."""

    def __init__(self, waiting: Callable[[], int], begun: Callable[[], int], busy: Callable[[], bool]) -> None:
        self._waiting, self._begun, self._busy = waiting, begun, busy
        self._last = begun()
        self._since: float | None = None

    def look(self, now: float) -> bool:
        """``now`` in monotonic seconds. True when hints wait and nothing has been begun for ``IDLE_SECONDS``."""
        begun, last = self._begun(), self._last
        self._last = begun
        if begun != last or self._busy() or not self._waiting():
            self._since = None
            return False
        self._since = self._since if self._since is not None else now
        return now - self._since >= IDLE_SECONDS


def install(settings: Settings, queues: tuple[str, ...]) -> None:
    """Watch this Celery worker from a thread of its main process, once it is ready."""

    def start(**_: Any) -> None:
        threading.Thread(target=_watch, args=(settings, queues), daemon=True, name="watchdog").start()

    worker_ready.connect(start, weak=False)


def _watch(settings: Settings, queues: tuple[str, ...]) -> None:
    client = connect(settings)

    def waiting() -> int:
        try:
            return sum(int(client.llen(PREFIX + queue)) for queue in queues)
        except (redis.RedisError, OSError):
            return 0  # no broker, no hints: Celery's own reconnection is at work

    dog = Watchdog(waiting, lambda: sum(state.total_count.values()), lambda: bool(state.active_requests))
    while not dog.look(time.monotonic()):
        time.sleep(LOOK_SECONDS)
    log.error("hints are waiting and nothing was begun for %.0f s: this worker ends to be started anew", IDLE_SECONDS)
    os._exit(1)
