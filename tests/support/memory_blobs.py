"""The specification of `pipeline.ports.Blobs`: bytes in memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from typing import BinaryIO

from pipeline.errors import Refused


class MemoryBlobs:
    """Implements `pipeline.ports.Blobs` in memory."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def put(self, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
        """Store the bytes; return (digest, size)."""
        content = bytearray()
        for piece in stream:
            content += piece
            if len(content) > limit:
                raise Refused("upload-too-large", f"The file is larger than the limit of {limit:,} bytes.")
        digest = hashlib.sha256(content).hexdigest()
        self._contents[digest] = bytes(content)
        return digest, len(content)

    def open(self, digest: str) -> BinaryIO:
        """Open the bytes for reading. Raises KeyError if there are none."""
        return io.BytesIO(self._contents[digest])

    def delete(self, digest: str) -> None:
        """Delete the bytes. Idempotent."""
        self._contents.pop(digest, None)

    def digests(self) -> Iterable[str]:
        """Return the digests of all contents."""
        return list(self._contents)
