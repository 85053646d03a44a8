"""What goes over the wire when somebody looks around: suggestions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from workers import suggest

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
