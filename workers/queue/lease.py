"""Holding a lease while the work goes on, and giving the job back when the process is told to stop."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.documents import Job
from pipeline.errors import MailroomError
from pipeline.ports import JobStore

log = logging.getLogger(__name__)


def owner() -> str:
    """Who holds a lease, for people who look."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def heartbeat(ledger: JobStore, job: Job, seconds: float) -> Iterator[None]:
    """Renew the lease at a third of its length until the block ends.

    A lost lease is only logged: the fence in the commit is what keeps a late worker from doing harm. A block that ends
    by SystemExit or KeyboardInterrupt was told to stop: the job goes back at once, uncounted, since the document has
    done nothing wrong.
    """
    over = threading.Event()
    thread = threading.Thread(target=_beat, args=(ledger, job, seconds, over), daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        _hand_back(ledger, job)
        raise
    finally:
        over.set()
        thread.join()


def _hand_back(ledger: JobStore, job: Job) -> None:
    try:
        ledger.release(job, 0.0, "internal", "the worker was stopped", counted=False)
    except MailroomError as error:
        log.warning("job %s not handed back, its lease will run out: %s", job.id, error)


def _beat(ledger: JobStore, job: Job, seconds: float, over: threading.Event) -> None:
    while not over.wait(seconds / 3):
        try:
            if not ledger.renew(job, seconds):
                log.warning("the lease of job %s has passed on; what is still done here will be discarded", job.id)
                return
        except MailroomError as error:
            log.warning("lease of job %s not renewed: %s", job.id, error)
