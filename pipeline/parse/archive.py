"""Check a ZIP container before anything in it is unpacked, by its central directory.

Office, OpenDocument and EPUB files are ZIP archives. Libraries trust the directory's sizes and accept overlapping
entries; a 48 kB file can declare a gigabyte. After these checks each part is inflated once, counted, and discarded, so
that wrong sizes are detected before a reader relies on them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from pipeline.errors import Rejected
from pipeline.parse.limits import MIB, ParseLimits

_END = struct.Struct("<10xH2L2x")  # number of entries, size and offset of the directory
#: Maker, flags, method, compressed size, size, lengths of name, extra field and comment, attributes, offset.
_CENTRAL = struct.Struct("<4xH2x2H8x2L3H4x2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_SIGNATURE, _CENTRAL_SIGNATURE, _LOCAL_SIGNATURE = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
_MAX_COMMENT = 65_535
_ZIP64_COUNT, _ZIP64_SIZE = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _UTF8_NAME = 0x1, 0x800
_MADE_BY_UNIX = 3
_FILE_TYPE, _SYMBOLIC_LINK = 0o170000, 0o120000
_STORED, _DEFLATED = 0, 8
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the central directory. Sizes and offset are bytes; ``mode`` is 0 unless made on Unix."""

    name: str
    method: int
    flags: int
    compressed_size: int
    size: int
    offset: int
    mode: int


def check_archive(file: BinaryIO, limits: ParseLimits, refuse_doctype: bool) -> list[Entry]:
    """Return the entries after checking all of them.

    Raises Rejected: "damaged" (no directory), "encrypted", "unsafe" (names, links, overlaps, two directories, DOCTYPE),
    "expansion" (count, total, ratio, or a part that is larger than the directory declares).
    """
    entries = list(read_directory(file, limits))
    _check_names(entries)
    _check_sizes(entries, limits)
    for entry in entries:
        _check_content(file, entry, refuse_doctype and entry.name.lower().endswith((".xml", ".rels", ".vml")))
    return entries


def read_directory(file: BinaryIO, limits: ParseLimits) -> Iterator[Entry]:
    """Yield the entries of the central directory. Raises Rejected("damaged" or "expansion")."""
    length = file.seek(0, 2)
    file.seek(max(0, length - _END.size - _MAX_COMMENT))
    tail = file.read()
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise Rejected("damaged", "The archive has no directory: it is cut off. Send the file again.")
    count, directory_size, start = _END.unpack_from(tail, at)
    if count == _ZIP64_COUNT or _ZIP64_SIZE in (directory_size, start):
        raise Rejected("expansion", "The archive uses the format for more than 4 GiB or 65,535 parts.")
    if count > limits.max_entries:
        raise Rejected("expansion", f"The archive has {count} parts; the limit is {limits.max_entries}.")
    end = length - len(tail) + at
    shift = end - directory_size - start  # bytes in front of the archive
    if shift < 0:
        raise Rejected("damaged", "The archive's directory does not fit its size: it is cut off. Send the file again.")
    file.seek(end - directory_size)
    directory, at = file.read(directory_size), 0
    for _ in range(count):
        if at + _CENTRAL.size > len(directory) or not directory.startswith(_CENTRAL_SIGNATURE, at):
            raise Rejected("damaged", "The archive's directory is damaged; send the file again.")
        (
            made_by, flags, method, compressed, size, name_length, extra, comment, attributes, offset,
        ) = _CENTRAL.unpack_from(directory, at)  # fmt: skip
        raw = directory[at + _CENTRAL.size : at + _CENTRAL.size + name_length]
        name = raw.decode("utf-8" if flags & _UTF8_NAME else "cp437", "replace")
        mode = attributes >> 16 if made_by >> 8 == _MADE_BY_UNIX else 0
        yield Entry(name, method, flags, compressed, size, offset + shift, mode)
        at += _CENTRAL.size + name_length + extra + comment


def _check_names(entries: list[Entry]) -> None:
    folded_names: set[str] = set()
    for entry in entries:
        path = PurePosixPath(entry.name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in entry.name or ":" in entry.name.split("/")[0]:
            raise Rejected("unsafe", "A part of the archive has a name that leads out of it.")
        if entry.mode & _FILE_TYPE == _SYMBOLIC_LINK:
            raise Rejected("unsafe", "A part of the archive is a link.")
        folded = entry.name.casefold()
        if folded in folded_names and not entry.name.endswith("/"):
            raise Rejected("unsafe", "Two parts of the archive have the same name.")
        folded_names.add(folded)
        if entry.flags & _ENCRYPTED:
            raise Rejected("encrypted", "The archive is protected by a password; remove it and send the file again.")


def _check_sizes(entries: list[Entry], limits: ParseLimits) -> None:
    """Check the declared sizes, and that no two entries share bytes."""
    total, compressed = sum(e.size for e in entries), sum(e.compressed_size for e in entries)
    if total > limits.max_expanded:
        raise Rejected(
            "expansion",
            f"Unpacked, the file would have {total // MIB} MiB; the limit is {limits.max_expanded // MIB} MiB.",
        )
    if total > limits.ratio_floor and total > compressed * limits.max_ratio:
        raise Rejected(
            "expansion",
            f"The file would grow {total // max(1, compressed)} times; the limit is {limits.max_ratio:g} times.",
        )
    end = 0
    for entry in sorted(entries, key=lambda e: e.offset):
        if entry.offset < end:
            raise Rejected("unsafe", "Parts of the archive overlap.")
        shortest_name = len(entry.name.encode("utf-8", "replace")) // 4
        end = entry.offset + _LOCAL.size + shortest_name + entry.compressed_size


def _check_content(file: BinaryIO, entry: Entry, refuse_doctype: bool) -> None:
    """Check the unpacked size of one part, holding only its first bytes in memory."""
    file.seek(entry.offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(_LOCAL_SIGNATURE):
        raise Rejected("damaged", "A part of the archive is missing: the file is cut off or damaged. Send it again.")
    *_, name_length, extra = _LOCAL.unpack(header)
    file.seek(name_length + extra, 1)
    if entry.method not in (_STORED, _DEFLATED):
        raise Rejected("unsupported", "The archive uses a compression that Office programs do not write.")
    head, size = b"", 0
    for block in unpacked_blocks(file, entry):
        head = head or block[:_BLOCK]
        size += len(block)
        if size > entry.size:
            raise Rejected("expansion", "A part of the archive is larger than the directory declares.")
    if size < entry.size:
        raise Rejected("damaged", "A part of the archive is shorter than the directory declares; send the file again.")
    if refuse_doctype and (b"<!DOCTYPE" in head.replace(b"\0", b"") or b"<!ENTITY" in head.replace(b"\0", b"")):
        raise Rejected("unsafe", "The file holds an XML document type declaration, which Office programs never write.")


def unpacked_blocks(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Yield the content of one part, from where the file is, in blocks. Raises Rejected("damaged")."""
    inflater = zlib.decompressobj(-15) if entry.method == _DEFLATED else None
    remaining = entry.compressed_size
    try:
        while remaining > 0 and (data := file.read(min(remaining, _BLOCK))):
            remaining -= len(data)
            if inflater is None:
                yield data
                continue
            while data:
                yield inflater.decompress(data, MIB)
                data = inflater.unconsumed_tail
        if inflater is not None:
            yield inflater.flush()
    except zlib.error as error:
        raise Rejected("damaged", "A part of the archive is damaged; send the file again.") from error
