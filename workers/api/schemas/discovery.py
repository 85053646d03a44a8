"""Suggestions, and documents like another one."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AliasPath, BaseModel, Field, StringConstraints

from workers.api.schemas.common import Request, Response
from workers.api.schemas.documents import DocumentStatus
from workers.services.suggest import Suggestion

#: Up to 200 characters without control characters, not blank.
TypedText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"),
]


class SuggestQuery(Request):
    """What somebody has typed."""

    prefix: Annotated[
        TypedText, Field(description="what was typed so far; the last word may be unfinished", examples=["annual rep"])
    ]
    limit: int = Field(10, ge=1, le=20)


class SuggestPage(BaseModel):
    """The best first."""

    items: list[Suggestion]


class SimilarQuery(Request):
    """How many documents to return."""

    k: int = Field(10, ge=1, le=50, description="documents to return")


class SimilarDocument(Response):
    """A document that is like another one, and its nearest passage: ``start`` and ``end`` locate it in the document's
    text. ``duplicates`` are ids of documents that say nearly the same."""

    document: DocumentStatus
    score: Annotated[float, AfterValidator(lambda score: round(score, 4))]
    text: str = Field(validation_alias=AliasPath("passage", "text"))
    start: int = Field(validation_alias=AliasPath("passage", "start"))
    end: int = Field(validation_alias=AliasPath("passage", "end"))
    page_first: int | None = Field(validation_alias=AliasPath("passage", "page_first"))
    heading: str | None = Field(validation_alias=AliasPath("passage", "heading"))
    duplicates: list[str]


class SimilarPage(BaseModel):
    """The nearest first."""

    items: list[SimilarDocument]
