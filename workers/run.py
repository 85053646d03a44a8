"""One role as one process: `python -m workers.run ROLE [--data PATH] [--config FILE] [--set KEY=VALUE ...]`.

Roles: broker, celery, writer, sweeper, tray, api. The supervisor starts them on one machine; compose.yaml on several.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.disk import ProcessLock
from pipeline.documents import QueueName
from pipeline.errors import MailroomError, Misconfigured
from pipeline.faults import arm
from pipeline.offline import go_offline
from workers.logs import set_up
from workers.private_files import restrict_data_folder, restrict_new_files
from workers.process_report import Reporter
from workers.queue.process import EXIT_MISCONFIGURED, StopSignal, die_with_parent
from workers.settings import Settings, load_settings

if TYPE_CHECKING:
    from workers.celery_worker.tasks import Worker

#: Deliveries at once: they wait for receivers, so there may be more of them than processors.
DELIVERY_THREADS = 4
#: Libraries that log at every start what nobody needs to know.
VERBOSE = ("celery", "watchfiles", "faiss", "alembic")


def main(arguments: list[str] | None = None) -> int:
    """Run one role until it is stopped. Return 0, or 78 for a mistake in the settings, or 1 for other errors."""
    go_offline(os.environ)
    restrict_new_files()
    options = _parser().parse_args(arguments)
    set_up(options.role, "text")
    for name in VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)
    overrides = dict(pair.split("=", 1) for pair in options.set)
    if options.data:
        overrides["data.path"] = options.data
    try:
        settings = load_settings(overrides, site=options.config).settings
        set_up(options.role, settings.logging.format)
        if options.supervised:
            die_with_parent(parent=options.supervised)
        else:  # one role goes through the whole folder, which can take seconds
            restrict_data_folder(settings, deep=options.role == "writer")
        for failpoint in arm(os.environ.get("MAILROOM_FAULT", "")):
            logging.getLogger(__name__).warning("a failpoint of a test is armed: %s", failpoint)
        ROLES[options.role](settings, options)
    except MailroomError as error:
        print(f"error: {error.code}: {error.detail}", file=sys.stderr)
        return EXIT_MISCONFIGURED if isinstance(error, Misconfigured) else 1
    return 0


def _report_ready(options: argparse.Namespace) -> None:
    if options.ready:
        options.ready.write_text(str(os.getpid()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="workers.run", description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--data")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--queues", default="", help="of the role celery: ingest, deliver, reclassify; all by default")
    parser.add_argument("--supervised", type=int, metavar="PID", help="end with this parent process")
    parser.add_argument("--ready", type=Path, help="a file to write once the role is ready")
    return parser


def run_broker(settings: Settings, options: argparse.Namespace) -> None:
    """Become the embedded broker's server."""
    from workers.queue.broker import server_command, socket_path

    socket_path(settings).unlink(missing_ok=True)
    command = server_command(settings)
    os.execv(command[0], command)


