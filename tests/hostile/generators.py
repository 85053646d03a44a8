"""Hostile files, made in code from the standard library (and the benign parts by python-docx, openpyxl, reportlab, Pillow)."""

from __future__ import annotations

import binascii
import email.message
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping

from docx import Document as Docx
from openpyxl import Workbook
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

MIB = 1 << 20
GOOD_TEXT = "The quick report confirms that the good document was parsed unharmed."


def docx(text: str = GOOD_TEXT) -> bytes:
    document = Docx()
    document.add_heading("Heading", 1)
    document.add_paragraph(text)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def xlsx(rows: list[list[object]] | None = None) -> bytes:
    book = Workbook()
    for row in rows or [["name", "value"], ["alpha", 1]]:
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def with_parts(package: bytes, parts: Mapping[str, bytes | str]) -> bytes:
    """The package with parts replaced or added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in parts:
                new.writestr(name, old.read(name))
        for name, content in parts.items():
            new.writestr(name, content)
    return buffer.getvalue()


def part(package: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return archive.read(name).decode()


# --- B01 .. B03: archives -----------------------------------------------------------------------------------------------


def zip_bomb(name: str, mib: int = 96, mimetype: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        if mimetype:
            archive.writestr(zipfile.ZipInfo("mimetype"), mimetype)
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open(name, "w") as stream:
            for _ in range(mib):
                stream.write(b" " * MIB)
    return buffer.getvalue()


def zip_lying_size(name: str = "word/document.xml", mib: int = 96) -> bytes:
    """The directory and the local header say that the part has 100 bytes."""
    data = bytearray(zip_bomb(name, mib))
    for size_at, signature in ((24, b"PK\x01\x02"), (22, b"PK\x03\x04")):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            if struct.unpack_from("<L", data, at + size_at)[0] == mib * MIB:
                struct.pack_into("<L", data, at + size_at, 100)
    return bytes(data)


def zip_overlap(n: int = 30, size: int = 100_000) -> bytes:
    """``n`` names share one body."""
    body = b"A" * size
    packer = zlib.compressobj(9, 8, -15)
    packed = packer.compress(body) + packer.flush()
    crc, first = zlib.crc32(body), b"word/document.xml"
    local = (
        struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 0, crc, len(packed), size, len(first), 0) + first + packed
    )
    directory = b""
    for number in range(n):
        name = first if number == 0 else b"word/part%04d.xml" % number
        directory += struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 8, 0, 0, crc, len(packed), size, len(name), 0, 0, 0, 0, 0, 0
        )
        directory += name
    return local + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, n, n, len(directory), len(local), 0)


def zip_many(n: int = 3000) -> bytes:
    return with_parts(docx(), {f"word/part{i}.xml": "" for i in range(n)})


def zip_nested(depth: int = 6) -> bytes:
    data = zip_bomb("a.txt", 16)
    for _ in range(depth):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.zip", data)
        data = buffer.getvalue()
    return data


def docx_with_name(name: str, link: bool = False) -> bytes:
    buffer = io.BytesIO(docx())
    with zipfile.ZipFile(buffer, "a") as archive:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        if link:
            entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, "/etc/passwd" if link else "x")
    return buffer.getvalue()


# --- B04, B05: XML and nesting ------------------------------------------------------------------------------------------


def laughs() -> str:
    lines = [f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(9)]
    return '<!DOCTYPE l [<!ENTITY a "lol">' + "".join(lines) + "]><l>&j;</l>"


def xxe(target: str) -> str:
    return f'<!DOCTYPE r [<!ENTITY x SYSTEM "{target}"><!ENTITY % p SYSTEM "{target}"> %p;]><r>&x;</r>'


def docx_with_doctype(target: str) -> bytes:
    package = docx()
    body = part(package, "word/document.xml")
    head, _, rest = body.partition("?>")
    return with_parts(package, {"word/document.xml": f'{head}?><!DOCTYPE d [<!ENTITY x SYSTEM "{target}">]>{rest}'})


def xlsx_with_laughs() -> bytes:
    return with_parts(xlsx(), {"xl/sharedStrings.xml": laughs()})


def docx_nested_tables(depth: int = 300) -> bytes:
    package = docx()
    opening, closing = "<w:tbl><w:tr><w:tc>", "<w:p/></w:tc></w:tr></w:tbl>"
    body = part(package, "word/document.xml")
    return with_parts(
        package, {"word/document.xml": body.replace("<w:sectPr", opening * depth + closing * depth + "<w:sectPr", 1)}
    )


def mime_nested(depth: int = 3000) -> bytes:
    lines = ["From: a@example.org", "Subject: nested"]
    for i in range(depth):
        lines += [f'Content-Type: multipart/mixed; boundary="b{i}"', "", f"--b{i}"]
    return "\r\n".join(lines).encode()


# --- B07: mail ------------------------------------------------------------------------------------------------------------


def eml_nested(n: int = 50) -> bytes:
    message = email.message.EmailMessage()
    message.set_content("innermost")
    for _ in range(n):
        outer = email.message.EmailMessage()
        outer["Subject"], outer["From"] = "nested", "a@example.org"
        outer.set_content("The outer message says hello to everybody.")
        outer.add_attachment(message, filename="../../l.eml")
        message = outer
    return message.as_bytes()


def eml_attachments(n: int, name: str = "../../../tmp/mailroom-escaped.txt") -> bytes:
    head = b'From: a@example.org\r\nSubject: many\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    body = b"--b\r\nContent-Type: text/plain\r\n\r\nThe body of the message says hello.\r\n"
    one = f'--b\r\nContent-Type: text/plain; name="{name}"\r\nContent-Disposition: attachment\r\n\r\ncontent\r\n'
    return head + body + one.encode() * n + b"--b--\r\n"


def eml_encoded_words(n: int = 200_000) -> bytes:
    return (
        b"From: a@example.org\r\nSubject: "
        + b"=?utf-8?b?YQ==?= " * n
        + b"\r\n\r\nThe body of the message says hello.\r\n"
    )


def eml_long_header(mib: int = 20) -> bytes:
    return (
        b"From: a@example.org\r\nX-Long: "
        + b"x" * (mib * MIB)
        + b"\r\nSubject: s\r\n\r\nThe body says hello to you.\r\n"
    )


# --- B08, B09: PDF --------------------------------------------------------------------------------------------------------


def pdf(objects: list[bytes]) -> bytes:
    made, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(made))
        made += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(
        b"%010d 00000 n \n" % p for p in offsets
    )
    return made + table + b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(made))


_FONT = b"<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"


def pdf_active(url: str) -> bytes:
    """JavaScript, a launch action, a form to submit and a link, all towards ``url``; and a line of text."""
    text = b"BT /F 12 Tf 72 700 Td (The active document still has its ordinary text.) Tj ET"
    action = b"<</S/JavaScript/JS(this.submitForm('%s');app.launchURL('%s'))>>" % (url.encode(), url.encode())
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources %s/Contents 4 0 R/AA<</O<</S/URI/URI(%s)>>>>>>"
    return pdf([
        b"<</Type/Catalog/Pages 2 0 R/OpenAction %s/AcroForm<</Fields[]/XFA(%s)>>>>" % (action, url.encode()),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        page % (_FONT, url.encode()),
        b"<</Length %d>>stream\n%s\nendstream" % (len(text), text),
        b"<</S/Launch/F(%s)>>" % url.encode(),
    ])  # fmt: skip


def pdf_filters(n: int = 4, mib: int = 64) -> bytes:
    data = b" " * (mib * MIB)
    for _ in range(n):
        data = zlib.compress(data, 9)
    return pdf([
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R>>",
        b"<</Length %d/Filter[%s]>>stream\n" % (len(data), b"/FlateDecode" * n) + data + b"\nendstream",
    ])  # fmt: skip


def pdf_contents_array(n: int = 200_000) -> bytes:
    text = b"BT /F 12 Tf 72 700 Td (again) Tj ET"
    return pdf([
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources %s/Contents[%s]>>" % (_FONT, b"4 0 R " * n),
        b"<</Length %d>>stream\n%s\nendstream" % (len(text), text),
    ])  # fmt: skip


def pdf_loop() -> bytes:
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 999999999>>"])


def pdf_self_reference() -> bytes:
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R]/Count 1/Parent 2 0 R>>"])


def pdf_many_pages(n: int) -> bytes:
    pages = [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>"] * n
    kids = b" ".join(b"%d 0 R" % (3 + i) for i in range(n))
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, n), *pages])


def pdf_huge_page() -> bytes:
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 1440000 1440000]/Contents 4 0 R>>"
    drawing = b"0 0 m 1440000 1440000 l S"
    return pdf([
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        page,
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawing), drawing),
    ])  # fmt: skip


def pdf_xref_loop() -> bytes:
    data = pdf_active("http://127.0.0.1:9/")
    at = data.rindex(b"xref\n0", 0, data.rindex(b"startxref"))
    return data.replace(b"trailer<<", b"trailer<</Prev %d" % at)


def pdf_good(text: str = GOOD_TEXT, password: str = "") -> bytes:
    buffer = io.BytesIO()
    encryption = StandardEncryption(password, strength=128) if password else None
    canvas = Canvas(buffer, invariant=1, encrypt=encryption)
    canvas.drawString(72, 700, text)
    canvas.save()
    return buffer.getvalue()


# --- B10: pictures --------------------------------------------------------------------------------------------------------


def png_bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    def block(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", binascii.crc32(kind + body))

    packer, row = zlib.compressobj(9), b"\0" * (1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", header) + block(b"IDAT", pixels) + block(b"IEND", b"")


def picture(kind: str, frames: int = 1, size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    images = [Image.new("L", size, i % 256) for i in range(frames)]
    images[0].save(buffer, kind, **({"save_all": True, "append_images": images[1:]} if frames > 1 else {}))
    return buffer.getvalue()


# --- B11 .. B18 -----------------------------------------------------------------------------------------------------------


def pdf_and_zip() -> bytes:
    """A PDF that is also an archive: the directory stands at its end."""
    head, buffer = pdf_good(), io.BytesIO()
    buffer.write(head)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("hidden.txt", "the other face")
    return buffer.getvalue()


def gif_and_zip() -> bytes:
    buffer = io.BytesIO()
    buffer.write(picture("GIF"))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("Main.class", b"\xca\xfe\xba\xbe")
    return buffer.getvalue()


def docx_with_macro() -> bytes:
    return with_parts(docx(), {"word/vbaProject.bin": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600})


def docx_with_template(url: str) -> bytes:
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate"
    relation = f'<Relationship Id="rId1" Type="{kind}" Target="{url}" TargetMode="External"/>'
    body = f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{relation}</Relationships>'
    return with_parts(docx(), {"word/_rels/settings.xml.rels": body})


def xlsx_sheet(replace: str, by: str) -> bytes:
    package = xlsx()
    name = "xl/worksheets/sheet1.xml"
    return with_parts(package, {name: part(package, name).replace(replace, by, 1)})


def xlsx_sparse() -> bytes:
    far = '<row r="1048576"><c r="XFD1048576"><v>7</v></c></row></sheetData>'
    return xlsx_sheet("</sheetData>", far)


def json_elements() -> bytes:
    packed = binascii.b2a_base64(zlib.compress(b"0" * (64 * MIB), 9)).decode()
    element = {"type": "NarrativeText", "element_id": "another-document", "text": "A plain JSON text.",
               "metadata": {"orig_elements": packed, "filename": "/etc/passwd"}}  # fmt: skip
    return json.dumps([element]).encode()
