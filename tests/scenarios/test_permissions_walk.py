"""Every GET route answers a caller the same whether a forbidden document is stored or not.

Two installations hold the same documents for Bob; the first also has Ann's, full of words that identify it. Each route
of the description is called with everything that it takes. A new route or parameter is included without being named,
or the test reports which values it needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import httpx
import pytest

from pipeline.questions import Feedback
from pipeline.rights import SCOPES
from tests.support.serving import client, make_mailroom, read_and_index, serving
from tests.support.tiny import make_classifier, make_embedder
from workers.assemble import Mailroom

#: A word of the text, name, folder, source, title and metadata of the forbidden document. Its label is unique to it:
#: labels are the installation's own words, but how many documents have one is not public.
SENTINEL = "sentinel"
#: Misspelt words of Bob's documents that only the forbidden one has.
NEAR = {"paymont": "payment", "replacad": "replaced"}
READABLE = {
    "pump.txt": "The pump of the northern station was replaced, said the payment office.",
    "lease.txt": "The notice period of the lease is three months, payment by quarter.",
    "memo.txt": "Travel expenses are paid within thirty days; the pump is not travel.",
}
FORBIDDEN = f"The {SENTINEL} pump of the lease: {' '.join(NEAR)} payment {SENTINEL}, notice 99-{SENTINEL}-1 travel."
WORDS = sorted({*re.findall(r"[a-z]+", " ".join([*READABLE.values(), FORBIDDEN]).lower())})

#: Not compared, since they report to administrators how much there is to do, in numbers only. The sentinel must not
#: occur in them either.
COUNTS_OF_ALL = {
    "/metrics": "an operator's figures: documents by state, jobs by queue; scope metrics",
    "/v1/jobs": "the same as JSON; scope metrics",
    "/v1/keys": "the keys without their secrets; scope admin",
}
#: Fields that differ between two installations of the same documents: times, key ids and index generations; and scores,
#: with the confidence of an answer that is based on them, since how rare a word is, is a property of the whole index
#: (docs/permissions.md).
DIFFERING = {"received_at", "finished_at", "arrived_at", "created_at", "at", "seconds", "key_id", "generation"}
DIFFERING |= {"score", "explain", "confidence", "sent_by"}
#: The values that are sent for a parameter of this name. "ID" stands for the forbidden document.
VALUES: dict[str, list[Any]] = {
    "document_id": ["ID"],
    "query_id": ["QUERY"],
    "code": ["not-found"],
    "query": [
        "pump",
        SENTINEL,
        f'"{SENTINEL} pump"',
        f"{SENTINEL[:5]}*",
        f"+{SENTINEL} -pump",
        "sentinal~",
        *NEAR,
        " ".join(NEAR),
        "pump lease",
    ],
    "erasure_id": ["ERASURE"],
    "personal_data": ["email"],
    "actor": ["user:ann"],
    "key_id": ["none"],
    "action": ["document.upload"],
    "resource": ["document:none"],
    "outcome": ["success"],
    "request_id": ["none"],
    "since": ["2020-01-01"],
    "until": ["2020-01-01"],
    "prefix": [SENTINEL[:3], SENTINEL, f"pump {SENTINEL[:3]}", "pu", "paymo", "99"],
    "mode": ["lexical", "vector", "hybrid"],
    "label": ["contract", "invoice"],
    "source": ["api", f"{SENTINEL}-source"],
    "folder": ["in", f"{SENTINEL}-folder"],
    "owner": ["Ben", SENTINEL],
    "language": ["eng", SENTINEL],
    "media_type": ["text/plain", SENTINEL],
    "metadata": ["department=hr", f"{SENTINEL}=x", "department=board"],
    "state": ["indexed", "failed"],
    "facets": [f"type,source,owner,language,state,media_type,month,metadata.department,metadata.{SENTINEL}"],
    "received_from": ["2020-01-01"],
    "received_to": ["2020-01-01"],
    "principal": ["user:ann"],
    "collapse": ["false"],
    "explain": ["true"],
    "plain": ["true"],
    "per_document": ["1"],
    "facet_limit": ["1"],
    "order": ["oldest"],
    "revisions": ["all"],
}
#: Bob's scopes: whoever has the scope `audit` sees what everybody did.
BOB = [scope for scope in SCOPES if scope != "audit"]
#: Bounds of pages and the like reveal nothing that their defaults do not.
LEFT_OUT = {"k", "cursor", "limit", "offset", "after", "start", "end", "rerank"}


@dataclass
class Side:
    """A served installation as Bob sees it. ``names``: id of his documents and queries -> placeholder."""

    mailroom: Mailroom
    bob: httpx.Client
    described: dict[str, Any]
    names: dict[str, str] = field(default_factory=dict)
    query_id: str = ""

    def answer(self, path: str, params: dict[str, Any], body: Any = None) -> tuple[int, str]:
        """Return status and text of the answer, with placeholders for ids, without the differing fields."""
        response = self.bob.post(path, json=body) if body else self.bob.get(path, params=params)
        text = response.text
        for document_id, name in self.names.items():
            text = text.replace(document_id, name)
        if "json" in response.headers["content-type"]:
            text = json.dumps(_comparable(json.loads(text)), sort_keys=True)
        return response.status_code, text


def _comparable(value: Any) -> Any:
    """Drop the differing fields, and sort lists, whose order depends on scores."""
    if isinstance(value, dict):
        return {name: _comparable(field_) for name, field_ in value.items() if name not in DIFFERING}
    if isinstance(value, list):
        return sorted((_comparable(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


@dataclass
class Pair:
    """The same installation with and without the forbidden document."""

    with_it: Side
    without: Side
    forbidden: str
    erasure: str

    def errors(self, path: str, params: dict[str, Any], body: Any = None) -> list[str]:
        """List the errors of an answer: it differs from the other installation's, or contains the sentinel."""
        filled = [
            path.replace("ID", i).replace("QUERY", s.query_id).replace("ERASURE", self.erasure)
            for s, i in self._ids(path)
        ]
        (status, text), (other_status, other) = (
            side.answer(address, params, body)
            for side, address in zip((self.with_it, self.without), filled, strict=True)
        )
        request = f"{path} {params or body or ''}"
        exempt = any(path.startswith(prefix) for prefix in COUNTS_OF_ALL)
        errors = [] if exempt or (status, text) == (other_status, other) else [f"{request}: {text} is not {other}"]
        leaks = SENTINEL not in request and SENTINEL in text.lower()
        return errors + ([f"{request}: {text}"] if leaks else [])

    def _ids(self, path: str) -> list[tuple[Side, str]]:
        return [(self.with_it, self.forbidden), (self.without, self.forbidden)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    root = tmp_path_factory.mktemp("walk")
    embedder = make_embedder(root / "models", "1", WORDS)
    classifier = make_classifier(root / "models", "1", {"contract": ["lease"], "invoice": ["pump"]})
    settings = {
        "models.embedder": str(embedder.path),
        "models.classifier": str(classifier.path),
        "catalogue.url": "memory:",
    }
    first, second = (make_mailroom(root / name, **settings) for name in ("with", "without"))
    with serving(first) as url, serving(second) as other_url:
        root = client(url, first, admin=True)
        forbidden = _forbidden(first, root)
        gone = _send(root, first, f"{SENTINEL}-2.txt", FORBIDDEN, "user:ann", "invoice", SENTINEL)
        erasure = root.delete(f"/v1/documents/{gone}").json()["erasure"]
        sides = [_side(first, url), _side(second, other_url)]
        yield Pair(*sides, forbidden, erasure)
    first.close(), second.close()


def _send(
    root: httpx.Client, mailroom: Mailroom, name: str, text: str, access: str, label: str, title: str, **fields: str
) -> str:
    params = {"access": access, **fields}
    receipt = root.post("/v1/documents", content=text.encode(), headers={"X-Filename": name}, params=params)
    return read_and_index(mailroom, receipt.json()["id"], text, label, title).id


def _forbidden(mailroom: Mailroom, root: httpx.Client) -> str:
    """Store Ann's document with a person's label, a useful vote and a saved query of hers; return its id."""
    metadata = json.dumps({"department": "board", SENTINEL: SENTINEL, "owner": SENTINEL})
    places = {"source": f"{SENTINEL}-source", "path": f"{SENTINEL}-folder/{SENTINEL}.txt", "metadata": metadata}
    document_id = _send(
        root, mailroom, f"{SENTINEL}.txt", FORBIDDEN, "user:ann", "invoice", f"Pump of the {SENTINEL}", **places
    )
    mailroom.review.approve(mailroom.catalogue.documents.get(document_id), ["invoice"], "ann")
    mailroom.catalogue.feedback.record(Feedback(f"{SENTINEL} pump", document_id, "useful", 1.0, "ann"))
    root.post("/v1/queries", json={"name": SENTINEL, "search": {"query": SENTINEL}})
    return document_id


def _side(mailroom: Mailroom, url: str) -> Side:
    root, bob = client(url, mailroom, admin=True), client(url, mailroom, ["user:bob"], BOB)
    side = Side(mailroom, bob, root.get("/openapi.json").json())
    for name, text in READABLE.items():
        metadata = json.dumps({"department": "hr", "owner": "Ben"})
        places = {"path": f"in/{name}", "metadata": metadata}
        document_id = _send(root, mailroom, name, text, "user:bob", "contract", f"Note on the {name[:4]}", **places)
        side.names[document_id] = f"<{name}>"
    lease = next(document_id for document_id, name in side.names.items() if "lease" in name)
    mailroom.review.approve(mailroom.catalogue.documents.get(lease), ["contract"], "bob")
    bob.post("/v1/feedback", json={"query": "notice", "document_id": lease, "kind": "useful"})
    saved = {"name": "pumps", "search": {"query": "pump", "facets": ["type", "owner"], "mode": "lexical"}}
    side.query_id = bob.post("/v1/queries", json=saved).json()["id"]
    side.names[side.query_id] = "<pumps>"
    return side


def requests(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every GET route with parameters: all values of the required ones, and each of the others with the first.

    Fails for a parameter without values.
    """
    for path, verbs in described["paths"].items():
        parameters = verbs.get("get", {}).get("parameters", []) if "get" in verbs else None
        if parameters is None:
            continue
        by_place: dict[str, dict[str, bool]] = {"path": {}, "query": {}, "header": {}}
        for parameter in parameters:
            by_place[parameter["in"]][parameter["name"]] = parameter.get("required", False)
        unknown = {*by_place["path"], *by_place["query"]} - VALUES.keys() - LEFT_OUT
        assert not unknown, f"{path}: add values for {unknown} to VALUES, or their names to LEFT_OUT"
        for name in by_place["path"]:
            path = path.replace(f"{{{name}}}", VALUES[name][0])
        needed = [name for name, required in by_place["query"].items() if required]
        for values in product(*(VALUES[name] for name in needed)):
            yield path, dict(zip(needed, values, strict=True))
        base = {name: VALUES[name][0] for name in needed}
        for name in sorted(by_place["query"].keys() - base.keys() - LEFT_OUT):
            yield from ((path, {**base, name: value}) for value in VALUES[name])


def test_every_get_route_answers_the_same_without_the_forbidden_document(pair: Pair) -> None:
    errors: list[str] = []
    walked: set[str] = set()
    for path, params in requests(pair.with_it.described):
        walked.add(path)
        errors += pair.errors(path, params)
    assert {"/v1/documents", "/v1/search", "/v1/suggest", "/v1/documents/ID/similar", "/v1/feedback"} <= walked
    assert errors[:5] == []


def test_its_id_is_not_found_on_any_route(pair: Pair) -> None:
    paths = [
        path for path, verbs in pair.with_it.described["paths"].items() if "{document_id}" in path and "get" in verbs
    ]
    for path in paths:
        answer = pair.with_it.bob.get(path.replace("{document_id}", pair.forbidden))
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), path
    assert len(paths) >= 6


def test_readable_documents_look_the_same_on_every_route(pair: Pair) -> None:
    """Check that record, neighbours and prediction of a readable document reveal nothing of the forbidden one."""
    errors = []
    for path, verbs in pair.with_it.described["paths"].items():
        if "{document_id}" in path and "get" in verbs:
            for mine, other in zip(pair.with_it.names, pair.without.names, strict=True):
                if mine != pair.with_it.query_id:
                    answer = pair.with_it.answer(path.replace("{document_id}", mine), {})
                    errors += [path] if answer != pair.without.answer(path.replace("{document_id}", other), {}) else []
                    errors += [f"{path}: {answer}"] if SENTINEL in answer[1].lower() or answer[0] != 200 else []
    assert errors == []


@pytest.mark.parametrize("query", VALUES["query"])
def test_a_query_in_a_body_is_answered_the_same(pair: Pair, query: str) -> None:
    body = {"query": query, "mode": "lexical", "facets": ["type", "owner"], "per_document": 1}
    errors = pair.errors("/v1/search", {}, body) + pair.errors("/v1/ask", {}, {"question": query})
    assert errors == []
