"""Hold a lease while a job is being worked on, and release the job when the process is stopped."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pipeline.documents import Job
from pipeline.errors import MailroomError

log = logging.getLogger(__name__)


class Leases(Protocol):
    """What a heartbeat needs of the job store (`indexes.catalogue.jobs.JobStore`)."""

    def renew(self, job: Job, seconds: float) -> bool:
        """Extend the lease; return False if another process has it."""

    def release(self, job: Job, delay: float, reason: str, detail: str, counted: bool = True) -> bool:
        """Release the job, due after ``delay`` seconds; ``counted`` is whether the attempt counts."""


def owner() -> str:
    """Return the name of this process as the holder of leases, for people who look at jobs."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def heartbeat(leases: Leases, job: Job, seconds: float) -> Iterator[None]:
    """Renew the lease at a third of its length until the block ends.

    A lost lease is only logged: the fence in the commit keeps a late worker from doing harm. If the block ends by
    SystemExit or KeyboardInterrupt, the process was stopped: the job is released at once and the attempt is not
    counted, since the document is not at fault.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_renew_until, args=(ended, leases, job, seconds), daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        try:
            leases.release(job, 0.0, "internal", "the worker was stopped", counted=False)
        except MailroomError as error:
            log.warning("job %s was not released, its lease will expire: %s", job.id, error)
        raise
    finally:
        ended.set()
        thread.join()


def _renew_until(ended: threading.Event, leases: Leases, job: Job, seconds: float) -> None:
    while not ended.wait(seconds / 3):
        try:
            if not leases.renew(job, seconds):
                log.warning("another worker has the lease of job %s; the result of this one will be discarded", job.id)
                return
        except MailroomError as error:
            log.warning("lease of job %s not renewed: %s", job.id, error)
