"""Reading an upload: the file goes from the socket into the blob store piece by piece and is never held as a whole."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

import anyio
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import ClientDisconnect, Request

from pipeline.documents import Arrival
from pipeline.errors import Refused
from pipeline.rights import Access
from workers.api.schemas.common import PathText, ShortText, ShortTexts

T = TypeVar("T")

#: Bytes of all fields beside the file, and their number.
MAX_FIELDS_BYTES, MAX_PARTS = 64 * 1024, 64
#: The name of a document that comes without one; its content follows, so that no other unnamed one takes its place.
UNNAMED = "unnamed"
#: Metadata that the path in sets itself.
RESERVED = {"attached_to", "nesting"}


@dataclass
class UploadForm:
    """The fields received so far, by name, those of the query, which they replace, and the file's name."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    file_name: str = ""
    has_file: bool = False
    query: dict[str, list[str]] = field(default_factory=dict)


def _json(text: str) -> object:
    """Decode JSON; a field that a form sends empty is an empty object."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise PydanticCustomError("bad_json", "this is not JSON") from None


def _list(values: list[str]) -> object:
    """Decode a repeated field, a JSON list, or words separated by commas."""
    if len(values) == 1 and values[0].startswith("["):
        return _json(values[0])
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


def _relative(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise PydanticCustomError("not_relative", "give a relative path without '..'")
    return path


_LAST = BeforeValidator(lambda values: values[-1])


class UploadFields(BaseModel):
    """The fields of an upload, each given as the list of its values."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[PathText, AfterValidator(_relative), _LAST]
    source: Annotated[ShortText, _LAST] = "api"
    access: Annotated[ShortTexts | None, BeforeValidator(_list)] = None
    labels: Annotated[ShortTexts, BeforeValidator(_list)] = []
    metadata: Annotated[
        dict[ShortText, ShortText], Field(max_length=50), BeforeValidator(lambda values: _json(values[-1]))
    ] = {}


def valid_fields(form: UploadForm) -> UploadFields:
    """Return the fields received so far, those of the form before those of the query.

    Raises Refused("bad-request") naming the field.
    """
    fields = {**form.query, **form.fields}
    name = fields.pop("name", [""])[-1] or form.file_name
    last = re.split(r"[/\\]", name)[-1]
    fields["path"] = [fields.get("path", [""])[-1] or (UNNAMED if last in ("", ".", "..") else last)]
    try:
        return UploadFields.model_validate(fields)
    except ValidationError as error:
        raise Refused("bad-request", "; ".join(_reason(line) for line in error.errors()[:3])) from None


def arrival_of(form: UploadForm, sender: Access, reserved_sources: frozenset[str]) -> Arrival:
    """Return the arrival that the form describes.

    Raises Refused("bad-request") naming the field, and Refused("forbidden") for a place that the sender may not write
    to, or a principal that it may not name.
    """
    caller, upload = sender.caller, valid_fields(form)
    if upload.source in reserved_sources:
        raise Refused("bad-request", f"source: {upload.source!r} is the name of a tray; choose another one.")
    if RESERVED & set(upload.metadata):
        raise Refused("bad-request", f"metadata: {', '.join(sorted(RESERVED))} are set by Mailroom itself.")
    # Without a list the document is for the key's own principals; with an administrator's key, for everyone.
    own = ["*"] if caller.admin else list(caller.principals)
    access = own if upload.access is None else upload.access
    _check_rights(sender, upload, access)
    labels, owner = tuple(upload.labels), sender.caller.owner
    return Arrival(upload.source, upload.path, time.time(), tuple(access), labels, upload.metadata, owner)


def _check_rights(sender: Access, upload: UploadFields, access: Sequence[str]) -> None:
    if not sender.may_write_file(upload.source, upload.path):
        places = ", ".join(sender.sources[:20]) or "no source"
        text = f"This key may send documents to {places}, not to {upload.source}/{upload.path}: choose another source"
        raise Refused("forbidden", f"{text} or path, or ask the operator for a key with this one.")
    if others := [principal for principal in access if not sender.may_name(principal)]:
        names = ", ".join([*sender.caller.principals, *sender.grants][:20]) or "nobody"
        text = f"access: this key may name {names}, not {', '.join(others[:5])}"
        raise Refused("forbidden", f"{text}; leave them out, or ask the operator for a key that may name them.")


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        names = ", ".join(sorted({*UploadFields.model_fields, "name"}))
        return f"{error['loc'][0][:50]}: there is no such field; there are {names}."
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def form_of(request: Request) -> UploadForm:
    """Return the fields that are query parameters, and the file's name, which may be a header."""
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    message = Message()
    message["content-disposition"] = header_text(request, "content-disposition")[:2000]
    name = unquote(header_text(request, "x-filename")) or message.get_filename("")  # also the form of RFC 6266
    return UploadForm(query=query, file_name=name)


