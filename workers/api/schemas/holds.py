"""Legal holds, as REST and the command line show and place them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints

from pipeline.errors import Refused
from pipeline.retention import folded
from workers.api.schemas.common import Moment, PathText, Request, Response, ShortText

#: A subject of one or two letters would be on nearly every document.
MIN_SUBJECT = 3


class HoldBody(Request):
    """A new hold. ``target``: a document's id, a source, or a name or identifier that stands in documents."""

    kind: Literal["document", "source", "subject"]
    target: Annotated[PathText, StringConstraints(strip_whitespace=True)]
    reason: ShortText

    @property
    def parts(self) -> tuple[str, str, str]:
        """Kind, target and reason. Raises Refused("contradictory") for a subject of one or two letters."""
        if self.kind == "subject" and len(folded(self.target)) < MIN_SUBJECT:
            raise Refused("contradictory", f"target: give a subject of {MIN_SUBJECT} letters or more")
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
