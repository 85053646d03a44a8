"""Holding a lease while the work goes on, and giving the job back when the process is told to stop."""

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
    """What is done to a lease while the work goes on: see `indexes.catalogue.jobs.JobStore`."""

    def renew(self, job: Job, seconds: float) -> bool: ...

    def release(self, job: Job, delay: float, reason: str, detail: str, counted: bool = True) -> bool: ...


def owner() -> str:
    """Who holds a lease, for people who look."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def heartbeat(leases: Leases, job: Job, seconds: float) -> Iterator[None]:
    """Renew the lease at a third of its length until the block ends.

    A lost lease is only logged: the fence in the commit is what keeps a late worker from doing harm. A block that ends
    by SystemExit or KeyboardInterrupt was told to stop: the job goes back at once, uncounted, since the document has
    done nothing wrong.
    """
    over = threading.Event()
    thread = threading.Thread(target=_beat, args=(leases, job, seconds, over), daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        _hand_back(leases, job)
        raise
    finally:
        over.set()
        thread.join()


def _hand_back(leases: Leases, job: Job) -> None:
    try:
        leases.release(job, 0.0, "internal", "the worker was stopped", counted=False)
    except MailroomError as error:
        log.warning("job %s not handed back, its lease will run out: %s", job.id, error)


def _beat(leases: Leases, job: Job, seconds: float, over: threading.Event) -> None:
    while not over.wait(seconds / 3):
        try:
            if not leases.renew(job, seconds):
                log.warning("the lease of job %s has passed on; what is still done here will be discarded", job.id)
                return
        except MailroomError as error:
            log.warning("lease of job %s not renewed: %s", job.id, error)