def header_text(request: Request, name: str) -> str:
    """Return a header read as UTF-8 where that is valid, otherwise as Latin-1, as clients send names of files."""
    raw = request.headers.get(name, "").encode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class MultipartReader:
    """Returns the pieces of the one file in a multipart body, and gathers the other fields in ``form``.

    The methods on_... are python-multipart's callbacks.
    """

    def __init__(self, boundary: str, form: UploadForm) -> None:
        self.form = form
        callbacks: Any = {name: getattr(self, name) for name in dir(self) if name.startswith("on_")}
        self._parser = MultipartParser(boundary.encode("latin-1"), callbacks)
        self._header_name, self._header_value = b"", b""
        self._headers: dict[str, str] = {}
        self._name, self._value, self._is_file = "", bytearray(), False
        self._parts, self._fields_bytes = 0, 0
        self._pieces: list[bytes] = []
        self._complete = False

    def feed(self, data: bytes) -> list[bytes]:
        """Parse the next bytes of the body and return the file's bytes in them. Raises Refused("bad-request")."""
        self._pieces = []
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise Refused("bad-request", f"The multipart body is malformed at byte {error.offset}.") from None
        return self._pieces

    def finish(self) -> None:
        """Raise Refused("bad-request") if the body is incomplete or had no file."""
        if not self._complete:
            raise Refused("bad-request", "The multipart body ends before its last boundary; send it again.")
        if not self.form.has_file:
            raise Refused("bad-request", "file: the form has no file field; name it `file`.")

    def on_part_begin(self) -> None:
        """Count the part and forget the one before."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Refused("bad-request", f"The form has more than {MAX_PARTS} parts.")
        self._headers, self._value = {}, bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Collect a header's name, which may come in pieces."""
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Collect a header's value, which may come in pieces."""
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        """Store the header."""
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value.decode("utf-8", "replace")
        self._header_name = self._header_value = b""

    def on_headers_finished(self) -> None:
        """Read the part's name, and the file's if it is the part `file`."""
        message = Message()
        message["content-disposition"] = self._headers.get("content-disposition", "")
        self._name = str(message.get_param("name", "", "content-disposition"))
        self._is_file = self._name == "file"
        if self._is_file and self.form.has_file:
            raise Refused("bad-request", "file: send one file in one request.")
        if self._is_file:
            self.form.has_file, self.form.file_name = True, message.get_filename() or self.form.file_name

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Pass a piece of the file on, or collect a field's value."""
        if self._is_file:
            self._pieces.append(data[start:end])
            return
        self._fields_bytes += end - start
        if self._fields_bytes > MAX_FIELDS_BYTES:
            raise Refused("bad-request", f"The form's fields hold more than {MAX_FIELDS_BYTES:,} bytes.")
        self._value += data[start:end]

    def on_part_end(self) -> None:
        """Store the field."""
        if not self._is_file:
            self.form.fields.setdefault(self._name, []).append(self._value.decode("utf-8", "replace"))

    def on_end(self) -> None:
        """Remember that the last boundary was reached."""
        self._complete = True


async def file_pieces(request: Request, reader: MultipartReader | None) -> AsyncIterator[bytes]:
    """Yield the file's bytes as they arrive. Raises Refused("bad-request") if the body is malformed or breaks off."""
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
    """Return the boundary of a multipart/form-data body, None for a body that is the file itself.

    Raises Refused("bad-request") for a boundary that is missing, too long or not ASCII.
    """
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        return None
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise Refused("bad-request", "The multipart body has no usable boundary.")
    return boundary


async def consume_in_thread(
    consume: Callable[[Iterator[bytes]], T], pieces: AsyncIterator[bytes], limiter: anyio.CapacityLimiter
) -> T:
    """Run the blocking ``consume`` in a thread over pieces that arrive on the event loop, and return its result."""

    async def next_piece() -> bytes | None:
        return await anext(pieces, None)

    def blocking() -> Iterator[bytes]:
        while (piece := anyio.from_thread.run(next_piece)) is not None:
            yield piece

    return await anyio.to_thread.run_sync(lambda: consume(blocking()), limiter=limiter)
