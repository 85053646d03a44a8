"""Small ordinary documents of every format, generated in code."""

from __future__ import annotations

import io
import zipfile
from email.message import EmailMessage

from docx import Document as Docx
from openpyxl import Workbook
from PIL import Image, ImageDraw, ImageFont
from pptx import Presentation
from pptx.util import Inches
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

TITLE = "Delivery terms"
BODY = "The supplier delivers the goods within thirty days of the order and confirms each delivery in writing."


def docx() -> bytes:
    document = Docx()
    document.core_properties.title, document.core_properties.author = TITLE, "Ada Author"
    document.add_heading(TITLE, 1)
    document.add_paragraph(BODY)
    table = document.add_table(rows=2, cols=2)
    for row, texts in zip(table.rows, (("Item", "Price"), ("Pump", "120")), strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    return save(document)


def pptx() -> bytes:
    deck = Presentation()
    for number in (1, 2):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = f"{TITLE} {number}"
        slide.shapes.add_textbox(Inches(1), Inches(2), Inches(5), Inches(1)).text_frame.text = BODY
    return save(deck)


def xlsx() -> bytes:
    book = Workbook()
    book.active.title = "Prices"
    for row in (("Item", "Price"), ("Pump", 120), ("Valve", 7.5)):
        book.active.append(row)
    book.create_sheet("Stock").append(("Item", "Count"))
    return save(book)


def save(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def odt() -> bytes:
    namespace = "urn:oasis:names:tc:opendocument:xmlns"
    namespaces = " ".join(f'xmlns:{name}="{namespace}:{name}:1.0"' for name in ("office", "text", "table"))
    cells = "".join(f"<table:table-cell><text:p>{t}</text:p></table:table-cell>" for t in ("Pump", "120"))
    body = (
        f'<text:h text:outline-level="1">{TITLE}</text:h><text:p>{BODY}</text:p>'
        "<text:list><text:list-item><text:p>One item</text:p></text:list-item></text:list>"
        f"<table:table><table:table-row>{cells}</table:table-row></table:table>"
    )
    content = (
        f"<office:document-content {namespaces}><office:body><office:text>{body}"
        "</office:text></office:body></office:document-content>"
    )
    return archive({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content})


def epub() -> bytes:
    container = '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
    package = (
        '<package xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<metadata><dc:title>The book</dc:title><dc:creator>Ada Author</dc:creator></metadata>"
        '<manifest><item id="b" href="two.xhtml"/><item id="a" href="one.xhtml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    page = "<html><body><h1>{}</h1><p>{}</p></body></html>"
    parts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": container,
        "OEBPS/book.opf": package,
        "OEBPS/one.xhtml": page.format("Chapter one", BODY),
        "OEBPS/two.xhtml": page.format("Chapter two", "The second text follows."),
    }
    return archive(parts)


def archive(parts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in parts.items():
            package.writestr(name, content)
    return buffer.getvalue()


def rtf() -> bytes:
    return (
        b"{\\rtf1\\ansi{\\info{\\title Delivery terms}}\\b Delivery terms\\b0\\par\\pard " + BODY.encode() + b"\\par}"
    )


def html() -> bytes:
    table = "<table><tr><td>Pump</td><td>120</td></tr></table>"
    return f"<html><head><title>{TITLE}</title></head><body><h1>{TITLE}</h1><p>{BODY}</p>{table}</body></html>".encode()


def markdown() -> bytes:
    return f"# {TITLE}\n\n{BODY}\n\n- one\n- two\n".encode()


def eml() -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = (
        "Order 4711 für März",
        "Ada <ada@example.org>",
        "Bob <bob@example.org>",
    )
    message["Date"], message["Message-ID"] = "Tue, 24 Nov 2026 10:00:00 +0100", "<1@example.org>"
    message.set_content(BODY)
    message.add_alternative(f"<p>{BODY}</p>", subtype="html")
    message.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="../prices.csv")
    return message.as_bytes()


def pdf(pages: int = 3) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    canvas.setTitle(TITLE)
    canvas.setAuthor("Ada Author")
    for number in range(1, pages + 1):
        canvas.setFont("Helvetica", 9)
        canvas.drawString(72, 820, "Northwind letterhead")
        canvas.drawString(72, 30, f"Page {number} of {pages}")
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawString(72, 760, f"{TITLE} part {number}")
        canvas.setFont("Helvetica", 11)
        for line, text in enumerate(
            (
                "The supplier delivers the goods within thirty days of the",
                "order and confirms each delivery in writing.",
            )
        ):
            canvas.drawString(72, 730 - 14 * line, text)
        canvas.drawString(72, 660, "A second paragraph stands by itself and ends here.")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def pdf_columns() -> bytes:
    """Draw two columns, one after the other, with a sentence of three lines each."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    for x, name in ((72, "left"), (320, "right")):
        for i in range(3):
            canvas.drawString(x, 700 - 14 * i, f"the {name} column line {i} goes on")
    canvas.save()
    return buffer.getvalue()


def text_image(text: str = "INVOICE NUMBER 4711", size: tuple[int, int] = (1200, 400)) -> Image.Image:
    """Draw a text."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((60, 140), text, fill="black", font=ImageFont.load_default(72))
    return image


def picture(kind: str, image: Image.Image | None = None) -> bytes:
    """Save an image of a text in one of Pillow's formats."""
    buffer = io.BytesIO()
    (image or text_image()).save(buffer, kind)
    return buffer.getvalue()


def scan() -> bytes:
    """Make a PDF whose only page is an image."""
    return picture("PDF")
