"""Completeness check of files in a tray: which files are pending, and when one can be taken."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.tray.content import is_complete

#: Suffixes that programs give to files that they have not finished.
UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart", ".swp", "~")
HIDDEN = (".", "~$")
#: File systems on which inotify does not report what other machines write.
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "vboxsf", "virtiofs", "ceph", "glusterfs", "afs"}
#: An incomplete or empty file is taken as it is after this many times `stable_seconds` if the kernel reports that
#: nobody has it open for writing, and after `patience_seconds` if the kernel cannot tell.
QUIET_TIMES = 10


@dataclass(frozen=True, slots=True)
class FileStat:
    """What must not change until a file is taken."""

    size: int
    modified_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file in the tray, and since when (monotonic seconds) it has been unchanged."""

    stat: FileStat
    since: float


def stat_of(path: Path) -> FileStat | None:
    """Return the current stat of a file, or None if it is gone or not a regular file."""
    try:
        current = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return FileStat(current.st_size, current.st_mtime_ns, current.st_ino) if stat.S_ISREG(current.st_mode) else None


def pending_files(root: Path, skipped: str) -> Iterator[tuple[Path, FileStat]]:
    """Yield the regular files that could be taken: no links, special or hidden files, nothing in ``root/skipped``."""
    for folder, folders, names in os.walk(root):
        top = Path(folder) == root
        folders[:] = [name for name in folders if not name.startswith(".") and not (top and name == skipped)]
        for name in names:
            if name.startswith(HIDDEN) or name.lower().endswith(UNFINISHED):
                continue
            path = Path(folder) / name
            if (current := stat_of(path)) is not None:
                yield path, current


def is_stable(path: Path, file: PendingFile, now: float, stable: float, patience: float) -> bool:
    """Return True if the file can be taken.

    That is when it has not changed for ``stable`` seconds, is not open for writing and is complete; or when it has not
    changed for so long that it will not be completed any more. Raises OSError if it cannot be opened.
    """
    quiet = now - file.since
    if quiet < stable:
        return False
    if quiet >= patience:
        return True
    is_open = is_open_for_writing(path)
    if is_open:
        return False
    complete, _ = is_complete(path)
    return complete or (is_open is False and quiet >= QUIET_TIMES * stable)


def is_open_for_writing(path: Path) -> bool | None:
    """Return whether a process of this machine has the file open for writing; None if the kernel cannot tell.

    The kernel grants a read lease only if none has. It cannot tell for another user's file or on a network file system.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)


def needs_polling(path: Path) -> bool:
    """Return True if inotify cannot be relied on, since the folder is on a network file system."""
    best, kind = "", ""
    place = f"{path.resolve()}/"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, filesystem, *_ = line.split()
        mount = mount.replace("\\040", " ").rstrip("/") + "/"
        if place.startswith(mount) and len(mount) >= len(best):
            best, kind = mount, filesystem
    return kind in NETWORK
