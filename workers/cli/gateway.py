"""Where a command finds its documents: the stores of this machine, or a server by REST. Both answer in the same JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from pydantic_core import to_jsonable_python

from pipeline.documents import Arrival
from pipeline.errors import CODES, Refused, Unavailable
from pipeline.questions import ADMINISTRATOR, Filters
from workers.api import saved
from workers.api.schemas.discovery import SimilarDocument, SimilarPage, SuggestPage, SuggestQuery
from workers.api.schemas.documents import DocumentPage, DocumentRecord, DocumentStatus
from workers.api.schemas.filters import FilterFields
from workers.api.schemas.queries import SavedQueryBody
from workers.api.schemas.search import AnswerPage, FeedbackEntry, SearchBody
from workers.api.schemas.service import JobCounts
from workers.api.searching import run_search
from workers.assemble import Mailroom
from workers.services.promotion import current_user
from workers.services.workload import workload

Json = dict[str, Any]
PIECE = 1 << 20
#: Values told of each facet.
FACET_VALUES = 20
#: The operator at the machine: whoever may read the data folder may see everything in it.


class Gateway(Protocol):
    """What the commands need. Answers are those of the REST API."""

    def add(self, file: Path, name: str, fields: Mapping[str, Any]) -> Json: ...

    def document(self, document_id: str) -> Json: ...

    def record(self, document_id: str) -> Json: ...

    def documents(self, filters: Mapping[str, Any], limit: int, offset: int, facets: Sequence[str] = ()) -> Json: ...

    def search(
        self, query: str, k: int, mode: str, explain: bool, filters: Mapping[str, Any], **ranking: Any
    ) -> Json: ...

    def ask(self, question: str, filters: Mapping[str, Any]) -> Json: ...

    def suggest(self, prefix: str, limit: int) -> Json: ...

    def similar(self, document_id: str, k: int) -> Json: ...

    def retry(self, document_id: str) -> None: ...

    def delete(self, document_id: str) -> None: ...

    def feedback(self) -> Iterator[Json]: ...

    def why(self, document_id: str) -> Json: ...

    def approve(self, document_id: str, labels: Sequence[str], new: bool) -> Json: ...

    def save_query(self, name: str, search: Mapping[str, Any]) -> Json: ...

    def saved_queries(self) -> Json: ...

    def run_query(self, query_id: str, k: int | None, offset: int | None) -> Json: ...

    def delete_query(self, query_id: str) -> None: ...

    def jobs(self) -> Json: ...

    def close(self) -> None: ...


class Local:
    """Straight to the stores, as the operator. Needs no running server; a running one goes on undisturbed."""

    def __init__(self, mailroom: Mailroom) -> None:
        self._mailroom = mailroom

    def add(self, file: Path, name: str, fields: Mapping[str, Any]) -> Json:
        source, access, labels = fields.get("source", "cli"), fields.get("access"), fields.get("labels", ())
        arrival = Arrival(source, name, time.time(), tuple(access or ["*"]), tuple(labels), {})
        document, created = self._mailroom.intake.receive(pieces(file), arrival)
        return {"id": document.id, "created": created, "state": str(document.state)}

    def document(self, document_id: str) -> Json:
        return _json(DocumentStatus.of(self._mailroom.documents.read(ADMINISTRATOR, document_id)))

    def record(self, document_id: str) -> Json:
        return _json(DocumentRecord.of(self._mailroom.documents.record(ADMINISTRATOR, document_id)))

    def documents(self, filters: Mapping[str, Any], limit: int, offset: int, facets: Sequence[str] = ()) -> Json:
        listing = self._mailroom.documents.find(
            ADMINISTRATOR, _filters(filters), limit, offset, facets=facets, facet_limit=FACET_VALUES
        )
        return _json(DocumentPage.of(listing))

    def search(self, query: str, k: int, mode: str, explain: bool, filters: Mapping[str, Any], **ranking: Any) -> Json:
        body = SearchBody.model_validate(_search(query, k, mode, explain, filters, ranking))
        return _json(run_search(self._mailroom.search, ADMINISTRATOR, body))

    def ask(self, question: str, filters: Mapping[str, Any]) -> Json:
        return _json(AnswerPage.of(self._mailroom.search.ask(ADMINISTRATOR, question, _filters(filters))))

    def suggest(self, prefix: str, limit: int) -> Json:
        asked = SuggestQuery(prefix=prefix, limit=limit)
        return _json(SuggestPage(items=list(self._mailroom.suggestions.find(ADMINISTRATOR, asked.prefix, asked.limit))))

    def similar(self, document_id: str, k: int) -> Json:
        document = self._mailroom.documents.read(ADMINISTRATOR, document_id)
        neighbours = self._mailroom.similar.find(ADMINISTRATOR, document, k)
        return _json(SimilarPage(items=[SimilarDocument.of(neighbour) for neighbour in neighbours]))

    def retry(self, document_id: str) -> None:
        self._mailroom.documents.retry(ADMINISTRATOR, document_id)

    def delete(self, document_id: str) -> None:
        self._mailroom.documents.erase(ADMINISTRATOR, document_id)

    def feedback(self) -> Iterator[Json]:
        after = 0
        while found := self._mailroom.catalogue.feedback.page(ADMINISTRATOR, after):
            yield from (_json(FeedbackEntry.of(feedback)) for _, feedback in found)
            after = found[-1][0]

    def why(self, document_id: str) -> Json:
        document = self._mailroom.documents.read(ADMINISTRATOR, document_id)
        return _json(self._mailroom.explainer.explain(ADMINISTRATOR, document))

    def approve(self, document_id: str, labels: Sequence[str], new: bool) -> Json:
        document = self._mailroom.documents.read(ADMINISTRATOR, document_id)
        return _json(DocumentStatus.of(self._mailroom.review.approve(document, labels, current_user(), new)))

    def save_query(self, name: str, search: Mapping[str, Any]) -> Json:
        return _json(
            saved.create(self._mailroom, ADMINISTRATOR, SavedQueryBody.model_validate({"name": name, "search": search}))
        )

    def saved_queries(self) -> Json:
        return _json(saved.find_all(self._mailroom, ADMINISTRATOR))

    def run_query(self, query_id: str, k: int | None, offset: int | None) -> Json:
        return _json(saved.run(self._mailroom, ADMINISTRATOR, query_id, k, offset))

    def delete_query(self, query_id: str) -> None:
        saved.delete(self._mailroom, ADMINISTRATOR, query_id)

    def jobs(self) -> Json:
        return _json(JobCounts.of(workload(self._mailroom.catalogue, self._mailroom.notifier)))

    def close(self) -> None:
        """The House is its owner's to close."""


