"""A private PostgreSQL for the tests: one server for a session, a database for each test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

#: PostgreSQL refuses to run as root; the first of these that exists is used instead.
UNPRIVILEGED = ("postgres", "nobody")


def find_binaries() -> Path | None:
    """Return the folder of initdb and postgres: the newest of Debian's, or the one on the PATH, or None."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]), reverse=True)
    if debian:
        return debian[0].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


class PostgresServer:
    """Listens on a unix socket in a folder of its own; `database()` gives the URL of an empty database."""

    def __init__(self, binaries: Path) -> None:
        self._bin = binaries
        # Not under pytest's own folders: those are closed to the unprivileged user, and too long for a socket.
        self._folder = Path(tempfile.mkdtemp(prefix="mrpg-", dir="/tmp"))
        self._user = next((u for u in UNPRIVILEGED if _exists(u)), None) if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "-D", f"{self._folder}/data", "-U", "mailroom", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-k {self._folder} -c listen_addresses='' -c max_connections=60"
        # No test has to survive a crash of the machine, so PostgreSQL need not wait for the disk.
        options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-l", f"{self._folder}/log", "-o", options, "start")

    def database(self) -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        self._run("createdb", "-h", str(self._folder), "-U", "mailroom", name)
        return f"postgresql://mailroom@/{name}?host={self._folder}"

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        if self._user:
            command = ["setpriv", f"--reuid={self._user}", "--regid=nogroup", "--clear-groups", *command]
        # Not captured: the server inherits its output and would keep a pipe open for ever.
        with (Path(tempfile.gettempdir()) / f"mrpg-{os.getpid()}.log").open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd="/tmp", stdin=subprocess.DEVNULL)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
