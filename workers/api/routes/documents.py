"""Upload, list, status, content, decision record, delete, retry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import APIRouter, Depends, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from pipeline.documents import Lane, Sighting
from pipeline.errors import Refused
from pipeline.questions import Caller
from workers.api import schemas
from workers.api.auth import Editor, OurHouse, Reader, readable_document
from workers.api.problems import NOT_FOUND, RESPONSES
from workers.api.upload import stored_body
from workers.assemble import House

router = APIRouter(prefix="/v1/documents", tags=["documents"], responses=RESPONSES)

PIECE = 1 << 20
MAX_FIELD = 4000


@router.post(
    "",
    status_code=202,
    response_model=schemas.Received,
    summary="Upload a document",
    responses={
        200: {"model": schemas.Received, "description": "This content was known already"},
        413: {"model": schemas.Problem, "description": "Too large"},
        507: {"model": schemas.Problem, "description": "The disk is full"},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "file": {"type": "string", "format": "binary"},
                            "source": {"type": "string"},
                            "path": {"type": "string"},
                            "access": {"type": "string", "description": "principals, separated by commas"},
                            "labels": {"type": "string", "description": "words, separated by commas"},
                            "metadata": {"type": "string", "description": "a JSON object of strings"},
                        },
                    }
                },
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def upload(
    request: Request,
    response: Response,
    house: OurHouse,
    caller: Editor,
    name: Annotated[str | None, Query(max_length=1000, description="the file name, for a raw body")] = None,
) -> schemas.Received:
    """The bytes are on disk and the row is committed before the answer. The same content again answers 200 with the
    document that is there, so a repeat is harmless. Without ``access`` the document is for the key's own principals."""
    limit = house.settings.api.upload_max_bytes
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=20, max_part_size=PIECE) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile) and not hasattr(file, "file"):
                raise Refused("bad-request", "The form has no part named file.")
            pieces = iter(lambda: file.file.read(PIECE), b"")
            revision, size = await run_in_threadpool(house.blobs.put, pieces, limit)
            sighting = _sighting(form, file.filename or "upload", caller)
    else:
        revision, size = await stored_body(request, house.blobs, limit)
        sighting = _sighting(request.query_params, name or _header_name(request) or "upload", caller)
    received = await run_in_threadpool(_receive, house, revision, size, sighting, caller)
    response.status_code = 202 if received.created else 200
    response.headers["Location"] = f"/v1/documents/{received.document.id}"
    return received


def _receive(house: House, revision: str, size: int, sighting: Sighting, caller: Caller) -> schemas.Received:
    document, created = house.catalogue.documents.receive(revision, size, sighting, caller.tenant)
    if created:
        house.hints.nudge(house.catalogue.ledger, Lane.INGEST)
    return schemas.Received(created=created, document=schemas.Document.of(document))


def _sighting(fields: Any, filename: str, caller: Caller) -> Sighting:
    texts = {key: str(fields.get(key) or "") for key in ("source", "path", "access", "labels", "metadata")}
    if any(len(text) > MAX_FIELD for text in texts.values()):
        raise Refused("bad-request", f"A field of the form is longer than {MAX_FIELD} characters.")
    access = _listed(texts["access"]) or caller.principals or (("*",) if caller.admin else ())
    if not caller.admin and not set(access) <= {*caller.principals, "*"}:
        raise Refused("forbidden", "A document's access list may name only principals of the key, or *.")
    path = _clean(texts["path"]) or _clean(filename.replace("\\", "/").rsplit("/", 1)[-1]) or "upload"
    labels, metadata = _listed(texts["labels"]), _metadata(texts["metadata"])
    return Sighting(_clean(texts["source"]) or "api", path, time.time(), access, labels, metadata)


def _metadata(text: str) -> dict[str, str]:
    try:
        values = json.loads(text or "{}")
    except ValueError as error:
        raise Refused("bad-request", "metadata is not JSON.") from error
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise Refused("bad-request", "metadata is a JSON object of strings.")
    return values


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _clean(text: str) -> str:
    """A name for people, never a path: no control characters, valid Unicode, no leading slash."""
    printable = "".join(c if c.isprintable() else " " for c in text).encode("utf-8", "replace").decode()
    return printable.strip().lstrip("/")[:1000]


