"""HTML, Markdown, XML, EPUB and RTF. unstructured's HTML partitioner names the elements; links are kept, never followed."""

from __future__ import annotations

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

#: libxml2 silently drops elements nested 256 deep, and everything after them
MAX_HTML_DEPTH = 250
#: the converter's patterns are quadratic in the length of a paragraph
_MAX_MARKDOWN_BLOCK = 30_000
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{2,40})", re.I)
_TITLE = re.compile(r"<title[^>]*>(.{1,500}?)</title", re.I | re.S)


def read_html(file: BinaryIO, found: Findings) -> None:
    """Read an HTML file in its declared encoding. Raises Rejected."""
    data = file.read(found.limits.max_expanded)
    declared = _CHARSET.search(data[:4096])
    add_html(found, decode(data, declared[1].decode("ascii") if declared else None))


def add_html(found: Findings, text: str, page: int | None = None) -> None:
    """Add the elements of one HTML text. Raises Rejected("too-deep")."""
    from unstructured.partition.html import partition_html

    if not text.strip():
        return
    title = _TITLE.search(text[:100_000])
    if title and not found.title:
        found.title = " ".join(_plain(title[1]).split())
    _check_depth(text)
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)  # a declared encoding of decoded text is refused by lxml
    add_elements(found, partition_html(text=text, languages=[""]), page)


def add_elements(found: Findings, elements: Iterable[Any], page: int | None = None) -> None:
    """Add unstructured's elements to the findings."""
    found.parser = found.parser or f"unstructured {version('unstructured')}"
    for element in elements:
        facts = element.metadata
        number = page if page is not None else facts.page_number
        found.add(
            element.category, element.text, number, facts.category_depth, facts.text_as_html, facts.link_urls or ()
        )


def _check_depth(text: str) -> None:
    depth = deepest = 0
    parser = etree.HTMLPullParser(events=("start", "end"), huge_tree=True, no_network=True)
    for at in range(0, len(text), 1 << 20):
        parser.feed(text[at : at + (1 << 20)])
        for event, _ in parser.read_events():
            depth += 1 if event == "start" else -1
            deepest = max(deepest, depth)
        if deepest > MAX_HTML_DEPTH:
            raise Rejected("too-deep", f"The page is nested more than {MAX_HTML_DEPTH} levels deep.")


def _plain(markup: str) -> str:
    import html

    return html.unescape(re.sub(r"<[^>]{0,1000}>", " ", markup))


def read_markdown(file: BinaryIO, found: Findings) -> None:
    """Read Markdown; a text with a very long paragraph is read as plain text. Raises Rejected."""
    from unstructured.partition.md import partition_md

    text = re.sub(r"\n[ \t]*\n\s*\n", "\n\n", decode(file.read(4 * found.limits.max_text_chars)).replace("\r\n", "\n"))
    _check_markdown(text)
    if any(len(block) > _MAX_MARKDOWN_BLOCK for block in text.split("\n\n")):
        found.flags.add("markup-ignored")
        return add_text(found, text)
    add_elements(found, partition_md(text=text, languages=[""]))


def _check_markdown(text: str) -> None:
    """Reject deeply nested quotes: the converter recurses once per level."""
    if re.search(r"^(?:[ \t]*>){100}", text, re.M):
        raise Rejected("too-deep", "The text quotes more than 100 levels deep.")


def read_xml(file: BinaryIO, found: Findings) -> None:
    """Read the text of the elements, one piece per element whose children contain only text. Raises Rejected."""
    data = file.read(found.limits.max_expanded)
    if b"<!ENTITY" in data[:1_000_000].replace(b"\0", b""):
        raise Rejected("unsafe", "The XML declares entities, which are never expanded; send it without them.")
    found.parser = "mailroom xml 1"
    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        _walk(parser, data, found)
    except etree.XMLSyntaxError as error:
        if "depth" in str(error):
            raise Rejected("too-deep", f"The XML is nested more than {found.limits.max_depth} levels deep.") from error
        # Not well-formed, but it should still be searchable: read it as plain text.
        found.flags.add("malformed")
        found.elements.clear()
        add_text(found, decode(data))


