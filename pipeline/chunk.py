"""Elements to chunks: whole elements up to a length, cut at titles, with exact offsets into the document's text.

Not unstructured's `chunk_by_title`: a quotation needs `parsed.text[start:end] == chunk.text`, but that function joins
and strips texts without keeping their offsets, and knows only the first page of a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.documents import Chunk, Parsed
from pipeline.sentences import LOOK, split_sentences

_SEPARATOR = "\n\n"  # as in Parsed.text
#: Places to cut a long element, the best first: after a sentence, a line, a word.
_CUTS = (re.compile(r"(?<=[.!?。！？])\s+"), re.compile(r"\n"), re.compile(r"\s+"))
_MAX_HEADING = 200


@dataclass(frozen=True, slots=True)
class _Piece:
    """An element, or a part of one that is too long: its offsets, its page, and whether it is a title."""

    start: int
    end: int
    page: int | None
    title: bool


def chunk(parsed: Parsed, max_chars: int = 1200, min_chars: int = 300) -> tuple[Chunk, ...]:
    """Return the chunks in reading order, without overlap; none for a document without text.

    No chunk is longer than ``max_chars`` (at least 1). A new one begins at a title once the last one has ``min_chars``;
    a title stays with what follows it. A table stays whole if it fits, otherwise it is cut between rows. ``heading`` is
    the title that the chunk begins with, or the last one before it.
    """
    text = parsed.text
    chunks: list[Chunk] = []
    heading: str | None = None
    for group in _groups(_pieces(parsed, text, max_chars), max_chars, min_chars):
        if group[0].title:
            heading = text[group[0].start : group[0].end]
        start, end = group[0].start, group[-1].end
        pages = [piece.page for piece in group if piece.page is not None]
        first, last = min(pages, default=None), max(pages, default=None)
        short_heading = " ".join(heading.split())[:_MAX_HEADING] if heading else None
        chunks.append(Chunk(len(chunks), text[start:end], start, end, first, last, short_heading))
        titles = [piece for piece in group if piece.title]
        heading = text[titles[-1].start : titles[-1].end] if titles else heading
    return tuple(chunks)


def _pieces(parsed: Parsed, text: str, max_chars: int) -> Iterator[_Piece]:
    """Yield every element's place in the text; blank elements are skipped, long ones cut."""
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
    """Yield slices of at most ``max_chars`` that cover the element except for blanks at the cuts. The first is shorter
    by ``lead``, the length of the title before it, so that both fit into one chunk."""
    while end - start > max_chars - lead:
        stop, following = _place_to_cut(text, start, start + max_chars - lead)
        yield start, stop
        start, lead = following, 0
    if start < end:
        yield start, end


def _place_to_cut(text: str, start: int, limit: int) -> tuple[int, int]:
    """Return the end of this slice and the start of the next: at the best kind of place in the second half, otherwise
    at the limit."""
    half = start + (limit - start) // 2
    sentence_ends = {start + sentence.end for sentence in split_sentences(text[start : limit + LOOK])}
    places = [m for pattern in _CUTS for m in reversed(list(pattern.finditer(text, half, limit))) if m.start() > start]
    # Not after the point of "1. January", if there is any other place.
    whole = (m for m in places if text[m.start() - 1] not in ".!?" or m.start() in sentence_ends)
    best = next(whole, places[0] if places else None)
    return best.span() if best else (limit, limit)


def _groups(pieces: Iterable[_Piece], max_chars: int, min_chars: int) -> Iterator[list[_Piece]]:
    """Yield the pieces of each chunk."""
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
    """Return the titles at the end of a group that has other text before them."""
    first = len(group)
    while first > 0 and group[first - 1].title:
        first -= 1
    return group[first:] if first else []
