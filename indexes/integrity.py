"""Digests of index files: which files were verified, and whether they have changed since.

A digest is computed once for each file: afterwards its device, inode, size and modification time show whether somebody
wrote to it. Mapped files are read as they are on the disk, so a byte that is altered under an open index would be
served; that is why the files of an open index are checked again and again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.disk import sync_file
from pipeline.errors import Misconfigured

#: Relative path -> (SHA-256, bytes), as in a manifest.
Files = Mapping[str, tuple[str, int]]
#: Path, digest, device, inode.
_Identity = tuple[str, str, int, int]


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(file: Path) -> tuple[str, int]:
    """Make a file's bytes durable; return its digest and size."""
    sync_file(file)
    return file_digest(file), file.stat().st_size


class VerifiedFiles:
    """The files whose digests were verified, each known by path, digest, device and inode.

    Path and digest alone would not do: a writer that restarts links copies, and a copy has to be verified again.
    """

    def __init__(self) -> None:
        self._modified_at: dict[_Identity, int] = {}

    def verify(self, folder: Path, files: Files) -> None:
        """Verify every file that was not verified before. Raises Misconfigured("bad-index"), OSError."""
        for path, (digest, size) in files.items():
            file = folder / path
            outside = Path(path).is_absolute() or ".." in Path(path).parts
            if outside or not file.is_file() or file.is_symlink() or (stat := file.stat()).st_size != size:
                raise Misconfigured("bad-index", f"Generation {folder.name}: {path} is missing or has the wrong size.")
            identity = path, digest, stat.st_dev, stat.st_ino
            if self._modified_at.get(identity) == stat.st_mtime_ns:
                continue
            if file_digest(file) != digest:
                raise Misconfigured("bad-index", f"Generation {folder.name}: {path} was altered.")
            self._modified_at[identity] = stat.st_mtime_ns

    def trust(self, folder: Path, files: Files) -> None:
        """Accept files that this process has sealed itself; those known already keep their modification time."""
        for path, (digest, _) in files.items():
            stat = (folder / path).stat()
            self._modified_at.setdefault((path, digest, stat.st_dev, stat.st_ino), stat.st_mtime_ns)

    def unverified_bytes(self, files: Files) -> int:
        """Sum the bytes of the files of which no copy was verified yet."""
        verified = {identity[:2] for identity in self._modified_at}
        return sum(size for path, (digest, size) in files.items() if (path, digest) not in verified)

    def forget_except(self, files: Files) -> None:
        """Forget all files but these."""
        self._modified_at = {
            identity: modified_at
            for identity, modified_at in self._modified_at.items()
            if files.get(identity[0], ("",))[0] == identity[1]
        }

    def altered_in_place(self, folder: Path, files: Files) -> str | None:
        """Return the first file that was written to since it was verified, or None.

        A missing or replaced file does no harm to a process that has it open.
        """
        times = self._times(folder, files)
        return next((path for path, now, verified in times if now and verified not in (None, now)), None)

    def unverified(self, folder: Path, files: Files) -> str | None:
        """Return the first file that is missing or is not, or no longer, the one that was verified; None if all are."""
        return next((path for path, now, verified in self._times(folder, files) if not now or now != verified), None)

    def _times(self, folder: Path, files: Files) -> Iterator[tuple[str, int, int | None]]:
        """Yield (path, modification time, that time when it was verified).

        The first time is 0 for a missing file and -1 for one of another size, the second None for one never verified.
        """
        for path, (digest, size) in files.items():
            try:
                stat = (folder / path).stat()
            except OSError:
                yield path, 0, None
                continue
            verified = self._modified_at.get((path, digest, stat.st_dev, stat.st_ino))
            yield path, stat.st_mtime_ns if stat.st_size == size else -1, verified
