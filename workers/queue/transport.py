"""Kombu's transport for Redis, which passes on nothing but wake-ups.

Kombu raises on an entry that is not JSON or lacks a field, and that ends the whole Celery worker. Here whatever is not
a wake-up is dropped with a line in the log, and Celery gets a message that is built anew: of an entry only the task,
its ids and the job's id are used.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from typing import Any

from kombu import transport as transports
from kombu.transport import redis

log = logging.getLogger(__name__)

#: What reading an entry of another shape raises.
_BAD_ENTRY = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
_ID = re.compile(r"[A-Za-z0-9_.:@-]{1,200}")
_NO_LINKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def wake_up(message: Any, queue: str) -> dict[str, Any] | None:
    """Return the message for Celery that an entry of ``queue`` stands for, or None if it is not a wake-up."""
    try:
        task, task_id = message["headers"]["task"], message["headers"]["id"]
        tag, body = message["properties"]["delivery_tag"], base64.b64decode(message["body"], validate=True)
        (job_id,) = json.loads(body)[0]
        if task != f"mailroom.{queue}" or not all(_ID.fullmatch(name) for name in (task_id, tag, job_id)):
            return None
    except (*_BAD_ENTRY, binascii.Error):
        return None
    return {
        "body": base64.b64encode(json.dumps([[job_id], {}, _NO_LINKS]).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": task_id, "root_id": task_id, "argsrepr": "", "kwargsrepr": ""},
        "properties": {
            "correlation_id": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": queue, "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": tag,
        },
    }


class QoS(redis.QoS):
    """Restores what a lost worker had not acknowledged."""

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put an entry back into its queue; one that cannot be read is dropped."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except _BAD_ENTRY as error:
            log.error("an entry that was not acknowledged is dropped: it is not a wake-up (%s)", type(error).__name__)
            with self.channel.conn_or_acquire(client) as connection:
                connection.zrem(self.unacked_index_key, tag)
                connection.hdel(self.unacked_key, tag)


class Channel(redis.Channel):
    """Reads entries from the queues' lists."""

    QoS = QoS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, RecursionError) as error:  # of the JSON: `_deliver` checks all the rest
            log.error("an entry of a queue is dropped: it is not JSON (%s)", type(error).__name__)
            return True


class Transport(redis.Transport):
    """The transport that Celery's connections use here."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        checked = wake_up(message, queue)
        if checked is None:
            log.error("an entry of the queue %s is dropped: it is not a wake-up", queue)
        else:
            super()._deliver(checked, queue)


def install() -> None:
    """Make this the transport of redis:// URLs in this process."""
    for scheme in ("redis", "rediss"):
        transports.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
        transports._transport_cache.pop(scheme, None)
