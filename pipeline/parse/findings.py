"""What a reader extracts from one document. At the text limit the reader stops instead of failing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.parse.limits import ParseLimits

_MAX_HTML = 200_000
_MAX_LINKS = 100


class TextLimitReached(Exception):
    """The text limit is reached: the reader stops, and the text up to here is used."""


class ElementRow(NamedTuple):
    """One element, as the JSON array that the owner receives."""

    category: str
    text: str
    page: int | None
    depth: int | None
    html: str | None
    links: list[str]


class AttachmentRow(NamedTuple):
    """One attachment with its bytes, which no reader looks into."""

    name: str
    media_type: str
    content: bytes


@dataclass(slots=True)
class Findings:
    """Collects what one reader extracts from one document."""

    limits: ParseLimits
    name: str
    kind: str = ""
    ocr_available: bool = False
    elements: list[ElementRow] = field(default_factory=list)
    pages: int = 0
    title: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    attachments: list[AttachmentRow] = field(default_factory=list)
    languages: tuple[str, ...] = ()
    characters: int = 0
    #: the reader and its libraries with their versions, for the decision record
    parser: str = ""
    started_at: float = field(default_factory=time.monotonic)

    def add(
        self,
        category: str,
        text: str,
        page: int | None = None,
        depth: int | None = None,
        html: str | None = None,
        links: Iterable[str] = (),
    ) -> None:
        """Add an element unless its text is empty.

        Raises TextLimitReached at the limit of characters, after adding the text up to there.
        """
        text = clean(text)
        if not text:
            return
        room = self.limits.max_text_chars - self.characters
        self.characters += len(text)
        html = html if html and len(html) <= _MAX_HTML else None
        short_links = [link[:2000] for link in links][:_MAX_LINKS]
        self.elements.append(ElementRow(category, text[:room], page, depth, html, short_links))
        if len(text) >= room:
            self.flags.add("truncated")
            raise TextLimitReached

    def add_metadata(self, **values: object) -> None:
        """Store short metadata values; empty ones are left out."""
        for key, value in values.items():
            text = clean(str(value)) if value else ""
            if text:
                self.metadata[key] = text[:2000]

    def ocr_deadline(self) -> float:
        """Return the monotonic time, in seconds, at which OCR stops."""
        return self.started_at + self.limits.wall_seconds * self.limits.ocr_share


_CONTROLS: dict[int, str | None] = {
    **{code: None for code in range(32) if chr(code) not in "\t\n\r"},
    0x0D: " ",
    0x7F: None,
    0xFEFF: None,
    0xFFFE: None,
    0xFFFF: None,
}


def clean(text: str) -> str:
    """Return the text without NULs, lone surrogates, most control characters and surrounding whitespace."""
    if "\0" in text or not text.isprintable():
        text = text.encode("utf-8", "replace").decode("utf-8").translate(_CONTROLS)
    return text.strip()
