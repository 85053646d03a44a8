"""What goes over the wire. Times are ISO 8601 in UTC; offsets are characters, half open; names are stable within /v1."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from pipeline import documents, questions
from pipeline.errors import Refused


class Problem(BaseModel):
    """RFC 9457. ``code`` is the last segment of ``type`` and never changes."""

    type: str = Field(examples=["/problems/not-found"])
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[dict[str, Any]] | None = None


class Document(BaseModel):
    """A document and where it stands."""

    id: str
    name: str
    state: str = Field(examples=["indexed"], description="processing, indexed, review, failed, quarantined")
    stage: str
    revision: str = Field(description="SHA-256 of the bytes")
    size: int
    source: str
    path: str
    media_type: str | None
    title: str | None
    pages: int | None
    passages: int | None
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
    metadata: dict[str, str]
    received_at: datetime.datetime
    finished_at: datetime.datetime | None

    @classmethod
    def of(cls, document: documents.Document) -> Document:
        return cls(
            id=document.id,
            name=document.name,
            state=document.state,
            stage=document.stage,
            revision=document.revision,
            size=document.size,
            source=document.source,
            path=document.path,
            media_type=document.media_type,
            title=document.title,
            pages=document.pages,
            passages=document.chunks,
            languages=list(document.languages),
            label=document.label,
            probability=document.probability,
            model=document.model,
            rules=list(document.rules),
            labels=list(document.labels),
            flags=list(document.flags),
            access=list(document.access),
            reason=document.reason,
            detail=document.detail,
            parent=document.parent,
            metadata={key: str(value) for key, value in document.metadata.items()},
            received_at=moment(document.received_at),
            finished_at=moment(document.finished_at) if document.finished_at else None,
        )


class DocumentPage(BaseModel):
    items: list[Document]
    total: int
    limit: int
    offset: int


class Received(BaseModel):
    """``created`` is False where the content was known already."""

    created: bool
    document: Document


class Sighting(BaseModel):
    source: str
    path: str
    seen_at: datetime.datetime
    access: list[str]
    labels: list[str]


class Event(BaseModel):
    at: datetime.datetime
    stage: str
    event: str
    facts: dict[str, Any]


class Record(BaseModel):
    """The decision record: every arrival, every decision, with the versions that made them."""

    document: Document
    sightings: list[Sighting]
    events: list[Event]


class FilterFields(BaseModel):
    """Empty means no limit; several values of one field are alternatives."""

    label: list[str] = Field(default_factory=list, max_length=100)
    media_type: list[str] = Field(default_factory=list, max_length=100)
    source: list[str] = Field(default_factory=list, max_length=100)
    state: list[str] = Field(default_factory=list, max_length=10)
    folder: str | None = Field(None, max_length=1000)
    received_from: datetime.datetime | None = None
    received_to: datetime.datetime | None = None

    model_config = {"extra": "forbid"}

    def filters(self) -> questions.Filters:
        return questions.Filters(
            labels=tuple(self.label),
            media_types=tuple(self.media_type),
            sources=tuple(self.source),
            folder=self.folder,
            received_from=epoch(self.received_from),
            received_to=epoch(self.received_to),
            states=tuple(self.state),
        )


class SearchQuery(BaseModel):
    query: str = Field(max_length=2000, examples=['"notice period" +lease'])
    k: int = Field(10, ge=1, le=100)
    offset: int = Field(0, ge=0, le=900)
    mode: str = Field("hybrid", pattern="^(hybrid|lexical|vector)$")
    explain: bool = False
    filters: FilterFields = Field(default_factory=FilterFields)

    model_config = {"extra": "forbid"}


class Passage(BaseModel):
    """A passage; ``highlights`` are offsets into ``text``, ``start`` and ``end`` into the document's text."""

    document_id: str
    document_name: str
    label: str | None
    source: str
    path: str
    received_at: datetime.datetime
    text: str
    start: int
    end: int
    page_first: int | None
    page_last: int | None
    heading: str | None
    score: float
    highlights: list[tuple[int, int]]
    explain: dict[str, float] | None = None

    @classmethod
    def of(cls, passage: questions.Passage, explain: bool = False) -> Passage:
        same = "document_id document_name label source path text start end page_first page_last heading score".split()
        return cls(
            **{name: getattr(passage, name) for name in same},
            received_at=moment(passage.received_at),
            highlights=list(passage.highlights),
            explain=dict(passage.scores) if explain else None,
        )


class SearchPage(BaseModel):
    """``total`` is a lower bound unless ``total_is_exact``; ``stale``: an older index generation answered."""

    items: list[Passage]
    total: int
    total_is_exact: bool
    k: int
    offset: int
    generation: str
    stale: bool


class Question(BaseModel):
    question: str = Field(min_length=1, max_length=2000, examples=["How long is the notice period?"])
    k: int = Field(5, ge=1, le=20, description="nearest passages to return")
    filters: FilterFields = Field(default_factory=FilterFields)

    model_config = {"extra": "forbid"}


class Quote(BaseModel):
    """Verbatim: the document's text from ``start`` to ``end``."""

    text: str
    document_id: str
    document_name: str
    page: int | None
    start: int
    end: int
    score: float


class Answer(BaseModel):
    """``found`` False: "not found in your documents", with the nearest passages."""

    question: str
    found: bool
    answer: str
    confidence: float
    quotes: list[Quote]
    nearest: list[Passage]

    @classmethod
    def of(cls, answer: questions.Answer) -> Answer:
        return cls(
            question=answer.question,
            found=answer.found,
            answer=answer.text,
            confidence=answer.confidence,
            quotes=[Quote(**{f: getattr(q, f) for f in Quote.model_fields}) for q in answer.quotes],
            nearest=[Passage.of(p) for p in answer.nearest],
        )


class Backlog(BaseModel):
    lane: str
    stage: str
    state: str
    count: int
    oldest: datetime.datetime


class Jobs(BaseModel):
    documents: dict[str, int] = Field(description="documents by state")
    jobs: list[Backlog]


class Health(BaseModel):
    """``status``: "ok", or "degraded" with the parts that are not."""

    status: str
    version: str
    parts: dict[str, str]


class Me(BaseModel):
    key_id: str
    principals: list[str]
    scopes: list[str]
    admin: bool


def moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def epoch(time: datetime.datetime | None) -> float | None:
    """A time without a zone is taken as UTC."""
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()


def backlog(rows: list[Mapping[str, Any]]) -> list[Backlog]:
    return [Backlog(**{**row, "oldest": moment(row["oldest"])}) for row in rows]


def filter_fields(values: Mapping[str, Any]) -> FilterFields:
    """Filters from query parameters; a mistake is the caller's, named by its field."""
    try:
        return FilterFields(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused("bad-request", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
