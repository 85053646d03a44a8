"""Wake-ups: "there is a job", sent to the broker. A lost one costs a second, then the sweeper sends another."""

from __future__ import annotations

import logging
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.documents import QueueName
from workers.queue.broker import PREFIX, QUEUES, SENDER_TIMEOUT, socket_path

if TYPE_CHECKING:  # Celery and Redis' client are imported by whoever sends or counts
    import redis
    from celery import Celery

    from workers.settings import Settings

log = logging.getLogger(__name__)

#: Seconds without an attempt after a failure, so that a caller never waits for the broker twice.
PAUSE_SECONDS = 5.0
#: Seconds between two rounds of wake-ups for a queue.
NOTIFY_SECONDS = 0.2


class DueJobs(Protocol):
    """What `Notifier.notify` needs of the job store (`indexes.catalogue.jobs.JobStore`)."""

    def due(self, queue: QueueName, limit: int = 1000) -> list[str]:
        """Return the ids of the jobs that could be claimed now."""


class Notifier:
    """Sends job ids; thread-safe. Never raises because of the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: redis.Redis | None = None
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._notified_at: dict[QueueName, float] = {}

    @cached_property
    def _app(self) -> Celery:
        from workers.queue.app import make_app

        return make_app(self._settings, SENDER_TIMEOUT, sender=True)

    def send(self, queue: QueueName, job_id: str) -> bool:
        """Wake a worker up for one job. Return False if the broker does not take the message now."""
        if time.monotonic() < self._paused_until:
            return False
        from kombu.exceptions import OperationalError
        from redis import RedisError

        try:
            with self._lock:
                self._app.send_task(f"mailroom.{queue}", args=[job_id], queue=str(queue), retry=False)
            return True
        except (OperationalError, RedisError, OSError) as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            log.warning("the broker took no wake-up (%s); the sweeper will send it", type(error).__name__)
            return False

    def notify(self, job_store: DueJobs, queue: QueueName) -> None:
        """Send wake-ups for the oldest due jobs, one for each worker process, at most every ``NOTIFY_SECONDS``.

        That is enough: a worker that is awake goes on to the next job by itself.
        """
        if time.monotonic() - self._notified_at.get(queue, 0.0) < NOTIFY_SECONDS:
            return
        self._notified_at[queue] = time.monotonic()
        for job_id in job_store.due(queue, self._settings.workers.concurrency):
            self.send(queue, job_id)

    def waiting(self) -> dict[str, int] | None:
        """Return the number of wake-ups in each queue, or None if the broker does not answer."""
        if self._settings.broker_is_embedded and not socket_path(self._settings).exists():
            return None
        from redis import RedisError

        try:
            self._client = self._client or connect(self._settings)
            return {queue: waiting_in(self._client, queue) for queue in QUEUES}
        except (RedisError, OSError):
            return None


def connect(settings: Settings) -> redis.Redis:
    """Return a client of the broker's server, which fails at once instead of trying three times with pauses."""
    import redis

    times: dict[str, Any] = {"socket_timeout": SENDER_TIMEOUT, "socket_connect_timeout": SENDER_TIMEOUT, "retry": None}
    if settings.broker_is_embedded:
        return redis.Redis(unix_socket_path=str(socket_path(settings)), **times)
    return redis.Redis.from_url(settings.broker.url.replace("redis+socket://", "unix://", 1), **times)


def waiting_in(client: redis.Redis, queue: str) -> int:
    """Return the number of wake-ups in a queue. Raises redis.RedisError if the broker does not answer."""
    return int(client.llen(PREFIX + queue))
