"""HTML, Markdown, XML, EPUB and RTF.

unstructured's HTML partitioner names the elements. Links are stored, never followed.
"""

from __future__ import annotations

import html
import posixpath
import re
import subprocess
import zipfile
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, BinaryIO
from urllib.parse import unquote

from lxml import etree

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.text import add_text, decode
from pipeline.parse.readers.xml_parts import parse_part, value

#: libxml2 silently drops elements nested 256 deep, and everything after them
MAX_HTML_DEPTH = 250
#: characters; the converter's patterns are quadratic in the length of a paragraph
_MAX_MARKDOWN_BLOCK = 30_000
_PANDOC_HEAP_EXHAUSTED = 251
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{2,40})", re.I)
_BRACE = re.compile(rb"(?<!\\)[{}]")
_DEEP_QUOTE = re.compile(r"^(?:[ \t]*>){100}", re.M)
_TITLE = re.compile(r"<title[^>]*>(.{1,500}?)</title", re.I | re.S)


def read_html(file: BinaryIO, findings: Findings) -> None:
    """Read an HTML file in its declared encoding. Raises Rejected."""
    data = file.read(findings.limits.max_expanded)
    declared = _CHARSET.search(data[:4096])
    add_html(findings, decode(data, declared[1].decode("ascii") if declared else None))


def add_html(findings: Findings, text: str, page: int | None = None) -> None:
    """Add the elements of one HTML text. Raises Rejected("too-deep")."""
    from unstructured.partition.html import partition_html

    if not text.strip():
        return
    title = _TITLE.search(text[:100_000])
    if title and not findings.title:
        plain = html.unescape(re.sub(r"<[^>]{0,1000}>", " ", title[1]))
        findings.title = " ".join(plain.split())
    check_html_depth(text)
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)  # a declared encoding of decoded text is refused by lxml
    add_elements(findings, partition_html(text=text, languages=[""]), page)


def add_elements(findings: Findings, elements: Iterable[Any], page: int | None = None) -> None:
    """Add unstructured's elements, on ``page`` or their own. Raises TextLimitReached."""
    findings.parser = findings.parser or f"unstructured {version('unstructured')}"
    for element in elements:
        metadata = element.metadata
        findings.add(
            element.category,
            element.text,
            page if page is not None else metadata.page_number,
            metadata.category_depth,
            metadata.text_as_html,
            metadata.link_urls or (),
        )


def check_html_depth(text: str) -> None:
    """Raise Rejected("too-deep") if elements are nested more than `MAX_HTML_DEPTH` levels deep."""
    depth = deepest = 0
    parser = etree.HTMLPullParser(events=("start", "end"), huge_tree=True, no_network=True)
    for at in range(0, len(text), 1 << 20):
        parser.feed(text[at : at + (1 << 20)])
        for event, _ in parser.read_events():
            depth += 1 if event == "start" else -1
            deepest = max(deepest, depth)
        if deepest > MAX_HTML_DEPTH:
            raise Rejected("too-deep", f"The page is nested more than {MAX_HTML_DEPTH} levels deep.")


def read_markdown(file: BinaryIO, findings: Findings) -> None:
    """Read Markdown; a text with a very long paragraph is read as plain text. Raises Rejected("too-deep")."""
    from unstructured.partition.md import partition_md

    text = re.sub(
        r"\n[ \t]*\n\s*\n", "\n\n", decode(file.read(4 * findings.limits.max_text_chars)).replace("\r\n", "\n")
    )
    if _DEEP_QUOTE.search(text):  # the converter recurses once per level
        raise Rejected("too-deep", "The text quotes more than 100 levels deep.")
    if any(len(block) > _MAX_MARKDOWN_BLOCK for block in text.split("\n\n")):
        findings.flags.add("markup-ignored")
        return add_text(findings, text)
    add_elements(findings, partition_md(text=text, languages=[""]))


