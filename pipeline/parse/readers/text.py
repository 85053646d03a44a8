"""Plain text: decode, cut at blank lines, name the pieces as unstructured does."""

from __future__ import annotations

import codecs
import re
from typing import BinaryIO

from pipeline.parse.findings import Findings

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLANK = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_BULLET = re.compile(r"^\s*(?:[-*+•‣▪◦·–]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+(?=\S)")
_MAX_PIECE = 20_000
_CLASSIFIED = 2000  # longer pieces are running text


def read(file: BinaryIO, found: Findings) -> None:
    found.parser = "mailroom text 1"
    found.pages = 1
    # A character has at most four bytes; what is over the text limit need not be decoded.
    data = file.read(4 * found.limits.max_text_chars + 4)
    if file.read(1):
        found.flags.add("truncated")
    add_text(found, decode(data))


def add_text(found: Findings, text: str, page: int | None = None, titles: bool = True) -> None:
    """Paragraphs as elements; without ``titles`` a short line is only a line (OCR makes too many of them)."""
    for paragraph in _BLANK.split(text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")):
        for piece in _pieces(paragraph.strip("\n")):
            name = category(piece)
            found.add(name if titles or name != "Title" else "UncategorizedText", piece, page)


def decode(data: bytes, declared: str | None = None) -> str:
    """Text of bytes in an unknown encoding: byte order mark, the declared name, UTF-8, UTF-16 by its NULs, a guess."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data.decode(name, "replace")
    if data[:65536].count(0) > len(data[:65536]) * 0.1:  # NULs are valid UTF-8, but no text has so many
        return data.decode(_wide_encoding(data[:65536]), "replace")
    for name in (declared, "utf-8"):
        try:
            if name and codecs.lookup(name).name not in ("utf-7", "idna", "punycode"):
                return data.decode(name)
        except (LookupError, UnicodeDecodeError, ValueError):
            continue
    return data.decode(_guess(data[:65536]), "replace")


def _wide_encoding(head: bytes) -> str:
    if head.count(0) > len(head) * 0.7:
        return "utf-32-be" if head[:1] == b"\0" else "utf-32-le"
    return "utf-16-be" if head[0::2].count(0) > head[1::2].count(0) else "utf-16-le"


def _guess(head: bytes) -> str:
    """For bytes that are no valid UTF-8. Western text with a few accents is Windows-1252 far more often than anything else."""
    stray = head.decode("utf-8", "replace").count("\ufffd")
    if stray * 200 < len(head) and len(head) > 1000:
        return "utf-8"  # but for a few stray bytes
    if sum(byte > 127 for byte in head) * 5 < len(head):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(head[:16384]).best()
    return best.encoding if best else "cp1252"


def category(text: str) -> str:
    """unstructured's name for a piece of plain text."""
    if len(text) > _CLASSIFIED:
        return "NarrativeText"
    if _BULLET.match(text):
        return "ListItem"
    from unstructured.partition.text_type import is_possible_narrative_text, is_possible_title

    if is_possible_narrative_text(text):
        return "NarrativeText"
    return "Title" if "\n" not in text and is_possible_title(text) else "UncategorizedText"


def _pieces(paragraph: str) -> list[str]:
    """A list's items one by one; a paragraph beyond the limit in slices, so that no step is quadratic."""
    if len(paragraph) > _MAX_PIECE:
        return [paragraph[i : i + _MAX_PIECE] for i in range(0, len(paragraph), _MAX_PIECE)]
    lines = paragraph.split("\n")
    if len(lines) > 1 and sum(1 for line in lines if _BULLET.match(line)) >= 2:
        return _items(lines)
    return [paragraph] if paragraph.strip() else []


def _items(lines: list[str]) -> list[str]:
    """Each bullet with the lines that continue it."""
    items: list[list[str]] = []
    for line in lines:
        if not items or _BULLET.match(line):
            items.append([])
        items[-1].append(line)
    return ["\n".join(item) for item in items]