class Remote:
    """By REST, with the rights of a key."""

    def __init__(self, url: str, key: str | None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False)

    def add(self, file: Path, name: str, fields: Mapping[str, Any]) -> Json:
        query = {key: value for key, value in fields.items() if value}
        headers = {"X-Filename": quote(name), "Content-Type": "application/octet-stream"}
        return self._send(
            "POST", "/v1/documents", params={**query, "path": name}, content=pieces(file), headers=headers
        )

    def document(self, document_id: str) -> Json:
        return self._send("GET", f"/v1/documents/{quote(document_id, safe='')}")

    def record(self, document_id: str) -> Json:
        return self._send("GET", f"/v1/documents/{quote(document_id, safe='')}/record")

    def documents(self, filters: Mapping[str, Any], limit: int, offset: int, facets: Sequence[str] = ()) -> Json:
        return self._send(
            "GET", "/v1/documents", params={**_set(filters), "limit": limit, "offset": offset, "facets": list(facets)}
        )

    def search(self, query: str, k: int, mode: str, explain: bool, filters: Mapping[str, Any], **ranking: Any) -> Json:
        return self._send("POST", "/v1/search", json=_search(query, k, mode, explain, filters, ranking))

    def ask(self, question: str, filters: Mapping[str, Any]) -> Json:
        return self._send("POST", "/v1/ask", json={"question": question, "filters": _set(filters)})

    def suggest(self, prefix: str, limit: int) -> Json:
        asked = SuggestQuery(prefix=prefix, limit=limit)  # here: an address of a megabyte is never sent
        return self._send("GET", "/v1/suggest", params=asked.model_dump())

    def similar(self, document_id: str, k: int) -> Json:
        return self._send("GET", f"/v1/documents/{quote(document_id, safe='')}/similar", params={"k": k})

    def retry(self, document_id: str) -> None:
        self._send("POST", f"/v1/documents/{quote(document_id, safe='')}/retry")

    def delete(self, document_id: str) -> None:
        self._send("DELETE", f"/v1/documents/{quote(document_id, safe='')}")

    def feedback(self) -> Iterator[Json]:
        after: int | None = 0
        while after is not None:
            page = self._send("GET", "/v1/feedback", params={"after": after})
            yield from page["items"]
            after = page["next_after"]

    def why(self, document_id: str) -> Json:
        return self._send("GET", f"/v1/documents/{quote(document_id, safe='')}/why")

    def approve(self, document_id: str, labels: Sequence[str], new: bool) -> Json:
        path = f"/v1/documents/{quote(document_id, safe='')}/approve"
        return self._send("POST", path, json={"labels": labels, "new": new})

    def save_query(self, name: str, search: Mapping[str, Any]) -> Json:
        return self._send("POST", "/v1/queries", json={"name": name, "search": search})

    def saved_queries(self) -> Json:
        return self._send("GET", "/v1/queries")

    def run_query(self, query_id: str, k: int | None, offset: int | None) -> Json:
        page = {name: value for name, value in (("k", k), ("offset", offset)) if value is not None}
        return self._send("GET", f"/v1/queries/{quote(query_id, safe='')}/results", params=page)

    def delete_query(self, query_id: str) -> None:
        self._send("DELETE", f"/v1/queries/{quote(query_id, safe='')}")

    def jobs(self) -> Json:
        return self._send("GET", "/v1/jobs")

    def close(self) -> None:
        self._client.close()

    def _send(self, method: str, path: str, **more: Any) -> Json:
        """The answer's JSON; a problem becomes the error that it tells of."""
        try:
            response = self._client.request(method, path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            text = f"No answer from {self._client.base_url} ({type(error).__name__}); is Mailroom running there?"
            raise Unavailable("store-unavailable", text) from error
        if response.is_success:
            return response.json() if response.content else {}
        raise _problem(response)


def _problem(response: httpx.Response) -> Refused | Unavailable:
    try:
        told = response.json()
        code, detail = str(told["code"]), str(told["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "internal", f"The server answered {response.status_code}."
    code = code if code in CODES else "internal"
    return (Unavailable if response.status_code >= 500 else Refused)(code, detail)


def pieces(file: Path) -> Iterator[bytes]:
    """The file's bytes, a MiB at a time."""
    with file.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece


def _search(
    query: str, k: int, mode: str, explain: bool, filters: Mapping[str, Any], ranking: Mapping[str, Any]
) -> Json:
    return {"query": query, "k": k, "mode": mode, "explain": explain, "filters": _set(filters), **ranking}


def _filters(filters: Mapping[str, Any]) -> Filters:
    return FilterFields.model_validate(_set(filters)).filters()


def _set(filters: Mapping[str, Any]) -> Json:
    return {name: value for name, value in filters.items() if value}


def _json(model: Any) -> Json:
    values: Json = to_jsonable_python(model)
    return values


def walk(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """(file, name in its source) of every file, folders searched through; hidden files are left out."""
    found = []
    for path in paths:
        if path.is_dir():
            inner = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
            found += [(each, each.relative_to(path.parent).as_posix()) for each in inner]
        elif path.is_file():
            found.append((path, path.name))
        else:
            raise Refused("not-found", f"There is no file {path}.")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
