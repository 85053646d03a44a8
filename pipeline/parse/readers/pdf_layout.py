"""The lines of a PDF page with their places, joined to paragraphs.

PDFium gives the letters in the order in which the page draws them, which follows the columns in nearly all files; so
the order stays, and only the places decide what belongs together.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pypdfium2 as pdfium
import pypdfium2.raw as raw

BULLET = re.compile(r"^(?:[-•‣▪◦·–●○■□➢✓*]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
LARGER = 1.15  # a title's letters against the body's
_BREAKS = ("\x02", "\ufffe")
_LINE = re.compile(r"[^\r\n\x02\ufffe]*[\r\n\x02\ufffe]?")
_BLANKS = " \t\r\n\x02\ufffe"
_SENTENCE_END = (".", "!", "?", ":", ";", "。")
_MAX_PARAGRAPH = 6000
_EDGE = 0.11  # share of the page's height where running heads and page numbers stand


@dataclass(slots=True)
class Line:
    """A line of text with its box in points (origin at the foot of the page) and its letters' size and weight."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float
    bold: bool
    page: int = 0
    at_edge: bool = False


def text_lines(textpage: pdfium.PdfTextPage, number: int, height: float) -> Iterator[Line]:
    """PDFium ends lines with CR LF, or with a mark where it takes a hyphen for a break of a word; the places of a line's
    first and last letters give its box."""
    count = textpage.count_chars()
    if count <= 0:
        return
    text = textpage.get_text_range(0, count, errors="replace")
    start = 0
    for piece in _LINE.findall(text):
        if piece.strip(_BLANKS):
            yield _line(textpage, piece, start, count, number, height)
        start += len(piece)


def _line(textpage: pdfium.PdfTextPage, piece: str, start: int, count: int, number: int, height: float) -> Line:
    first = _index(textpage, start + len(piece) - len(piece.lstrip()), count)
    last = _index(textpage, start + len(piece.rstrip(_BLANKS)) - 1, count)
    left, bottom, right, top = textpage.get_charbox(first, loose=True)
    left2, bottom2, right2, top2 = textpage.get_charbox(last, loose=True)
    middle = (first + last) // 2
    line = Line(
        text=piece.strip(" \t\r\n"),
        left=min(left, left2),
        right=max(right, right2),
        bottom=min(bottom, bottom2),
        top=max(top, top2),
        size=round(raw.FPDFText_GetFontSize(textpage, middle) * _scale(textpage, middle), 1),
        bold=_is_bold(textpage, middle),
        page=number,
    )
    line.at_edge = line.bottom < height * _EDGE or line.top > height * (1 - _EDGE)
    return line


def _index(textpage: pdfium.PdfTextPage, at: int, count: int) -> int:
    """The letter's number from its place in the text: letters that have no Unicode value are not in the text."""
    index = raw.FPDFText_GetCharIndexFromTextIndex(textpage, at)
    return min(max(index if index >= 0 else at, 0), count - 1)


def _scale(textpage: pdfium.PdfTextPage, index: int) -> float:
    """How much the text matrix enlarges the font's nominal size."""
    matrix = raw.FS_MATRIX()
    if not raw.FPDFText_GetMatrix(textpage, index, ctypes.byref(matrix)):
        return 1.0
    return max((matrix.c**2 + matrix.d**2) ** 0.5, 0.01)


def _is_bold(textpage: pdfium.PdfTextPage, index: int) -> bool:
    buffer = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()
    length = raw.FPDFText_GetFontInfo(textpage, index, buffer, 128, ctypes.byref(flags))
    name = buffer.value.lower() if 0 < length <= 128 else b""
    return b"bold" in name or b"black" in name or raw.FPDFText_GetFontWeight(textpage, index) >= 650


# --- paragraphs ---


def body_size(pages: list[list[Line]]) -> float:
    """The letter size of most of the text."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def running_heads(pages: list[list[Line]], body: float) -> frozenset[str]:
    """Lines at the edge of the page, not larger than the body, that come back on at least three pages and on a third of
    all; their digits do not count."""
    small = ([line for line in lines if line.at_edge and line.size < LARGER * body] for lines in pages)
    counts = Counter(key for lines in small for key in {_key(line) for line in lines})
    least = max(3, len(pages) // 3)
    return frozenset(key for key, times in counts.items() if times >= least)


def _key(line: Line) -> str:
    return re.sub(r"\d+", "#", line.text)[:200]


def is_running(line: Line, running: frozenset[str]) -> bool:
    return line.at_edge and _key(line) in running


def paragraphs(lines: list[Line], running: frozenset[str]) -> Iterator[list[Line]]:
    paragraph: list[Line] = []
    widest = max((line.right for line in lines), default=0.0)
    for line in lines:
        if paragraph and not _continues(paragraph, line, running, widest):
            yield paragraph
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield paragraph


def _continues(paragraph: list[Line], line: Line, running: frozenset[str], widest: float) -> bool:
    """Whether a line belongs to the paragraph before it."""
    last = paragraph[-1]
    if is_running(last, running) or is_running(line, running):
        return False
    size = max(last.size, line.size, 1.0)
    if _beside(last, line, size):  # a superscript, a change of font, a cell of a table
        return True
    if BULLET.match(line.text):
        return False
    if abs(last.size - line.size) > 0.12 * size or (last.bold != line.bold and len(paragraph) == 1):
        return False
    if sum(len(one.text) for one in paragraph) > _MAX_PARAGRAPH:
        return False
    step = last.bottom - line.bottom
    if step > 0:
        return step < 1.75 * size and _overlap(paragraph, line) and not _ends(paragraph, last, line)
    # A jump upwards is the next column: the sentence goes on if it has not ended.
    return not last.text.endswith(_SENTENCE_END) and line.text[:1].islower()


def _beside(last: Line, line: Line, size: float) -> bool:
    """Whether two pieces stand on one line: their heights overlap, and the second is to the right of the first."""
    shared = min(last.top, line.top) - max(last.bottom, line.bottom)
    lower = min(last.top - last.bottom, line.top - line.bottom)
    return shared > 0.5 * max(lower, 0.1) and line.left > last.left and line.left > last.right - size


def _overlap(paragraph: list[Line], line: Line) -> bool:
    left = min(one.left for one in paragraph[-5:])
    right = max(one.right for one in paragraph[-5:])
    return line.left < right and line.right > left


def _ends(paragraph: list[Line], last: Line, line: Line) -> bool:
    """A last line that stops short after a full stop, or a new line that is indented after one."""
    if not last.text.endswith(_SENTENCE_END):
        return False
    right = max(one.right for one in paragraph)
    short = last.right < right - 0.15 * max(right - last.left, 1.0)
    indented = line.left > min(one.left for one in paragraph) + 0.8 * line.size and len(paragraph) > 1
    return short or indented


def join(paragraph: list[Line]) -> str:
    """Lines to running text; PDFium marks a hyphen that it takes for a break of a word with U+0002 or U+FFFE."""
    text = ""
    last: Line | None = None
    for line in paragraph:
        if text.endswith(_BREAKS):
            text = text[:-1] + line.text
        elif last is not None and _beside(last, line, max(last.size, line.size, 1.0)):
            gap = line.left - last.right
            text += ("\t" if gap > 1.5 * line.size else " " if gap > 0.15 * line.size else "") + line.text
        else:
            text += (" " if text else "") + line.text
        last = line
    return text.translate(dict.fromkeys(map(ord, _BREAKS), "-"))
