"""The Celery tasks: claim a job by its id, run it, go on with due ones. The work itself is in the runners."""

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
from workers.logs import ids
from workers.queue.lease import heartbeat, owner
from workers.queue.notify import Notifier
from workers.queue.process import die_with_parent

if TYPE_CHECKING:
    from indexes.catalogue.jobs import JobStore

log = logging.getLogger(__name__)

SERVED = (QueueName.INGEST, QueueName.DELIVER, QueueName.RECLASSIFY)
#: Seconds for which a worker goes on with due jobs after the one that woke it up, without a message for each. Then it
#: returns to the broker, so that other queues get their turn.
LINGER_SECONDS = 5.0
#: What the tasks use that takes long to import.
RUNTIMES = (
    "pipeline.embed",
    "pipeline.ingest",
    "pipeline.parse.sandbox",
    "workers.services.active_classifier",
    "workers.services.active_embedder",
    "workers.services.deliver",
    "workers.services.reclassify",
)


class Runner(Protocol):
    """Executes the claimed jobs of one queue."""

    def run(self, job: Job) -> None:
        """Execute a claimed job to its end; errors are recorded in the job store."""


class Worker:
    """One worker process: claims jobs and passes each to the runner of its queue. ``close`` is called when it ends."""

    def __init__(
        self,
        runners: Mapping[QueueName, Runner],
        jobs: JobStore,
        notifier: Notifier,
        lease_seconds: float,
        close: Callable[[], None],
    ) -> None:
        self._runners, self._jobs, self._notifier = runners, jobs, notifier
        self._lease_seconds, self.close = lease_seconds, close

    def run(self, queue: QueueName, job_id: str) -> int:
        """Run the job, then due jobs of the same queue; return how many were run.

        A late, repeated or wrong job id does no harm: the worker is awake and runs what is due.
        """
        until = time.monotonic() + LINGER_SECONDS
        done = 0
        try:
            job = self._claim(queue, job_id) or self._claim(queue)
            while job is not None:
                fault("claimed", job.subject)
                with ids(document=job.subject, job=job.id), heartbeat(self._jobs, job, self._lease_seconds):
                    self._runners[queue].run(job)
                if queue is QueueName.INGEST:
                    self._notifier.notify(self._jobs, QueueName.DELIVER)
                done += 1
                job = self._claim(queue) if time.monotonic() < until else None
        except MailroomError as error:
            log.error("queue %s: %s", queue, error)
            time.sleep(1.0)  # a wrong setting, or a store that does not answer: do not spin
        return done

    def _claim(self, queue: QueueName, job_id: str | None = None) -> Job | None:
        return next(iter(self._jobs.claim(queue, owner(), self._lease_seconds, job_id=job_id)), None)


class WorkerLoader:
    """Builds a `Worker` in a thread, before anything is claimed.

    So a child answers its Celery parent at once; a child that is lost before it answers takes the whole pool with it.
    """

    def __init__(self, build: Callable[[], Worker]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        threading.Thread(target=self._load, daemon=True, name="worker-loader").start()

    def worker(self) -> Worker:
        """Wait for the worker and return it. Raises what building it raised; the next call tries again."""
        with self._lock:
            self._worker = self._worker or self._build()
            return self._worker

    def close(self) -> None:
        """Close the worker if it was built."""
        if self._worker is not None:
            self._worker.close()

    def _load(self) -> None:
        try:
            self.worker()
        except MailroomError as error:
            log.error("this worker cannot be built: %s", error)


_loader: WorkerLoader | None = None


def register(app: Celery, build: Callable[[], Worker], forks: bool) -> None:
    """Register the tasks, whose names are part of the protocol and never change, and build a `Worker` in each process.

    Args:
        build: returns a worker. Called in every child if the pool forks, since ONNX sessions and connections do not
            survive a fork; otherwise once.
        forks: whether the pool runs its tasks in forked children.
    """

    def start(**_: Any) -> None:
        global _loader
        if forks:
            die_with_parent()  # if its Celery parent is killed it ends too, and its lease expires
            signal.signal(signal.SIGTERM, _stop_now)
        _loader = WorkerLoader(build)

    def stop(**_: Any) -> None:
        if _loader is not None:
            _loader.close()

    if forks:  # imported before the children are forked, so that they share the memory
        for name in RUNTIMES:
            import_module(name)
    (worker_process_init if forks else worker_init).connect(start, weak=False)
    (worker_process_shutdown if forks else worker_shutdown).connect(stop, weak=False)
    for served in SERVED:
        app.task(name=f"mailroom.{served}")(_task(served))


def _stop_now(number: int, frame: FrameType | None) -> None:
    """Unwind a child at SIGTERM, so that `heartbeat` releases the job without counting the attempt."""
    raise SystemExit(0)


def _task(queue: QueueName) -> Callable[[str], None]:
    def task(job_id: str) -> None:
        if _loader is None:
            raise RuntimeError("the worker process was not initialised")
        _loader.worker().run(queue, job_id)

    task.__name__ = str(queue)
    return task
