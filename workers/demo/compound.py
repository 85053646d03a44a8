"""A writer of compound files (the container of MSG; [MS-CFB], version 3): storages and streams in sectors of 512 bytes.

Streams under 4096 bytes lie in the mini stream, in sectors of 64. Enough for a few megabytes: the table of tables stays
in the header (109 sectors of table, about 7 MB).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Storage: TypeAlias = Mapping[str, "Storage | bytes"]

SECTOR, MINI, CUTOFF = 512, 64, 4096
FREE, END, TABLE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
NONE = 0xFFFFFFFF
_STORAGE, _STREAM, _ROOT = 1, 2, 5
_RED, _BLACK = 0, 1


@dataclass(slots=True)
class _Entry:
    """A line of the directory. ``left``, ``right`` and ``child`` are numbers of entries."""

    name: str
    kind: int
    content: bytes = b""
    colour: int = _BLACK
    left: int = NONE
    right: int = NONE
    child: int = NONE
    start: int = END
    size: int = 0


@dataclass(slots=True)
class _Chains:
    """Sectors of one size with the table that links them."""

    size: int
    data: bytearray = field(default_factory=bytearray)
    links: list[int] = field(default_factory=list)

    def add(self, content: bytes) -> int:
        """The number of the first sector of a new chain."""
        if not content:
            return END
        first, count = len(self.links), -(-len(content) // self.size)
        self.data += content.ljust(count * self.size, b"\0")
        self.links += [*range(first + 1, first + count), END]
        return first


def write_compound(root: Storage) -> bytes:
    """The file's bytes. Raises ValueError for a name over 31 characters or a file over the size named above."""
    entries = [_Entry("Root Entry", _ROOT)]
    entries[0].child = _add_children(entries, root)
    sectors, minis = _Chains(SECTOR), _Chains(MINI)
    for entry in entries[1:]:
        if entry.kind == _STREAM:
            entry.size = len(entry.content)
            entry.start = (minis if entry.size < CUTOFF else sectors).add(entry.content)
    entries[0].start, entries[0].size = sectors.add(bytes(minis.data)), len(minis.data)
    mini_table = b"".join(struct.pack("<L", link) for link in minis.links)
    first_mini, mini_count = sectors.add(_filled(mini_table, b"\xff")), -(-len(mini_table) // SECTOR)
    directory = sectors.add(_filled(b"".join(map(_pack, entries)), _pack(_Entry("", 0))))
    tables = _add_table(sectors)
    header = struct.pack(
        "<8s16xHHHHH6xLLLLLLLLL",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6,
        0, len(tables), directory, 0, CUTOFF, first_mini, mini_count, END, 0,
    )  # fmt: skip
    header += struct.pack("<109L", *tables, *[FREE] * (109 - len(tables)))
    return header + bytes(sectors.data)


def _filled(content: bytes, filler: bytes) -> bytes:
    """Up to a whole number of sectors."""
    return content + filler * (-len(content) % SECTOR // len(filler))


def _add_table(sectors: _Chains) -> list[int]:
    """The table of all sectors, itself included; the numbers of the sectors that hold it."""
    count = 0
    while (len(sectors.links) + count) * 4 > count * SECTOR:
        count += 1
    if count > 109:
        raise ValueError("the compound file would be too large for one header")
    first = len(sectors.links)
    sectors.links += [TABLE] * count
    sectors.data += _filled(b"".join(struct.pack("<L", link) for link in sectors.links), b"\xff")
    return list(range(first, first + count))


def _add_children(entries: list[_Entry], storage: Storage) -> int:
    """The storage's members as a balanced search tree, deepest first; the number of its root."""
    numbers = []
    for name in sorted(storage, key=lambda n: (len(n), n.upper())):
        if len(name) > 31:
            raise ValueError(f"a name in a compound file has at most 31 characters: {name!r}")
        content = storage[name]
        entry = _Entry(name, _STREAM, content) if isinstance(content, bytes) else _Entry(name, _STORAGE)
        entries.append(entry)
        numbers.append(len(entries) - 1)
        if not isinstance(content, bytes):
            entry.start, entry.child = 0, _add_children(entries, content)
    return _balance(entries, numbers, len(numbers).bit_length() - 1)


def _balance(entries: list[_Entry], numbers: list[int], levels: int) -> int:
    """All levels but the last are full, so red on the last one alone makes it a red-black tree."""
    if not numbers:
        return NONE
    middle = len(numbers) // 2
    entry = entries[numbers[middle]]
    entry.left = _balance(entries, numbers[:middle], levels - 1)
    entry.right = _balance(entries, numbers[middle + 1 :], levels - 1)
    entry.colour = _RED if levels == 0 else _BLACK
    return numbers[middle]


def _pack(entry: _Entry) -> bytes:
    name = entry.name.encode("utf-16-le")
    return struct.pack(
        "<64sHBBLLL16xL8x8xLQ",
        name, len(name) + 2 if name else 0, entry.kind, entry.colour,
        entry.left, entry.right, entry.child, 0, 0 if entry.kind == 0 else entry.start, entry.size,
    )  # fmt: skip
