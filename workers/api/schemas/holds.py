"""Legal holds, as REST and the command line show and place them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, StringConstraints, model_validator

from pipeline.retention import folded
from workers.api.schemas.common import Moment, PathText, Request, Response, ShortText

#: A subject of one or two letters would be on nearly every document.
MIN_SUBJECT = 3


class HoldBody(Request):
    """A new hold. ``target``: a document's id, a source, or a name or identifier that stands in documents."""

    kind: Literal["document", "source", "subject"]
    target: Annotated[PathText, StringConstraints(strip_whitespace=True)]
    reason: ShortText

    @model_validator(mode="after")
    def _subject_is_specific(self) -> Self:
        if self.kind == "subject" and len(folded(self.target)) < MIN_SUBJECT:
            raise ValueError(f"target: give a subject of {MIN_SUBJECT} letters or more")
        return self

    @property
    def parts(self) -> tuple[str, str, str]:
        """Kind, target and reason."""
        return self.kind, self.target, self.reason


class HoldItem(Response):
    """A hold."""

    id: str
    kind: str
    target: str
    reason: str
    created_at: Moment
    created_by: str


class HoldPage(BaseModel):
    """The holds, oldest first."""

    items: list[HoldItem]
