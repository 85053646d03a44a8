"""What goes over the wire. Times are ISO 8601 in UTC; offsets are characters, half open; names are stable within /v1."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline import documents, facets, questions
from workers.services.documents import DecisionRecord, DocumentListing
from workers.services.workload import Workload

#: Our own kind of error, beside pydantic's.
UNFIT = "unfit_text"


def _saying(sentence: str) -> WrapValidator:
    """What people are told of a text that does not fit, in place of the pattern."""

    def checked(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            if error.errors()[0]["type"] in ("string_pattern_mismatch", "string_too_short"):
                raise PydanticCustomError(UNFIT, sentence) from None
            raise

    return WrapValidator(checked)


_PRINTED = _saying("give at least one character, and no control characters")
#: A short text without control characters: databases and logs take it as it is.
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"), _PRINTED]
ShortTexts = Annotated[list[ShortText], Field(max_length=50)]
#: Alternatives of one filter.
Choices = Annotated[list[ShortText], Field(max_length=500)]
#: A field of the house's own and a value: department=hr.
FieldValue = Annotated[
    str,
    StringConstraints(min_length=3, max_length=401, pattern=r"^[^=\x00-\x1f\x7f]+=[^\x00-\x1f\x7f]+$"),
    _saying("give FIELD=VALUE, such as department=hr, without control characters"),
]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$"), _PRINTED]
#: What people type: up to 4,000 characters, not blank.
QueryText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$"),
    _saying("there is nothing to look for in a blank text, or in one with a NUL character"),
]
Mode = Literal["hybrid", "lexical", "vector"]
K = Annotated[int, Field(ge=1, le=100, description="passages to return")]
Offset = Annotated[int, Field(ge=0, le=900, description="passages to skip")]
PerDocument = Annotated[int, Field(ge=1, le=100, description="passages of one document at most; 1 groups by document")]
Collapse = Annotated[bool, Field(description="leave out passages that say nearly the same as a better one")]
Rerank = Annotated[
    bool | None, Field(description="a second look at the best passages; absent: as the house has set it")
]
Plain = Annotated[bool, Field(description="the query is text as people write it: nothing in it is syntax")]


def _split(value: Any) -> Any:
    """A list, or words with commas between them."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        return value
    return [word.strip() for each in given for word in each.split(",") if word.strip()]


FacetNames = Annotated[
    list[ShortText],
    BeforeValidator(_split),
    Field(
        max_length=facets.MAX_FACETS,
        description=f"fields to count documents by: {', '.join(facets.FIELDS)}, {facets.CUSTOM}FIELD; commas between them",
    ),
]
FacetLimit = Annotated[int, Field(ge=1, le=200, description="values of each facet")]


class FieldError(BaseModel):
    field: str
    detail: str


class Problem(BaseModel):
    """RFC 9457. ``code`` is the last segment of ``type`` and never changes."""

    type: str = Field(examples=["/problems/not-found"])
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError] | None = None


class Document(BaseModel):
    """A document and where it stands."""

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
            content_hash=document.content_hash,
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
    """``next_offset`` is null on the last page."""

    items: list[Document]
    total: int
    limit: int
    offset: int
    next_offset: int | None
    facets: FacetPage | None = None

    @classmethod
    def of(cls, listing: DocumentListing) -> DocumentPage:
        return cls(
            items=[Document.of(document) for document in listing.documents],
            total=listing.total,
            limit=listing.limit,
            offset=listing.offset,
            next_offset=listing.next_offset,
            facets=FacetPage.of(listing.facets) if listing.facets else None,
        )


class Received(BaseModel):
    """The bytes and their row are on the disk. ``created`` is False where the key could see this content before."""

    id: str
    href: str = Field(examples=["/v1/documents/019d3c5d2f00c0ffee00c0ffee00c0ff"])
    created: bool
    state: documents.State
    content_hash: str = Field(description="SHA-256 of the bytes")
    size: int


class Text(BaseModel):
    """The document's text from ``start`` to ``end``; ``characters`` is the length of the whole."""

    document_id: str
    start: int
    end: int
    characters: int
    text: str


class Arrival(BaseModel):
    source: str
    path: str
    arrived_at: datetime.datetime
    access: list[str]
    labels: list[str]
    metadata: dict[str, str]


class Event(BaseModel):
    at: datetime.datetime
    stage: str
    event: str
    data: dict[str, Any]


class Record(BaseModel):
    """The decision record: every arrival, every decision, with the versions that made them, oldest first."""

    document: Document
    arrivals: list[Arrival]
    events: list[Event]

    @classmethod
    def of(cls, record: DecisionRecord) -> Record:
        return cls(
            document=Document.of(record.document),
            arrivals=[
                Arrival(
                    source=a.source,
                    path=a.path,
                    arrived_at=moment(a.arrived_at),
                    access=list(a.access),
                    labels=list(a.labels),
                    metadata=dict(a.metadata),
                )
                for a in record.arrivals
            ],
            events=[Event(at=moment(e.at), stage=e.stage, event=e.event, data=dict(e.data)) for e in record.events],
        )