def _walk(parser: etree.XMLPullParser, data: bytes, found: Findings) -> None:
    depth = 0
    texts: list[str] = []
    for at in range(0, len(data), 1 << 18):
        parser.feed(data[at : at + (1 << 18)])
        for event, element in parser.read_events():
            depth += 1 if event == "start" else -1
            if depth > found.limits.max_depth:
                raise Rejected("too-deep", f"The XML is nested more than {found.limits.max_depth} levels deep.")
            if event == "end":
                _take(element, texts, found)
    parser.close()
    _flush(texts, found)


def _take(element: Any, texts: list[str], found: Findings) -> None:
    branch = len(element) > 0
    own = " ".join(filter(None, ((element.text or "").strip(), *((c.tail or "").strip() for c in element))))
    if own:
        texts.append(own)
    if branch:
        _flush(texts, found)
        element.clear(keep_tail=True)


def _flush(texts: list[str], found: Findings) -> None:
    if texts:
        joined = "\n".join(texts)
        texts.clear()
        add_text(found, joined)


def read_epub(file: BinaryIO, found: Findings) -> None:
    """Read the chapters in the order of the spine; a chapter's number stands for its page."""
    with zipfile.ZipFile(file) as archive:
        try:
            package = _package_path(archive)
            tree = _xml(archive.read(package))
        except (KeyError, etree.XMLSyntaxError) as error:
            raise Rejected("damaged", "The EPUB lacks its package description; send it again.") from error
        _epub_facts(tree, found)
        chapters = _spine(tree, posixpath.dirname(package))
        names = set(archive.namelist())
        for number, name in enumerate((c for c in chapters if c in names), 1):
            found.pages = number
            add_html(found, decode(archive.read(name)), number)


def _package_path(archive: zipfile.ZipFile) -> str:
    return _xml(archive.read("META-INF/container.xml")).xpath("string(//*[local-name()='rootfile']/@full-path)")


def _spine(tree: Any, folder: str) -> list[str]:
    items = {i.get("id"): i.get("href", "") for i in tree.xpath("//*[local-name()='manifest']/*[local-name()='item']")}
    references = [r.get("idref") for r in tree.xpath("//*[local-name()='spine']/*[local-name()='itemref']")]
    return [posixpath.normpath(posixpath.join(folder, unquote(items[r]))) for r in references if r in items]


def _epub_facts(tree: Any, found: Findings) -> None:
    facts = {
        k: tree.xpath(f"string(//*[local-name()='metadata']/*[local-name()='{k}'])")
        for k in ("title", "creator", "date")
    }
    found.title = facts["title"].strip() or None
    found.note(author=facts["creator"], created=facts["date"])


def _xml(data: bytes) -> Any:
    """Parse a small XML part without expanding entities or fetching anything."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    return etree.fromstring(data, parser)


def read_rtf(file: BinaryIO, found: Findings) -> None:
    """Convert RTF to HTML with pandoc, in its own sandbox inside ours, and read that. Raises Rejected."""
    import pypandoc

    data = file.read()
    depth = deepest = 0
    for brace in re.finditer(rb"(?<!\\)[{}]", data):
        depth += 1 if brace[0] == b"{" else -1
        deepest = max(deepest, depth)
    if deepest > found.limits.max_depth:
        raise Rejected("too-deep", f"The file's groups are nested more than {found.limits.max_depth} levels deep.")
    command = [pypandoc.get_pandoc_path(), "+RTS", "-M768m", "-RTS", "--sandbox", "-f", "rtf", "-t", "html"]
    process = subprocess.run(command, input=data, capture_output=True, check=False)
    if process.returncode == 251:
        raise Rejected("memory", "Reading the RTF file needed too much memory; save it as PDF and send that.")
    if process.returncode:
        raise Rejected("damaged", "The RTF file cannot be read; open it in its own program and save it anew.")
    found.parser = f"pandoc, unstructured {version('unstructured')}"
    title = re.search(rb"{\\title ([^{}\\]{1,300})}", data[:20000])
    if title:
        found.title = decode(title[1])
    add_html(found, process.stdout.decode("utf-8", "replace"))
