"""The Celery application. Its messages only wake workers up: one job id in JSON, acknowledged late, no results kept.

Each setting prevents a loss of messages that was reported elsewhere; docs/decisions/0008 names the reports.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue

from workers.queue import transport
from workers.queue.broker import PREFIX, QUEUES, WORKER_TIMEOUT, broker_url
from workers.settings import Settings

#: Seconds that a task may take. A last resort: the parser's child has its own, shorter limits.
TIME_LIMIT = 900


def make_app(settings: Settings, timeout: float = WORKER_TIMEOUT, sender: bool = False) -> Celery:
    """Return an application bound to the broker of the settings.

    Args:
        timeout: seconds that it waits for the broker's answer.
        sender: it only publishes. A broker that does not answer is then an error at once, and is not waited for.
    """
    transport.install()
    app = Celery("mailroom", broker=broker_url(settings))
    app.conf.update(
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,  # the outcome is in the job store; the sweeper decides, not the broker
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        task_default_queue="ingest",
        task_create_missing_queues=False,
        task_routes={f"mailroom.{queue}": {"queue": queue} for queue in QUEUES},
        task_time_limit=TIME_LIMIT,
        task_soft_time_limit=TIME_LIMIT - 60,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=500,
        worker_max_memory_per_child=1_500_000,  # KiB, checked after a task: against leaks, not a limit for one task
        worker_proc_alive_timeout=120.0,  # a child loads its models before it reports that it is ready
        worker_cancel_long_running_tasks_on_connection_loss=False,  # lease and fence make the duplicate harmless
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(timeout, sender),
        timezone="UTC",
    )
    return app


def _transport_options(timeout: float, sender: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "visibility_timeout": 2 * TIME_LIMIT,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, 5),
        "socket_keepalive": True,
        "health_check_interval": 25,
        "global_keyprefix": PREFIX,
    }
    if sender:
        # Without these, kombu tries to connect forever, in the caller's thread.
        options |= {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    return options
