"""Whether a file in a tray is all there: what is looked at, and what is left alone."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.tray.content import is_complete

#: What programs write while they are not done.
UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart", ".swp", "~")
HIDDEN = (".", "~$")
#: File systems on which inotify does not see what other machines write.
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "vboxsf", "virtiofs", "ceph", "glusterfs", "afs"}
#: A file that is not whole, or empty, is taken as it is after this many times `stable_seconds` when the kernel says that
#: nobody has it open for writing; where the kernel cannot say, after `patience_seconds`.
QUIET_TIMES = 10


@dataclass(frozen=True, slots=True)
class Look:
    """What must not change while a file settles."""

    size: int
    modified_ns: int
    inode: int


@dataclass(slots=True)
class Candidate:
    """A file seen in the tray: as it stood last, since when so (monotonic seconds), and since when it is known at all."""

    look: Look
    since: float
    first: float


def look_at(path: Path) -> Look | None:
    """The file as it stands; None for what is no regular file or has gone."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return Look(found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def files(root: Path, skipped: str) -> Iterator[tuple[Path, Look]]:
    """Regular files that could be taken; links, special files, hidden ones and the top folder ``skipped`` left alone."""
    for folder, folders, names in os.walk(root):
        top = Path(folder) == root
        folders[:] = [f for f in folders if not f.startswith(".") and not (top and f == skipped)]
        for name in names:
            if name.startswith(HIDDEN) or name.lower().endswith(UNFINISHED):
                continue
            path = Path(folder) / name
            if (look := look_at(path)) is not None:
                yield path, look


def is_ready(path: Path, candidate: Candidate, now: float, stable: float, patience: float) -> bool:
    """Whether the file may be taken: unchanged for ``stable`` seconds, not open for writing, and whole; or unchanged for
    so long that nothing more can be expected. Raises OSError when it cannot be opened."""
    quiet = now - candidate.since
    if quiet < stable:
        return False
    if quiet >= patience:
        return True
    writer = written_by_someone(path)
    if writer:
        return False
    whole, _ = is_complete(path)
    return whole or (writer is False and quiet >= QUIET_TIMES * stable)


def written_by_someone(path: Path) -> bool | None:
    """Whether a process of this machine has the file open for writing: the kernel grants a read lease only when none has.
    None where it cannot tell (another's file, a network file system)."""
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
    """Whether inotify cannot be relied on: the folder is on a network file system."""
    best, kind = "", ""
    place = f"{path.resolve()}/"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, filesystem, *_ = line.split()
        mount = mount.replace("\\040", " ").rstrip("/") + "/"
        if place.startswith(mount) and len(mount) >= len(best):
            best, kind = mount, filesystem
    return kind in NETWORK
