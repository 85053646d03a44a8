"""The watchdog of a Celery worker.

A consumer that lost its broker has more than once stayed connected to nothing and idle forever (celery issues 8030 and
10205, kombu issue 2629). If wake-ups wait while nothing runs and nothing is started for a minute, the process ends, and
its supervisor starts it again.
"""

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

from workers.queue.notify import connect, waiting_in
from workers.settings import Settings

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
CHECK_SECONDS = 5.0


class Watchdog:
    """Decides whether a worker has ignored wake-ups for too long.

    Args:
        waiting: returns the number of wake-ups in the worker's queues.
        started: returns the number of tasks that the worker has started so far.
        is_busy: returns True while a task runs.
    """

    def __init__(self, waiting: Callable[[], int], started: Callable[[], int], is_busy: Callable[[], bool]) -> None:
        self._waiting, self._started, self._is_busy = waiting, started, is_busy
        self._last_started = started()
        self._idle_since: float | None = None

    def is_stuck(self, now: float) -> bool:
        """Return True if wake-ups have waited ``IDLE_SECONDS`` and no task was started. ``now``: monotonic seconds."""
        started, last = self._started(), self._last_started
        self._last_started = started
        if started != last or self._is_busy() or not self._waiting():
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = now
        return now - self._idle_since >= IDLE_SECONDS


def install(settings: Settings, queues: tuple[str, ...]) -> None:
    """Watch this Celery worker from a thread of its main process, once it is ready."""

    def start(**_: Any) -> None:
        threading.Thread(target=_watch, args=(settings, queues), daemon=True, name="watchdog").start()

    worker_ready.connect(start, weak=False)


def _watch(settings: Settings, queues: tuple[str, ...]) -> None:
    client = connect(settings)

    def waiting() -> int:
        try:
            return sum(waiting_in(client, queue) for queue in queues)
        except (redis.RedisError, OSError):
            return 0  # without a broker there are no wake-ups, and Celery reconnects by itself

    watchdog = Watchdog(waiting, lambda: sum(state.total_count.values()), lambda: bool(state.active_requests))
    while not watchdog.is_stuck(time.monotonic()):
        time.sleep(CHECK_SECONDS)
    log.error("wake-ups are waiting and no task was started for %.0f s: this worker ends to be restarted", IDLE_SECONDS)
    os._exit(1)
