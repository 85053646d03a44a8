"""PDF by pypdfium2: titles by font size and weight, list items, running heads, form fields.

A page without text but with something drawn on it is rendered and read by OCR.
"""

from __future__ import annotations

import ctypes
import math
import re
from importlib.metadata import version
from typing import BinaryIO

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers import ocr
from pipeline.parse.readers.pdf_layout import (
    BULLET,
    Line,
    body_size,
    is_running,
    is_title,
    join,
    paragraphs,
    running_heads,
    text_lines,
)
from pipeline.parse.readers.text import category

_ACTIVE = re.compile(rb"/(?:JavaScript|JS|Launch|SubmitForm|ImportData|RichMedia|GoToE)\b")
_MIN_CHARACTERS = 12  # a page with fewer counts as one without text
_MAX_FIELDS = 2000  # of a page
_MAX_FIELD = 4096  # characters of a name or value
_FOOTER_TOP = 200  # points: a running head below this is a footer
_MAX_OCR_PIXELS = 25_000_000
_POINTS_PER_INCH = 72
_DAMAGED = "The PDF cannot be opened: it is cut off or damaged. Send it again."
_PASSWORD = "The PDF is protected by a password; remove it and send the file again."


def read(file: BinaryIO, findings: Findings) -> None:
    """Read a PDF: text by layout, form fields, and OCR for pages without text. Raises Rejected."""
    findings.parser = f"pypdfium2 {version('pypdfium2')}"
    data = file.read()
    if _ACTIVE.search(data):
        findings.flags.add("active-content")
    document = _open(data)
    try:
        findings.pages, limit = len(document), findings.limits.max_pages
        if findings.pages > limit:
            raise Rejected("too-many-pages", f"The PDF has {findings.pages} pages; the limit is {limit}.")
        if findings.pages == 0:
            raise Rejected("damaged", "The PDF has no pages; send it again.")
        _add_properties(document, findings)
        _add_text(document, findings)
        _add_fields(document, findings)
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


def _add_properties(document: pdfium.PdfDocument, findings: Findings) -> None:
    properties = document.get_metadata_dict(skip_empty=True)
    findings.title = properties.get("Title", "").strip() or None
    findings.add_metadata(
        author=properties.get("Author"),
        subject=properties.get("Subject"),
        keywords=properties.get("Keywords"),
        created=iso_date(properties.get("CreationDate", "")),
        producer=properties.get("Producer"),
    )
    has_xfa_form = document.get_formtype() in (raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND)
    if has_xfa_form or raw.FPDFDoc_GetJavaScriptActionCount(document) > 0:
        findings.flags.add("active-content")
    if raw.FPDFDoc_GetAttachmentCount(document) > 0:
        findings.flags.add("embedded-objects")


def iso_date(text: str) -> str:
    """Convert D:YYYYMMDDHHmmSS to ISO; other text is returned unchanged."""
    match = re.match(r"(?:D:)?(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?", text)
    if not match:
        return text
    year, month, day, hour, minute, second = match.groups()
    return f"{year}-{month}-{day}" + (f"T{hour}:{minute}:{second or '00'}" if hour else "")


def _lines(document: pdfium.PdfDocument, index: int, findings: Findings) -> list[Line]:
    try:
        page = document[index]
    except pdfium.PdfiumError:
        findings.flags.add("page-unreadable")
        return []
    height = page.get_height()
    textpage = page.get_textpage()
    try:
        return list(text_lines(textpage, index + 1, height))
    finally:
        textpage.close()
        page.close()


def _add_text(document: pdfium.PdfDocument, findings: Findings) -> None:
    """Add the paragraphs of every page, by OCR where a page has no text."""
    pages = [_lines(document, index, findings) for index in range(findings.pages)]
    body = body_size(pages)
    running = running_heads(pages, body)
    for index, lines in enumerate(pages):
        if sum(len(line.text) for line in lines) < _MIN_CHARACTERS and _read_picture(document, index, findings):
            continue
        for paragraph in paragraphs(lines, running):
            _add_paragraph(paragraph, body, running, findings)


def _add_paragraph(paragraph: list[Line], body: float, running: frozenset[str], findings: Findings) -> None:
    first = paragraph[0]
    text = join(paragraph)
    if is_running(first, running):
        name = "Footer" if first.bottom < _FOOTER_TOP else "Header"
    elif is_title(paragraph, text, body):
        name = "Title"
    elif BULLET.match(text):
        name = "ListItem"
    else:
        name = category(text)
        name = "UncategorizedText" if name == "Title" else name  # only size and weight make a title
    findings.add(name, text, first.page, 0 if name == "Title" else None)


def _add_fields(document: pdfium.PdfDocument, findings: Findings) -> None:
    """Add the names and values of filled form fields, which are not part of the pages' text."""
    if document.get_formtype() != raw.FORMTYPE_ACRO_FORM:
        return
    document.init_forms()
    for index in range(findings.pages):
        page = document[index]
        try:
            fields = [
                _field(document, page, number) for number in range(min(raw.FPDFPage_GetAnnotCount(page), _MAX_FIELDS))
            ]
        finally:
            page.close()
        filled = [f"{name}: {value}" for name, value in fields if value.strip() and value != "Off"]
        findings.add("FormKeysValues", "\n".join(filled), index + 1)


def _field(document: pdfium.PdfDocument, page: pdfium.PdfPage, number: int) -> tuple[str, str]:
    """Return name and value of a form field; empty for other annotations and for texts that are too long."""
    annotation = raw.FPDFPage_GetAnnot(page, number)
    if not annotation:
        return "", ""
    try:
        if raw.FPDFAnnot_GetSubtype(annotation) != raw.FPDF_ANNOT_WIDGET:
            return "", ""
        texts = []
        for read_text in (raw.FPDFAnnot_GetFormFieldName, raw.FPDFAnnot_GetFormFieldValue):
            buffer = ctypes.create_string_buffer(2 * _MAX_FIELD)
            target = ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR))
            length = read_text(document.formenv, annotation, target, len(buffer))
            fits = length <= len(buffer)
            texts.append(buffer.raw[: max(0, length - 2)].decode("utf-16-le", "replace") if fits else "")
        return texts[0], texts[1]
    finally:
        raw.FPDFPage_CloseAnnot(annotation)


# --- pages without text -----------------------------------------------------------------------------------------------


def _read_picture(document: pdfium.PdfDocument, index: int, findings: Findings) -> bool:
    """Read a page by OCR if there is a picture or a drawing on it. Return False when there is no text."""
    page = document[index]
    try:
        if not any(True for _ in page.get_objects(max_depth=3)):
            return False
        if not findings.ocr_available:
            findings.flags.add("needs-ocr")
            return False
        pixels = min(findings.limits.max_image_pixels, _MAX_OCR_PIXELS)
        largest_scale = math.sqrt(pixels / (max(page.get_width(), 1.0) * max(page.get_height(), 1.0)))
        scale = min(findings.limits.ocr_dpi / _POINTS_PER_INCH, largest_scale)  # pixels per point
        bitmap = page.render(scale=scale, grayscale=True)
        return ocr.read_image(bitmap.to_pil(), findings, index + 1)
    except (pdfium.PdfiumError, MemoryError, ValueError):
        findings.flags.add("page-unreadable")
        return False
    finally:
        page.close()
