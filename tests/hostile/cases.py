"""The catalogue of bad input: how each file is made, under which name it arrives, and its right outcomes.

An outcome is a code of `Rejected`, or "ok": a Parsed, perhaps with flags that it must have. The groups B01 to B18
follow the threats: archives, XML, nesting, markup, mail, PDF, images, polyglots, macros, tables, quadratic text,
encodings, includes and element JSON. ``url`` and ``secret`` of a `Canary` are an address that nobody may call and a
file that nobody may read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.hostile import generators as make

ODT = "application/vnd.oasis.opendocument.text"
EPUB = "application/epub+zip"
ENTITY_ESCAPES = "&amp;" * 200_000


@dataclass(frozen=True)
class Canary:
    """What a document must not reach."""

    url: str
    secret: Path


@dataclass(frozen=True)
class Case:
    """One bad file. ``flags``, ``has`` and ``lacks`` are flags and texts that an "ok" must (not) have."""

    name: str
    arrives_as: str
    content: Callable[[Canary], bytes]
    outcomes: tuple[str, ...]
    flags: tuple[str, ...] = ()
    has: str = ""
    lacks: str = ""


def case(name: str, arrives_as: str, content: Callable[[Canary], bytes | str] | bytes | str, *outcomes: str,
         flags: tuple[str, ...] = (), has: str = "", lacks: str = "") -> Case:  # fmt: skip
    def generate(canary: Canary) -> bytes:
        data = content(canary) if callable(content) else content
        return data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data

    return Case(name, arrives_as, generate, outcomes, flags, has, lacks)


_ESCAPING_NAMES = ("../../x", "/abs/x", "..\\..\\x", "C:\\x", "word/../../../x")
_REMOTE = (
    '<img src="{u}"><link rel="stylesheet" href="{u}"><base href="{u}"><meta http-equiv="refresh" content="0;url={u}">'
)

_QUADRATIC = (
    "a" * 500_000,
    " " * 500_000 + "!",
    "\n" * 1_000_000 + "end",
    "a\u0301" + "\u0301" * 200_000,
    "\u202e\u200b" * 200_000 + "x",
    "(" * 200_000,
    "*_" * 100_000,
    "![" * 50_000,
)

CASES: tuple[Case, ...] = (
    # B01 archives that grow
    case("B01-docx", "a.docx", lambda c: make.zip_bomb("word/document.xml"), "expansion"),
    case("B01-xlsx", "a.xlsx", lambda c: make.zip_bomb("xl/workbook.xml"), "expansion"),
    case("B01-pptx", "a.pptx", lambda c: make.zip_bomb("ppt/presentation.xml"), "expansion"),
    case("B01-odt", "a.odt", lambda c: make.zip_bomb("content.xml", mimetype=ODT), "expansion"),
    case("B01-epub", "a.epub", lambda c: make.zip_bomb("c.xhtml", mimetype=EPUB), "expansion"),
    case("B01-ratio", "a.docx", lambda c: make.zip_bomb("word/document.xml", 20), "expansion"),
    case("B01-entries", "a.docx", lambda c: make.zip_many(), "expansion"),
    # B02 archives with wrong sizes and overlaps
    case("B02-lying-size", "a.docx", lambda c: make.zip_lying_size(), "expansion"),
    case("B02-overlap", "a.docx", lambda c: make.zip_overlap(), "unsafe"),
    case("B02-nested", "a.zip", lambda c: make.zip_nested(), "unsupported"),
    case("B02-duplicate", "a.docx", lambda c: make.docx_with_name("WORD/Document.xml"), "unsafe"),
    # B03 names that lead out
    *(case(f"B03-slip-{i}", "a.docx", lambda c, n=n: make.docx_with_name(n), "unsafe")
      for i, n in enumerate(_ESCAPING_NAMES)),
    case("B03-link", "a.docx", lambda c: make.docx_with_name("word/link", link=True), "unsafe"),
    case("B03-reserved", "a.docx", lambda c: make.docx_with_name("con.txt"), "ok", has=make.GOOD_TEXT),
    # B04 entities
    case("B04-laughs-xml", "a.xml", lambda c: make.laughs(), "unsafe"),
    case("B04-xxe-file", "a.xml", lambda c: make.xxe(c.secret.as_uri()), "unsafe"),
    case("B04-xxe-http", "a.svg", lambda c: make.xxe(c.url), "unsafe"),
    case("B04-docx", "a.docx", lambda c: make.docx_with_doctype(c.secret.as_uri()), "unsafe"),
    case("B04-xlsx", "a.xlsx", lambda c: make.xlsx_with_laughs(), "unsafe"),
    case("B04-external-dtd", "a.xml", lambda c: f'<!DOCTYPE r SYSTEM "{c.url}"><r>The text stays.</r>',
         "ok", has="stays"),
    # B05 nesting
    case("B05-html", "a.html", "<div>" * 100_000 + "deep", "too-deep"),
    case("B05-html-bold", "a.html", "<b>" * 100_000 + "deep", "too-deep"),
    case("B05-xml", "a.xml", "<a>" * 100_000 + "deep" + "</a>" * 100_000, "too-deep"),
    case("B05-json", "a.json", "[" * 100_000, "ok"),
    case("B05-mime", "a.eml", lambda c: make.mime_nested(), "too-deep"),
    case("B05-markdown", "a.md", ">" * 50_000 + " deep", "too-deep"),
    case("B05-rtf", "a.rtf", "{\\rtf1 " + "{" * 50_000 + "deep" + "}" * 50_001, "too-deep"),
    case("B05-docx-tables", "a.docx", lambda c: make.docx_nested_tables(), "ok", "too-deep", "damaged"),
    case("B05-pdf", "a.pdf", lambda c: make.pdf_self_reference(), "damaged", "ok", flags=()),
    # B06 markup that acts
    case("B06-script", "a.html",
         lambda c: f"<html><script>fetch('{c.url}')</script><p>Only the text is read here.</p></html>",
         "ok", has="Only the text", lacks="fetch"),
    case("B06-remote", "a.html",
         lambda c: "<html>" + _REMOTE.format(u=c.url) + "<p>Nothing of this was fetched.</p></html>",
         "ok", has="Nothing of this"),
    case("B06-entities", "a.html", "<html><p>" + ENTITY_ESCAPES + "</p></html>", "ok"),
    # B07 mail
    case("B07-attachments", "a.eml", lambda c: make.eml_attachments(5000), "ok", flags=("attachments-dropped",)),
    case("B07-in-itself", "a.eml", lambda c: make.eml_nested(), "ok", has="hello to everybody"),
    case("B07-encoded-words", "a.eml", lambda c: make.eml_encoded_words(), "ok", has="says hello"),
    case("B07-header", "a.eml", lambda c: make.eml_long_header(), "ok", has="says hello"),
    case("B07-charset", "a.eml",
         b'From: a@b.c\r\nContent-Type: text/plain; charset="utf-7"\r\n\r\n+ADw-script+AD4- \xff\xfe hello',
         "ok", lacks="<script>"),
    # B08, B09 PDF
    case("B08-active", "a.pdf", lambda c: make.pdf_active(c.url), "ok", flags=("active-content",), has="ordinary text"),
    case("B09-filters", "a.pdf", lambda c: make.pdf_filters(), "ok", "memory", "timeout", "crashed"),
    case("B09-contents-array", "a.pdf", lambda c: make.pdf_contents_array(), "ok", "timeout", "memory"),
    case("B09-page-loop", "a.pdf", lambda c: make.pdf_loop(), "too-many-pages", "damaged"),
    case("B09-pages", "a.pdf", lambda c: make.pdf_many_pages(3000), "too-many-pages"),
    case("B09-huge-page", "a.pdf", lambda c: make.pdf_huge_page(), "ok"),
    case("B09-xref-loop", "a.pdf", lambda c: make.pdf_xref_loop(), "ok", "damaged"),
    case("B09-encrypted", "a.pdf", lambda c: make.pdf_good(password="secret"), "encrypted"),
    case("B09-cut", "a.pdf", lambda c: make.pdf_good()[:200], "damaged"),
    case("B09-rubbish", "a.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 4000, "damaged"),
    # B10 pictures
    case("B10-png", "a.png", lambda c: make.png_bomb(), "too-large"),
    case("B10-gif-frames", "a.gif", lambda c: make.picture("GIF", 2000), "ok"),
    case("B10-tiff-pages", "a.tiff", lambda c: make.picture("TIFF", 600), "too-many-pages"),
    case("B10-jpeg-cut", "a.jpg", lambda c: make.picture("JPEG", size=(400, 400))[:400], "damaged"),
    case("B10-icon", "a.ico", lambda c: make.picture("ICO", size=(16, 16)), "unsupported"),
    case("B10-svg", "a.svg", lambda c: f'<svg><image href="{c.url}"/><text>Drawn text</text></svg>',
         "ok", has="Drawn text"),
    # B11 two faces
    case("B11-pdf-zip", "a.pdf", lambda c: make.pdf_and_zip(), "ok", flags=("mismatch",), has=make.GOOD_TEXT),
    case("B11-gif-zip", "a.gif", lambda c: make.gif_and_zip(), "ok", flags=("mismatch",)),
    case("B11-pdf-as-docx", "a.docx", lambda c: make.pdf_good(), "ok", flags=("mismatch",), has=make.GOOD_TEXT),
    case("B11-html-as-pdf", "a.pdf", "<html><p>A page that claims to be a PDF.</p></html>", "ok", flags=("mismatch",)),
    case("B11-program-as-pdf", "a.pdf", b"MZ\x90\0" + b"\0\1\2\3" * 1000, "unsupported", "damaged"),
    # B12 macros and links
    case("B12-macro", "a.docm", lambda c: make.docx_with_macro(), "ok", flags=("macros",), has=make.GOOD_TEXT),
    case("B12-template", "a.docx", lambda c: make.docx_with_template(c.url), "ok", flags=("external-links",)),
    # B13, B14 tables
    case("B13-formula", "a.csv", "name,value\nx,=cmd|'/C calc'!A0\ny,@SUM(1)\n", "ok", has="=cmd|'/C calc'!A0"),
    case("B14-columns", "a.csv", "a," * 1_000_000, "ok"),
    case("B14-cell", "a.csv", "a" * (30 * make.MIB), "ok", flags=("truncated",)),
    case("B14-nul", "a.csv", b"a,b\n1,\x002\n3,4\n", "ok"),
    case("B14-quote", "a.csv", 'a,b\n"open,1\n' + "x,y\n" * 300_000, "ok"),
    case("B14-dimension", "a.xlsx", lambda c: make.xlsx_sheet("A1:B2", "A1:XFD1048576"), "ok", has="alpha"),
    case("B14-sparse", "a.xlsx", lambda c: make.xlsx_sparse(), "ok", has="alpha"),
    # B15 quadratic text
    *(case(f"B15-{i}-{ending}", f"a.{ending}", text, "ok", "timeout")
      for ending in ("txt", "md", "html", "eml", "csv")
      for i, text in enumerate(_QUADRATIC)),
    # B16 encodings
    case("B16-utf16", "a.txt", "The text has no byte order mark.".encode("utf-16-le"), "ok", has="byte order"),
    case("B16-overlong", "a.txt", b"valid text \xc0\xaf\xe0\x80\xaf and more text", "ok", has="more text"),
    case("B16-surrogates", "a.txt", "lone \ud800 surrogate \udfff text", "ok", has="surrogate"),
    case("B16-empty", "a.txt", b"", "empty"),
    case("B16-one-byte", "a.txt", b"x", "ok"),
    case("B16-nul", "a.txt", b"\0" * 5000, "unsupported"),
    case("B16-nul-pdf", "a.pdf", b"\0" * 5000, "damaged"),
    case("B16-json-surrogate", "a.json", '{"a": "\\ud800"}', "ok"),
    # B17 includes
    case("B17-markdown", "a.md",
         lambda c: f'See ![]({c.secret.as_uri()}) and [it]({c.secret})\n\n--8<-- "{c.secret}"\n\nThe end of it.',
         "ok", has="The end"),
    case("B17-rst", "a.rst",
         lambda c: f"Title\n=====\n\n.. include:: {c.secret}\n\n.. raw:: html\n   :file: {c.secret}\n\nThe end.\n",
         "ok"),
    case("B17-org", "a.org", lambda c: f'#+INCLUDE: "{c.secret}"\n\nThe end of the text.\n', "ok"),
    case("B17-rtf", "a.rtf",
         lambda c: f'{{\\rtf1 {{\\field{{\\*\\fldinst INCLUDETEXT "{c.secret}"}}}} The end of it.}}', "ok"),
    # B18 elements as JSON
    case("B18-elements", "a.json", lambda c: make.json_elements(), "ok", has="A plain JSON text."),
)  # fmt: skip
