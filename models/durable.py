"""Small files that are written completely or not at all, by one writer at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Misconfigured, Unavailable


def put(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new one, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Flush a folder to the disk, so that its names survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """Hold the lock of the models' root, which is created if missing, so that changes under it happen one by one."""
    with translated(root):
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextmanager
def translated(place: Path) -> Iterator[None]:
    """Translate operating system errors: Unavailable("disk-full"), otherwise Misconfigured("bad-store")."""
    try:
        yield
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise Unavailable("disk-full", f"The disk of {place} is full; free some space, then try again.") from error
        raise Misconfigured("bad-store", f"{error.filename or place} cannot be used: {error.strerror}.") from error
