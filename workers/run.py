"""One role as one process: `python -m workers.run ROLE [--data PATH] [--config FILE] [--set KEY=VALUE ...]`.

Roles: broker, celery, writer, sweeper, tray, api. The supervisor starts them on one machine; compose.yaml on several.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from pipeline.errors import MailroomError
from pipeline.offline import go_offline
from workers.process import OnlyOne, Stopping, die_with_parent
from workers.settings import Settings, load_settings

ROLES = ("broker", "celery", "writer", "sweeper", "tray", "api")


def main(arguments: list[str] | None = None) -> int:
    """Run the role until it is told to stop; 0 then, 1 for a mistake in the settings."""
    go_offline(os.environ)
    parser = argparse.ArgumentParser(prog="workers.run")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--data")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--supervised", action="store_true", help="end with the parent process")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("celery").setLevel(logging.WARNING)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    overrides = dict(each.split("=", 1) for each in given.set)
    if given.data:
        overrides["data.path"] = given.data
    try:
        settings = load_settings(overrides, site=given.config).settings
        if given.supervised:
            die_with_parent()
        globals()[f"run_{given.role}"](settings)
    except MailroomError as error:
        print(f"error: {error.code}: {error.detail}", file=sys.stderr)
        return 1
    return 0


def run_broker(settings: Settings) -> None:
    from workers.broker import server_command, socket_path

    socket_path(settings).unlink(missing_ok=True)
    command = server_command(settings)
    os.execv(command[0], command)


def run_celery(settings: Settings) -> None:
    from workers.app import QUEUES, make_app
    from workers.tasks import register

    app = make_app(settings)
    register(app, settings)
    app.worker_main(
        [
            "worker",
            f"--concurrency={settings.workers.concurrency}",
            f"--queues={','.join(QUEUES)}",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


def run_writer(settings: Settings) -> None:
    from workers.assemble import House
    from workers.writer import Writer

    house = House(settings)
    stopping = Stopping()
    with OnlyOne(settings.index_path / "process.lock", "The index writer"):
        Writer(house).run(stopping)
    house.close()


def run_sweeper(settings: Settings) -> None:
    from workers.assemble import House
    from workers.sweep import Sweeper

    with OnlyOne(settings.run_path / "sweeper.lock", "The sweeper"):
        Sweeper(House(settings)).run(Stopping())


def run_tray(settings: Settings) -> None:
    from workers.assemble import House
    from workers.tray import Watcher

    with OnlyOne(settings.run_path / "tray.lock", "The tray's watcher"):
        Watcher(House(settings)).run(Stopping())


def run_api(settings: Settings) -> None:
    from workers.api.serve import serve

    serve(settings)


if __name__ == "__main__":
    sys.exit(main())
