"""A raw request body into the blob store, without holding it in memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from pipeline.errors import Refused
from pipeline.ports import Blobs

#: Pieces between the network and the disk: enough to keep both busy.
BUFFERED = 8


async def stored_body(request: Request, blobs: Blobs, limit: int) -> tuple[str, int]:
    """Store the body as it arrives; (digest, size). A declared length over the limit is refused unread."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise Refused("upload-too-large", f"The upload is larger than the limit of {limit:,} bytes.")
    pieces: queue.Queue[bytes | Exception | None] = queue.Queue(BUFFERED)
    storing = _Storing(blobs, pieces, limit)
    storing.start()
    try:
        async for piece in request.stream():
            if piece and not storing.is_over:
                await run_in_threadpool(pieces.put, piece)
        await run_in_threadpool(pieces.put, None)
    except ClientDisconnect:
        await run_in_threadpool(pieces.put, Refused("bad-request", "The upload broke off."))
    await run_in_threadpool(storing.join)
    return storing.outcome()


class _Storing(threading.Thread):
    """Writes the pieces; after a failure it goes on emptying the queue so that the sender is never stuck."""

    def __init__(self, blobs: Blobs, pieces: queue.Queue[bytes | Exception | None], limit: int) -> None:
        super().__init__(daemon=True, name="upload")
        self._blobs, self._pieces, self._limit = blobs, pieces, limit
        self._stored: tuple[str, int] | None = None
        self._error: Exception | None = None
        self._ended = False

    @property
    def is_over(self) -> bool:
        return self._error is not None

    def run(self) -> None:
        try:
            self._stored = self._blobs.put(self._arriving(), self._limit)
        except Exception as error:
            self._error = error
        while not self._ended:
            self._ended = not isinstance(self._pieces.get(), bytes)

    def outcome(self) -> tuple[str, int]:
        if self._error is not None:
            raise self._error
        assert self._stored is not None
        return self._stored

    def _arriving(self) -> Iterator[bytes]:
        while isinstance(piece := self._pieces.get(), bytes):
            yield piece
        self._ended = True
        if isinstance(piece, Exception):
            raise piece
