"""Hints: "there is a job", sent to the broker. A hint that is lost costs a second; the sweeper sends another."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from pipeline.documents import QueueName
from workers.queue.app import PREFIX, QUEUES, SENDER_PATIENCE, make_app
from workers.queue.broker import socket_path
from workers.settings import Settings

log = logging.getLogger(__name__)

#: After a failure the broker is left alone for this long, so that a caller never waits for it twice.
REST_SECONDS = 5.0
NOTIFY_EVERY = 0.2


class DueJobs(Protocol):
    """The jobs that can be claimed now: see `indexes.catalogue.jobs.JobStore.due`."""

    def due(self, queue: QueueName, limit: int = 1000) -> list[str]: ...


class Notifier:
    """Sends job ids; thread-safe. Never raises because of the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Celery = make_app(settings, SENDER_PATIENCE, sender=True)
        self._client: redis.Redis | None = None
        self._lock = threading.Lock()
        self._rest_until = 0.0
        self._nudged: dict[QueueName, float] = {}

    def send(self, queue: QueueName, job_id: str) -> bool:
        """True when the broker took the hint."""
        if time.monotonic() < self._rest_until:
            return False
        try:
            with self._lock:
                self._app.send_task(f"mailroom.{queue}", args=[job_id], queue=str(queue), retry=False)
            return True
        except (OperationalError, redis.RedisError, OSError) as error:
            self._rest_until = time.monotonic() + REST_SECONDS
            log.warning("the broker took no hint (%s); the sweeper will send it", type(error).__name__)
            return False

    def notify(self, job_store: DueJobs, queue: QueueName) -> None:
        """Hint at the oldest due jobs, one for each worker process, at most every ``NUDGE_EVERY`` seconds: a worker that
        is awake goes on by itself."""
        if time.monotonic() - self._nudged.get(queue, 0.0) < NOTIFY_EVERY:
            return
        self._nudged[queue] = time.monotonic()
        for job_id in job_store.due(queue, self._settings.workers.concurrency):
            self.send(queue, job_id)

    def waiting(self) -> dict[str, int] | None:
        """Hints in each queue, or None when the broker does not answer."""
        try:
            client = self._connection()
            return {queue: int(client.llen(PREFIX + queue)) for queue in QUEUES}
        except (redis.RedisError, OSError):
            return None

    def _connection(self) -> redis.Redis:
        if self._client is None:
            self._client = connect(self._settings)
        return self._client


def connect(settings: Settings) -> redis.Redis:
    """A client of the broker's server."""
    # redis-py tries three times with pauses by itself; who asks here would rather know.
    times = {"socket_timeout": SENDER_PATIENCE, "socket_connect_timeout": SENDER_PATIENCE, "retry": None}
    if settings.broker_is_embedded:
        return redis.Redis(unix_socket_path=str(socket_path(settings)), **times)
    return redis.Redis.from_url(settings.broker.url.replace("redis+socket://", "unix://", 1), **times)
