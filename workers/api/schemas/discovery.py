"""What goes over the wire when somebody looks around: suggestions, documents like another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from workers.api.schemas.documents import Document
from workers.services import similar, suggest

#: Up to 200 characters without control characters, not blank.
Typed = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"),
]


class SuggestQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prefix: Annotated[
        Typed, Field(description="what was typed so far; the last word may be unfinished", examples=["annual rep"])
    ]
    limit: int = Field(10, ge=1, le=20)


class Suggestion(BaseModel):
    """A title, heading or file name of ``document_id``, or a word that readable documents hold, behind the complete words that
    were typed."""

    text: str
    kind: Literal["title", "heading", "name", "word"]
    document_id: str | None


class SuggestPage(BaseModel):
    items: list[Suggestion]

    @classmethod
    def of(cls, found: Sequence[suggest.Suggestion]) -> SuggestPage:
        return cls(items=[Suggestion.model_validate(asdict(each)) for each in found])


class SimilarQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=50, description="documents to return")


class Neighbour(BaseModel):
    """A document that is like another one, and the passage of it that is nearest: ``start`` and ``end`` locate it in the
    document's text. ``duplicates`` are ids of documents that say nearly the same."""

    document: Document
    score: float
    text: str
    start: int
    end: int
    page_first: int | None
    heading: str | None
    duplicates: list[str]

    @classmethod
    def of(cls, found: similar.Neighbour) -> Neighbour:
        same = {name: getattr(found.passage, name) for name in ("text", "start", "end", "page_first", "heading")}
        document = Document.of(found.document)
        return cls(document=document, score=round(found.score, 4), duplicates=list(found.duplicates), **same)


class SimilarPage(BaseModel):
    """The nearest first."""

    items: list[Neighbour]

    @classmethod
    def of(cls, found: Sequence[similar.Neighbour]) -> SimilarPage:
        return cls(items=[Neighbour.of(each) for each in found])
