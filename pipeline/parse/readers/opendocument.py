"""OpenDocument texts and presentations: content.xml walked once (unstructured would start pandoc for it)."""

from __future__ import annotations

import zipfile
from typing import Any, BinaryIO

from lxml import etree

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.sheets import add_rows

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_SKIPPED = {
    _TEXT + "tracked-changes",
    _TEXT + "sequence-decls",
    "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}annotation",
}
_MAX_REPEAT = 1000


def read(file: BinaryIO, found: Findings) -> None:
    found.parser = "mailroom opendocument 1"
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        if b"encryption-data" in (archive.read("META-INF/manifest.xml") if "META-INF/manifest.xml" in names else b""):
            raise Rejected("encrypted", "The document is protected by a password; remove it and send the file again.")
        try:
            _facts(_parse(archive.read("meta.xml")) if "meta.xml" in names else None, found)
            body = _parse(archive.read("content.xml"))
        except (KeyError, etree.XMLSyntaxError) as error:
            raise Rejected("damaged", "The document's content part is missing or damaged; send it again.") from error
    _Walk(found).block(body, 0)
    found.pages = found.pages or (1 if found.elements else 0)


def _parse(data: bytes) -> Any:
    if b"<!DOCTYPE" in data[:4096] and b"<!ENTITY" in data[:65536]:
        raise Rejected("unsafe", "The document declares XML entities, which are never expanded.")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    return etree.fromstring(data, parser)


def _facts(meta: Any, found: Findings) -> None:
    if meta is None:
        return
    value = lambda name: str(meta.xpath(f"string(//*[local-name()='{name}'])")).strip()  # noqa: E731
    found.title = value("title") or None
    found.note(
        author=value("creator") or value("initial-creator"), created=value("creation-date"), modified=value("date")
    )
    pages = str(meta.xpath("string(//*[local-name()='document-statistic']/@*[local-name()='page-count'])"))
    found.pages = int(pages) if pages.isdigit() and len(pages) < 6 else 0


class _Walk:
    """One pass over the body; headings, paragraphs, list items, tables, and a page for each slide."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._page: int | None = None
        self._listed = 0

    def block(self, node: Any, depth: int) -> None:
        if depth > self._found.limits.max_depth:
            raise Rejected("too-deep", f"The document is nested more than {self._found.limits.max_depth} levels deep.")
        for child in node.iterchildren(tag=etree.Element):
            self._one(child, depth)

    def _one(self, node: Any, depth: int) -> None:
        if node.tag in _SKIPPED:
            return
        if node.tag in (_TEXT + "p", _TEXT + "h"):
            self._paragraph(node)
        elif node.tag == _TABLE + "table":
            add_rows(self._found, _rows(node), self._page)
        elif node.tag == _TEXT + "list":
            self._listed += 1
            self.block(node, depth + 1)
            self._listed -= 1
        else:
            if node.tag == _DRAW + "page":
                self._page = (self._page or 0) + 1
                self._found.pages = self._page
            self.block(node, depth + 1)

    def _paragraph(self, node: Any) -> None:
        from pipeline.parse.readers.text import category

        text = inline(node)
        if not text.strip():
            return
        links = [a.get(_XLINK) for a in node.iter(_TEXT + "a") if a.get(_XLINK)]
        if node.tag == _TEXT + "h":
            level = node.get(_TEXT + "outline-level", "1")
            self._found.add("Title", text, self._page, int(level) - 1 if level.isdigit() else 0, links=links)
        else:
            name = "ListItem" if self._listed else category(text)
            self._found.add(name, text, self._page, links=links)


def inline(node: Any) -> str:
    """The text of a paragraph, with its blanks, tabs and line breaks; text boxes inside it follow on new lines."""
    parts: list[str] = []
    for event, item in etree.iterwalk(node, events=("start", "end")):
        if event == "start":
            if item.tag == _TEXT + "s":
                parts.append(" " * min(int(item.get(_TEXT + "c", "1") or 1), 100))
            elif item.tag in (_TEXT + "tab", _TEXT + "line-break"):
                parts.append("\t" if item.tag.endswith("tab") else "\n")
            elif item is not node and item.tag in (_TEXT + "p", _TEXT + "h"):
                parts.append("\n")
            parts.append(item.text or "" if isinstance(item.tag, str) else "")
        elif item is not node:
            parts.append(item.tail or "")
    return "".join(parts)


def _rows(table: Any) -> list[list[str]]:
    rows = []
    for row in table.iter(_TABLE + "table-row"):
        cells: list[str] = []
        for cell in row.iterchildren(_TABLE + "table-cell", _TABLE + "covered-table-cell"):
            text = "\n".join(inline(p) for p in cell.iterchildren(_TEXT + "p", _TEXT + "h"))
            repeat = cell.get(_TABLE + "number-columns-repeated", "1")
            times = min(int(repeat), _MAX_REPEAT) if repeat.isdigit() and text else 1
            cells += [text] * times
        rows.append(cells)
    return rows
