"""Documents: upload, list, status, content, text, decision record, retry, erasure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from pipeline.documents import Arrival, Document, State
from pipeline.errors import Refused, Unavailable
from pipeline.rights import Access
from workers.api import upload
from workers.api.auth import KeyAccess
from workers.api.download import download
from workers.api.problems import responses
from workers.api.routes.common import App, AppState
from workers.api.schemas.documents import (
    DocumentPage,
    DocumentQuery,
    DocumentRecord,
    DocumentStatus,
    DocumentText,
    ErasedDocuments,
    UploadReceipt,
)

router = APIRouter(prefix="/v1/documents", tags=["documents"])
_BYTES = {"type": "string", "format": "binary"}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[^\x00-\x1f\x7f]+$"}
#: Items may also be joined by commas or be a JSON list, so that these cannot be part of one; empty ones do not count.
_ITEM = r"^[^\x00-\x20\x7f,\[]*$"
_ITEMS: dict[str, Any] = {
    "type": "array",
    "maxItems": 50,
    "items": {"type": "string", "maxLength": 200, "pattern": _ITEM},
}
_ONE_OR_MORE = {"anyOf": [_ITEMS, _ITEMS["items"]]}
_PATH = {"type": "string", "maxLength": 1000, "pattern": r"^(?!/)(?!(.*/)?\.\.(/|$))[^\x00-\x1f\x7f]*$"}
_METADATA = {"type": "object", "maxProperties": 50, "propertyNames": _TEXT, "additionalProperties": _TEXT}
_FORM: dict[str, dict[str, Any]] = {
    "source": {**_TEXT, "default": "api"},
    "path": {**_PATH, "description": "the document's place inside its source; by default the file's name"},
    "access": {**_ITEMS, "description": "principals that may read it; * is everyone"},
    "labels": _ITEMS,
    "metadata": {**_METADATA, "description": "a JSON object of strings"},
}
_NAME = {"type": "string", "maxLength": 1000, "pattern": r"^[^\x00-\x1f\x7f]*$", "description": "the file's name"}


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    is_json = schema.get("type") == "object"
    value = {"content": {"application/json": {"schema": schema}}} if is_json else {"schema": schema}
    return {"name": name, "in": "query", "required": False, **value}


_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    # A part of a form is a text, so that a list is one item or many.
                    "properties": {"file": _BYTES, **_FORM, "access": _ONE_OR_MORE, "labels": _ONE_OR_MORE},
                    "additionalProperties": False,
                },
                "encoding": {"metadata": {"contentType": "application/json"}},
            },
            "application/octet-stream": {"schema": _BYTES},
        },
    },
    "parameters": [_parameter(name, schema) for name, schema in {**_FORM, "name": _NAME}.items()],
}


@router.post(
    "",
    status_code=202,
    response_model=UploadReceipt,
    openapi_extra=_UPLOAD,
    responses={
        200: {"model": UploadReceipt, "description": "The key's owner sent this content to this place before."},
        **responses(409, 413, 507),
    },
)
async def send_document(
    request: Request,
    app: App,
    access: KeyAccess,
    idempotency_key: Annotated[str | None, Header(max_length=255, pattern=r"^[\x20-\x7e]+$")] = None,
    x_filename: Annotated[
        str | None, Header(max_length=1000, description="name of a raw body: UTF-8, perhaps percent-encoded")
    ] = None,
) -> JSONResponse:
    """Store a document. The response comes once its bytes and its row are on the disk; the rest happens afterwards.

    The body is the file itself or a multipart form with one part named `file`. Fields are query parameters, or parts of
    the form, which replace them.
    A document is one content at one place (source and path) of one owner: sent again there it stays the same document,
    elsewhere or by somebody else it is another one. Other content at the same place is a new revision. A repeated
    `Idempotency-Key` with other content is 409.
    """
    mailroom = app.mailroom
    boundary = upload.boundary_of(request.headers.get("content-type", ""))
    form = upload.form_of(request)
    trays = frozenset(folder.source for folder in mailroom.settings.tray.folders)
    upload.valid_fields(form)  # before the first byte is stored; a form's own fields come with them
    arrival = None if boundary else upload.arrival_of(form, access, trays)
    reader = upload.MultipartReader(boundary, form) if boundary else None
    limit, length = mailroom.settings.api.upload_max_bytes, request.headers.get("content-length", "")
    # Refused before the first byte; a form may be a little larger than its file.
    if length.isascii() and length.isdigit() and int(length[:20]) > limit + upload.MAX_FIELDS_BYTES * 2:
        raise Refused("upload-too-large", f"The upload is larger than the limit of {limit:,} bytes.")
    put = partial(mailroom.blobs.put, limit=limit)
    content_hash, size = await upload.consume_in_thread(put, upload.file_pieces(request, reader), app.uploads)
    try:
        arrival = arrival or upload.arrival_of(form, access, trays)
        if arrival.path == upload.UNNAMED:
            arrival = replace(arrival, path=f"{upload.UNNAMED}-{content_hash[:12]}")
        stored = _StoredUpload(app, access, content_hash, size, arrival, idempotency_key)
        return await anyio.to_thread.run_sync(stored.record)
    except Refused:
        await anyio.to_thread.run_sync(mailroom.intake.drop_unused, content_hash)
        raise


@dataclass(frozen=True, slots=True)
class _StoredUpload:
    """An upload whose bytes are stored and that has no row yet."""

    app: AppState
    access: Access
    content_hash: str
    size: int
    arrival: Arrival
    idempotency_key: str | None

    def record(self) -> JSONResponse:
        """Record the arrival, unless the request is a repetition, and return the receipt."""
        mailroom, caller, key = self.app.mailroom, self.access.caller, self.idempotency_key
        earlier = mailroom.catalogue.requests.recall(caller.key_id, key) if key else None
        if earlier is not None:
            content_hash, document_id = earlier
            if content_hash != self.content_hash:
                raise Refused("conflict", "This Idempotency-Key was used with other content; use a new one.")
            document = mailroom.catalogue.documents.get(document_id)
            if document.state is not State.DELETED:
                return self._receipt(document, created=False)
        document, created = mailroom.intake.record(self.content_hash, self.size, self.arrival)
        if key:
            mailroom.catalogue.requests.remember(caller.key_id, key, self.content_hash, document.id)
        self.app.requests.uploaded(self.size)
        return self._receipt(document, created)

    def _receipt(self, document: Document, created: bool) -> JSONResponse:
        visible = self.app.mailroom.documents.may_read(self.access.caller, document.id)
        receipt = UploadReceipt(
            id=document.id,
            href=f"/v1/documents/{document.id}",
            content_hash=self.content_hash,
            size=self.size,
            created=created,
            state=document.state if visible else State.PROCESSING,
        )
        return JSONResponse(receipt.model_dump(mode="json"), 202 if created else 200, {"Location": receipt.href})


@router.get("", responses=responses(404))
def list_documents(app: App, access: KeyAccess, query: Annotated[DocumentQuery, Query()]) -> DocumentPage:
    """Return the documents that the key may read, newest first."""
    listing = app.mailroom.documents.find(
        access.caller,
        query.filters(),
        query.limit,
        query.offset,
        query.order == "newest",
        query.facets,
        query.facet_limit,
        query.cursor,
    )
    return DocumentPage.of(listing)


@router.get("/{document_id}", responses=responses(404))
def document_status(document_id: str, app: App, access: KeyAccess) -> DocumentStatus:
    """Return a document and how far it is."""
    return DocumentStatus.of(app.mailroom.documents.read(access.caller, document_id))


@router.get(
    "/{document_id}/content",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {"schema": _BYTES}}},
        206: {"content": {"*/*": {"schema": _BYTES}}, "description": "The bytes that `Range` names."},
        304: {"description": "`If-None-Match` names the present `ETag`."},
        **responses(404, 416),
    },
)
def document_content(document_id: str, request: Request, app: App, access: KeyAccess) -> Response:
    """Return the original bytes, as an attachment that a browser neither opens nor runs.

    `If-None-Match`, `Range` with one part and `If-Range` are understood.
    """
    document = app.mailroom.documents.read(access.caller, document_id)
    try:
        file = app.mailroom.blobs.open(document.content_hash)
    except KeyError:
        raise Unavailable("store-unavailable", f"The content of document {document_id} is missing.") from None
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(document.name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Type": document.media_type or "application/octet-stream",
    }
    return download(request, file, document.size, f'"{document.content_hash}"', headers)


@router.get("/{document_id}/text", responses=responses(404))
def document_text(
    document_id: str,
    app: App,
    access: KeyAccess,
    start: Annotated[int, Query(ge=0, le=2**31)] = 0,
    end: Annotated[int | None, Query(ge=0, le=2**31)] = None,
) -> DocumentText:
    """Return the text as it was read, or a part of it. Offsets of quotes and passages refer to it."""
    text = app.mailroom.documents.text(access.caller, document_id)
    start, end = min(start, len(text)), len(text) if end is None else min(end, len(text))
    return DocumentText(
        document_id=document_id, start=start, end=max(start, end), characters=len(text), text=text[start:end]
    )


@router.get("/{document_id}/record", responses=responses(404))
def document_record(document_id: str, app: App, access: KeyAccess) -> DocumentRecord:
    """Return every arrival that the key may see, and every decision, with the versions that made it."""
    return DocumentRecord.of(app.mailroom.documents.record(access.caller, document_id))


@router.post("/{document_id}/retry", status_code=202, responses=responses(404, 409))
def retry_document(document_id: str, app: App, access: KeyAccess) -> DocumentStatus:
    """Send a failed, quarantined or reviewed document through the path again."""
    return DocumentStatus.of(app.mailroom.documents.retry(access.caller, document_id))


@router.delete("/{document_id}", responses=responses(403, 404))
def delete_document(document_id: str, response: Response, app: App, access: KeyAccess) -> ErasedDocuments:
    """Erase a document of the key's own and all that is attached to it: hidden at once, and removed from every store by
    a job whose receipt will be at `Location`. An administrator's key erases any document. The revision before it, if
    there is one, stands again."""
    erasure, (erased, *attached) = app.mailroom.erasures.erase(access.caller, [document_id], access.caller.owner)
    response.headers["Location"] = f"/v1/erasures/{erasure.id}"
    return ErasedDocuments(id=erased.id, attachments=[document.id for document in attached], erasure=erasure.id)