class FilterFields(BaseModel):
    """Empty means no limit; several values of one field are alternatives; the fields together narrow."""

    model_config = ConfigDict(extra="forbid")

    label: Choices = Field(default_factory=list, description="document types, such as invoice")
    media_type: Choices = Field(default_factory=list, description="such as application/pdf")
    source: Choices = Field(default_factory=list, description="where documents came from, such as tray or api")
    language: Choices = Field(
        default_factory=list, description="ISO 639-1 codes as the parser detects them, such as en"
    )
    owner: Choices = Field(default_factory=list, description="metadata's owner, else its author")
    metadata: Annotated[list[FieldValue], Field(max_length=500)] = Field(
        default_factory=list,
        description="FIELD=VALUE of the house's own fields; several values of a field are alternatives",
    )
    state: Annotated[list[documents.State], Field(max_length=10)] = Field(default_factory=list)
    folder: PathText | None = Field(None, description="a path prefix inside the source")
    received_from: datetime.datetime | None = Field(None, description="at or after; UTC where no zone is given")
    received_to: datetime.datetime | None = Field(None, description="before; UTC where no zone is given")

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_known(cls, value: Any, handler: Any) -> Any:
        """Whoever misspells a field is told those that there are."""
        try:
            return handler(value)
        except ValidationError as error:
            raise ValidationError.from_exception_data(error.title, [_told(e, cls) for e in error.errors()]) from None

    def filters(self) -> questions.Filters:
        return questions.Filters(
            labels=tuple(self.label),
            media_types=tuple(self.media_type),
            sources=tuple(self.source),
            folder=self.folder,
            received_from=epoch(self.received_from),
            received_to=epoch(self.received_to),
            states=tuple(self.state),
            languages=tuple(self.language),
            owners=tuple(self.owner),
            metadata=_by_field(self.metadata),
        )


def _told(error: Any, model: type[BaseModel]) -> InitErrorDetails:
    told = InitErrorDetails(type=error["type"], loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))
    if error["type"] == UNFIT:
        told["type"] = PydanticCustomError(UNFIT, error["msg"])
    if error["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        told["type"] = PydanticCustomError(
            "unknown_field", "there is no such field; there are {known}", {"known": known}
        )
    return told


