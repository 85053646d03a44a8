"""OpenDocument texts and presentations: one pass over content.xml (unstructured would start pandoc for it)."""

from __future__ import annotations

import zipfile
from typing import Any, BinaryIO

from lxml import etree

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.sheets import add_rows
from pipeline.parse.readers.text import category
from pipeline.parse.readers.xml_parts import parse_part, value

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


def read(file: BinaryIO, findings: Findings) -> None:
    """Read an OpenDocument text or presentation; slides are the pages. Raises Rejected."""
    findings.parser = "mailroom opendocument 1"
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        if b"encryption-data" in (archive.read("META-INF/manifest.xml") if "META-INF/manifest.xml" in names else b""):
            raise Rejected("encrypted", "The document is protected by a password; remove it and send the file again.")
        try:
            if "meta.xml" in names:
                meta = _parse(archive.read("meta.xml"))
                author = value(meta, "creator") or value(meta, "initial-creator")
                created, modified = value(meta, "creation-date"), value(meta, "date")
                findings.title = value(meta, "title") or None
                findings.add_metadata(author=author, created=created, modified=modified)
                pages = value(meta, "document-statistic", attribute="page-count")
                findings.pages = int(pages) if pages.isdigit() and len(pages) < 6 else 0
            body = _parse(archive.read("content.xml"))
        except (KeyError, etree.XMLSyntaxError) as error:
            raise Rejected("damaged", "The document's content part is missing or damaged; send it again.") from error
    _Walk(findings).add_children(body, 0)
    findings.pages = findings.pages or (1 if findings.elements else 0)


def _parse(data: bytes) -> Any:
    if b"<!DOCTYPE" in data[:4096] and b"<!ENTITY" in data[:65536]:
        raise Rejected("unsafe", "The document declares XML entities, which are never expanded.")
    return parse_part(data)


class _Walk:
    """Adds the headings, paragraphs, list items and tables of a body in one pass; each slide begins a page."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._page: int | None = None
        self._list_depth = 0

    def add_children(self, node: Any, depth: int) -> None:
        """Add everything inside a node. Raises Rejected("too-deep"), TextLimitReached."""
        if depth > self._findings.limits.max_depth:
            raise Rejected(
                "too-deep", f"The document is nested more than {self._findings.limits.max_depth} levels deep."
            )
        for child in node.iterchildren(tag=etree.Element):
            if child.tag in _SKIPPED:
                continue
            if child.tag in (_TEXT + "p", _TEXT + "h"):
                self._add_paragraph(child)
            elif child.tag == _TABLE + "table":
                add_rows(self._findings, table_rows(child), self._page)
            elif child.tag == _TEXT + "list":
                self._list_depth += 1
                self.add_children(child, depth + 1)
                self._list_depth -= 1
            else:
                if child.tag == _DRAW + "page":
                    self._page = (self._page or 0) + 1
                    self._findings.pages = self._page
                self.add_children(child, depth + 1)

    def _add_paragraph(self, node: Any) -> None:
        text = inline(node)
        if not text.strip():
            return
        links = [a.get(_XLINK) for a in node.iter(_TEXT + "a") if a.get(_XLINK)]
        if node.tag == _TEXT + "h":
            level = node.get(_TEXT + "outline-level", "1")
            self._findings.add("Title", text, self._page, int(level) - 1 if level.isdigit() else 0, links=links)
        else:
            name = "ListItem" if self._list_depth else category(text)
            self._findings.add(name, text, self._page, links=links)


def inline(node: Any) -> str:
    """Return the text of a paragraph with its blanks, tabs and line breaks; text boxes in it begin new lines."""
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


def table_rows(table: Any) -> list[list[str]]:
    """Return the cells' texts of a table, row by row; repeated cells are repeated."""
    rows = []
    for row in table.iter(_TABLE + "table-row"):
        cells: list[str] = []
        for cell in row.iterchildren(_TABLE + "table-cell", _TABLE + "covered-table-cell"):
            text = "\n".join(inline(p) for p in cell.iterchildren(_TEXT + "p", _TEXT + "h"))
            repeat = cell.get(_TABLE + "number-columns-repeated", "1")
            count = min(int(repeat), _MAX_REPEAT) if repeat.isdigit() and text else 1
            cells += [text] * count
        rows.append(cells)
    return rows
