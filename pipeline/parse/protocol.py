"""The messages between the parsing process and its owner.

Between the owner and the zygote: one JSON message each way (`ParseRequest`, `SandboxSupport`, `ChildExit`). From the
child: length-framed JSON, then the bytes of the attachments. Nothing that comes out of the child is trusted: `Receiver`
bounds the sizes, `to_parsed` checks every type and bounds every number and text. Names that hold unchecked values begin
with ``untrusted``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.documents import Attachment, Element, Parsed
from pipeline.errors import CODES, Rejected
from pipeline.parse.limits import ParseLimits

_LENGTH = struct.Struct(">Q")
_MAX_LINKS = 200
_MAX_KEYS = 100
_MAX_SHORT_TEXT = 200
_MAX_METADATA = 2000
REJECTIONS = frozenset(CODES) & {
    "empty", "encrypted", "damaged", "unsupported", "mismatch", "too-large", "expansion", "too-many-pages", "too-deep",
    "unsafe", "timeout", "memory", "crashed", "output-limit", "no-text",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ParseRequest:
    """The order to read one document. The handles of content, output and report are passed with it."""

    name: str
    folder: str
    limits: ParseLimits
    faults: bool = False

    def to_json(self) -> bytes:
        """Encode the request for `from_json`."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> ParseRequest:
        """Decode a request of `to_json`."""
        fields = json.loads(data)
        limits = fields.pop("limits")
        limits["languages"] = tuple(limits["languages"])
        return cls(limits=ParseLimits(**limits), **fields)


@dataclass(frozen=True, slots=True)
class SandboxSupport:
    """The layers of confinement that the kernel grants: an own network namespace, and Landlock's ABI (0: none)."""

    network_isolated: bool = False
    landlock: int = 0


@dataclass(frozen=True, slots=True)
class ChildExit:
    """How a child ended.

    ``status`` is waitpid's; ``killed`` means by its monitor (out of time, or the owner hung up); ``rss_kb`` is the
    largest resident size in KiB, ``cpu`` the processor time in seconds.
    """

    status: int
    killed: bool
    rss_kb: int
    cpu: float

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended the child, if one did."""
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else None


class Malformed(ValueError):
    """The child's answer breaks the protocol."""


def pack(answer: Mapping[str, Any], attachments: list[bytes]) -> list[bytes]:
    """Return an answer as frames: the JSON and each attachment, all preceded by their lengths."""
    text = json.dumps(answer, ensure_ascii=True, separators=(",", ":")).encode()
    return [part for body in (text, *attachments) for part in (_LENGTH.pack(len(body)), body)]


class Receiver:
    """Collects the frames of one answer as they arrive, and refuses more than the limits allow."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._frames: list[bytes] = []
        self._expected: int | None = None
        self._untrusted_answer: Mapping[str, Any] = {}

    @property
    def complete(self) -> bool:
        """True once the answer and all of its attachments have arrived."""
        return self._expected is not None and len(self._frames) == self._expected

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream. Raises Rejected("output-limit") or Malformed."""
        self._buffer += data
        while not self.complete and len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            attached = sum(map(len, self._frames[1:]))
            limits = self._limits
            if length > (limits.max_attachment_bytes - attached if self._frames else limits.max_output_bytes):
                raise Rejected(
                    "output-limit", "The parser announced more output than the limit; look at the file by hand."
                )
            if len(self._buffer) < _LENGTH.size + length:
                return
            self._frames.append(bytes(self._buffer[_LENGTH.size : _LENGTH.size + length]))
            del self._buffer[: _LENGTH.size + length]
            if self._expected is None:
                self._open_answer()

    def _open_answer(self) -> None:
        """Decode the first frame, which announces the attachments."""
        try:
            untrusted = json.loads(self._frames[0])
        except (ValueError, RecursionError) as error:
            raise Malformed("not JSON") from error
        self._untrusted_answer = _object(untrusted)
        attachments = _list(self._untrusted_answer.get("attachments", []), self._limits.max_attachments)
        self._expected = 1 + len(attachments)

    def answer(self) -> tuple[Mapping[str, Any], list[bytes]]:
        """Return the complete answer, unchecked, and the contents of its attachments."""
        return self._untrusted_answer, self._frames[1:]


def to_parsed(untrusted: Mapping[str, Any], contents: list[bytes], limits: ParseLimits) -> Parsed:
    """Check an answer and convert it.

    Raises Rejected when the child reports a failure, Malformed when the answer breaks the protocol.
    """
    if "error" in untrusted:
        error = _object(untrusted["error"])
        code, detail = error.get("code"), _line(error.get("detail"))
        if not isinstance(code, str) or code not in REJECTIONS or not detail:
            raise Malformed("error")
        raise Rejected(code, detail[:500])
    elements = tuple(_element(row) for row in _list(untrusted.get("elements"), 10**7))
    if sum(len(e.text) for e in elements) > limits.max_text_chars + 1000:
        raise Rejected("output-limit", "The parser produced more text than the limit; split the file.")
    return Parsed(
        media_type=_short_text(untrusted.get("media_type")),
        elements=elements,
        pages=_number(untrusted.get("pages"), 10**7),
        parser=_short_text(untrusted.get("parser")),
        languages=tuple(_short_text(v) for v in _list(untrusted.get("languages"), 10)),
        title=_line(untrusted.get("title")) or None,
        metadata={_short_text(k): _text(v)[:_MAX_METADATA] for k, v in _object(untrusted.get("metadata")).items()},
        flags=tuple(_short_text(v) for v in _list(untrusted.get("flags"), 50)),
        attachments=_attachments(_list(untrusted.get("attachments"), limits.max_attachments), contents),
    )


def _element(untrusted: Any) -> Element:
    category, text, page, depth, html, links = _list(untrusted, 6, exactly=True)
    return Element(
        category=_short_text(category),
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
        attachments.append(Attachment(_line(name)[:255] or "attachment", _short_text(media_type), content))
    return tuple(attachments)


def _object(untrusted: Any) -> dict[str, Any]:
    if not isinstance(untrusted, dict) or len(untrusted) > _MAX_KEYS:
        raise Malformed("object")
    return untrusted


def _list(untrusted: Any, maximum: int, exactly: bool = False) -> list[Any]:
    if not isinstance(untrusted, list) or len(untrusted) > maximum or (exactly and len(untrusted) != maximum):
        raise Malformed("list")
    return untrusted


def _number(untrusted: Any, maximum: int) -> int:
    if type(untrusted) is not int or not 0 <= untrusted <= maximum:
        raise Malformed("number")
    return untrusted


def _text(untrusted: Any) -> str:
    if not isinstance(untrusted, str):
        raise Malformed("text")
    return untrusted.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _line(untrusted: Any) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in _text(untrusted or "")).split())[:_MAX_METADATA]


def _short_text(untrusted: Any) -> str:
    if not isinstance(untrusted, str) or len(untrusted) > _MAX_SHORT_TEXT or not untrusted.isprintable():
        raise Malformed("short text")
    return untrusted
