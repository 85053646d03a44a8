"""Downloads: conditional requests (RFC 9110, 13) and ranges of one part (14)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from workers.api import problems

#: Bytes read at a time.
PIECE = 256 * 1024
#: `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-LENGTH`; of anything else, and of several parts, the whole is sent.
_RANGE = re.compile(r"bytes=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.IGNORECASE | re.ASCII)
#: An entity tag inside of a list; a comma may stand between its quotes.
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_unchanged(request: Request, tag: str) -> bool:
    """Return whether `If-None-Match` names the tag, or anything at all (`*`)."""
    condition = request.headers.get("if-none-match", "").strip()
    return condition == "*" or tag in _TAG.findall(condition)


def requested_range(request: Request, tag: str, size: int) -> range | None:
    """Return the bytes that are to be sent, None for the whole; an empty range if none of the content's is requested.

    `If-Range` with another tag, or with a date, asks for the whole.
    """
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or request.headers.get("if-range", tag) != tag:
        return None
    first, last, length = match.groups()
    if length is not None:
        return range(max(0, size - int(length)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1 if last else size))


def download(request: Request, file: BinaryIO, size: int, tag: str, headers: Mapping[str, str]) -> Response:
    """Return the response that sends a file of ``size`` bytes with this strong entity tag, or the part requested.

    ``headers`` are those of the whole file. The file is closed after the last byte, or if none is sent.
    """
    common = {**headers, "ETag": tag, "Accept-Ranges": "bytes"}
    is_head = request.scope.get("is_head", False)
    part = None if is_head else requested_range(request, tag, size)
    if is_head or is_unchanged(request, tag) or (part is not None and not part):
        file.close()
    if is_unchanged(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    if part is None:
        whole = {**common, "Content-Length": str(size)}
        return Response(headers=whole) if is_head else StreamingResponse(_pieces(file, range(size)), headers=whole)
    if not part:
        detail = f"The file has {size:,} bytes; the range begins after its end."
        limits = {"Content-Range": f"bytes */{size}"}
        return problems.problem("bad-request", 416, detail, request.url.path, headers=limits)
    limits = {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}", "Content-Length": str(len(part))}
    return StreamingResponse(_pieces(file, part), 206, headers={**common, **limits})


def _pieces(file: BinaryIO, part: range) -> Iterator[bytes]:
    with file:
        file.seek(part.start)
        missing = len(part)
        while missing and (piece := file.read(min(PIECE, missing))):
            missing -= len(piece)
            yield piece