def _header_name(request: Request) -> str | None:
    value = request.headers.get("x-filename")
    return unquote(value) if value else None


def _filters(
    label: Annotated[list[str], Query()] = [],  # noqa: B006 (FastAPI copies it)
    media_type: Annotated[list[str], Query()] = [],  # noqa: B006
    source: Annotated[list[str], Query()] = [],  # noqa: B006
    state: Annotated[list[str], Query()] = [],  # noqa: B006
    folder: Annotated[str | None, Query(max_length=1000)] = None,
    received_from: Annotated[str | None, Query(description="ISO 8601; UTC where no zone is given")] = None,
    received_to: Annotated[str | None, Query()] = None,
) -> schemas.FilterFields:
    return schemas.filter_fields(locals())


QueryFilters = Annotated[schemas.FilterFields, Depends(_filters)]


@router.get("", response_model=schemas.DocumentPage, summary="List documents")
def find(
    house: OurHouse,
    caller: Reader,
    fields: QueryFilters,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> schemas.DocumentPage:
    """Newest first, in every state."""
    found, total = house.catalogue.documents.find(caller, fields.filters(), limit, offset)
    items = [schemas.Document.of(document) for document in found]
    return schemas.DocumentPage(items=items, total=total, limit=limit, offset=offset)


@router.get("/{document_id}", response_model=schemas.Document, responses=NOT_FOUND, summary="Where a document stands")
def get(document_id: str, house: OurHouse, caller: Reader) -> schemas.Document:
    return schemas.Document.of(readable_document(house, caller, document_id))


@router.get(
    "/{document_id}/content",
    responses={200: {"content": {"application/octet-stream": {}}}, **NOT_FOUND},
    response_class=StreamingResponse,
    summary="Download the original",
)
def content(document_id: str, house: OurHouse, caller: Reader) -> StreamingResponse:
    """Always as an attachment of no type, so that no browser ever runs it."""
    document = readable_document(house, caller, document_id)
    try:
        file = house.blobs.open(document.revision)
    except KeyError as error:
        raise Refused("not-found", "The original is no longer stored.") from error

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(PIECE):
                yield piece

    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(document.name)}",
        "Content-Length": str(document.size),
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return StreamingResponse(pieces(), media_type="application/octet-stream", headers=headers)


@router.get("/{document_id}/record", response_model=schemas.Record, responses=NOT_FOUND, summary="The decision record")
def record(document_id: str, house: OurHouse, caller: Reader) -> schemas.Record:
    """Why this document is where it is: parser, model version, score, threshold, rules, deliveries."""
    document = readable_document(house, caller, document_id)
    sightings, events = house.catalogue.documents.history(document_id)
    return schemas.Record(
        document=schemas.Document.of(document),
        sightings=[
            schemas.Sighting(
                source=s.source,
                path=s.path,
                seen_at=schemas.moment(s.seen_at),
                access=list(s.access),
                labels=list(s.labels),
            )
            for s in sightings
        ],
        events=[
            schemas.Event(at=schemas.moment(e.at), stage=e.stage, event=e.event, facts=dict(e.facts)) for e in events
        ],
    )


@router.delete("/{document_id}", status_code=204, responses=NOT_FOUND, summary="Delete a document")
def delete(document_id: str, house: OurHouse, caller: Editor) -> Response:
    """Hidden from every answer at once; its texts, vectors and original are dropped."""
    readable_document(house, caller, document_id)
    house.erase(document_id)
    return Response(status_code=204)


@router.post("/{document_id}/retry", status_code=202, response_model=schemas.Document, responses=NOT_FOUND)
def retry(document_id: str, house: OurHouse, caller: Editor) -> schemas.Document:
    """Send a document that is at rest through the path again; what has not changed is not computed again."""
    readable_document(house, caller, document_id)
    if not house.catalogue.ledger.retry(document_id):
        raise Refused("conflict", "The document is still on its way.")
    house.hints.nudge(house.catalogue.ledger, Lane.INGEST)
    return schemas.Document.of(house.catalogue.documents.get(document_id))
