"""The Celery tasks: claim by id, run, look for more. A few lines each; the work is elsewhere."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown

from pipeline.documents import Job, Lane
from workers.assemble import House
from workers.lease import heartbeat, owner
from workers.process import die_with_parent
from workers.settings import Settings

log = logging.getLogger(__name__)

#: After its hinted job a worker goes on with due ones for this long, which saves a round trip by the broker for each;
#: then it answers the broker again, so that other queues get their turn.
LINGER_SECONDS = 5.0


class Worker:
    """One worker process: its House, built after the fork since ONNX sessions and connections do not survive one."""

    def __init__(self, settings: Settings) -> None:
        self.house = House(settings)

    def run(self, lane: Lane, job_id: str) -> None:
        """The hinted job, and due ones of the same lane after it."""
        seconds = self.house.settings.workers.lease_seconds
        ledger = self.house.catalogue.ledger
        until = time.monotonic() + LINGER_SECONDS
        claimed = ledger.claim(lane, owner(), seconds, job_id=job_id)
        while claimed or time.monotonic() < until:
            claimed = claimed or ledger.claim(lane, owner(), seconds)
            if not claimed:
                return
            with heartbeat(ledger, claimed[0], seconds):
                self._execute(lane, claimed[0])
            claimed = []

    def _execute(self, lane: Lane, job: Job) -> None:
        runner = {
            Lane.INGEST: lambda: self.house.ingest,
            Lane.DELIVER: lambda: self.house.deliver,
            Lane.RECLASSIFY: lambda: self.house.reclassify,
        }[lane]()
        runner.run(job)


_worker: Worker | None = None


def register(app: Celery, settings: Settings) -> None:
    """Give the application its tasks; their names are part of the protocol and never change."""

    def start(**_: Any) -> None:
        global _worker
        die_with_parent()  # its Celery parent killed, it ends too: the lease runs out and no one works in the dark
        _worker = Worker(settings)

    def stop(**_: Any) -> None:
        if _worker is not None:
            _worker.house.close()

    worker_process_init.connect(start, weak=False)
    worker_process_shutdown.connect(stop, weak=False)

    for lane in (Lane.INGEST, Lane.DELIVER, Lane.RECLASSIFY):
        app.task(name=f"mailroom.{lane}")(_task(lane))


def _task(lane: Lane) -> Any:
    def task(job_id: str) -> None:
        if _worker is None:
            raise RuntimeError("the worker process was not initialised")
        _worker.run(lane, job_id)

    task.__name__ = str(lane)
    return task
