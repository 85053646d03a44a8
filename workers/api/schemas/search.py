"""Searches, questions, their answers, and feedback on them."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

from pydantic import BaseModel, Field, computed_field

from pipeline.facets import Facets
from pipeline.questions import Filters, Passage, SearchRequest, SearchResult
from workers.api.schemas.common import NO_FLAG, DocumentId, Flag, Moment, QueryText, Request, Response
from workers.api.schemas.filters import FacetLimit, FacetNames, FacetPage, FilterFields

K = Annotated[int, Field(ge=1, le=100, description="passages to return"), NO_FLAG]
Offset = Annotated[int, Field(ge=0, le=900, description="passages to skip"), NO_FLAG]
#: The fields of `SearchRequest` that have the same name here.
_REQUEST_FIELDS = {field.name for field in fields(SearchRequest)} - {"filters"}


class SearchFields(Request):
    """A search without its filters."""

    query: Annotated[QueryText, Field(examples=['"notice period" +lease'])]
    k: K = 10
    offset: Offset = 0
    mode: Literal["hybrid", "lexical", "vector"] = "hybrid"
    per_document: Annotated[
        int, Field(ge=1, le=100, description="passages of one document at most; 1 groups by document"), NO_FLAG
    ] = 3
    collapse: Flag = Field(
        True, description="each content once, and no passage that says nearly the same as a better one"
    )
    plain: Flag = Field(False, description="the query is plain text: nothing in it is syntax")
    rerank: Flag | None = Field(None, description="rerank the best passages; absent: as the installation is configured")
    explain: Flag = Field(False, description="return the parts of each score")
    facets: FacetNames = []
    facet_limit: FacetLimit = 20

    def with_filters(self, filters: Filters) -> SearchRequest:
        """Return the request for a search."""
        return SearchRequest(filters=filters, **self.model_dump(include=_REQUEST_FIELDS))


class SearchBody(SearchFields):
    """``query`` takes words, "phrases", +required, -excluded, title:word, name:word, prefix*, like~, 100..250 and
    2026-01-01..2026-03-31; codes are found as written. A mistake in it is `bad-query`, with the place."""

    filters: FilterFields = Field(default_factory=FilterFields)

    def request(self) -> SearchRequest:
        """Return the request for a search."""
        return self.with_filters(self.filters.filters())


class SearchLink(FilterFields, SearchFields):
    """A search and its filters as query parameters."""

    def request(self) -> SearchRequest:
        """Return the request for a search."""
        return self.with_filters(self.filters())


class PassageItem(Response):
    """A passage; ``highlights`` are offsets into ``text``, ``start`` and ``end`` into the document's text;
    ``duplicates`` are ids of other documents with the same content or a passage that says nearly the same."""

    document_id: str
    document_name: str
    label: str | None
    source: str
    path: str
    received_at: Moment
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
    def with_scores(cls, passage: Passage) -> PassageItem:
        """Return a passage with the parts of its score."""
        return cls.of(passage).model_copy(update={"explain": dict(passage.scores)})


class SearchPage(BaseModel):
    """``total`` is a lower bound unless ``total_is_exact``; ``stale``: an older index generation answered."""

    items: list[PassageItem]
    total: int
    total_is_exact: bool
    k: int
    offset: int
    generation: str
    stale: bool
    facets: FacetPage | None = None

    @classmethod
    def of(
        cls, request: SearchRequest, result: SearchResult, explain: bool, facets: Facets | None = None
    ) -> SearchPage:
        """Return the page of a search's result, with the parts of each score if ``explain``."""
        item = PassageItem.with_scores if explain else PassageItem.of
        return cls(
            items=[item(passage) for passage in result.passages],
            total=result.total,
            total_is_exact=result.total_is_exact,
            k=request.k,
            offset=request.offset,
            generation=result.generation,
            stale=result.stale,
            facets=FacetPage.of(facets) if facets else None,
        )


class QuestionBody(Request):
    """A question, which is plain text."""

    question: Annotated[QueryText, Field(examples=["How long is the notice period?"])]
    k: Annotated[int, Field(ge=1, le=20, description="nearest passages to return"), NO_FLAG] = 5
    filters: FilterFields = Field(default_factory=FilterFields)


class QuoteItem(Response):
    """Verbatim: the document's text from ``start`` to ``end``."""

    text: str
    document_id: str
    document_name: str
    page: int | None
    start: int
    end: int
    score: float

    @computed_field(description="the quote in its place, in the document's text")
    def href(self) -> str:
        """Link to the quote in the document's text."""
        return f"/v1/documents/{self.document_id}/text?start={self.start}&end={self.end}"


class AnswerPage(Response):
    """``answered`` False: "not found in your documents", with the nearest passages."""

    question: str
    answered: bool
    answer: str = Field(validation_alias="text")
    confidence: float
    quotes: list[QuoteItem]
    nearest: list[PassageItem]


class FeedbackBody(Request):
    """A click on a hit, or a vote on it. A vote replaces the key's earlier vote on the same query and document."""

    query: QueryText
    document_id: DocumentId
    kind: Literal["click", "useful", "not-useful"]
    rank: Annotated[int | None, Field(ge=1, le=1000, description="the hit's place, from 1"), NO_FLAG] = None


class FeedbackEntry(Response):
    """A click or a vote, and the key that it came with."""

    query: str
    document_id: str
    kind: str
    rank: int | None
    at: Moment
    key_id: str


class FeedbackPage(BaseModel):
    """``next_after`` is null on the last page."""

    items: list[FeedbackEntry]
    next_after: int | None
