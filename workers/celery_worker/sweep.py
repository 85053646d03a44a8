"""The sweeper: sends wake-ups for due jobs, so that the loss of a message, worker or broker never loses a document."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from pipeline.documents import QueueName
from pipeline.errors import MailroomError
from workers.queue.notify import Notifier
from workers.queue.process import StopSignal
from workers.services.audit import AuditAnchor

if TYPE_CHECKING:
    from indexes.catalogue.jobs import JobStore
    from workers.services.retention import RetentionService

log = logging.getLogger(__name__)

SERVED = (QueueName.INGEST, QueueName.DELIVER, QueueName.RECLASSIFY)
#: Most wake-ups in a queue: enough to keep every worker busy, few enough that a flood of jobs stays in the job store.
QUEUE_CAP = 64
#: Seconds between two sweeps of the retention rules.
RETENTION_SECONDS = 3600.0
#: No second wake-up is sent for a job within so many seconds, unless the queue is empty.
REMEMBER_SECONDS = 10.0


class Sweeper:
    """Sends wake-ups for due jobs every ``seconds``, keeps the anchor of the audit, and lets retention rules act."""

    def __init__(
        self,
        jobs: JobStore,
        notifier: Notifier,
        seconds: float,
        anchor: AuditAnchor,
        retention: RetentionService | None = None,
    ) -> None:
        self._retention, self._retention_due = retention, time.monotonic()
        self._jobs, self._notifier, self._seconds, self._anchor = jobs, notifier, seconds, anchor
        self._audit_is_whole = True
        self._sent_at: dict[str, float] = {}

    def run(self, stopping: StopSignal) -> None:
        """Sweep until a signal to stop arrives. Faults of the surroundings are logged."""
        while not stopping.wait(self._seconds):
            try:
                self.sweep()
                self.anchor()
                self.retain()
            except MailroomError as error:
                log.warning("sweep: %s", error)

    def retain(self) -> None:
        """Erase what the retention rules let go of and confirm themselves, once an hour."""
        if self._retention is not None and time.monotonic() >= self._retention_due:
            self._retention_due = time.monotonic() + RETENTION_SECONDS
            if count := self._retention.apply():
                log.info("%d documents whose time is over are being erased", count)

    def anchor(self) -> None:
        """Move the anchor of the audit forward, or report once that the audit is not what it was."""
        if (is_whole := self._anchor.advance()) != self._audit_is_whole and not is_whole:
            log.error("the audit was changed or cut off since %s was written: mailroom audit verify", self._anchor.path)
        self._audit_is_whole = is_whole

    def sweep(self) -> int:
        """Send wake-ups for due jobs; return how many were sent."""
        waiting = self._notifier.waiting()
        if waiting is None:
            return 0
        now = time.monotonic()
        self._sent_at = {job: at for job, at in self._sent_at.items() if now - at < REMEMBER_SECONDS}
        sent = 0
        for queue in SERVED:
            if (room := QUEUE_CAP - waiting[str(queue)]) <= 0:
                continue
            due = self._jobs.due(queue, room + len(self._sent_at))
            # If the queue is empty, earlier wake-ups are lost (FLUSHALL, a killed worker): they are sent again.
            is_empty = waiting[str(queue)] == 0
            for job in [job for job in due if is_empty or job not in self._sent_at][:room]:
                if not self._notifier.send(queue, job):
                    break
                self._sent_at[job] = now
                sent += 1
        return sent
