"""What passes between the parsing process and its owner: length-framed JSON, then the attachments' bytes.

Nothing that comes out of the child is trusted: `receive` bounds the sizes, `to_parsed` checks every type and bounds
every number and text. Names that hold unchecked values begin with ``untrusted_``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from pipeline.documents import Attachment, Element, Parsed
from pipeline.errors import CODES, Rejected
from pipeline.parse.limits import ParseLimits

_LENGTH = struct.Struct(">Q")
_MAX_LINKS = 200
_MAX_WORD = 200
_MAX_METADATA = 2000
REJECTIONS = frozenset(CODES) & {
    "empty", "encrypted", "damaged", "unsupported", "mismatch", "too-large", "expansion", "too-many-pages", "too-deep",
    "unsafe", "timeout", "memory", "crashed", "output-limit", "no-text",
}  # fmt: skip


class Malformed(ValueError):
    """The child's answer breaks the protocol."""


def pack(answer: Mapping[str, Any], attachments: list[bytes]) -> list[bytes]:
    """The frames of an answer."""
    text = json.dumps(answer, ensure_ascii=True, separators=(",", ":")).encode()
    return [part for body in (text, *attachments) for part in (_LENGTH.pack(len(body)), body)]


class Receiver:
    """Collects the frames as they arrive and refuses more than the limits allow."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._frames: list[bytes] = []
        self._expected: int | None = None

    @property
    def complete(self) -> bool:
        return self._expected is not None and len(self._frames) == self._expected

    def feed(self, data: bytes) -> None:
        """Raises Rejected("output-limit") or Malformed."""
        self._buffer += data
        while not self.complete and len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self._limit():
                raise Rejected(
                    "output-limit", "The parser announced more output than the limit; look at the file by hand."
                )
            if len(self._buffer) < _LENGTH.size + length:
                return
            self._frames.append(bytes(self._buffer[_LENGTH.size : _LENGTH.size + length]))
            del self._buffer[: _LENGTH.size + length]
            if self._expected is None:
                self._expected = 1 + self._announced()

    def answer(self) -> tuple[Mapping[str, Any], list[bytes]]:
        return self._untrusted_head, self._frames[1:]

    def _limit(self) -> int:
        if not self._frames:
            return self._limits.max_output_bytes
        return self._limits.max_attachment_bytes - sum(map(len, self._frames[1:]))

    def _announced(self) -> int:
        try:
            untrusted = json.loads(self._frames[0])
        except (ValueError, RecursionError) as error:
            raise Malformed("not JSON") from error
        if not isinstance(untrusted, dict):
            raise Malformed("not an object")
        self._untrusted_head = untrusted
        attachments = untrusted.get("attachments", [])
        if not isinstance(attachments, list) or len(attachments) > self._limits.max_attachments:
            raise Malformed("attachments")
        return len(attachments)


def to_parsed(untrusted: Mapping[str, Any], contents: list[bytes], limits: ParseLimits) -> Parsed:
    """The checked answer. Raises Rejected when the child reports a failure, Malformed when it breaks the protocol."""
    if "error" in untrusted:
        raise _rejection(untrusted["error"])
    rows = _list(untrusted.get("elements"), 10**7)
    elements = tuple(_element(row) for row in rows)
    if sum(len(e.text) for e in elements) > limits.max_text_chars + 1000:
        raise Rejected("output-limit", "The parser produced more text than the limit; split the file.")
    return Parsed(
        media_type=_word(untrusted.get("media_type")),
        elements=elements,
        pages=_number(untrusted.get("pages"), 10**7),
        parser=_word(untrusted.get("parser")),
        languages=tuple(_word(v) for v in _list(untrusted.get("languages"), 10)),
        title=_line(untrusted.get("title")) or None,
        metadata=_metadata(untrusted.get("metadata")),
        flags=tuple(_word(v) for v in _list(untrusted.get("flags"), 50)),
        attachments=_attachments(_list(untrusted.get("attachments"), limits.max_attachments), contents),
    )


def _rejection(untrusted: Any) -> Rejected:
    code, detail = (untrusted.get("code"), untrusted.get("detail")) if isinstance(untrusted, dict) else (None, None)
    if code not in REJECTIONS or not isinstance(detail, str):
        raise Malformed("error")
    return Rejected(code, _line(detail)[:500])


def _element(untrusted: Any) -> Element:
    category, text, page, depth, html, links = _list(untrusted, 6, exactly=True)
    return Element(
        category=_word(category),
        text=_text(text),
        page=None if page is None else _number(page, 10**7),
        depth=None if depth is None else _number(depth, 1000),
        html=None if html is None else _text(html),
        links=tuple(_text(v)[:_MAX_METADATA] for v in _list(links, _MAX_LINKS)),
    )


def _attachments(untrusted: list[Any], contents: list[bytes]) -> tuple[Attachment, ...]:
    if len(untrusted) != len(contents):
        raise Malformed("attachments")
    attachments = []
    for entry, content in zip(untrusted, contents, strict=True):
        name, media_type = _list(entry, 2, exactly=True)
        attachments.append(Attachment(_line(name)[:255] or "attachment", _word(media_type), content))
    return tuple(attachments)


def _metadata(untrusted: Any) -> dict[str, str]:
    if not isinstance(untrusted, dict) or len(untrusted) > 100:
        raise Malformed("metadata")
    return {_word(k): _text(v)[:_MAX_METADATA] for k, v in untrusted.items()}


def _list(untrusted: Any, most: int, exactly: bool = False) -> list[Any]:
    if not isinstance(untrusted, list) or len(untrusted) > most or (exactly and len(untrusted) != most):
        raise Malformed("list")
    return untrusted


def _number(untrusted: Any, most: int) -> int:
    if type(untrusted) is not int or not 0 <= untrusted <= most:
        raise Malformed("number")
    return untrusted


def _text(untrusted: Any) -> str:
    if not isinstance(untrusted, str):
        raise Malformed("text")
    return untrusted.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _line(untrusted: Any) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in _text(untrusted or "")).split())[:_MAX_METADATA]


def _word(untrusted: Any) -> str:
    if not isinstance(untrusted, str) or len(untrusted) > _MAX_WORD or not untrusted.isprintable():
        raise Malformed("word")
    return untrusted
