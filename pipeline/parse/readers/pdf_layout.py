"""The lines of a PDF page with their positions, joined into paragraphs.

PDFium returns the characters in the order in which the page draws them, which follows the columns in nearly all files;
so this order is preserved, and the positions decide only which lines belong together.
"""

from __future__ import annotations

import ctypes
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pypdfium2 as pdfium
import pypdfium2.raw as raw

BULLET = re.compile(r"^(?:[-•‣▪◦·–●○■□➢✓*]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
TITLE_RATIO = 1.15  # smallest font size of a title, relative to the body's
#: PDFium's marks for a hyphen that it takes for the break of a word at the end of a line
_WORD_BREAKS = ("\x02", "\ufffe")
_LINE = re.compile(r"[^\r\n\x02\ufffe]*[\r\n\x02\ufffe]?")
_BLANKS = " \t\r\n\x02\ufffe"
_SENTENCE_END = (".", "!", "?", ":", ";", "。")
_BOLD_WEIGHT = 650
_MAX_PARAGRAPH = 6000
_EDGE = 0.11  # share of the page's height, above and below, for running heads and page numbers


@dataclass(slots=True)
class Line:
    """A line of text with its box in points (origin at the bottom left of the page), its font size and weight."""

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
    """Yield the lines of a page that is ``height`` points high, in drawing order.

    PDFium ends lines with CR LF or a word break. The positions of a line's first and last characters give its box.
    """
    count = textpage.count_chars()
    if count <= 0:
        return
    text = textpage.get_text_range(0, count, errors="replace")
    start = 0
    for raw_line in _LINE.findall(text):
        if raw_line.strip(_BLANKS):
            yield _line(textpage, raw_line, start, count, number, height)
        start += len(raw_line)


def _line(textpage: pdfium.PdfTextPage, text: str, start: int, count: int, number: int, height: float) -> Line:
    first = _character_index(textpage, start + len(text) - len(text.lstrip()), count)
    last = _character_index(textpage, start + len(text.rstrip(_BLANKS)) - 1, count)
    left, bottom, right, top = textpage.get_charbox(first, loose=True)
    left2, bottom2, right2, top2 = textpage.get_charbox(last, loose=True)
    size, bold = font_of(textpage, (first + last) // 2)
    line = Line(
        text=text.strip(" \t\r\n"),
        left=min(left, left2),
        right=max(right, right2),
        bottom=min(bottom, bottom2),
        top=max(top, top2),
        size=size,
        bold=bold,
        page=number,
    )
    line.at_edge = line.bottom < height * _EDGE or line.top > height * (1 - _EDGE)
    return line


def _character_index(textpage: pdfium.PdfTextPage, offset: int, count: int) -> int:
    """Convert an offset in the text to a character index; characters without a Unicode value are not in the text."""
    index = raw.FPDFText_GetCharIndexFromTextIndex(textpage, offset)
    return min(max(index if index >= 0 else offset, 0), count - 1)


def font_of(textpage: pdfium.PdfTextPage, index: int) -> tuple[float, bool]:
    """Return the size of a character's font, in points as the text matrix scales it, and whether it is bold."""
    matrix = raw.FS_MATRIX()
    has_matrix = raw.FPDFText_GetMatrix(textpage, index, ctypes.byref(matrix))
    scale = max(math.hypot(matrix.c, matrix.d), 0.01) if has_matrix else 1.0
    buffer, flags = ctypes.create_string_buffer(128), ctypes.c_int()
    length = raw.FPDFText_GetFontInfo(textpage, index, buffer, len(buffer), ctypes.byref(flags))
    name = buffer.value.lower() if 0 < length <= len(buffer) else b""
    bold = b"bold" in name or b"black" in name or raw.FPDFText_GetFontWeight(textpage, index) >= _BOLD_WEIGHT
    return round(raw.FPDFText_GetFontSize(textpage, index) * scale, 1), bold


# --- paragraphs -------------------------------------------------------------------------------------------------------


def body_size(pages: list[list[Line]]) -> float:
    """Return the font size of most of the text, in points."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def running_heads(pages: list[list[Line]], body: float) -> frozenset[str]:
    """Return the keys of lines at the edge of the page, in body size, that recur on three pages and on a third of all.

    Digits are ignored: page numbers recur too.
    """
    small = ([line for line in lines if line.at_edge and line.size < TITLE_RATIO * body] for lines in pages)
    counts = Counter(key for lines in small for key in {_key(line) for line in lines})
    minimum = max(3, len(pages) // 3)
    return frozenset(key for key, count in counts.items() if count >= minimum)


def _key(line: Line) -> str:
    return re.sub(r"\d+", "#", line.text)[:200]


def is_running(line: Line, running: frozenset[str]) -> bool:
    """Return True for a line that `running_heads` has recognised."""
    return line.at_edge and _key(line) in running


def is_title(paragraph: list[Line], text: str, body: float) -> bool:
    """Return True for a short paragraph that is larger than the ``body`` (points), or heavier than prose."""
    if len(text) > 200 or len(paragraph) > 3 or sum(c.isalpha() for c in text) < 3:
        return False
    size = statistics.median(line.size for line in paragraph)
    if size >= TITLE_RATIO * body:
        return True
    heavy = all(line.bold for line in paragraph) or text.isupper()
    return heavy and len(text) < 120 and not text.endswith((".", ",", ";"))


def paragraphs(lines: list[Line], running: frozenset[str]) -> Iterator[list[Line]]:
    """Group the lines of a page into paragraphs; every running head is one of its own."""
    paragraph: list[Line] = []
    for line in lines:
        if paragraph and not continues(paragraph, line, running):
            yield paragraph
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield paragraph


def continues(paragraph: list[Line], line: Line, running: frozenset[str]) -> bool:
    """Return True if a line belongs to the paragraph before it."""
    last = paragraph[-1]
    if is_running(last, running) or is_running(line, running):
        return False
    size = max(last.size, line.size, 1.0)
    if _on_same_line(last, line, size):  # a superscript, a change of font, a cell of a table
        return True
    if BULLET.match(line.text):
        return False
    if abs(last.size - line.size) > 0.12 * size or (last.bold != line.bold and len(paragraph) == 1):
        return False
    if sum(len(part.text) for part in paragraph) > _MAX_PARAGRAPH:
        return False
    step = last.bottom - line.bottom
    if step > 0:
        left, right = min(part.left for part in paragraph[-5:]), max(part.right for part in paragraph[-5:])
        overlap = line.left < right and line.right > left
        return step < 1.75 * size and overlap and not _ends(paragraph, last, line)
    # A jump upwards is the next column: the sentence goes on if it has not ended.
    return not last.text.endswith(_SENTENCE_END) and line.text[:1].islower()


def _on_same_line(last: Line, line: Line, size: float) -> bool:
    """Return True if the heights of two parts overlap and the second is to the right of the first."""
    shared = min(last.top, line.top) - max(last.bottom, line.bottom)
    lower = min(last.top - last.bottom, line.top - line.bottom)
    return shared > 0.5 * max(lower, 0.1) and line.left > last.left and line.left > last.right - size


def _ends(paragraph: list[Line], last: Line, line: Line) -> bool:
    """Return True if the last line ends a sentence and is short, or the new line is indented."""
    if not last.text.endswith(_SENTENCE_END):
        return False
    right = max(part.right for part in paragraph)
    short = last.right < right - 0.15 * max(right - last.left, 1.0)
    indented = line.left > min(part.left for part in paragraph) + 0.8 * line.size and len(paragraph) > 1
    return short or indented


def join(paragraph: list[Line]) -> str:
    """Join lines into running text, without the hyphens of broken words."""
    text = ""
    last: Line | None = None
    for line in paragraph:
        if text.endswith(_WORD_BREAKS):
            text = text[:-1] + line.text
        elif last is not None and _on_same_line(last, line, max(last.size, line.size, 1.0)):
            gap = line.left - last.right
            text += ("\t" if gap > 1.5 * line.size else " " if gap > 0.15 * line.size else "") + line.text
        else:
            text += (" " if text else "") + line.text
        last = line
    return text.translate(dict.fromkeys(map(ord, _WORD_BREAKS), "-"))
