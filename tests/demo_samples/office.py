"""Word, PowerPoint and Excel files."""

from __future__ import annotations

import datetime
import io
import re
from typing import Any

from docx import Document
from docx.shared import Pt, RGBColor
from openpyxl import Workbook
from openpyxl.styles import Font, PatternFill
from pptx import Presentation
from pptx.util import Pt as SlidePt

from tests.demo_samples.source import Block, Source, plain, runs
from tests.demo_samples.zipped import with_fixed_times

_WHEN = datetime.datetime(2026, 3, 2, 9, 0, 0)
_NUMBER = re.compile(r"^-?\d{1,3}(?:,\d{3})*(?:\.\d+)?$|^-?\d+(?:\.\d+)?$")


def write_docx(source: Source) -> bytes:
    """Return a Word file: headings, lists and tables in Word's own styles, the letterhead in the page's header."""
    document = Document()
    _set_properties(document.core_properties, source)
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = "Calibri", Pt(11)
    if "letterhead" in source.fields:
        line = document.sections[0].header.paragraphs[0]
        name = line.add_run(source.fields["letterhead"])
        name.bold, name.font.size, name.font.color.rgb = True, Pt(13), RGBColor(0x1F, 0x56, 0x73)
        line.add_run(f"\n{source.fields.get('address', '')}").font.size = Pt(8)
    for block in source.blocks:
        _add_to_word(document, block)
    return _saved(document)


def _add_to_word(document: Any, block: Block) -> None:
    if block.kind == "page":
        document.add_page_break()
    elif block.kind == "heading":
        document.add_heading(plain(block.text), level=min(block.level, 3))
    elif block.kind == "table":
        table = document.add_table(rows=0, cols=len(block.rows[0]), style="Light Grid Accent 1")
        for row in block.rows:
            for cell, text in zip(table.add_row().cells, row, strict=False):
                cell.text = plain(text)
        document.add_paragraph()
    else:
        styles = {"•": "List Bullet", "": "Normal"}
        paragraph = document.add_paragraph(style=styles.get(block.bullet, "Normal"))
        text = f"{block.bullet} {block.text}" if block.bullet not in styles else block.text
        for piece, bold in runs(text):
            paragraph.add_run(piece).bold = bold or None


def write_pptx(source: Source) -> bytes:
    """Return slides: the first heading with its paragraph is the title slide; every further heading begins a slide."""
    slides = Presentation()
    _set_properties(slides.core_properties, source)
    body, slide = None, None
    for block in source.blocks:
        if block.kind == "heading":
            first = slide is None
            slide = slides.slides.add_slide(slides.slide_layouts[0 if first else 1])
            slide.shapes.title.text = plain(block.text)
            body = slide.placeholders[1].text_frame
            body.clear()
        elif block.kind == "table":
            _add_slide_table(slide, block)
        elif block.text.startswith("Notes: "):
            slide.notes_slide.notes_text_frame.text = plain(block.text.removeprefix("Notes: "))
        else:
            line = body.paragraphs[0] if not body.text else body.add_paragraph()
            line.text = plain(block.text)
    return _saved(slides)


def _add_slide_table(slide: Any, block: Block) -> None:
    """Put the table in the place of the slide's text."""
    place = slide.placeholders[1]
    left, top, width = place.left, place.top, place.width
    place.element.getparent().remove(place.element)
    shape = slide.shapes.add_table(len(block.rows), len(block.rows[0]), left, top, width, SlidePt(30 * len(block.rows)))
    for row, cells in zip(shape.table.rows, block.rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = plain(text)
            cell.text_frame.paragraphs[0].font.size = SlidePt(14)


def write_xlsx(source: Source) -> bytes:
    """Return a workbook: every second-level heading begins a sheet; paragraphs are rows of one cell."""
    book = Workbook()
    book.properties.creator, book.properties.title = "Larkspindle Pump Works Ltd", source.title
    book.properties.created = _WHEN
    sheet = book.active
    sheet.title = source.fields.get("sheet", "Sheet1")
    for block in source.blocks:
        if block.kind == "heading" and block.level == 2:
            sheet = book.create_sheet(block.text)
        elif block.kind == "table":
            _add_rows(sheet, block)
        else:
            for line in plain(block.text).split("\n"):
                sheet.append([line])
            if block.kind == "heading":
                sheet.cell(sheet.max_row, 1).font = Font(bold=True, size=14)
    for sheet in book.worksheets:
        for letter, width in (("A", 34), ("B", 24), ("C", 16), ("D", 16), ("E", 16), ("F", 16)):
            sheet.column_dimensions[letter].width = width
    return _saved(book)


def _add_rows(sheet: Any, block: Block) -> None:
    sheet.append([])
    for number, row in enumerate(block.rows):
        sheet.append([float(c.replace(",", "")) if _NUMBER.match(c) else plain(c) for c in row])
        for cell in sheet[sheet.max_row]:
            if number == 0:
                cell.font = Font(bold=True, color="FFFFFF")
                cell.fill = PatternFill("solid", fgColor="1F5673")
            elif isinstance(cell.value, float):
                cell.number_format = "#,##0.00" if "." in row[cell.column - 1] else "0"
    sheet.append([])


def _set_properties(properties: Any, source: Source) -> None:
    properties.author = source.fields.get("author", "Larkspindle Pump Works Ltd")
    properties.title, properties.comments = source.title, ""
    properties.created = properties.modified = _WHEN
    properties.last_modified_by, properties.revision = properties.author, 1


def _saved(document: Any) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return with_fixed_times(buffer.getvalue())
