"""Documents, their texts and their decision records. Times are ISO 8601 in UTC; offsets are characters, half open."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from pipeline.documents import State
from workers.api.schemas.common import DocumentId, Moment, NoneIfEmpty, Response
from workers.api.schemas.filters import FacetLimit, FacetNames, FacetPage, FilterFields

#: Metadata as strings, whatever the record holds.
Metadata = Annotated[
    dict[str, str], BeforeValidator(lambda values: {name: str(value) for name, value in values.items()})
]
Superseded = Annotated[
    bool,
    BeforeValidator(bool),
    Field(
        validation_alias="superseded_by", description="true for an older revision: a newer content stands at its place"
    ),
]


class DocumentStatus(Response):
    """A document and how far it is."""

    id: str
    name: str
    state: str = Field(examples=["indexed"], description="processing, indexed, review, failed, quarantined")
    stage: str
    content_hash: str = Field(description="SHA-256 of the bytes")
    size: int
    source: str
    path: str
    media_type: str | None
    title: str | None
    pages: int | None
    passages: int | None = Field(validation_alias="chunks")
    languages: list[str]
    label: str | None
    probability: float | None
    model: str | None
    rules: list[str]
    labels: list[str]
    flags: list[str]
    access: list[str]
    reason: str | None
    detail: str | None
    parent: str | None
    superseded: Superseded
    sent_by: str = Field(
        validation_alias="owner", description="the user or key that sent it; empty for what a tray took in"
    )
    metadata: Metadata
    personal_data: dict[str, int] = Field(description="how many values of each kind its text has, never the values")
    received_at: Moment
    finished_at: Annotated[Moment | None, NoneIfEmpty]


class DocumentPage(Response):
    """``next_cursor`` is null on the last page, ``next_offset`` also where a cursor was sent."""

    items: list[DocumentStatus] = Field(validation_alias="documents")
    total: int
    limit: int
    offset: int
    next_offset: int | None
    next_cursor: str | None
    facets: FacetPage | None = None


class DocumentQuery(FilterFields):
    """The filters of a list of documents, its page and its facets."""

    limit: int = Field(50, ge=1, le=500)
    offset: int = Field(0, ge=0, le=10_000_000)
    cursor: DocumentId | None = Field(
        None, description="`next_cursor` of the page before, with the same filters and order: each document comes once"
    )
    order: Literal["newest", "oldest"] = "newest"
    facets: FacetNames = []
    facet_limit: FacetLimit = 20


class UploadReceipt(BaseModel):
    """The bytes and their row are on the disk. ``created`` is False if the key's owner sent this content to this place
    before."""

    id: str
    href: str = Field(examples=["/v1/documents/019d3c5d2f00c0ffee00c0ffee00c0ff"])
    created: bool
    state: State
    content_hash: str = Field(description="SHA-256 of the bytes")
    size: int


class ErasedDocuments(BaseModel):
    """What was erased: the document, and the documents that were attached to it, such as those in a mail.

    ``erasure`` is the id of the job that removes them from every store: see `GET /v1/erasures/{erasure_id}`.
    """

    id: str
    attachments: list[str]
    erasure: str


class DocumentText(BaseModel):
    """The document's text from ``start`` to ``end``; ``characters`` is the length of the whole."""

    document_id: str
    start: int
    end: int
    characters: int
    text: str


class ArrivalEntry(Response):
    """One arrival of the document's content."""

    source: str
    path: str
    arrived_at: Moment
    access: list[str]
    labels: list[str]
    metadata: dict[str, str]


class DecisionEntry(Response):
    """One decision about the document."""

    at: Moment
    stage: str
    event: str
    data: dict[str, Any]


class RevisionEntry(Response):
    """Another content at the document's place; it is older or newer."""

    id: str
    content_hash: str
    size: int
    received_at: Moment
    state: str
    superseded: Superseded


class DocumentRecord(Response):
    """The decision record: every arrival and every decision, with the versions that made it, oldest first.

    ``revisions`` are the other contents at its place that the key may read.
    """

    document: DocumentStatus
    arrivals: list[ArrivalEntry]
    events: list[DecisionEntry]
    revisions: list[RevisionEntry]