def read_xml(file: BinaryIO, findings: Findings) -> None:
    """Read the text of the elements; the innermost element with children is one part of it. Raises Rejected."""
    data = file.read(findings.limits.max_expanded)
    if b"<!ENTITY" in data[:1_000_000].replace(b"\0", b""):
        raise Rejected("unsafe", "The XML declares entities, which are never expanded; send it without them.")
    findings.parser = "mailroom xml 1"
    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        _walk(parser, data, findings)
    except etree.XMLSyntaxError as error:
        if "depth" in str(error):
            raise Rejected(
                "too-deep", f"The XML is nested more than {findings.limits.max_depth} levels deep."
            ) from error
        # Not well-formed, but it should still be searchable: read it as plain text.
        findings.flags.add("malformed")
        findings.elements.clear()
        add_text(findings, decode(data))


def _walk(parser: etree.XMLPullParser, data: bytes, findings: Findings) -> None:
    depth = 0
    texts: list[str] = []
    for at in range(0, len(data), 1 << 18):
        parser.feed(data[at : at + (1 << 18)])
        for event, element in parser.read_events():
            depth += 1 if event == "start" else -1
            if depth > findings.limits.max_depth:
                raise Rejected("too-deep", f"The XML is nested more than {findings.limits.max_depth} levels deep.")
            if event == "end":
                _collect(element, texts, findings)
    parser.close()
    _flush(texts, findings)


def _collect(element: Any, texts: list[str], findings: Findings) -> None:
    """Collect the text of a complete element; an element with children ends a group of texts."""
    has_children = len(element) > 0
    own = " ".join(filter(None, ((element.text or "").strip(), *((c.tail or "").strip() for c in element))))
    if own:
        texts.append(own)
    if has_children:
        _flush(texts, findings)
        element.clear(keep_tail=True)


def _flush(texts: list[str], findings: Findings) -> None:
    if texts:
        joined = "\n".join(texts)
        texts.clear()
        add_text(findings, joined)


def read_epub(file: BinaryIO, findings: Findings) -> None:
    """Read the chapters in the order of the spine; the number of a chapter is its page. Raises Rejected."""
    with zipfile.ZipFile(file) as archive:
        try:
            container = parse_part(archive.read("META-INF/container.xml"))
            package = value(container, "rootfile", attribute="full-path")
            tree = parse_part(archive.read(package))
        except (KeyError, etree.XMLSyntaxError) as error:
            raise Rejected("damaged", "The EPUB lacks its package description; send it again.") from error
        findings.title = value(tree, "metadata", "title") or None
        author, created = value(tree, "metadata", "creator"), value(tree, "metadata", "date")
        findings.add_metadata(author=author, created=created)
        items = {
            item.get("id"): posixpath.join(posixpath.dirname(package), unquote(item.get("href", "")))
            for item in tree.xpath("//*[local-name()='manifest']/*[local-name()='item']")
        }
        spine = [entry.get("idref") for entry in tree.xpath("//*[local-name()='spine']/*[local-name()='itemref']")]
        chapters = [posixpath.normpath(items[reference]) for reference in spine if reference in items]
        names = set(archive.namelist())
        for number, name in enumerate((c for c in chapters if c in names), 1):
            findings.pages = number
            add_html(findings, decode(archive.read(name)), number)


def read_rtf(file: BinaryIO, findings: Findings) -> None:
    """Convert RTF to HTML with pandoc, in its own sandbox inside ours, and read that. Raises Rejected."""
    import pypandoc

    data = file.read()
    depth = deepest = 0
    for brace in _BRACE.finditer(data):
        depth += 1 if brace[0] == b"{" else -1
        deepest = max(deepest, depth)
    if deepest > findings.limits.max_depth:
        raise Rejected("too-deep", f"The file's groups are nested more than {findings.limits.max_depth} levels deep.")
    command = [pypandoc.get_pandoc_path(), "+RTS", "-M768m", "-RTS", "--sandbox", "-f", "rtf", "-t", "html"]
    process = subprocess.run(command, input=data, capture_output=True, check=False)
    if process.returncode == _PANDOC_HEAP_EXHAUSTED:
        raise Rejected("memory", "Reading the RTF file needed too much memory; save it as PDF and send that.")
    if process.returncode:
        raise Rejected("damaged", "The RTF file cannot be read; open it in its own program and save it again.")
    findings.parser = f"pandoc, unstructured {version('unstructured')}"
    title = re.search(rb"{\\title ([^{}\\]{1,300})}", data[:20000])
    if title:
        findings.title = decode(title[1])
    add_html(findings, process.stdout.decode("utf-8", "replace"))
