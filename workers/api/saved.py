"""Saved queries: what goes over the wire, and what is done with them for REST and the command line alike."""

from __future__ import annotations

import datetime
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipeline.errors import Refused
from pipeline.questions import Caller, SavedQuery
from workers.api.schemas.documents import K, Offset, Search, SearchPage, moment
from workers.api.searching import answer
from workers.assemble import Mailroom

#: Without control characters, and with a sign that is no blank.
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
]
_ID = re.compile(r"[0-9a-f]{32}")


class Saving(BaseModel):
    """A search, as `POST /v1/search` takes it, under a name."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Name, Field(examples=["leases that end this year"])]
    search: Search


class Saved(BaseModel):
    """``href`` runs it."""

    id: str
    name: str
    search: Search
    created_at: datetime.datetime
    href: str = Field(examples=["/v1/queries/019d3c5d2f00c0ffee00c0ffee00c0ff/results"])

    @classmethod
    def of(cls, query: SavedQuery) -> Saved:
        href = f"/v1/queries/{query.id}/results"
        search = Search.model_validate(query.search)
        return cls(id=query.id, name=query.name, search=search, created_at=moment(query.created_at), href=href)


class SavedPage(BaseModel):
    """All of the caller's, by name."""

    items: list[Saved]


def save(mailroom: Mailroom, caller: Caller, body: Saving) -> Saved:
    """Keep a search that would not be refused. Raises Refused as the search itself does, and "conflict" for a name twice."""
    search = body.search
    mailroom.search.validate(caller, search.request(), search.facets, search.facet_limit)
    told = search.model_dump(mode="json", exclude_defaults=True)
    return Saved.of(mailroom.catalogue.queries.create(caller, body.name, told))


def listed(mailroom: Mailroom, caller: Caller) -> SavedPage:
    return SavedPage(items=[Saved.of(query) for query in mailroom.catalogue.queries.of_owner(caller)])


def run(
    mailroom: Mailroom, caller: Caller, query_id: str, k: K | None = None, offset: Offset | None = None
) -> SearchPage:
    """What the saved search finds now, of what the caller may read now; ``k`` and ``offset`` in place of its own."""
    search = Search.model_validate(mailroom.catalogue.queries.get(caller, checked(query_id)).search)
    page = {name: value for name, value in (("k", k), ("offset", offset)) if value is not None}
    return answer(mailroom.search, caller, search.model_copy(update=page))


def delete(mailroom: Mailroom, caller: Caller, query_id: str) -> None:
    mailroom.catalogue.queries.delete(caller, checked(query_id))


def checked(query_id: str) -> str:
    """Raises Refused("not-found") for what cannot be an id."""
    if not _ID.fullmatch(query_id):
        raise Refused("not-found", "There is no such saved query, or it belongs to another caller.")
    return query_id
