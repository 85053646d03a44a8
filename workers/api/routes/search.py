"""Search and questions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from pipeline.questions import SearchRequest
from workers.api import schemas
from workers.api.auth import OurHouse, Reader
from workers.api.problems import RESPONSES
from workers.api.routes.documents import QueryFilters

router = APIRouter(prefix="/v1", tags=["search"], responses=RESPONSES)


@router.get("/search", response_model=schemas.SearchPage, summary="Search passages")
def search(
    house: OurHouse,
    caller: Reader,
    fields: QueryFilters,
    query: Annotated[str, Query(max_length=2000, examples=["notice period"])],
    k: Annotated[int, Query(ge=1, le=100)] = 10,
    offset: Annotated[int, Query(ge=0, le=900)] = 0,
    mode: Annotated[str, Query(pattern="^(hybrid|lexical|vector)$")] = "hybrid",
    explain: bool = False,
) -> schemas.SearchPage:
    """Words, "phrases", +required, -excluded, title:word, name:word; codes are found as they are written."""
    asked = schemas.SearchQuery(query=query, k=k, offset=offset, mode=mode, explain=explain, filters=fields)
    return _page(house, caller, asked)


@router.post("/search", response_model=schemas.SearchPage, summary="Search passages, with a JSON body")
def search_by_body(house: OurHouse, caller: Reader, asked: schemas.SearchQuery) -> schemas.SearchPage:
    return _page(house, caller, asked)


@router.post("/ask", response_model=schemas.Answer, summary="Ask a question")
def ask(house: OurHouse, caller: Reader, question: schemas.Question) -> schemas.Answer:
    """Sentences of the documents that answer, quoted verbatim; or found=false with the nearest passages."""
    answer = house.search.ask(caller, question.question, question.filters.filters(), question.k)
    return schemas.Answer.of(answer)


def _page(house: OurHouse, caller: Reader, asked: schemas.SearchQuery) -> schemas.SearchPage:
    request = SearchRequest(asked.query, asked.k, asked.offset, asked.mode, asked.filters.filters())
    result = house.search.search(caller, request)
    return schemas.SearchPage(
        items=[schemas.Passage.of(passage, asked.explain) for passage in result.passages],
        total=result.total,
        total_is_exact=result.total_is_exact,
        k=asked.k,
        offset=asked.offset,
        generation=result.generation,
        stale=result.stale,
    )
