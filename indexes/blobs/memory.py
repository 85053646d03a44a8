"""The specification of Blobs."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from typing import BinaryIO

from pipeline.errors import Refused


class MemoryBlobs:
    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def put(self, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
        content = bytearray()
        for piece in stream:
            content += piece
            if len(content) > limit:
                raise Refused("upload-too-large", f"The file is larger than the limit of {limit:,} bytes.")
        digest = hashlib.sha256(content).hexdigest()
        self._held[digest] = bytes(content)
        return digest, len(content)

    def open(self, digest: str) -> BinaryIO:
        return io.BytesIO(self._held[digest])

    def delete(self, digest: str) -> None:
        self._held.pop(digest, None)

    def digests(self) -> Iterable[str]:
        return list(self._held)
