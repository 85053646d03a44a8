"""Saved queries, for REST and the command line alike."""

from __future__ import annotations

import re

from pipeline.errors import Refused
from pipeline.questions import Caller
from workers.api.schemas.queries import SavedQueryBody, SavedQueryItem, SavedQueryPage
from workers.api.schemas.search import SearchBody, SearchPage
from workers.api.searching import run_search
from workers.assemble import Mailroom

_ID = re.compile(r"[0-9a-f]{32}")


def create(mailroom: Mailroom, caller: Caller, body: SavedQueryBody) -> SavedQueryItem:
    """Save a search under a name. Raises Refused as the search would, and "conflict" for a name that exists."""
    search = body.search
    mailroom.search.validate(caller, search.request(), search.facets, search.facet_limit)
    stored = search.model_dump(mode="json", exclude_defaults=True)
    return SavedQueryItem.of(mailroom.catalogue.queries.create(caller, body.name, stored))


def find_all(mailroom: Mailroom, caller: Caller) -> SavedQueryPage:
    """Return the caller's saved queries, by name."""
    return SavedQueryPage(items=[SavedQueryItem.of(query) for query in mailroom.catalogue.queries.of_owner(caller)])


def run(
    mailroom: Mailroom, caller: Caller, query_id: str, k: int | None = None, offset: int | None = None
) -> SearchPage:
    """Run a saved search over what the caller may read now; ``k`` and ``offset`` replace its own. Raises Refused."""
    search = SearchBody.model_validate(mailroom.catalogue.queries.get(caller, _valid(query_id)).search)
    page = {name: value for name, value in (("k", k), ("offset", offset)) if value is not None}
    return run_search(mailroom.search, caller, search.model_copy(update=page))


def delete(mailroom: Mailroom, caller: Caller, query_id: str) -> None:
    """Delete a saved query. Raises Refused("not-found")."""
    mailroom.catalogue.queries.delete(caller, _valid(query_id))


def _valid(query_id: str) -> str:
    if not _ID.fullmatch(query_id):
        raise Refused("not-found", "There is no such saved query, or it belongs to another caller.")
    return query_id
