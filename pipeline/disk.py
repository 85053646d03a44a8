"""Locks between processes, durable writes, and the disk's errors as ours: the one place for each.

The locks are the kernel's own (``flock``): they end with the process that holds them, however it ends. The lock files
stay where they are, since unlinking one would let two processes lock two files of the same name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from pipeline.errors import MailroomError, Misconfigured, Refused, Unavailable

#: Errors of a file system without hard links.
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class ProcessLock:
    """Lets one process at a time have ``path``, without waiting. ``owner`` names the holder in the error."""

    def __init__(self, path: Path, owner: str) -> None:
        self._path, self._owner = path, owner
        self._file: IO[str] | None = None

    @property
    def is_held(self) -> bool:
        """False as well when somebody removed the lock's folder, or put another in its place."""
        if self._file is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except OSError:
            return False

    def acquire(self) -> None:
        """Lock the file, or keep it locked. Raises Refused("conflict") where another process has it, OSError."""
        if self.is_held:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise Refused("conflict", f"{self._owner} is running already (it holds {self._path}).") from None
        self._file = file

    def release(self) -> None:
        """Unlock the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> ProcessLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold the lock of ``path``, made if need be, waiting for it. Many may share it, or one has it alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def sync(file: IO[Any]) -> None:
    """Make the bytes written to an open file outlive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Make the bytes of a file that others wrote outlive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut: after a rename, a link or a new file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Create a file whose bytes are durable when the block ends well; otherwise it is removed.

    Its name is not durable before `sync_folder`. ``mode`` is subject to the umask.
    Raises FileExistsError where something has the name already, a dangling link included.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            sync(file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def replacement(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Write what replaces ``path`` in one step when the block ends well, durably; otherwise ``path`` stays as it was.

    A reader sees the old file or the new one, also after a power cut.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with new_file(temporary, mode) as file:
        yield file
    try:
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one durable step."""
    with replacement(path) as file:
        file.write(content)


def set_mode(path: Path, mode: int) -> bool:
    """Set the permissions of a file or folder, but not through a link. Return False if it is not ours to change."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.fchmod(descriptor, mode)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def make_folders(path: Path, mode: int) -> None:
    """Create a folder, and those above it that are missing, with these permissions whatever the umask."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        set_mode(folder, mode)


def link_new(source: Path, target: Path) -> bool:
    """Give a file another name, or a new one where the file system has no hard links.

    Returns False if something has the name already; nothing is ever overwritten.
    """
    try:
        target.hardlink_to(source)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if target.exists():
            return False
        source.rename(target)
    return True


def is_full(error: BaseException | None) -> bool:
    """Recognise a full disk, in an OSError or in the text of a library's or database's error."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    text = str(error).lower()
    return any(words in text for words in ("no space", "disk is full", "disk full"))


def full(place: object) -> Unavailable:
    """Return the error for a full disk; ``place`` says whose disk it is."""
    return Unavailable("disk-full", f"The disk of {place} is full; free some space.")


@contextmanager
def translated(place: object, otherwise: Callable[[OSError], MailroomError] | None = None) -> Iterator[None]:
    """Raise the disk's errors as ours: Unavailable("disk-full"), otherwise what ``otherwise`` makes of the error.

    Without ``otherwise`` that is Misconfigured("bad-store").
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise full(place) from error
        if otherwise is not None:
            raise otherwise(error) from error
        raise Misconfigured("bad-store", f"{error.filename or place} cannot be used: {error.strerror}.") from error
