"""Reading an upload: the file goes from the socket into the blob store piece by piece and is never held as a whole."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import TypeVar
from urllib.parse import unquote

import anyio
from pydantic import BaseModel, Field, ValidationError
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import ClientDisconnect, Request

from pipeline.documents import Arrival
from pipeline.errors import Refused
from pipeline.questions import Caller
from workers.api.schemas.documents import Word, Words

T = TypeVar("T")

#: Bytes of all fields beside the file, and their number.
MAX_FIELDS_BYTES, MAX_PARTS = 64 * 1024, 64
#: Metadata that the path in gives itself.
RESERVED = {"attached_to", "nesting"}
FIELDS = {"source", "path", "access", "labels", "metadata", "name"}
_LISTS = {"access", "labels"}


class UploadFields(BaseModel):
    """What a client says of its file."""

    path: str = Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")
    source: Word = "api"
    access: Words | None = None
    labels: Words = []
    metadata: dict[Word, Word] = Field({}, max_length=50)


@dataclass
class Form:
    """The fields seen so far, by name, and the file's name."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    file_name: str = ""
    has_file: bool = False


def arrival(form: Form, caller: Caller, reserved_sources: frozenset[str]) -> Arrival:
    """The arrival that the form describes. Raises Refused("bad-request") naming the field."""
    try:
        given = UploadFields.model_validate(_values(form))
    except ValidationError as error:
        parts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3]]
        raise Refused("bad-request", "; ".join(parts)) from None
    if given.source in reserved_sources:
        raise Refused("bad-request", f"source: {given.source!r} is the name of a tray; choose another one.")
    if RESERVED & set(given.metadata):
        raise Refused("bad-request", f"metadata: {', '.join(sorted(RESERVED))} are set by Mailroom itself.")
    # Without a list the document is for those who the key stands for; an administrator's is for everyone.
    own = ["*"] if caller.admin else list(caller.principals)
    access = own if given.access is None else given.access
    return Arrival(given.source, given.path, time.time(), tuple(access), tuple(given.labels), given.metadata)


def _values(form: Form) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, given in form.fields.items():
        if name not in FIELDS:
            raise Refused("bad-request", f"{name[:50]}: there is no such field; known are {', '.join(sorted(FIELDS))}.")
        values[name] = _listed(name, given) if name in _LISTS else given[-1]
    if "metadata" in values:
        values["metadata"] = _json(str(values["metadata"]), "metadata")
    name = str(values.pop("name", "")) or form.file_name
    values["path"] = _clean(str(values.get("path", "")) or re.split(r"[/\\]", name)[-1])
    if not values["path"]:
        raise Refused("bad-request", "name: give the file's name, by X-Filename, ?name=, ?path= or in the form.")
    return values


def _clean(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise Refused("bad-request", "path: give a relative path without '..'.")
    return path


def _listed(name: str, given: list[str]) -> object:
    """A repeated field, a JSON list, or words separated by commas."""
    if len(given) == 1 and given[0].startswith("["):
        return _json(given[0], name)
    return [word.strip() for each in given for word in each.split(",") if word.strip()]


def _json(text: str, name: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("bad-request", f"{name}: this is not JSON.") from None


def raw_form(request: Request) -> Form:
    """A body that is the file itself: fields come as query parameters, the name also by header."""
    fields = {name: request.query_params.getlist(name) for name in request.query_params}
    name = unquote(request.headers.get("x-filename", "")) or _disposition(
        request.headers.get("content-disposition", "")
    )
    return Form(fields, name, has_file=True)


def _disposition(value: str) -> str:
    """The file name in a Content-Disposition header, also in its extended form (RFC 6266)."""
    message = Message()
    message["content-disposition"] = value[:2000]
    return message.get_filename("") or ""


class MultipartReader:
    """Turns a multipart body into the pieces of its one file; the fields gather in ``form``."""

    def __init__(self, boundary: str, form: Form) -> None:
        self.form = form
        self._parser = MultipartParser(boundary.encode("latin-1"), self._callbacks())  # type: ignore[arg-type]
        self._name, self._header, self._value = "", b"", b""
        self._headers: dict[str, str] = {}
        self._field = bytearray()
        self._is_file, self._parts, self._field_bytes = False, 0, 0
        self._pieces: list[bytes] = []
        self._ended = False

    def feed(self, data: bytes) -> list[bytes]:
        """The file's bytes in ``data``."""
        self._pieces = []
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise Refused("bad-request", f"The multipart body is malformed at byte {error.offset}.") from None
        return self._pieces

    def finish(self) -> None:
        if not self._ended:
            raise Refused("bad-request", "The multipart body ends before its last boundary; send it again.")
        if not self.form.has_file:
            raise Refused("bad-request", "file: the form has no file field; name it `file`.")

    def _callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._extend("_header", data[start:end]),
            "on_header_value": lambda data, start, end: self._extend("_value", data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._end,
            "on_end": lambda: setattr(self, "_ended", True),
        }

    def _extend(self, name: str, data: bytes) -> None:
        setattr(self, name, getattr(self, name) + data)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Refused("bad-request", f"The form has more than {MAX_PARTS} parts.")
        self._headers, self._field = {}, bytearray()

    def _header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        message = Message()
        message["content-disposition"] = self._headers.get("content-disposition", "")
        self._name = str(message.get_param("name", "", "content-disposition"))
        file_name = message.get_filename()
        self._is_file = self._name == "file"
        if self._is_file and self.form.has_file:
            raise Refused("bad-request", "file: send one file in one request.")
        if self._is_file:
            self.form.has_file, self.form.file_name = True, file_name or ""

    def _data(self, data: bytes) -> None:
        if self._is_file:
            self._pieces.append(data)
            return
        self._field_bytes += len(data)
        if self._field_bytes > MAX_FIELDS_BYTES:
            raise Refused("bad-request", f"The form's fields hold more than {MAX_FIELDS_BYTES:,} bytes.")
        self._field += data

    def _end(self) -> None:
        if not self._is_file:
            self.form.fields.setdefault(self._name, []).append(self._field.decode("utf-8", "replace"))


async def pieces(request: Request, reader: MultipartReader | None) -> AsyncIterator[bytes]:
    """The file's bytes as they arrive."""
    try:
        async for data in request.stream():
            for piece in reader.feed(data) if reader else (data,):
                if piece:
                    yield piece
    except ClientDisconnect:
        raise Refused("bad-request", "The upload broke off.") from None
    if reader:
        reader.finish()


def boundary_of(content_type: str) -> str | None:
    """The boundary of a multipart/form-data body; None where the body is the file itself."""
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        return None
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise Refused("bad-request", "The multipart body has no usable boundary.")
    return boundary


async def into(sink: Callable[[Iterator[bytes]], T], source: AsyncIterator[bytes], limiter: anyio.CapacityLimiter) -> T:
    """Run the blocking ``sink`` in a thread, fed by ``source`` from the event loop."""

    async def following() -> bytes | None:
        return await anext(source, None)

    def blocking() -> Iterator[bytes]:
        while (piece := anyio.from_thread.run(following)) is not None:
            yield piece

    return await anyio.to_thread.run_sync(lambda: sink(blocking()), limiter=limiter)
