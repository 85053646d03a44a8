"""What the files of a version folder may hold: data that is read, never code that is run.

A folder comes from a recipe, from a colleague's archive or from anywhere. Its digests only prove that it is what its
author made; these checks prove that opening it runs nothing, reads nothing outside it and contacts nobody.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from models.external import has_external_data
from pipeline.errors import Misconfigured

SUFFIXES = frozenset({".onnx", ".json", ".jsonl", ".toml", ".md", ".txt", ".html", ".safetensors"})
#: Keys of a Hugging Face configuration that name Python to be imported.
CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines"})
MAX_HEADER_BYTES = 100 << 20
MAX_JSON_BYTES = 256 << 20
#: A report is opened in a browser, which must neither run nor fetch anything.
ACTIVE_TAGS = frozenset("script iframe frame object embed link base form applet portal template foreignobject".split())
URL_ATTRIBUTES = frozenset("href src action data poster srcset background formaction xlink:href".split())
_FETCHES = re.compile(r"\s*(?:(?!data:image/|#|mailto:)[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
_CSS_FETCHES = re.compile(r"@import|url\(\s*[\"']?\s*(?!data:image/|#)", re.IGNORECASE)


def check_content(file: Path) -> None:
    """Check what a file holds, by its suffix. Raises Misconfigured("bad-model"), naming the file and what is wrong."""
    if file.suffix == ".onnx" and has_external_data(file.read_bytes()):
        raise Misconfigured("bad-model", f"{file} keeps data outside its own file; export it as a single file.")
    if file.suffix == ".json":
        _check_json(file)
    if file.suffix == ".safetensors":
        _check_safetensors(file)
    if file.suffix == ".html" and (part := active_part(file.read_text("utf-8", "replace"))):
        text = f"{file} is not a plain report: it holds {part}, which runs or fetches something."
        raise Misconfigured("bad-model", text)


def _check_json(file: Path) -> None:
    if file.stat().st_size > MAX_JSON_BYTES:
        raise Misconfigured("bad-model", f"{file} is larger than {MAX_JSON_BYTES >> 20} MiB; no model needs that.")
    try:
        values = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Misconfigured("bad-model", f"{file} is not JSON.") from error
    # Such a key has a meaning in the outer object and in the objects directly in it only.
    top = values if isinstance(values, dict) else {}
    names = {name for part in (top, *top.values()) if isinstance(part, dict) for name in part}
    if keys := CODE_KEYS & names:
        text = f"{file} names code to be run ({', '.join(sorted(keys))}); Mailroom loads weights, never code."
        raise Misconfigured("bad-model", text)


def active_part(page: str) -> str:
    """Return the first part of an HTML page that a browser would run or fetch; empty if there is none."""
    scanner = _ReportScanner()
    scanner.feed(page)
    scanner.close()
    return scanner.active_part


class _ReportScanner(HTMLParser):
    """Finds the first part of a page that a browser would run or fetch; ``active_part`` is empty if there is none."""

    active_part = ""

    def __init__(self) -> None:
        super().__init__()
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        if tag in ACTIVE_TAGS or (tag == "meta" and any(name == "http-equiv" for name, _ in attrs)):
            self.active_part = self.active_part or f"<{tag}>"
        for name, value in attrs:
            fetches = name in URL_ATTRIBUTES and _FETCHES.match(value or "")
            styled = name == "style" and _CSS_FETCHES.search(value or "")
            if name.startswith("on") or name == "srcdoc" or fetches or styled:
                self.active_part = self.active_part or f"<{tag} {name}>"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data: str) -> None:
        if self._in_style and _CSS_FETCHES.search(data):
            self.active_part = self.active_part or "a style that fetches"


def _check_safetensors(file: Path) -> None:
    """Check the header's length, that it is JSON, and that every tensor lies inside the file."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise Misconfigured("bad-model", f"{file} is not a safetensors file.")
        try:
            header = json.loads(stream.read(length))
            offsets = [tensor["data_offsets"] for name, tensor in header.items() if name != "__metadata__"]
            inside = all(0 <= start <= end <= size - 8 - length for start, end in offsets)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            inside = False
    if not inside:
        raise Misconfigured("bad-model", f"{file} is not a safetensors file.")
