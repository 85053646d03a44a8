"""Word and PowerPoint of 1997 to 2003, directly from their streams: the text in order, no layout, nothing executed.

LibreOffice would preserve headings and tables better, but needs 300 MB and seconds for each file, and exposes a large
program to hostile files; it is not used.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from importlib.metadata import version
from typing import BinaryIO

import olefile

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.text import add_text, category

_ENCRYPTED, _SECOND_TABLE = 0x0100, 0x0200  # flags of Word's file information block
_WORD_97 = 193  # the first version of the format below
_NARROW_PIECE, _PIECE_OFFSET = 0x40000000, 0x3FFFFFFF
_FIELD_CODE = re.compile("\x13[^\x13\x14\x15]*\x14?")
#: Word's control characters: cell, line and page ends, hyphens, blank; pictures, notes and field codes are dropped
_CONTROLS = {
    0x07: " | ",
    0x0B: "\n",
    0x0C: "\r",
    0x1E: "-",
    0x1F: "",
    0xA0: " ",
    **dict.fromkeys((1, 2, 5, 8, 0x13, 0x14, 0x15), ""),
}
#: types of PowerPoint's records
_SLIDE, _SLIDE_LIST, _SLIDE_ENTRY = 1006, 4080, 1011
_MASTERS = frozenset({1016, 1008, 4041})
_UTF16_TEXT, _LATIN_TEXT = 4000, 4008
_CONTAINER = 0x0F


@contextlib.contextmanager
def _open(file: BinaryIO, findings: Findings) -> Iterator[olefile.OleFileIO]:
    """Open the container and add its properties. Translates the errors of a damaged file to Rejected."""
    findings.parser = f"mailroom legacy 1, olefile {version('olefile')}"
    try:
        with olefile.OleFileIO(file) as container:
            properties = container.get_metadata()
            page = properties.codepage if properties.codepage and properties.codepage > 0 else 1252
            findings.title = _decode(properties.title, page) or None
            findings.add_metadata(
                author=_decode(properties.author, page),
                subject=_decode(properties.subject, page),
                keywords=_decode(properties.keywords, page),
                created=properties.create_time.isoformat() if properties.create_time else "",
            )
            findings.pages = min(properties.num_pages or 1, findings.limits.max_pages)
            if any("vba" in part.lower() for entry in container.listdir() for part in entry):
                findings.flags.add("macros")
            yield container
    except (OSError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise Rejected(
            "damaged", "The Office document is cut off or damaged; open it in its own program and save it again."
        ) from error


def _decode(raw: bytes | str | None, codepage: int) -> str:
    if not isinstance(raw, bytes):
        return raw or ""
    try:
        return raw.decode("utf-8" if codepage == 65001 else f"cp{codepage}", "replace").strip("\0 ")
    except LookupError:
        return raw.decode("cp1252", "replace").strip("\0 ")


# --- Word -------------------------------------------------------------------------------------------------------------


def read_word(file: BinaryIO, findings: Findings) -> None:
    """Read a DOC file of Word 97 or later. Raises Rejected."""
    with _open(file, findings) as container:
        document = container.openstream("WordDocument").read()
        number, flags = struct.unpack_from("<H", document, 2)[0], struct.unpack_from("<H", document, 10)[0]
        if flags & _ENCRYPTED:
            raise Rejected(
                "encrypted", "The Word document is protected by a password; remove it and send the file again."
            )
        if number < _WORD_97:
            raise Rejected(
                "unsupported", "This Word document is older than Word 97; save it as DOCX or PDF and send that."
            )
        table = container.openstream("1Table" if flags & _SECOND_TABLE else "0Table").read()
        at, length = struct.unpack_from("<LL", document, 0x01A2)
        text = "".join(text_pieces(document, table[at : at + length]))
        text = _FIELD_CODE.sub("", text).replace("\x07\x07", "\r").translate(_CONTROLS)
        for paragraph in text.split("\r"):
            if paragraph.strip(" |\n"):
                findings.add(category(paragraph.strip(" |")), paragraph.strip(" |"))


def text_pieces(document: bytes, table: bytes) -> Iterator[str]:
    """Yield the pieces of a Word document's text in their order; a piece is either Windows-1252 or UTF-16.

    ``document`` is the stream "WordDocument", ``table`` the part of the table stream that locates the pieces.
    """
    at = 0
    while at < len(table) and table[at] == 1:  # formatting, skipped
        at += 3 + struct.unpack_from("<H", table, at + 1)[0]
    if at >= len(table) or table[at] != 2:
        raise OSError("no piece table")
    (length,) = struct.unpack_from("<L", table, at + 1)
    pieces = table[at + 5 : at + 5 + length]
    count = (len(pieces) - 4) // 12
    positions = struct.unpack_from(f"<{count + 1}L", pieces, 0)
    for i in range(count):
        (offset,) = struct.unpack_from("<L", pieces, 4 * (count + 1) + 8 * i + 2)
        size = max(0, positions[i + 1] - positions[i])
        if offset & _NARROW_PIECE:
            start = (offset & _PIECE_OFFSET) // 2
            yield document[start : start + size].decode("cp1252", "replace")
        else:
            yield document[offset : offset + 2 * size].decode("utf-16-le", "replace")


# --- PowerPoint -------------------------------------------------------------------------------------------------------


def read_powerpoint(file: BinaryIO, findings: Findings) -> None:
    """Read a PPT file. Raises Rejected.

    The texts of the outline are in a list, those of other boxes in the slides themselves.
    """
    with _open(file, findings) as container:
        if container.exists("EncryptedSummary"):
            raise Rejected(
                "encrypted", "The presentation is protected by a password; remove it and send the file again."
            )
        texts: dict[int, list[str]] = {}
        for slide, text in slide_texts(container.openstream("PowerPoint Document").read()):
            if text not in texts.setdefault(slide, []):  # a file saved incrementally contains a slide twice
                texts[slide].append(text)
        findings.pages = max(texts, default=0)
        for slide in sorted(texts):
            for text in texts[slide]:
                add_text(findings, text, slide)


def slide_texts(stream: bytes) -> Iterator[tuple[int, str]]:
    """Yield (slide from 1, text) of the stream "PowerPoint Document"; masters and handouts are left out."""
    at = list_entries = slides = current = 0
    while at + 8 <= len(stream):
        header, kind, length = struct.unpack_from("<HHL", stream, at)
        at += 8
        if kind in _MASTERS or (kind == _SLIDE_LIST and header >> 4 != 0):
            at += length
            continue
        if kind == _SLIDE:
            slides += 1
            current = slides
        elif kind == _SLIDE_ENTRY:
            list_entries += 1
            current = list_entries
        if kind in (_UTF16_TEXT, _LATIN_TEXT) and current:
            raw = stream[at : at + length]
            text = raw.decode("utf-16-le", "replace") if kind == _UTF16_TEXT else raw.decode("latin-1")
            yield current, text.replace("\r", "\n").replace("\x0b", "\n").strip()
        if header & _CONTAINER != _CONTAINER:  # a container's records follow its header
            at += length
