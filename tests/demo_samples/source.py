"""A sample's text: TOML front matter between ``+++`` lines, then a small Markdown.

    # Title, ## Heading, ### Heading      - item      1. item      | table | rows |      +++page+++ (page break)

Paragraphs are separated by blank lines; a line that ends in a backslash is broken there; ``**bold**``. So the same text
can be laid out as PDF, Word, slides or a scan, and pandoc reads it unchanged.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = "+++page+++"
_ITEM = re.compile(r"^(?:-|(\d+)\.)\s+(.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a text. ``kind``: "heading", "paragraph", "item", "table" or "page".

    ``level`` of a heading counts from 1; ``bullet`` of an item is its number with a point, or a bullet; ``rows`` of a
    table begin with its header. ``text`` may contain ``**`` and newlines.
    """

    kind: str
    text: str = ""
    level: int = 0
    bullet: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A text: the sample's ``path`` in the samples folder, ``fields`` of the front matter, the Markdown ``body``."""

    path: str
    fields: dict[str, Any]
    body: str

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The parts of the body in their order."""
        return tuple(_block(lines) for lines in _paragraphs(self.body))

    @property
    def title(self) -> str:
        """The front matter's title, otherwise the first heading, otherwise the file's name."""
        heading = next((b.text for b in self.blocks if b.kind == "heading"), Path(self.path).stem)
        return str(self.fields.get("title", heading))


def read_sources(root: Path) -> list[Source]:
    """Read every ``NAME.FORMAT.md`` below ``root``, ordered by path."""
    return [read_source(path, root) for path in sorted(root.rglob("*.*.md"))]


def read_source(path: Path, root: Path) -> Source:
    """Read one text; its sample's path is relative to ``root``."""
    text = path.read_text(encoding="utf-8")
    _, head, body = text.split("+++\n", 2)
    return Source(path.relative_to(root).as_posix().removesuffix(".md"), tomllib.loads(head), body.strip() + "\n")


def _paragraphs(body: str) -> Iterator[list[str]]:
    """Yield runs of lines that belong together; a heading or the first line of an item begins a new one."""
    lines: list[str] = []
    for line in [*body.splitlines(), ""]:
        alone = line.startswith("#") or line == PAGE
        starts = alone or not line.strip() or _ITEM.match(line)
        if starts and lines:
            yield lines
            lines = []
        if alone:
            yield [line]
        elif line.strip():
            lines.append(line)


def _block(lines: list[str]) -> Block:
    first = lines[0]
    if first == PAGE:
        return Block("page")
    if first.startswith("#"):
        hashes, _, text = first.partition(" ")
        return Block("heading", text.strip(), level=len(hashes))
    if first.startswith("|"):
        return Block("table", rows=tuple(_cells(line) for line in lines if not set(line) <= set("|-: ")))
    item = _ITEM.match(first)
    text = _joined([item.group(2) if item else first, *lines[1:]])
    if item:
        return Block("item", text, bullet=f"{item.group(1)}." if item.group(1) else "•")
    return Block("paragraph", text)


def _joined(lines: list[str]) -> str:
    return "".join(line.strip()[:-1] + "\n" if line.endswith("\\") else line.strip() + " " for line in lines).strip()


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def plain(text: str) -> str:
    """Return a text without ``**``."""
    return text.replace("**", "")


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """Yield (piece, bold) in order."""
    for number, piece in enumerate(text.split("**")):
        if piece:
            yield piece, number % 2 == 1
