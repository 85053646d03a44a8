"""Small files that are there whole or not at all, and one writer at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Misconfigured, Unavailable


def put(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step: a reader sees the old file or the new one, also after a power cut."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """The root of models, made if need be, with its lock held: promotions, imports and the taxonomy change one by one."""
    with translated(root):
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextmanager
def translated(place: Path) -> Iterator[None]:
    """The disk's errors in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise Unavailable("disk-full", f"The disk of {place} is full; free some space, then try again.") from error
        raise Misconfigured("bad-store", f"{error.filename or place} cannot be used: {error.strerror}.") from error
