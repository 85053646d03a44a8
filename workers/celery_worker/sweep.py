"""The sweeper: hints again at every job that is due, so that no lost message, worker or broker ever loses a document."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from pipeline.documents import QueueName
from pipeline.errors import MailroomError
from workers.queue.notify import Notifier
from workers.queue.process import Stopping

if TYPE_CHECKING:
    from indexes.catalogue.jobs import JobStore

log = logging.getLogger(__name__)

SERVED = (QueueName.INGEST, QueueName.DELIVER, QueueName.RECLASSIFY)
#: Hints in a queue at most: enough to keep every worker busy, few enough that a flood of jobs stays in the job store.
QUEUE_CAP = 64
#: A job hinted less than this long ago is not hinted again, unless the queue is empty.
REMEMBER_SECONDS = 10.0


class Sweeper:
    """`sweep` once, or `run` until told to stop."""

    def __init__(self, job_store: JobStore, notifier: Notifier, seconds: float) -> None:
        self._jobs, self._hints, self._seconds = job_store, notifier, seconds
        self._hinted: dict[str, float] = {}

    def run(self, stopping: Stopping) -> None:
        while not stopping.wait(self._seconds):
            try:
                self.sweep()
            except MailroomError as error:
                log.warning("sweep: %s", error)

    def sweep(self) -> int:
        """Send hints for due jobs; returns how many."""
        waiting = self._hints.waiting()
        if waiting is None:
            return 0
        now = time.monotonic()
        self._hinted = {job: at for job, at in self._hinted.items() if now - at < REMEMBER_SECONDS}
        return sum(self._sweep_lane(queue, waiting[str(queue)], now) for queue in SERVED)

    def _sweep_lane(self, queue: QueueName, waiting: int, now: float) -> int:
        room = QUEUE_CAP - waiting
        if room <= 0:
            return 0
        due = self._jobs.due(queue, room + len(self._hinted))
        # With an empty queue what was hinted before is lost (FLUSHALL, a killed worker): say it again.
        fresh = [job for job in due if waiting == 0 or job not in self._hinted][:room]
        sent = 0
        for job in fresh:
            if not self._hints.send(queue, job):
                break
            self._hinted[job] = now
            sent += 1
        return sent
