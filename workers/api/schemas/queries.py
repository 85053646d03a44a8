"""Saved queries."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints, computed_field

from workers.api.schemas.common import Moment, Request, Response
from workers.api.schemas.search import SearchBody

#: Without control characters, and not blank.
QueryName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
]


class SavedQueryBody(Request):
    """A search, as `POST /v1/search` takes it, under a name."""

    name: Annotated[QueryName, Field(examples=["leases that end this year"])]
    search: SearchBody


class SavedQueryItem(Response):
    """``href`` runs it."""

    id: str
    name: str
    search: SearchBody
    created_at: Moment

    @computed_field(examples=["/v1/queries/019d3c5d2f00c0ffee00c0ffee00c0ff/results"])
    def href(self) -> str:
        """Link that runs the query."""
        return f"/v1/queries/{self.id}/results"


class SavedQueryPage(BaseModel):
    """All of the caller's, by name."""

    items: list[SavedQueryItem]
