"""Plain text: decode it, split it at blank lines, and name the parts as unstructured does."""

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
_MAX_PARAGRAPH = 20_000
_MAX_TITLE = 2000  # anything longer is running text


def read(file: BinaryIO, findings: Findings) -> None:
    """Read a plain text up to the text limit. Raises TextLimitReached."""
    findings.parser = "mailroom text 1"
    findings.pages = 1
    # A character has at most four bytes; bytes beyond the text limit need not be decoded.
    data = file.read(4 * findings.limits.max_text_chars + 4)
    if file.read(1):
        findings.flags.add("truncated")
    add_text(findings, decode(data))


def add_text(findings: Findings, text: str, page: int | None = None, titles: bool = True) -> None:
    """Add the paragraphs of a text as elements.

    Without ``titles`` a short line is not taken for a title: OCR yields too many of them.
    """
    for paragraph in _BLANK.split(text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")):
        for part in split_paragraph(paragraph.strip("\n")):
            name = category(part)
            findings.add(name if titles or name != "Title" else "UncategorizedText", part, page)


def decode(data: bytes, declared: str | None = None) -> str:
    """Return the text of bytes in an unknown encoding.

    Tried in turn: byte order mark, UTF-16 and UTF-32 by their NULs, the ``declared`` encoding, UTF-8, a guess.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    head = data[:65536]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if even + odd > len(head) * 0.1:  # NULs are valid UTF-8, but no text has so many
        bits = 32 if even + odd > len(head) * 0.7 else 16
        big_endian = head[:1] == b"\0" if bits == 32 else even > odd
        return data.decode(f"utf-{bits}-{'be' if big_endian else 'le'}", "replace")
    for name in (declared, "utf-8"):
        try:
            if name and codecs.lookup(name).name not in ("utf-7", "idna", "punycode"):
                return data.decode(name)
        except (LookupError, UnicodeDecodeError, ValueError):
            continue
    return data.decode(guess_encoding(head), "replace")


def guess_encoding(head: bytes) -> str:
    """Guess the encoding of bytes that are not valid UTF-8.

    Western text with a few accents is Windows-1252 far more often than anything else.
    """
    invalid = head.decode("utf-8", "replace").count("\ufffd")
    if invalid * 200 < len(head) and len(head) > 1000:
        return "utf-8"  # with a few invalid bytes
    if sum(byte > 127 for byte in head) * 5 < len(head):
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(head[:16384]).best()
    return best.encoding if best else "cp1252"


def category(text: str) -> str:
    """Return unstructured's category for a part of a plain text."""
    if len(text) > _MAX_TITLE:
        return "NarrativeText"
    if _BULLET.match(text):
        return "ListItem"
    from unstructured.partition.text_type import is_possible_narrative_text, is_possible_title

    if is_possible_narrative_text(text):
        return "NarrativeText"
    return "Title" if "\n" not in text and is_possible_title(text) else "UncategorizedText"


def split_paragraph(paragraph: str) -> list[str]:
    """Split a list into its items, and a paragraph over the limit into slices, so that no step is quadratic."""
    if len(paragraph) > _MAX_PARAGRAPH:
        return [paragraph[i : i + _MAX_PARAGRAPH] for i in range(0, len(paragraph), _MAX_PARAGRAPH)]
    lines = paragraph.split("\n")
    if len(lines) > 1 and sum(1 for line in lines if _BULLET.match(line)) >= 2:
        items: list[str] = []
        for line in lines:
            if not items or _BULLET.match(line):
                items.append(line)
            else:
                items[-1] += "\n" + line
        return items
    return [paragraph] if paragraph.strip() else []
