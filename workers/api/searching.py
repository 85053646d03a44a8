"""A search as it came over the wire, answered: for the search's own routes and for saved queries."""

from __future__ import annotations

from pipeline.answer import Finder
from pipeline.questions import Caller
from workers.api.schemas.documents import Search, SearchLink, SearchPage


def answer(finder: Finder, caller: Caller, asked: Search | SearchLink) -> SearchPage:
    """The page, with the facets that were asked for. Raises Refused as the search does."""
    request = asked.request()
    counted = finder.facets(caller, request, asked.facets, asked.facet_limit) if asked.facets else None
    return SearchPage.of(request, finder.search(caller, request), asked.explain, counted)
