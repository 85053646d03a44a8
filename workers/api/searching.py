"""One search over REST: for the search's own routes and for saved queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.questions import Caller
from workers.api.schemas.search import SearchBody, SearchLink, SearchPage

if TYPE_CHECKING:  # NumPy comes with it
    from pipeline.answer import Finder


def run_search(finder: Finder, caller: Caller, search: SearchBody | SearchLink) -> SearchPage:
    """Return the page of passages, with facets if some are requested. Raises Refused as the search does."""
    request = search.request()
    facets = finder.facets(caller, request, search.facets, search.facet_limit) if search.facets else None
    return SearchPage.of(request, finder.search(caller, request), search.explain, facets)