def run_celery(settings: Settings, options: argparse.Namespace) -> None:
    """Run a Celery worker for the queues of the options.

    Documents are processed in forked children, which can be killed. Deliveries and reclassification plans alone, which
    mostly wait for others, run in threads of one process.
    """
    from celery.signals import worker_ready, worker_shutdown

    from models.registry import open_version
    from pipeline.rules import load_rules
    from workers.celery_worker.tasks import register
    from workers.celery_worker.watchdog import install
    from workers.queue.app import make_app
    from workers.queue.broker import QUEUES

    queues = tuple(options.queues.split(",")) if options.queues else QUEUES
    forks = "ingest" in queues
    pool = ("prefork", settings.workers.concurrency) if forks else ("threads", DELIVERY_THREADS)
    # A missing model or a mistake in the rules is raised once, here, and not in every child.
    open_version(settings.models_root, settings.models.embedder)
    load_rules(settings.rules_path)
    app = make_app(settings)
    register(app, partial(_worker, settings, queues), forks)
    install(settings, queues)
    worker_ready.connect(lambda **_: _report_ready(options), weak=False)
    reporter = Reporter(settings.run_path, queues, children=not forks)
    worker_ready.connect(lambda **_: reporter.start(), weak=False)
    worker_shutdown.connect(lambda **_: reporter.stop(), weak=False)
    app.worker_main(
        [
            "--quiet",  # no banner in the log
            "worker",
            f"--pool={pool[0]}",
            f"--concurrency={pool[1]}",
            f"--queues={','.join(queues)}",
            f"--hostname={queues[0]}@%h",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


def _worker(settings: Settings, queues: tuple[str, ...]) -> Worker:
    """Build the worker of this process, with parts of its own."""
    from workers.assemble import Mailroom
    from workers.celery_worker.tasks import Worker

    mailroom = Mailroom(settings)
    reporter = Reporter(settings.run_path, queues) if "ingest" in queues else None  # a forked child reports by itself
    if reporter is not None:
        reporter.start()

    def close() -> None:
        mailroom.close()
        if reporter is not None:
            reporter.stop()

    runners = {QueueName(queue): getattr(mailroom, queue) for queue in queues}
    seconds = settings.workers.lease_seconds
    return Worker(runners, mailroom.catalogue.jobs, mailroom.notifier, seconds, close)


def run_writer(settings: Settings, options: argparse.Namespace) -> None:
    """Keep the index in step with the catalogue. Raises Refused("conflict") if another writer runs."""
    from workers.assemble import Mailroom

    mailroom = Mailroom(settings)
    stopping = StopSignal()
    with (
        ProcessLock(settings.index_path / "process.lock", "The index writer"),
        Reporter(settings.run_path, ("writer",)),
    ):
        indexer = mailroom.indexer()
        indexer.step()
        _report_ready(options)
        indexer.run(stopping)
    mailroom.close()


def run_sweeper(settings: Settings, options: argparse.Namespace) -> None:
    """Send wake-ups for due jobs. Raises Refused("conflict") if another sweeper runs."""
    from indexes.open import open_catalogue
    from workers.assemble import Mailroom
    from workers.celery_worker.sweep import Sweeper
    from workers.queue.notify import Notifier
    from workers.services.audit import AuditAnchor

    # Two of them would do no harm, but each wake-up would be sent twice.
    lock = ProcessLock(settings.run_path / "sweeper.lock", "The sweeper")
    with lock, Reporter(settings.run_path, ("sweeper",), compact=True):
        # No Mailroom but the catalogue alone: this process runs all the time and should be small.
        catalogue = open_catalogue(settings.catalogue_url)
        anchor = AuditAnchor(catalogue.audit, settings.home)
        retention = Mailroom(settings).retention if settings.retention.rules else None
        sweeper = Sweeper(catalogue.jobs, Notifier(settings), settings.workers.sweep_seconds, anchor, retention)
        _report_ready(options)
        sweeper.run(StopSignal())


def run_tray(settings: Settings, options: argparse.Namespace) -> None:
    """Watch the trays. Raises Refused("conflict") if another watcher has one of them."""
    from workers.assemble import Mailroom
    from workers.tray.watch import Watcher

    mailroom = Mailroom(settings)
    trays = [mailroom.tray(folder) for folder in settings.tray.folders]
    watcher = Watcher(trays, mailroom.catalogue, settings.tray)
    with Reporter(settings.run_path, ("tray",)):
        watcher.run(StopSignal(), ready=lambda: _report_ready(options))


def run_api(settings: Settings, options: argparse.Namespace) -> None:
    """Serve the REST API."""
    from workers.api.serve import serve

    serve(settings)


ROLES = {
    "broker": run_broker,
    "celery": run_celery,
    "writer": run_writer,
    "sweeper": run_sweeper,
    "tray": run_tray,
    "api": run_api,
}

if __name__ == "__main__":
    sys.exit(main())
