"""The Celery application. Messages are hints: one job id in JSON, acknowledged late, no results kept.

Each setting's reason is known from other people's lost documents; workers/README.md names them.
"""

from __future__ import annotations

from celery import Celery

from workers.broker import broker_url
from workers.settings import Settings

QUEUES = ("ingest", "deliver", "reclassify")
#: A backstop only: the parser's child has its own, shorter limits.
TIME_LIMIT = 900


def make_app(settings: Settings) -> Celery:
    """An application bound to the settings' broker."""
    app = Celery("mailroom", broker=broker_url(settings))
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,  # the outcome is in the ledger; the sweeper decides, not the broker
        task_routes={f"mailroom.{queue}": {"queue": queue} for queue in QUEUES},
        task_create_missing_queues=True,
        task_time_limit=TIME_LIMIT,
        task_soft_time_limit=TIME_LIMIT - 60,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=500,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # lease and fence make the duplicate harmless
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 2 * TIME_LIMIT,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "global_keyprefix": "mailroom:",
        },
        timezone="UTC",
    )
    return app
