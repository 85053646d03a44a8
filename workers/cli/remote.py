"""A server over REST, as the commands use it, with the rights of a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from pipeline.errors import CODES, Refused, Unavailable
from workers.cli.files import pieces

Json = dict[str, Any]


class Remote:
    """Calls a server's routes. Raises the errors that it reports, and Unavailable if it does not answer."""

    def __init__(self, url: str, key: str | None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False)

    def add(self, file: Path, name: str, fields: Mapping[str, Any]) -> Json:
        """Store a file under a name in its source; return its id, its state, and whether it is new."""
        headers = {"X-Filename": quote(name), "Content-Type": "application/octet-stream"}
        params = {**{field: value for field, value in fields.items() if value}, "path": name}
        return self._send("POST", "/v1/documents", params=params, content=pieces(file), headers=headers)

    def document(self, document_id: str) -> Json:
        """Return a document."""
        return self._send("GET", _path("documents", document_id))

    def record(self, document_id: str) -> Json:
        """Return a document's decision record."""
        return self._send("GET", _path("documents", document_id, "record"))

    def documents(self, filters: Mapping[str, Any], **page: Any) -> Json:
        """Return a page of documents. ``page``: limit, offset, cursor, order, facets."""
        return self._send("GET", "/v1/documents", params={**filters, **page})

    def search(self, query: str, filters: Mapping[str, Any], **options: Any) -> Json:
        """Return a page of passages. ``options`` as `POST /v1/search` takes them."""
        return self._send("POST", "/v1/search", json={"query": query, "filters": filters, **options})

    def ask(self, question: str, filters: Mapping[str, Any]) -> Json:
        """Return an answer."""
        return self._send("POST", "/v1/ask", json={"question": question, "filters": filters})

    def suggest(self, prefix: str, limit: int) -> Json:
        """Return completions."""
        from workers.api.schemas.discovery import SuggestQuery  # checked here: no URL of a megabyte is sent

        return self._send("GET", "/v1/suggest", params=SuggestQuery(prefix=prefix, limit=limit).model_dump())

    def similar(self, document_id: str, k: int) -> Json:
        """Return the documents nearest to one."""
        return self._send("GET", _path("documents", document_id, "similar"), params={"k": k})

    def retry(self, document_id: str) -> None:
        """Send a document through the path again."""
        self._send("POST", _path("documents", document_id, "retry"))

    def erase(self, document_ids: Sequence[str]) -> list[str]:
        """Erase documents; return the ids of the erasures, one for each."""
        return [self._send("DELETE", _path("documents", document_id))["erasure"] for document_id in document_ids]

    def erasure(self, erasure_id: str) -> Json:
        """Return an erasure."""
        return self._send("GET", _path("erasures", erasure_id))

    def feedback(self) -> Iterator[Json]:
        """Yield all clicks and votes, oldest first."""
        after: int | None = 0
        while after is not None:
            page = self._send("GET", "/v1/feedback", params={"after": after})
            yield from page["items"]
            after = page["next_after"]

    def why(self, document_id: str) -> Json:
        """Return the explanation of a document's prediction."""
        return self._send("GET", _path("documents", document_id, "why"))

    def approve(self, document_id: str, labels: Sequence[str], new: bool) -> Json:
        """File a document under the labels that a person decided on; return it."""
        return self._send("POST", _path("documents", document_id, "approve"), json={"labels": labels, "new": new})

    def save_query(self, name: str, search: Mapping[str, Any]) -> Json:
        """Save a search under a name; return the saved query."""
        return self._send("POST", "/v1/queries", json={"name": name, "search": search})

    def saved_queries(self) -> Json:
        """Return the saved queries."""
        return self._send("GET", "/v1/queries")

    def run_query(self, query_id: str, **page: int) -> Json:
        """Return a page of passages for a saved query. ``page``: k, offset."""
        return self._send("GET", _path("queries", query_id, "results"), params=page)

    def delete_query(self, query_id: str) -> None:
        """Delete a saved query."""
        self._send("DELETE", _path("queries", query_id))

    def rules(self, place: Mapping[str, str]) -> Json:
        """Return the access rules of a place, or all."""
        return self._send("GET", "/v1/access", params=place)

    def add_rule(self, rule: Mapping[str, str]) -> Json:
        """Add an access rule; return whether it is new."""
        return self._send("POST", "/v1/access", json=rule)

    def remove_rule(self, rule: Mapping[str, str]) -> None:
        """Remove an access rule."""
        self._send("DELETE", "/v1/access", params=rule)

    def explain_access(self, document_id: str, principals: Sequence[str]) -> Json:
        """Return whether someone may read a document, and the rule that decides."""
        return self._send("GET", "/v1/access/explain", params={"document_id": document_id, "principal": principals})

    def groups(self) -> Json:
        """Return the groups and their members."""
        return self._send("GET", "/v1/groups")

    def add_members(self, group: str, members: Sequence[str]) -> Json:
        """Add members to a group; return how many are new."""
        return self._send("POST", "/v1/groups", json={"name": group, "members": members})

    def remove_members(self, group: str, members: Sequence[str]) -> Json:
        """Remove members from a group; return how many were in it."""
        return self._send("DELETE", "/v1/groups", params={"name": group, "member": members})

    def retention(self, limit: int) -> Json:
        """Return documents whose time is over."""
        return self._send("GET", "/v1/retention", params={"limit": limit})

    def confirm_retention(self, document_ids: Sequence[str]) -> Json:
        """Erase documents whose time is over; return how many."""
        return self._send("POST", "/v1/retention/confirm", json={"document_ids": document_ids})

    def holds(self) -> Json:
        """Return the legal holds."""
        return self._send("GET", "/v1/holds")

    def add_hold(self, hold: Mapping[str, str]) -> Json:
        """Place a legal hold; return it."""
        return self._send("POST", "/v1/holds", json=hold)

    def remove_hold(self, hold_id: str) -> None:
        """Lift a legal hold."""
        self._send("DELETE", _path("holds", hold_id))

    def audit(self, **query: Any) -> Json:
        """Return a page of the audit, newest first. ``query`` as `GET /v1/audit` takes it."""
        return self._send("GET", "/v1/audit", params=query)

    def keys(self) -> Json:
        """Return every key without its secret."""
        return self._send("GET", "/v1/keys")

    def create_key(self, key: Mapping[str, Any]) -> Json:
        """Make a key; return it with its secret."""
        return self._send("POST", "/v1/keys", json=key)

    def rotate_key(self, key_id: str, rotation: Mapping[str, str]) -> Json:
        """Give a key another secret; return it with that."""
        return self._send("POST", _path("keys", key_id, "rotate"), json=rotation)

    def revoke_key(self, key_id: str) -> None:
        """End a key."""
        self._send("DELETE", _path("keys", key_id))

    def deliveries(self, state: str) -> Json:
        """Return deliveries: those that were given up ("dead"), or "all" that are not done."""
        return self._send("GET", "/v1/deliveries", params={"state": state, "limit": 1000})

    def retry_deliveries(self, delivery_id: str | None) -> int:
        """Send one delivery that was given up again, or all; return how many."""
        path = _path("deliveries", delivery_id or "all", "retry")
        return int(self._send("POST", path)["count"])

    def drop_delivery(self, delivery_id: str) -> None:
        """Remove a delivery that was given up."""
        self._send("DELETE", _path("deliveries", delivery_id))

    def taxonomy(self) -> Json:
        """Return the current labels and all operations."""
        return self._send("GET", "/v1/taxonomy")

    def change_taxonomy(self, change: Mapping[str, Any]) -> Json:
        """Rename, merge, split or retire labels; return the operation and what it affects."""
        return self._send("POST", "/v1/taxonomy", json=change)

    def undo_taxonomy(self, reason: str) -> Json:
        """Undo the latest taxonomy operation; return it and what it affects."""
        return self._send("POST", "/v1/taxonomy/undo", json={"reason": reason})

    def jobs(self) -> Json:
        """Return the counts of documents and jobs."""
        return self._send("GET", "/v1/jobs")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, method: str, path: str, **request: Any) -> Json:
        """Return the JSON of the response; raise the error that a problem reports."""
        try:
            response = self._client.request(method, path, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            text = f"No answer from {self._client.base_url} ({type(error).__name__}); is Mailroom running there?"
            raise Unavailable("store-unavailable", text) from error
        if not response.is_success:
            raise _problem(response)
        content: Json = response.json() if response.content else {}
        return content


def _path(*segments: str) -> str:
    return "/".join(["/v1", *(quote(segment, safe="") for segment in segments)])


def _problem(response: httpx.Response) -> Refused | Unavailable:
    """Return the error that a response reports."""
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "internal", f"The server answered {response.status_code}."
    code = code if code in CODES else "internal"
    return (Unavailable if response.status_code >= 500 else Refused)(code, detail)
