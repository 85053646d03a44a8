"""Every format: text, titles, tables, pages, properties, through the real sandbox."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.documents import Parsed
from pipeline.errors import Rejected
from pipeline.parse import ParseLimits, SandboxedParser
from tests.hostile.generators import pdf_good
from tests.support.needs import program
from tests.unit.parse import documents as make

OCR = program("tesseract", "tesseract-ocr")


def parse(parser: SandboxedParser, content: bytes, name: str) -> Parsed:
    return parser.parse(io.BytesIO(content), name)


def titles(parsed: Parsed) -> list[str]:
    return [e.text for e in parsed.elements if e.category == "Title"]


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("a.docx", make.docx), ("a.pptx", make.pptx), ("a.odt", make.odt), ("a.epub", make.epub), ("a.rtf", make.rtf),
        ("a.html", make.html), ("a.md", make.markdown), ("a.eml", make.eml), ("a.txt", lambda: make.BODY.encode()),
    ],
)  # fmt: skip
def test_every_format_yields_its_text(name: str, document: Callable[[], bytes], parser: SandboxedParser) -> None:
    parsed = parse(parser, document(), name)
    assert make.BODY in parsed.text
    assert parsed.flags == ()
    assert parsed.languages == ("en",)
    assert parsed.parser


def test_a_file_without_a_suffix_is_read_by_its_content(parser: SandboxedParser) -> None:
    for document in (make.docx, make.pptx, make.odt, make.epub, make.rtf, make.html, make.eml, make.pdf):
        parsed = parse(parser, document(), "upload")
        assert "confirms each delivery in writing" in parsed.text and parsed.flags == ()


def test_word(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.docx(), "a.docx")
    assert parsed.title == make.TITLE and parsed.metadata["author"] == "Ada Author"
    assert titles(parsed) == [make.TITLE]
    table = next(e for e in parsed.elements if e.category == "Table")
    assert "Pump" in table.text and "<td>120</td>" in (table.html or "")


def test_powerpoint_pages_are_slides(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.pptx(), "a.pptx")
    assert parsed.pages == 2
    assert [e.page for e in parsed.elements if e.text == make.BODY] == [1, 2]


def test_excel_rows_become_tables_and_sheets_pages(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.xlsx(), "a.xlsx")
    assert parsed.pages == 2 and titles(parsed) == ["Prices", "Stock"]
    assert parsed.elements[1].text == "Item | Price\nPump | 120\nValve | 7.5"
    assert "<td>Valve</td>" in (parsed.elements[1].html or "") and parsed.elements[-1].page == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"name;value\nK\xf6ln;1\n"),
        ("a.csv", "name;value\nKöln;1\n".encode()),
        ("a.csv", "name,value\nKöln,1\n".encode("utf-16")),
        ("a.tsv", "name\tvalue\nKöln\t1\n".encode()),
    ],
)
def test_separated_values(name: str, content: bytes, parser: SandboxedParser) -> None:
    parsed = parse(parser, content, name)
    assert parsed.text == "name | value\nKöln | 1"


def test_open_document(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.odt(), "a.odt")
    assert [e.category for e in parsed.elements] == ["Title", "NarrativeText", "ListItem", "Table"]
    assert parsed.elements[-1].text == "Pump | 120"


def test_an_epub_is_read_in_the_order_of_its_spine(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.epub(), "a.epub")
    assert (parsed.title, parsed.pages, parsed.metadata["author"]) == ("The book", 2, "Ada Author")
    assert titles(parsed) == ["Chapter one", "Chapter two"]


def test_html_keeps_title_and_table(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.html(), "a.html")
    assert parsed.title == make.TITLE and "Table" in {e.category for e in parsed.elements}


def test_mail_headers_and_attachments(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.eml(), "a.eml")
    assert parsed.title == parsed.metadata["subject"] == "Order 4711 für März"
    assert parsed.metadata["from"] == "Ada <ada@example.org>" and parsed.metadata["message-id"] == "<1@example.org>"
    assert parsed.elements[0].category == "EmailHeader" and "To: Bob" in parsed.elements[0].text
    assert parsed.text.count(make.BODY) == 1
    assert [(a.name, a.media_type, a.content) for a in parsed.attachments] == [
        ("prices.csv", "text/csv", b"a,b\n1,2\n")
    ]


def test_pdf_pages_titles_paragraphs_and_running_heads(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.pdf(), "a.pdf")
    assert parsed.pages == 3 and parsed.title == make.TITLE and parsed.metadata["author"] == "Ada Author"
    assert titles(parsed) == [f"{make.TITLE} part {n}" for n in (1, 2, 3)]
    assert [e.page for e in parsed.elements if e.text == make.BODY] == [1, 2, 3]
    heads = {e.text: e.category for e in parsed.elements if e.category in ("Header", "Footer")}
    assert heads == {"Northwind letterhead": "Header", **{f"Page {n} of 3": "Footer" for n in (1, 2, 3)}}


def test_pdf_columns_are_not_mixed(parser: SandboxedParser) -> None:
    text = parse(parser, make.pdf_columns(), "a.pdf").text
    assert text.index("left column line 2") < text.index("right column line 0")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.docx", make.docx()[:4000], "damaged"),
        ("a.xlsx", make.xlsx()[:-400], "damaged"),
        ("a.pdf", make.pdf()[:300], "damaged"),
        ("a.pdf", pdf_good(password="secret"), "encrypted"),
        ("a.png", make.picture("PNG")[:900], "damaged"),
        ("a.zip", make.archive({"a.txt": "text"}), "unsupported"),
        ("a.bin", bytes(range(256)) * 20, "unsupported"),
        ("a.txt", b"", "empty"),
    ],
)
def test_an_unreadable_file_is_rejected_with_a_reason(
    name: str, content: bytes, code: str, parser: SandboxedParser
) -> None:
    with pytest.raises(Rejected) as caught:
        parse(parser, content, name)
    assert caught.value.code == code and caught.value.detail.endswith(".")


def test_a_wrong_suffix_is_flagged_and_the_content_read(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.pdf(), "report.docx")
    assert parsed.media_type == "application/pdf" and "mismatch" in parsed.flags and make.BODY in parsed.text


def test_text_with_the_suffix_of_a_binary_kind_is_flagged(parser: SandboxedParser) -> None:
    parsed = parse(parser, b"This is not a package at all, only text.", "a.docx")
    assert parsed.media_type == "text/plain" and parsed.flags == ("mismatch",)


def test_an_empty_page_is_not_an_error(parser: SandboxedParser) -> None:
    parsed = parse(parser, make.picture("PNG", make.text_image("")), "a.png")
    assert parsed.elements == () and "no-text" in parsed.flags


def test_a_scan_without_ocr_is_flagged() -> None:
    parser = SandboxedParser(ParseLimits(ocr=False))
    for name, content in (("a.pdf", make.scan()), ("a.png", make.picture("PNG"))):
        parsed = parse(parser, content, name)
        assert parsed.elements == () and {"needs-ocr", "no-text"} <= set(parsed.flags)
    parser.close()


@OCR
@pytest.mark.parametrize(("name", "kind"), [("a.pdf", "PDF"), ("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.tiff", "TIFF")])
def test_a_scan_is_read_by_ocr(name: str, kind: str, parser: SandboxedParser) -> None:
    parsed = parse(parser, make.picture(kind), name)
    assert "4711" in parsed.text and "ocr" in parsed.flags and parsed.elements[0].page == 1


def test_text_over_the_limit_is_cut_and_flagged() -> None:
    parser = SandboxedParser(ParseLimits(max_text_chars=1000))
    parsed = parse(parser, b"word " * 1000, "a.txt")
    assert 0 < len(parsed.text) <= 1000 and parsed.flags == ("truncated",)
    parser.close()


def test_the_digest_depends_on_the_limits() -> None:
    assert SandboxedParser().digest == SandboxedParser().digest
    assert SandboxedParser().digest != SandboxedParser(ParseLimits(ocr_dpi=300)).digest


def test_a_file_is_read_from_its_beginning_and_its_position_unchanged(parser: SandboxedParser, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(make.BODY)
    with path.open("rb") as content:
        content.read(10)
        assert parser.parse(content, "a.txt").text == make.BODY
        assert content.tell() == 10
