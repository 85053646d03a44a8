"""The output that a reader collects; at the text limit it stops reading instead of failing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.parse.limits import ParseLimits

_MAX_HTML = 200_000
_MAX_LINKS = 100


class Full(Exception):
    """The text limit is reached: stop reading, keep what is there."""


@dataclass(slots=True)
class Findings:
    """Filled by one reader. ``elements`` are rows of (category, text, page, depth, html, links)."""

    limits: ParseLimits
    name: str
    kind: str = ""
    ocr_available: bool = False
    elements: list[tuple[str, str, int | None, int | None, str | None, list[str]]] = field(default_factory=list)
    pages: int = 0
    title: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    attachments: list[tuple[str, str, bytes]] = field(default_factory=list)
    languages: tuple[str, ...] = ()
    characters: int = 0
    #: the reader and the libraries that it used, for the decision record
    parser: str = ""
    started: float = field(default_factory=time.monotonic)

    def add(
        self,
        category: str,
        text: str,
        page: int | None = None,
        depth: int | None = None,
        html: str | None = None,
        links: Iterable[str] = (),
    ) -> None:
        """Add an element. Raises Full when the limit of characters is reached (the text is cut there)."""
        text = clean(text)
        if not text:
            return
        room = self.limits.max_text_chars - self.characters
        self.characters += len(text)
        html = html if html and len(html) <= _MAX_HTML else None
        short_links = [link[:2000] for link in links][:_MAX_LINKS]
        self.elements.append((category, text[:room], page, depth, html, short_links))
        if len(text) >= room:
            self.flags.add("truncated")
            raise Full

    def note(self, **facts: Any) -> None:
        """Store short metadata values; empty ones are left out."""
        for key, value in facts.items():
            text = clean(str(value)) if value else ""
            if text:
                self.metadata[key] = text[:2000]

    def ocr_deadline(self) -> float:
        """Return the monotonic time, in seconds, at which OCR stops."""
        return self.started + self.limits.wall_seconds * self.limits.ocr_share


def clean(text: str) -> str:
    """Return the text without NULs, lone surrogates, most control characters and surrounding whitespace."""
    if "\0" in text or not text.isprintable():
        text = text.encode("utf-8", "replace").decode("utf-8").translate(_CONTROLS)
    return text.strip()


_CONTROLS = {c: None for c in range(32) if c not in (9, 10, 13)} | {
    0x7F: None,
    0xFFFE: None,
    0xFFFF: None,
    13: " ",
    0xFEFF: None,
}
