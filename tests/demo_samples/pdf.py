"""PDF by reportlab: a letterhead, running text in one or two columns, tables, page numbers; or a till receipt."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_CENTER, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageBreak, PageTemplate, Paragraph, Spacer, Table

from tests.demo_samples.source import Block, Source

MARGIN = 22 * mm
GAP = 8 * mm
INK = "#1d2733"
BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10, leading=14, spaceAfter=6, textColor=HexColor(INK))
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8.5, leading=11, spaceAfter=0)
HEADINGS = (
    ParagraphStyle("h1", parent=BODY, fontName="Helvetica-Bold", fontSize=18, leading=22, spaceAfter=10),
    ParagraphStyle(
        "h2", parent=BODY, fontName="Helvetica-Bold", fontSize=12.5, leading=16, spaceBefore=8, keepWithNext=1
    ),
    ParagraphStyle(
        "h3", parent=BODY, fontName="Helvetica-Bold", fontSize=10.5, leading=14, spaceBefore=4, keepWithNext=1
    ),
)
TILL = ParagraphStyle("till", parent=BODY, fontName="Courier", fontSize=10, leading=13, spaceAfter=3)


def write_pdf(source: Source) -> bytes:
    """Return the document as PDF. Front matter: letterhead, address, colour, columns, footer, password, date."""
    fields, buffer = source.fields, io.BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        title=source.title,
        author=fields.get("author", fields.get("letterhead", "Larkspindle Pump Works Ltd")),
        invariant=1,
        encrypt=_encryption(fields),
        lang="en-GB",
    )
    document.addPageTemplates(_templates(source))
    document.build(list(_flow(source.blocks, _width(fields), fields)))
    return buffer.getvalue()


def _encryption(fields: dict[str, Any]) -> StandardEncryption | None:
    if "password" not in fields:
        return None
    return StandardEncryption(fields["password"], ownerPassword=f"{fields['password']}-owner", strength=128)


def _width(fields: dict[str, Any]) -> float:
    columns = fields.get("columns", 1)
    return (A4[0] - 2 * MARGIN - (columns - 1) * GAP) / columns


def _templates(source: Source) -> list[PageTemplate]:
    """Return the page templates; the first page has room for the letterhead."""
    head = 18 * mm if "letterhead" in source.fields else 0
    pages = []
    for name, top in (("first", head), ("later", 0)):
        width, count = _width(source.fields), source.fields.get("columns", 1)
        height = A4[1] - 2 * MARGIN - top
        frames = [Frame(MARGIN + i * (width + GAP), MARGIN, width, height, 0, 0, 0, 0) for i in range(count)]
        draw = partial(_letterhead, source, head=bool(top))
        pages.append(PageTemplate(name, frames, onPage=draw, autoNextPageTemplate="later"))
    return pages


def _letterhead(source: Source, canvas: Canvas, document: BaseDocTemplate, head: bool) -> None:
    """Draw the letterhead and the footer of a page."""
    fields, colour = source.fields, HexColor(source.fields.get("colour", "#1f5673"))
    canvas.saveState()
    if head:
        canvas.setFillColor(colour)
        canvas.setFont("Helvetica-Bold", 17)
        canvas.drawString(MARGIN, A4[1] - 25 * mm, fields["letterhead"])
        canvas.setFillColor(HexColor("#55606b"))
        canvas.setFont("Helvetica", 8.5)
        canvas.drawString(MARGIN, A4[1] - 30.5 * mm, fields.get("address", ""))
        canvas.setStrokeColor(colour)
        canvas.setLineWidth(1.4)
        canvas.line(MARGIN, A4[1] - 34 * mm, A4[0] - MARGIN, A4[1] - 34 * mm)
    canvas.setFillColor(HexColor("#55606b"))
    canvas.setFont("Helvetica", 8)
    canvas.drawString(MARGIN, 12 * mm, fields.get("footer", source.title))
    canvas.drawRightString(A4[0] - MARGIN, 12 * mm, f"Page {document.page}")
    canvas.restoreState()


def _flow(blocks: tuple[Block, ...], width: float, fields: dict[str, Any]) -> Iterator[Flowable]:
    colour = HexColor(fields.get("colour", "#1f5673"))
    for block in blocks:
        if block.kind == "page":
            yield PageBreak()
        elif block.kind == "heading":
            style = HEADINGS[min(block.level, 3) - 1]
            yield Paragraph(_markup(block.text), ParagraphStyle("h", parent=style, textColor=colour))
        elif block.kind == "item":
            indented = ParagraphStyle("item", parent=BODY, leftIndent=14, bulletIndent=2, spaceAfter=3)
            yield Paragraph(_markup(block.text), indented, bulletText=block.bullet)
        elif block.kind == "table":
            yield _table(block, width, colour)
            yield Spacer(1, 8)
        else:
            yield Paragraph(_markup(block.text), BODY)


def _markup(text: str) -> str:
    pieces = html.escape(text, quote=False).replace("\n", "<br/>").split("**")
    return "".join(f"<b>{piece}</b>" if number % 2 else piece for number, piece in enumerate(pieces))


def _table(block: Block, width: float, colour: HexColor) -> Table:
    widths = _column_widths(block, width)
    white = ParagraphStyle("head", parent=SMALL, fontName="Helvetica-Bold", textColor=HexColor("#ffffff"))
    rows = [
        [Paragraph(_markup(cell), white if number == 0 else SMALL) for cell in row]
        for number, row in enumerate(block.rows)
    ]
    table = Table(rows, widths, repeatRows=1, hAlign="LEFT")
    table.setStyle(
        [
            ("BACKGROUND", (0, 0), (-1, 0), colour),
            ("LINEBELOW", (0, 1), (-1, -1), 0.4, HexColor("#b8c2cc")),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("TOPPADDING", (0, 0), (-1, -1), 3),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
        ]
    )
    return table


def _column_widths(block: Block, width: float) -> list[float]:
    """Return widths in which no word is broken; the columns with the longest texts get the rest."""
    columns = list(zip(*block.rows, strict=True))
    least = [max(_text_width(word) for cell in column for word in [*cell.split(), ""]) + 13 for column in columns]
    wishes = [min(width / 2, max(map(_text_width, column)) + 13) for column in columns]
    spare = width - sum(least)
    missing = sum(wishes) - sum(least) or 1.0
    return [low + spare * (wish - low) / missing for low, wish in zip(least, wishes, strict=True)]


def _text_width(text: str) -> float:
    return stringWidth(text.replace("**", ""), "Helvetica-Bold", SMALL.fontSize)


def write_till_slip(source: Source) -> bytes:
    """Return a narrow page as a till prints it, as PDF, to be photographed."""
    buffer = io.BytesIO()
    size = (80 * mm, source.fields["length_mm"] * mm)
    document = BaseDocTemplate(buffer, pagesize=size, title=source.title, invariant=1)
    frame = Frame(6 * mm, 5 * mm, size[0] - 12 * mm, size[1] - 10 * mm, 0, 0, 0, 0)
    document.addPageTemplates([PageTemplate("slip", [frame])])
    centred = ParagraphStyle("centred", parent=TILL, alignment=TA_CENTER, fontName="Courier-Bold", fontSize=12)
    document.build([_till_block(block, centred, size[0] - 12 * mm) for block in source.blocks])
    return buffer.getvalue()


def _till_block(block: Block, centred: ParagraphStyle, width: float) -> Flowable:
    if block.kind != "table":
        return Paragraph(_markup(block.text), centred if block.kind == "heading" else TILL)
    right = ParagraphStyle("right", parent=TILL, alignment=TA_RIGHT)
    rows = [[Paragraph(_markup(what), TILL), Paragraph(_markup(price), right)] for what, price in block.rows]
    tight = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
    return Table(rows, [width * 0.7, width * 0.3], style=tight)


def blank_page() -> bytes:
    """Return an empty page, as a scanner makes of an empty sheet."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()