def _by_field(pairs: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    values: dict[str, list[str]] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        values.setdefault(name, []).append(value)
    return tuple((name, tuple(each)) for name, each in values.items())


class FacetCount(BaseModel):
    value: str
    count: int


class FacetPage(BaseModel):
    """Counts over ``documents`` documents that match and that the key may read. Unless ``exact`` they are lower bounds, over
    the best 50,000 passages or those found by their meaning. ``more``: how many further values a facet has."""

    documents: int
    exact: bool
    fields: dict[str, list[FacetCount]]
    more: dict[str, int]

    @classmethod
    def of(cls, counted: facets.Facets) -> FacetPage:
        fields = {f.name: [FacetCount(value=c.value, count=c.count) for c in f.values] for f in counted.facets}
        more = {facet.name: facet.more for facet in counted.facets}
        return cls(documents=counted.documents, exact=counted.exact, fields=fields, more=more)


class DocumentQuery(FilterFields):
    limit: int = Field(50, ge=1, le=500)
    offset: int = Field(0, ge=0, le=10_000_000)
    order: Literal["newest", "oldest"] = "newest"
    facets: FacetNames = []
    facet_limit: FacetLimit = 20


class Search(BaseModel):
    """``query`` takes words, "phrases", +required, -excluded, title:word, name:word, prefix*, like~, 100..250 and
    2026-01-01..2026-03-31; codes are found as written. A mistake in it is `bad-query`, with the place."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[QueryText, Field(examples=['"notice period" +lease'])]
    k: K = 10
    offset: Offset = 0
    mode: Mode = "hybrid"
    per_document: PerDocument = 3
    collapse: Collapse = True
    plain: Plain = False
    rerank: Rerank = None
    explain: bool = Field(False, description="give the parts of each score")
    facets: FacetNames = []
    facet_limit: FacetLimit = 20
    filters: FilterFields = Field(default_factory=FilterFields)

    def request(self) -> questions.SearchRequest:
        ranking = (self.per_document, self.collapse, self.plain, self.rerank)
        return questions.SearchRequest(self.query, self.k, self.offset, self.mode, self.filters.filters(), *ranking)


class SearchLink(FilterFields):
    """The same as query parameters."""

    query: Annotated[QueryText, Field(examples=["notice period"])]
    k: K = 10
    offset: Offset = 0
    mode: Mode = "hybrid"
    per_document: PerDocument = 3
    collapse: Collapse = True
    plain: Plain = False
    rerank: Rerank = None
    explain: bool = False
    facets: FacetNames = []
    facet_limit: FacetLimit = 20

    def request(self) -> questions.SearchRequest:
        ranking = (self.per_document, self.collapse, self.plain, self.rerank)
        return questions.SearchRequest(self.query, self.k, self.offset, self.mode, self.filters(), *ranking)


class Passage(BaseModel):
    """A passage; ``highlights`` are offsets into ``text``, ``start`` and ``end`` into the document's text; ``duplicates``
    are ids of other documents with a passage that says nearly the same."""

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
    duplicates: list[str] = []
    explain: dict[str, float] | None = None

    @classmethod
    def of(cls, passage: questions.Passage, explain: bool = False) -> Passage:
        same = "document_id document_name label source path text start end page_first page_last heading score".split()
        return cls(
            **{name: getattr(passage, name) for name in same},
            received_at=moment(passage.received_at),
            highlights=list(passage.highlights),
            duplicates=list(passage.duplicates),
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
    facets: FacetPage | None = None

    @classmethod
    def of(
        cls,
        request: questions.SearchRequest,
        result: questions.SearchResult,
        explain: bool,
        counted: facets.Facets | None = None,
    ) -> SearchPage:
        return cls(
            items=[Passage.of(passage, explain) for passage in result.passages],
            total=result.total,
            total_is_exact=result.total_is_exact,
            k=request.k,
            offset=request.offset,
            generation=result.generation,
            stale=result.stale,
            facets=FacetPage.of(counted) if counted else None,
        )


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: Annotated[QueryText, Field(examples=["How long is the notice period?"])]
    k: int = Field(5, ge=1, le=20, description="nearest passages to return")
    filters: FilterFields = Field(default_factory=FilterFields)


class Quote(BaseModel):
    """Verbatim: the document's text from ``start`` to ``end``."""

    text: str
    document_id: str
    document_name: str
    page: int | None
    start: int
    end: int
    score: float
    href: str = Field(description="the quote where it stands, in the document's text")

    @classmethod
    def of(cls, quote: questions.Quote) -> Quote:
        same = {name: getattr(quote, name) for name in cls.model_fields if name != "href"}
        return cls(**same, href=f"/v1/documents/{quote.document_id}/text?start={quote.start}&end={quote.end}")


class Answer(BaseModel):
    """``answered`` False: "not found in your documents", with the nearest passages."""

    question: str
    answered: bool
    answer: str
    confidence: float
    quotes: list[Quote]
    nearest: list[Passage]

    @classmethod
    def of(cls, answer: questions.Answer) -> Answer:
        return cls(
            question=answer.question,
            answered=answer.answered,
            answer=answer.text,
            confidence=answer.confidence,
            quotes=[Quote.of(quote) for quote in answer.quotes],
            nearest=[Passage.of(p) for p in answer.nearest],
        )


class Said(BaseModel):
    """What someone made of a document that a query found. A vote replaces the key's earlier vote on the same two."""

    model_config = ConfigDict(extra="forbid")

    query: QueryText
    document_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    kind: Literal["click", "useful", "not-useful"]
    rank: int | None = Field(None, ge=1, le=1000, description="the place where it stood, from 1")


class FeedbackEntry(BaseModel):
    query: str
    document_id: str
    kind: str
    rank: int | None
    at: datetime.datetime
    key_id: str

    @classmethod
    def of(cls, feedback: questions.Feedback) -> FeedbackEntry:
        same = {name: getattr(feedback, name) for name in cls.model_fields if name != "at"}
        return cls(**same, at=moment(feedback.at))


class FeedbackPage(BaseModel):
    """``next_after`` is null on the last page."""

    items: list[FeedbackEntry]
    next_after: int | None


class Backlog(BaseModel):
    queue: str
    stage: str
    state: str
    count: int
    oldest: datetime.datetime


class Jobs(BaseModel):
    documents: dict[str, int] = Field(description="documents by state")
    jobs: list[Backlog]
    broker: dict[str, int] | None = Field(description="hints waiting in each queue; null where the broker is down")

    @classmethod
    def of(cls, workload: Workload) -> Jobs:
        jobs = [Backlog(**{**row, "oldest": moment(row["oldest"])}) for row in workload.jobs]
        broker = dict(workload.broker) if workload.broker is not None else None
        return cls(documents=dict(workload.documents), jobs=jobs, broker=broker)


class Health(BaseModel):
    """``status`` is "degraded" where a part does not work; what it tells is of no document."""

    status: Literal["ok", "degraded"]
    version: str
    generation: str
    index: Literal["ok", "stale", "behind", "damaged", "read-only", "full"] = Field(
        description="`mailroom index status` says more, and what to do"
    )
    catalogue: Literal["ok", "unavailable"]
    broker: Literal["ok", "unavailable"]
    search: Literal["ok", "opening", "unavailable"]
    sandbox: Literal["strong", "medium", "weak", "unknown"] = Field(description="how well the parser is locked up")


class ProblemKind(BaseModel):
    code: str
    title: str


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
