"""The Celery tasks: claim by id, run, look for more. A few lines each; the work is elsewhere."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from celery import Celery
from celery.signals import worker_init, worker_process_init, worker_process_shutdown, worker_shutdown

from pipeline.documents import Job, QueueName
from pipeline.errors import MailroomError
from pipeline.faults import fault
from workers.queue.lease import heartbeat, owner
from workers.queue.notify import Notifier
from workers.queue.process import die_with_parent

if TYPE_CHECKING:
    from indexes.catalogue.jobs import JobStore

log = logging.getLogger(__name__)

SERVED = (QueueName.INGEST, QueueName.DELIVER, QueueName.RECLASSIFY)
#: After its hinted job a worker goes on with due ones for this long, which saves a round trip by the broker for each;
#: then it answers the broker again, so that other queues get their turn.
LINGER_SECONDS = 5.0


class Runner(Protocol):
    """Executes the claimed jobs of one queue."""

    def run(self, job: Job) -> None: ...


class Worker:
    """One worker process: claims jobs and hands each to the runner of its queue. ``close`` is called at its end."""

    def __init__(
        self,
        runners: Mapping[QueueName, Runner],
        job_store: JobStore,
        notifier: Notifier,
        lease_seconds: float,
        close: Callable[[], None],
    ) -> None:
        self._runners, self._jobs, self._notifier = runners, job_store, notifier
        self._lease_seconds, self.close = lease_seconds, close

    def run(self, queue: QueueName, job_id: str) -> int:
        """The hinted job, and due ones of the same lane after it; returns how many. A hint that is late, double or wrong
        is as good as any other: it wakes."""
        until = time.monotonic() + LINGER_SECONDS
        done = 0
        try:
            job = self._claim(queue, job_id) or self._claim(queue)
            while job is not None:
                self._execute(queue, job)
                done += 1
                job = self._claim(queue) if time.monotonic() < until else None
        except MailroomError as error:
            log.error("lane %s: %s", queue, error)
            time.sleep(1.0)  # a wrong setting or a store that is away: not in a tight circle
        return done

    def _claim(self, queue: QueueName, job_id: str | None = None) -> Job | None:
        return next(iter(self._jobs.claim(queue, owner(), self._lease_seconds, job_id=job_id)), None)

    def _execute(self, queue: QueueName, job: Job) -> None:
        fault("claimed", job.subject)
        with heartbeat(self._jobs, job, self._lease_seconds):
            self._runners[queue].run(job)
        if queue is QueueName.INGEST:
            self._notifier.notify(self._jobs, QueueName.DELIVER)


class Loading:
    """A `Worker` on its way: built by a thread, so that a child is there for its Celery parent at once (a child that is
    lost before that takes the whole pool with it), and built before anything is claimed."""

    def __init__(self, build: Callable[[], Worker]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        threading.Thread(target=self._load, daemon=True, name="loading").start()

    def worker(self) -> Worker:
        """The worker, waited for. Raises what building it raised; the next call tries again."""
        with self._lock:
            self._worker = self._worker or self._build()
            return self._worker

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def _load(self) -> None:
        try:
            self.worker()
        except MailroomError as error:
            log.error("this worker cannot be made ready: %s", error)


_loading: Loading | None = None


def register(app: Celery, build: Callable[[], Worker], forks: bool) -> None:
    """Give the application its tasks, whose names are part of the protocol and never change, and ``build`` the `Worker`
    of each process: in every child if the pool ``forks`` (ONNX sessions and connections do not survive a fork),
    otherwise once."""

    def start(**_: Any) -> None:
        global _loading
        if forks:
            die_with_parent()  # its Celery parent killed, it ends too: the lease runs out and no one works in the dark
            signal.signal(signal.SIGTERM, _stop_now)
        _loading = Loading(build)

    def stop(**_: Any) -> None:
        if _loading is not None:
            _loading.close()

    if forks:
        _import_runtimes()
    (worker_process_init if forks else worker_init).connect(start, weak=False)
    (worker_process_shutdown if forks else worker_shutdown).connect(stop, weak=False)
    for served in SERVED:
        app.task(name=f"mailroom.{served}")(_task(served))


def _import_runtimes() -> None:
    """Import what the children use before they are forked, so that they share its memory."""
    for name in ("embed", "ingest", "parse.sandbox"):
        import_module(f"pipeline.{name}")
    for name in ("active_classifier", "active_embedder", "deliver", "reclassify"):
        import_module(f"workers.services.{name}")


def _stop_now(number: int, frame: FrameType | None) -> None:
    """SIGTERM in a child: unwind, so that `heartbeat` hands the job back uncounted."""
    raise SystemExit(0)


def _task(queue: QueueName) -> Any:
    def task(job_id: str) -> None:
        if _loading is None:
            raise RuntimeError("the worker process was not initialised")
        _loading.worker().run(queue, job_id)

    task.__name__ = str(queue)
    return task
