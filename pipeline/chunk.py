"""Elements to passages: whole elements gathered up to a length, cut at titles, with exact places in the document's text.

Own code rather than unstructured's `chunk_by_title`: a quotation needs `parsed.text[start:end] == chunk.text`, and that
one joins and strips texts without keeping their places, and knows only the first page of a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.documents import Chunk, Parsed

_SEPARATOR = "\n\n"  # as in Parsed.text
#: better and better places to cut a long element: after a word, a line, a sentence
_CUTS = (re.compile(r"\s+"), re.compile(r"\n"), re.compile(r"(?<=[.!?。！？])\s+"))
_MAX_HEADING = 200


@dataclass(frozen=True, slots=True)
class _Piece:
    """An element, or a part of one that is too long: its place, page, and whether it is a title."""

    start: int
    end: int
    page: int | None
    title: bool


def chunk(parsed: Parsed, max_chars: int = 1200, min_chars: int = 300) -> tuple[Chunk, ...]:
    """Passages in reading order, without overlap; none for a document without text.

    No passage is longer than ``max_chars`` (at least 1). A new one begins at a title once ``min_chars`` are gathered; a
    title stays with what follows it. A table is kept whole when it fits, else cut between rows. ``heading`` is the
    title that the passage begins with, or the last one before it.
    """
    text = parsed.text
    chunks: list[Chunk] = []
    heading: str | None = None
    for group in _groups(list(_pieces(parsed, text, max_chars)), max_chars, min_chars):
        if group[0].title:
            heading = text[group[0].start : group[0].end]
        chunks.append(_chunk(len(chunks), text, group, heading))
        titles = [piece for piece in group if piece.title]
        heading = text[titles[-1].start : titles[-1].end] if titles else heading
    return tuple(chunks)


def _chunk(ordinal: int, text: str, group: list[_Piece], heading: str | None) -> Chunk:
    start, end = group[0].start, group[-1].end
    pages = [piece.page for piece in group if piece.page is not None]
    return Chunk(
        ordinal=ordinal,
        text=text[start:end],
        start=start,
        end=end,
        page_first=min(pages, default=None),
        page_last=max(pages, default=None),
        heading=" ".join(heading.split())[:_MAX_HEADING] if heading else None,
    )


def _pieces(parsed: Parsed, text: str, max_chars: int) -> Iterator[_Piece]:
    """Every element's place in the text; blank ones are left out, long ones cut."""
    at = 0
    title_at: int | None = None  # where the titles directly before this element begin
    for element in parsed.elements:
        if not element.text:
            continue
        end = at + len(element.text)
        title = element.category == "Title" and len(element.text) <= max_chars // 2
        if title and title_at is None:
            title_at = at
        lead = at - title_at if title_at is not None and not title else 0
        for start, stop in _cut(text, at, end, max_chars, lead if lead <= max_chars // 2 else 0):
            if text[start:stop].strip():
                yield _Piece(start, stop, element.page, title)
        title_at = title_at if title else None
        at = end + len(_SEPARATOR)


def _cut(text: str, start: int, end: int, max_chars: int, lead: int) -> Iterator[tuple[int, int]]:
    """Slices of at most ``max_chars`` that cover the element but for blanks at the cuts; the first is shorter by ``lead``,
    the length of the title that it shall stay with."""
    while end - start > max_chars - lead:
        stop, following = _place_to_cut(text, start, start + max_chars - lead)
        yield start, stop
        start, lead = following, 0
    if start < end:
        yield start, end


def _place_to_cut(text: str, start: int, limit: int) -> tuple[int, int]:
    """(end of this slice, start of the next): the best kind of place in the second half, else right at the limit."""
    half = start + (limit - start) // 2
    for pattern in reversed(_CUTS):
        last = None
        for match in pattern.finditer(text, half, limit):
            last = match
        if last is not None and last.start() > start:
            return last.start(), last.end()
    return limit, limit


def _groups(pieces: list[_Piece], max_chars: int, min_chars: int) -> Iterator[list[_Piece]]:
    group: list[_Piece] = []
    for piece in pieces:
        if group and piece.end - group[0].start > max_chars:
            carried = _trailing_titles(group)
            if carried and piece.end - carried[0].start <= max_chars:
                group = group[: -len(carried)]
            else:
                carried = []
            yield group
            group = carried
        elif piece.title and group and not group[-1].title and group[-1].end - group[0].start >= min_chars:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _trailing_titles(group: list[_Piece]) -> list[_Piece]:
    """The titles at the end of a group that has other text before them."""
    first = len(group)
    while first > 0 and group[first - 1].title:
        first -= 1
    return group[first:] if first else []
