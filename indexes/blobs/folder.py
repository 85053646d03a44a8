"""Content-addressed bytes in a folder: aa/bb/<digest>, durable before `put` returns."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pipeline.disk import new_file, sync_folder, translated
from pipeline.errors import Misconfigured, Refused, Unavailable


class FolderBlobs:
    """Implements `pipeline.ports.Blobs`. Files are 0600; a file under its final name is always complete. Raises
    Misconfigured("bad-store") if the folder cannot be used."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            (root / "tmp").mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Misconfigured("bad-store", f"The blob folder {root} cannot be used: {error.strerror}.") from error

    def put(self, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
        """Store the bytes durably; return (digest, size). Raises Refused("upload-too-large") over ``limit`` bytes, and
        Unavailable if the disk is full or fails. What is not complete is deleted."""
        temporary = self.root / "tmp" / secrets.token_hex(16)
        try:
            with translated("the blob store", _unavailable):
                digest, size = _write(temporary, stream, limit)
                self._publish(temporary, digest)
        finally:
            temporary.unlink(missing_ok=True)
        return digest, size

    def _publish(self, temporary: Path, digest: str) -> None:
        """Give a complete file its final name, durably. One that is there is replaced: otherwise the time would show
        whether the content was known."""
        final = self._path(digest)
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.rename(final)
        for folder in (final.parent, final.parent.parent, self.root):
            sync_folder(folder)

    def open(self, digest: str) -> BinaryIO:
        """Open the bytes for reading. Raises KeyError if there are none."""
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError:
            raise KeyError(digest) from None

    def delete(self, digest: str) -> None:
        """Delete the bytes. Idempotent."""
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterable[str]:
        """Return the digests of all contents, in no order."""
        return (path.name for path in self.root.glob("??/??/*"))

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise KeyError(digest)
        return self.root / digest[:2] / digest[2:4] / digest


def _write(path: Path, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
    """Write the stream to a new file; return its digest and size."""
    sha256, size = hashlib.sha256(), 0
    with new_file(path, 0o600) as file:
        for piece in stream:
            size += len(piece)
            if size > limit:
                raise Refused("upload-too-large", f"The file is larger than the limit of {limit:,} bytes.")
            sha256.update(piece)
            file.write(piece)
    return sha256.hexdigest(), size


def _unavailable(error: OSError) -> Unavailable:
    return Unavailable("store-unavailable", f"The blob store could not store the file: {error.strerror}.")
