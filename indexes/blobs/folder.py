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
    """Implements `pipeline.ports.Blobs`. Files are 0600; a file under its final name is always complete."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            (root / "tmp").mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Misconfigured("bad-store", f"The blob folder {root} cannot be used: {error.strerror}.") from error

    def put(self, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
        temporary = self.root / "tmp" / secrets.token_hex(16)
        try:
            with translated("the blob store", _unavailable):
                digest, size = self._write(temporary, stream, limit)
                self._publish(temporary, digest)
        finally:
            temporary.unlink(missing_ok=True)
        return digest, size

    def _write(self, path: Path, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
        hashed, size = hashlib.sha256(), 0
        with new_file(path, 0o600) as file:
            for piece in stream:
                size += len(piece)
                if size > limit:
                    raise Refused("upload-too-large", f"The file is larger than the limit of {limit:,} bytes.")
                hashed.update(piece)
                file.write(piece)
        return hashed.hexdigest(), size

    def _publish(self, temporary: Path, digest: str) -> None:
        final = self._path(digest)
        if final.exists():
            return
        made = not final.parent.exists()
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.rename(final)
        sync_folder(final.parent)
        if made:
            sync_folder(final.parent.parent)
            sync_folder(self.root)

    def open(self, digest: str) -> BinaryIO:
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError:
            raise KeyError(digest) from None

    def delete(self, digest: str) -> None:
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterable[str]:
        return (path.name for path in self.root.glob("??/??/*"))

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise KeyError(digest)
        return self.root / digest[:2] / digest[2:4] / digest


def _unavailable(error: OSError) -> Unavailable:
    return Unavailable("store-unavailable", f"The blob store could not take the file: {error.strerror}.")
