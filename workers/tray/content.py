"""Check whether a file is complete by its format: a file in a tray may still be being copied.

Only the head and the tail of a file are read, and nothing but OSError is raised. A complete file need not be readable:
only the end of its format is where it should be. Plain text has no end that could be missing.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

_HEAD = 4096
_TAIL = 66_000
#: Bytes: no file of these formats is smaller.
_SMALLEST = 16
_BINARY = frozenset(
    ".pdf .docx .pptx .xlsx .odt .ods .odp .epub .zip .png .jpg .jpeg .gif .tif .tiff .bmp .webp .doc .xls .ppt .msg "
    ".rtf".split()
)


def is_complete(path: Path) -> tuple[bool, str]:
    """Return whether the file is complete, and the reason if it is not. Raises OSError if it cannot be opened."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        head = file.read(_HEAD)
        file.seek(max(0, size - _TAIL))
        tail = file.read(_TAIL)
    if not head:
        return False, "the file is empty"
    if size < _SMALLEST and path.suffix.lower() in _BINARY:
        return False, "the file is shorter than any of its kind"
    if not head.strip(b"\0"):
        return False, "the file begins with zeros: its content has not arrived yet"
    for magics, end, reason in _ENDS:
        if head.startswith(magics):
            complete = end.search(tail) is not None
            return complete, "" if complete else reason
    for test, magics in _TESTS:
        if head.startswith(magics):
            reason = test(head, tail, size)
            return reason == "", reason
    if path.suffix.lower() not in _BINARY and tail.endswith(b"\0" * 64) and b"\0" not in head:
        return False, "the file ends in zeros: its content has not arrived yet"
    return True, ""


def _zip(head: bytes, tail: bytes, size: int) -> str:
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        return "the archive (Office, OpenDocument, EPUB, ZIP) has no directory"
    length, offset = struct.unpack_from("<LL", tail, at + 12)
    return "" if offset == 0xFFFFFFFF or length + offset <= size else "the archive's directory does not fit its size"


def _tiff(head: bytes, tail: bytes, size: int) -> str:
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    if len(head) < 16:
        return "the TIFF has no directory"
    (offset,) = struct.unpack_from(order + ("Q" if big else "L"), head, 8 if big else 4)
    return "" if 8 <= offset < size else "the TIFF's directory lies behind its end"


def _bmp_or_webp(head: bytes, tail: bytes, size: int) -> str:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        stated = struct.unpack_from("<L", head, 4)[0] + 7  # a last byte of padding may be missing
    elif head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        stated = struct.unpack_from("<L", head, 2)[0]
    else:
        return ""  # another RIFF file, or a text that begins with BM
    return "" if stated <= size else "the image is shorter than its header states"


def _ole(head: bytes, tail: bytes, size: int) -> str:
    if len(head) < 512:
        return "the Office document is shorter than its header"
    shift, tables = struct.unpack_from("<H", head, 30)[0], struct.unpack_from("<L", head, 44)[0]
    if not 7 <= shift <= 16:
        return ""  # damaged, not incomplete: the parser reports it
    sector = 1 << shift
    starts = struct.unpack_from("<109L", head, 76)[: min(tables, 109)]
    last = max((s for s in starts if s < 0xFFFFFFF0), default=0)
    return "" if (last + 1) * sector < size else "the Office document is shorter than its table states"


def _rtf(head: bytes, tail: bytes, size: int) -> str:
    ends = tail.rstrip(b"\0 \t\r\n").endswith(b"}")
    if ends and size <= _TAIL:  # the whole file was read: every group must be closed, not only an inner one
        ends = len(re.findall(rb"(?<!\\)\{", tail)) <= len(re.findall(rb"(?<!\\)\}", tail))
    return "" if ends else "the RTF has no closing brace"


#: How a format begins, what its tail holds, and the reason without that.
_ENDS: tuple[tuple[tuple[bytes, ...], re.Pattern[bytes], str], ...] = (
    ((b"%PDF-",), re.compile(rb"%%EOF|startxref"), "the PDF has no end mark"),
    ((b"\x89PNG\r\n\x1a\n",), re.compile(rb"IEND\xaeB`\x82"), "the PNG has no end"),
    ((b"\xff\xd8\xff",), re.compile(rb"\xff\xd9"), "the JPEG has no end"),
    ((b"GIF87a", b"GIF89a"), re.compile(rb"\x3b\0*\Z"), "the GIF has no end"),
)
_TESTS: tuple[tuple[Callable[[bytes, bytes, int], str], tuple[bytes, ...]], ...] = (
    (_zip, (b"PK\x03\x04", b"PK\x05\x06")),
    (_tiff, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (_bmp_or_webp, (b"BM", b"RIFF")),
    (_ole, (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)),
    (_rtf, (b"{\\rtf",)),
)
