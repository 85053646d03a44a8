"""Word 97 and PowerPoint 97 from streams built by hand."""

from __future__ import annotations

import io
import struct

import pytest

from pipeline.errors import Rejected
from pipeline.parse import SandboxedParser

END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def ole(streams: dict[str, bytes]) -> bytes:
    """Build a compound file with one table sector; streams are padded to 4,096 bytes, so that none is a small one."""
    sectors, table, entries = [], [], []
    for name, content in streams.items():
        padded = content.ljust(4096, b"\0")
        padded += b"\0" * (-len(padded) % 512)
        first, count = len(sectors), len(padded) // 512
        sectors += [padded[i : i + 512] for i in range(0, len(padded), 512)]
        table += [*range(first + 1, first + count), END]
        entries.append((name, 2, first, len(padded)))
    directory, children = len(sectors), len(entries)
    items = [_entry("Root Entry", 5, END, 0, child=1 if children else FREE)]
    items += [_entry(n, k, f, s, right=i + 2 if i + 1 < children else FREE) for i, (n, k, f, s) in enumerate(entries)]
    listing = b"".join(items).ljust(512 * -(-len(items) // 4), b"\0")
    pieces = [listing[i : i + 512] for i in range(0, len(listing), 512)]
    sectors += pieces
    table += [*range(directory + 1, directory + len(pieces)), END, FAT]
    assert len(table) <= 128
    sectors.append(struct.pack("<128L", *table, *[FREE] * (128 - len(table))))
    magic = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    fields = (0x3E, 3, 0xFFFE, 9, 6, 0, 1, directory, 0, 4096, END, 0, END, 0)
    head = magic + struct.pack("<HHHHH6xLLLLLLLLL", *fields)
    return head + struct.pack("<109L", len(sectors) - 1, *[FREE] * 108) + b"".join(sectors)


def _entry(name: str, kind: int, first: int, size: int, right: int = FREE, child: int = FREE) -> bytes:
    raw = name.encode("utf-16-le") + b"\0\0"
    return raw.ljust(64, b"\0") + struct.pack("<HBBLLL36xLQ", len(raw), kind, 1, FREE, right, child, first, size)


def word(flags: int = 0x0200, number: int = 193) -> bytes:
    narrow, wide = (
        "Delivery terms\r".encode("cp1252"),
        "The café pays \x13 LINK x \x14here\x15.\rPump\x07120\x07\x07".encode("utf-16-le"),
    )
    document = bytearray(4096)
    struct.pack_into("<HH", document, 0, 0xA5EC, number)
    struct.pack_into("<H", document, 10, flags)
    document[1024 : 1024 + len(narrow)] = narrow
    document[2048 : 2048 + len(wide)] = wide
    ends = (0, len(narrow), len(narrow) + len(wide) // 2)
    pieces = (
        struct.pack("<3L", *ends) + struct.pack("<HLH", 0, 1024 * 2 | 0x40000000, 0) + struct.pack("<HLH", 0, 2048, 0)
    )
    clx = b"\x01" + struct.pack("<H", 2) + b"\0\0" + b"\x02" + struct.pack("<L", len(pieces)) + pieces
    struct.pack_into("<LL", document, 0x01A2, 8, len(clx))
    return ole({"1Table": bytes(8) + clx, "WordDocument": bytes(document)})


def record(kind: int, body: bytes, container: bool = False, instance: int = 0) -> bytes:
    return struct.pack("<HHL", instance << 4 | (0x0F if container else 0), kind, len(body)) + body


def powerpoint() -> bytes:
    master = record(1016, record(4000, "Click to edit".encode("utf-16-le")), container=True)
    outline = (
        record(1011, bytes(20))
        + record(4008, b"First slide\rwith a line")
        + record(1011, bytes(20))
        + record(4008, b"Second slide")
    )
    slide_list = record(4080, outline, container=True)
    slide = record(1006, record(4000, "A box on the first".encode("utf-16-le")), container=True)
    return ole({"Current User": b"", "PowerPoint Document": master + slide_list + slide})


@pytest.fixture(scope="module")
def parse(parser: SandboxedParser):
    return lambda content, name: parser.parse(io.BytesIO(content), name)


def test_word_joins_its_pieces_and_drops_field_codes(parse) -> None:
    parsed = parse(word(), "a.doc")
    assert parsed.media_type == "application/msword" and parsed.flags == ()
    assert [e.text for e in parsed.elements] == ["Delivery terms", "The café pays here.", "Pump | 120"]


def test_powerpoint_texts_have_the_page_of_their_slide(parse) -> None:
    parsed = parse(powerpoint(), "a.ppt")
    assert parsed.pages == 2
    assert [(e.page, e.text) for e in parsed.elements] == [
        (1, "First slide\nwith a line"),
        (1, "A box on the first"),
        (2, "Second slide"),
    ]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (word(flags=0x0300), "encrypted"),
        (word(number=104), "unsupported"),
        (word()[:3000], "damaged"),
        (ole({"Other": b""}), "unsupported"),
    ],
)
def test_an_unreadable_file_is_rejected_with_a_reason(content: bytes, code: str, parse) -> None:
    with pytest.raises(Rejected) as caught:
        parse(content, "a.doc")
    assert caught.value.code == code
