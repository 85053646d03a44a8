"""Digests of index files: what was checked, and whether the files still are the ones that were.

A digest is computed once for each file: afterwards its device, inode, size and time of change tell whether somebody wrote
to it since. Mapped files are read as they are on the disk, so a byte that is turned over under an open index would be
served; that is why an open index is looked over again and again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.disk import sync_file
from pipeline.errors import Misconfigured

#: Relative path -> (SHA-256, bytes), as in a manifest.
Files = Mapping[str, tuple[str, int]]
_Name = tuple[str, str, int, int]


def file_digest(file: Path) -> str:
    """SHA-256 in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sealed(file: Path) -> tuple[str, int]:
    """Make a file's bytes durable; its digest and size."""
    sync_file(file)
    return file_digest(file), file.stat().st_size


class Checked:
    """The files whose digests were found right, each by path, digest, device and inode. The name and the digest alone do
    not say so: a writer that started anew links copies, and a copy has to be checked again."""

    def __init__(self) -> None:
        self._at: dict[_Name, int] = {}

    def verify(self, folder: Path, files: Files) -> None:
        """Check every file that was not checked before. Raises Misconfigured("bad-index"), OSError."""
        for path, (digest, size) in files.items():
            file = folder / path
            if not _inside(path) or not file.is_file() or file.is_symlink() or (stat := file.stat()).st_size != size:
                raise Misconfigured("bad-index", f"Generation {folder.name}: {path} is missing or has the wrong size.")
            name = path, digest, stat.st_dev, stat.st_ino
            if self._at.get(name) == stat.st_mtime_ns:
                continue
            if file_digest(file) != digest:
                raise Misconfigured("bad-index", f"Generation {folder.name}: {path} was altered.")
            self._at[name] = stat.st_mtime_ns

    def trust(self, folder: Path, files: Files) -> None:
        """Files that this process has sealed itself; what is known of one already stays."""
        for path, (digest, _) in files.items():
            stat = (folder / path).stat()
            self._at.setdefault((path, digest, stat.st_dev, stat.st_ino), stat.st_mtime_ns)

    def unseen(self, files: Files) -> int:
        """Bytes of the files of which no copy was checked yet."""
        seen = {name[:2] for name in self._at}
        return sum(size for path, (digest, size) in files.items() if (path, digest) not in seen)

    def forget_but(self, files: Files) -> None:
        """Keep only what these files say."""
        self._at = {name: at for name, at in self._at.items() if files.get(name[0], ("",))[0] == name[1]}

    def written_to(self, folder: Path, files: Files) -> str | None:
        """The first file that was changed in place since it was checked. One that is gone or was replaced does no harm to
        whoever has it open."""
        return next((path for path, at, known in self._now(folder, files) if at and known not in (None, at)), None)

    def doubtful(self, folder: Path, files: Files) -> str | None:
        """The first file that is not, or no longer, the one that was checked; gone ones too."""
        return next((path for path, at, known in self._now(folder, files) if not at or at != known), None)

    def _now(self, folder: Path, files: Files) -> Iterator[tuple[str, int, int | None]]:
        """(path, time of change, that when it was checked); the time is 0 for a file that is gone, the other None for one
        that was never checked. Another size counts as another time."""
        for path, (digest, size) in files.items():
            try:
                stat = (folder / path).stat()
            except OSError:
                yield path, 0, None
                continue
            known = self._at.get((path, digest, stat.st_dev, stat.st_ino))
            yield path, stat.st_mtime_ns if stat.st_size == size else -1, known


def _inside(path: str) -> bool:
    parts = Path(path).parts
    return not Path(path).is_absolute() and ".." not in parts
