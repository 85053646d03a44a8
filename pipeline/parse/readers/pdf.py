"""PDF by pypdfium2: lines with their places and letter sizes, joined to paragraphs, titles and list items.

PDFium gives the characters in the order in which the page draws them, which follows the columns in nearly all files.
A page without text but with pictures is rendered and read by OCR.
"""

from __future__ import annotations

import ctypes
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, BinaryIO

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers import ocr
from pipeline.parse.readers.text import category

_ACTIVE = re.compile(rb"/(?:JavaScript|JS|Launch|SubmitForm|ImportData|RichMedia|GoToE)\b")
_BULLET = re.compile(r"^(?:[-•‣▪◦·–●○■□➢✓*]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
_BREAKS = ("\x02", "\ufffe")
_LINE = re.compile(r"[^\r\n\x02\ufffe]*[\r\n\x02\ufffe]?")
_BLANKS = " \t\r\n\x02\ufffe"
_SENTENCE_END = (".", "!", "?", ":", ";", "。")
_FEW = 12  # characters under which a page counts as one without text
_LARGER = 1.15  # a title's letters against the body's
_MAX_PARAGRAPH = 6000
_EDGE = 0.11  # share of the page's height where running heads and page numbers stand
_DAMAGED = "The PDF cannot be opened: it is cut off or damaged. Send it again."
_PASSWORD = "The PDF is protected by a password; remove it and send the file again."


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


def read(file: BinaryIO, found: Findings) -> None:
    found.parser = f"pypdfium2 {version('pypdfium2')}"
    data = file.read()
    if _ACTIVE.search(data):
        found.flags.add("active-content")
    document = _open(data)
    try:
        _check_pages(document, found)
        _facts(document, found)
        pages = [_lines(document, index, found) for index in range(found.pages)]
        _emit(document, pages, found)
    finally:
        document.close()


def _open(data: bytes) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == raw.FPDF_ERR_PASSWORD or "password" in str(error).lower():
            raise Rejected("encrypted", _PASSWORD) from error
        if getattr(error, "err_code", None) == raw.FPDF_ERR_SECURITY or "security" in str(error).lower():
            raise Rejected(
                "encrypted", "The PDF uses a protection that cannot be opened; print it to a new PDF."
            ) from error
        raise Rejected("damaged", _DAMAGED) from error


def _check_pages(document: pdfium.PdfDocument, found: Findings) -> None:
    found.pages = len(document)
    if found.pages > found.limits.max_pages:
        raise Rejected("too-many-pages", f"The PDF has {found.pages} pages; the limit is {found.limits.max_pages}.")
    if found.pages == 0:
        raise Rejected("damaged", "The PDF has no pages; send it again.")


def _facts(document: pdfium.PdfDocument, found: Findings) -> None:
    facts = document.get_metadata_dict(skip_empty=True)
    found.title = facts.get("Title", "").strip() or None
    found.note(author=facts.get("Author"), subject=facts.get("Subject"), keywords=facts.get("Keywords"))
    found.note(created=_date(facts.get("CreationDate", "")), producer=facts.get("Producer"))
    if raw.FPDFDoc_GetJavaScriptActionCount(document) > 0 or document.get_formtype() in (
        raw.FORMTYPE_XFA_FULL,
        raw.FORMTYPE_XFA_FOREGROUND,
    ):
        found.flags.add("active-content")
    if raw.FPDFDoc_GetAttachmentCount(document) > 0:
        found.flags.add("embedded-objects")


def _date(text: str) -> str:
    """D:YYYYMMDDHHmmSS to ISO, as far as it goes."""
    match = re.match(r"(?:D:)?(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?", text)
    if not match:
        return text
    year, month, day, hour, minute, second = match.groups()
    return f"{year}-{month}-{day}" + (f"T{hour}:{minute}:{second or '00'}" if hour else "")


# --- lines ---------------------------------------------------------------------------------------------------------------


def _lines(document: pdfium.PdfDocument, index: int, found: Findings) -> list[Line]:
    try:
        page = document[index]
    except pdfium.PdfiumError:
        found.flags.add("page-unreadable")
        return []
    height = page.get_height()
    textpage = page.get_textpage()
    try:
        return list(_text_lines(textpage, index + 1, height))
    finally:
        textpage.close()
        page.close()


def _text_lines(textpage: pdfium.PdfTextPage, number: int, height: float) -> Iterator[Line]:
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


# --- elements ------------------------------------------------------------------------------------------------------------


def _emit(document: pdfium.PdfDocument, pages: list[list[Line]], found: Findings) -> None:
    body = _body_size(pages)
    running = _running_heads(pages, body)
    for index, lines in enumerate(pages):
        if sum(len(line.text) for line in lines) < _FEW and _read_picture(document, index, found):
            continue
        for paragraph in _paragraphs(lines, running):
            _add(paragraph, body, running, found)


def _body_size(pages: list[list[Line]]) -> float:
    """The letter size of most of the text."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _running_heads(pages: list[list[Line]], body: float) -> frozenset[str]:
    """Lines at the edge of the page, not larger than the body, that come back on at least three pages and on a third of
    all; their digits do not count."""
    small = ([line for line in lines if line.at_edge and line.size < _LARGER * body] for lines in pages)
    seen = Counter(key for lines in small for key in {_key(line) for line in lines})
    least = max(3, len(pages) // 3)
    return frozenset(key for key, times in seen.items() if times >= least)


def _key(line: Line) -> str:
    return re.sub(r"\d+", "#", line.text)[:200]


def _is_running(line: Line, running: frozenset[str]) -> bool:
    return line.at_edge and _key(line) in running


def _paragraphs(lines: list[Line], running: frozenset[str]) -> Iterator[list[Line]]:
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
    if _is_running(last, running) or _is_running(line, running):
        return False
    size = max(last.size, line.size, 1.0)
    if _beside(last, line, size):  # a superscript, a change of font, a cell of a table
        return True
    if _BULLET.match(line.text):
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


def _add(paragraph: list[Line], body: float, running: frozenset[str], found: Findings) -> None:
    first = paragraph[0]
    text = _join(paragraph)
    if _is_running(first, running):
        name = "Footer" if first.bottom < 200 else "Header"
    elif _is_title(paragraph, text, body):
        name = "Title"
    else:
        name = _ordinary(text)
    found.add(name, text, first.page, 0 if name == "Title" else None)


def _is_title(paragraph: list[Line], text: str, body: float) -> bool:
    if len(text) > 200 or len(paragraph) > 3 or sum(c.isalpha() for c in text) < 3:
        return False
    size = statistics.median(line.size for line in paragraph)
    if size >= _LARGER * body:
        return True
    heavy = all(line.bold for line in paragraph) or text.isupper()
    return heavy and len(text) < 120 and not text.endswith((".", ",", ";"))


def _ordinary(text: str) -> str:
    if _BULLET.match(text):
        return "ListItem"
    name = category(text)
    return "UncategorizedText" if name == "Title" else name


def _join(paragraph: list[Line]) -> str:
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


# --- pages without text ----------------------------------------------------------------------------------------------------


def _read_picture(document: pdfium.PdfDocument, index: int, found: Findings) -> bool:
    """Read a page by OCR if there is a picture or a drawing on it. False when nothing was found."""
    page = document[index]
    try:
        if not any(True for _ in page.get_objects(max_depth=3)):
            return False
        if not found.ocr_available:
            found.flags.add("needs-ocr")
            return False
        bitmap = page.render(scale=_render_scale(page, found), grayscale=True)
        return ocr.read_image(bitmap.to_pil(), found, index + 1)
    except (pdfium.PdfiumError, MemoryError, ValueError):
        found.flags.add("page-unreadable")
        return False
    finally:
        page.close()


def _render_scale(page: Any, found: Findings) -> float:
    """Pixels per point: the OCR resolution, less where the page is so large that the image would not fit."""
    width, height = max(page.get_width(), 1.0), max(page.get_height(), 1.0)
    most = min(found.limits.max_image_pixels, 25_000_000)
    return min(found.limits.ocr_dpi / 72, (most / (width * height)) ** 0.5)
