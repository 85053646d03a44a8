"""Word and PowerPoint of 1997 to 2003, straight from their streams: the text in its order, no layout, nothing executed.

LibreOffice would keep headings and tables better, at the price of 300 MB, seconds for each file, and a large program
that opens hostile files; it is not used.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from importlib.metadata import version
from typing import BinaryIO

import olefile

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.text import add_text, category

_WORD_97 = 193  # the first file format number of the layout below
_FIELD_CODE = re.compile("\x13[^\x13\x14\x15]*\x14?")
_BLOCKS = {
    0x07: " | ",
    0x0B: "\n",
    0x0C: "\r",
    0x1E: "-",
    0x1F: "",
    0xA0: " ",
    **dict.fromkeys((1, 2, 5, 8, 0x13, 0x14, 0x15), ""),
}
_SLIDE, _MASTERS, _SLIDE_LIST, _SLIDE_ENTRY = 1006, frozenset({1016, 1008, 4041}), 4080, 1011
_CHARS, _BYTES = 4000, 4008


def read(file: BinaryIO, found: Findings) -> None:
    found.parser = f"mailroom legacy 1, olefile {version('olefile')}"
    try:
        with olefile.OleFileIO(file) as container:
            _facts(container, found)
            (_read_word if found.kind == "doc" else _read_powerpoint)(container, found)
    except (OSError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise Rejected(
            "damaged", "The Office document is cut off or damaged; open it in its own program and save it anew."
        ) from error


def _facts(container: olefile.OleFileIO, found: Findings) -> None:
    facts = container.get_metadata()
    page = facts.codepage if facts.codepage and facts.codepage > 0 else 1252
    text = lambda raw: _decoded(raw, page)  # noqa: E731
    found.title = text(facts.title) or None
    found.note(author=text(facts.author), subject=text(facts.subject), keywords=text(facts.keywords))
    found.note(created=facts.create_time.isoformat() if facts.create_time else "")
    found.pages = min(facts.num_pages or 1, found.limits.max_pages)
    if any("vba" in part.lower() for entry in container.listdir() for part in entry):
        found.flags.add("macros")


def _decoded(raw: bytes | str | None, codepage: int) -> str:
    if not isinstance(raw, bytes):
        return raw or ""
    try:
        return raw.decode("utf-8" if codepage == 65001 else f"cp{codepage}", "replace").strip("\0 ")
    except LookupError:
        return raw.decode("cp1252", "replace").strip("\0 ")


# --- Word ----------------------------------------------------------------------------------------------------------------


def _read_word(container: olefile.OleFileIO, found: Findings) -> None:
    document = container.openstream("WordDocument").read()
    number, flags = struct.unpack_from("<H", document, 2)[0], struct.unpack_from("<H", document, 10)[0]
    if flags & 0x0100:
        raise Rejected("encrypted", "The Word document is protected by a password; remove it and send the file again.")
    if number < _WORD_97:
        raise Rejected("unsupported", "This Word document is older than Word 97; save it as DOCX or PDF and send that.")
    table = container.openstream("1Table" if flags & 0x0200 else "0Table").read()
    at, length = struct.unpack_from("<LL", document, 0x01A2)
    text = "".join(_pieces(document, table[at : at + length]))
    text = _FIELD_CODE.sub("", text).replace("\x07\x07", "\r").translate(_BLOCKS)
    for paragraph in text.split("\r"):
        if paragraph.strip(" |\n"):
            found.add(category(paragraph.strip(" |")), paragraph.strip(" |"))


def _pieces(document: bytes, table: bytes) -> Iterator[str]:
    """The pieces of text in their order; each is either Windows-1252 or UTF-16."""
    at = 0
    while at < len(table) and table[at] == 1:  # formatting, skipped
        at += 3 + struct.unpack_from("<H", table, at + 1)[0]
    if at >= len(table) or table[at] != 2:
        raise OSError("no piece table")
    (length,) = struct.unpack_from("<L", table, at + 1)
    plan = table[at + 5 : at + 5 + length]
    count = (len(plan) - 4) // 12
    places = struct.unpack_from(f"<{count + 1}L", plan, 0)
    for i in range(count):
        (where,) = struct.unpack_from("<L", plan, 4 * (count + 1) + 8 * i + 2)
        size = max(0, places[i + 1] - places[i])
        if where & 0x40000000:
            start = (where & 0x3FFFFFFF) // 2
            yield document[start : start + size].decode("cp1252", "replace")
        else:
            yield document[where : where + 2 * size].decode("utf-16-le", "replace")


# --- PowerPoint ----------------------------------------------------------------------------------------------------------


def _read_powerpoint(container: olefile.OleFileIO, found: Findings) -> None:
    """The texts of the slides: those of the outline stand in a list, those of other boxes in the slides themselves."""
    if container.exists("EncryptedSummary"):
        raise Rejected("encrypted", "The presentation is protected by a password; remove it and send the file again.")
    texts: dict[int, list[str]] = {}
    for slide, text in _texts(container.openstream("PowerPoint Document").read()):
        if text not in texts.setdefault(slide, []):  # a file saved in steps holds a slide twice
            texts[slide].append(text)
    found.pages = max(texts, default=0)
    for slide in sorted(texts):
        for text in texts[slide]:
            add_text(found, text, slide)


def _texts(stream: bytes) -> Iterator[tuple[int, str]]:
    """(slide from 1, text), record by record; masters and handouts are left out."""
    at = listed = drawn = current = 0
    while at + 8 <= len(stream):
        head, kind, length = struct.unpack_from("<HHL", stream, at)
        at += 8
        if kind in _MASTERS or (kind == _SLIDE_LIST and head >> 4 != 0):
            at += length
            continue
        if kind == _SLIDE:
            drawn += 1
            current = drawn
        elif kind == _SLIDE_ENTRY:
            listed += 1
            current = listed
        if kind in (_CHARS, _BYTES) and current:
            raw = stream[at : at + length]
            text = raw.decode("utf-16-le", "replace") if kind == _CHARS else raw.decode("latin-1")
            yield current, text.replace("\r", "\n").replace("\x0b", "\n").strip()
        if head & 0x0F != 0x0F:  # an atom; a container's records follow its head
            at += length
