"""Every GET route, whatever it is called, tells a caller the same whether a forbidden document is in the house or not.

Two houses hold the same documents for Bob; the first also has Ann's, full of words that mark it. Each route of the description is
asked everything that it takes; a new route, or a new parameter, is walked without being named, or the walk says what it lacks.
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
from tests.support.serving import client, make_mailroom, read_and_index, serving
from tests.support.tiny import make_classifier, make_embedder
from workers.assemble import Mailroom

#: Stands in the text, name, folder, source, title and metadata of the forbidden document. Its label is one that no other has: labels are
#: the house's own words, but how many documents have one is not.
MARK = "sentinel"
#: Words of Bob's documents, one letter of each other in the forbidden one: only there does a word of the query stand.
NEAR = {"paymont": "payment", "replacad": "replaced"}
READABLE = {
    "pump.txt": "The pump of the northern station was replaced, said the payment office.",
    "lease.txt": "The notice period of the lease is three months, payment by quarter.",
    "memo.txt": "Travel expenses are paid within thirty days; the pump is not travel.",
}
FORBIDDEN = f"The {MARK} pump of the lease: {' '.join(NEAR)} payment {MARK}, notice 99-{MARK}-1 travel."
WORDS = sorted({*re.findall(r"[a-z]+", " ".join([*READABLE.values(), FORBIDDEN]).lower())})

#: Not compared, since administrators ask it how much there is to do, in numbers alone. It must not hold the mark either.
COUNTS_OF_ALL = {
    "/metrics": "an operator's figures: documents by state, jobs by queue; scope admin",
    "/v1/jobs": "the same as JSON; scope admin",
}
#: What differs between two houses of the same documents: moments, names of keys and index generations. And the scores of words,
#: with the confidence of an answer that is made of them: how rare a word is, is known of the index as a whole (docs/permissions.md).
DIFFERING = {"received_at", "finished_at", "arrived_at", "created_at", "at", "seconds", "key_id", "generation"}
DIFFERING |= {"score", "explain", "confidence"}
#: What is sent for a parameter of this name, one after the other. "ID" are documents, the forbidden one among them.
SENT: dict[str, list[Any]] = {
    "document_id": ["ID"],
    "query_id": ["QUERY"],
    "code": ["not-found"],
    "query": [
        "pump",
        MARK,
        f'"{MARK} pump"',
        f"{MARK[:5]}*",
        f"+{MARK} -pump",
        "sentinal~",
        *NEAR,
        " ".join(NEAR),
        "pump lease",
    ],
    "prefix": [MARK[:3], MARK, f"pump {MARK[:3]}", "pu", "paymo", "99"],
    "mode": ["lexical", "vector", "hybrid"],
    "label": ["contract", "invoice"],
    "source": ["api", f"{MARK}-source"],
    "folder": ["in", f"{MARK}-folder"],
    "owner": ["Ben", MARK],
    "language": ["eng", MARK],
    "media_type": ["text/plain", MARK],
    "metadata": ["department=hr", f"{MARK}=x", "department=board"],
    "state": ["indexed", "failed"],
    "facets": [f"type,source,owner,language,state,media_type,month,metadata.department,metadata.{MARK}"],
    "received_from": ["2020-01-01"],
    "received_to": ["2020-01-01"],
    "principal": ["user:ann"],
    "collapse": ["false"],
    "explain": ["true"],
    "plain": ["true"],
    "per_document": ["1"],
    "facet_limit": ["1"],
    "order": ["oldest"],
}
#: Bounds of pages and the like show nothing that their defaults do not.
LEFT_OUT = {"k", "limit", "offset", "after", "start", "end", "rerank"}


@dataclass
class Side:
    """A served house as Bob meets it. ``names``: what his documents' and queries' ids stand for."""

    mailroom: Mailroom
    bob: httpx.Client
    described: dict[str, Any]
    names: dict[str, str] = field(default_factory=dict)
    query_id: str = ""

    def asked(self, path: str, params: dict[str, Any], body: Any = None) -> tuple[int, str]:
        """Status and text of the answer, ids by their names, without what differs between houses."""
        answer = self.bob.post(path, json=body) if body else self.bob.get(path, params=params)
        text = answer.text
        for document_id, name in self.names.items():
            text = text.replace(document_id, name)
        if "json" in answer.headers["content-type"]:
            text = json.dumps(_same(json.loads(text)), sort_keys=True)
        return answer.status_code, text


def _same(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _same(value) for name, value in told.items() if name not in DIFFERING}
    if isinstance(told, list):  # by scores, see DIFFERING
        return sorted((_same(each) for each in told), key=lambda each: json.dumps(each, sort_keys=True))
    return told


@dataclass
class Pair:
    with_it: Side
    without: Side
    forbidden: str

    def differing(self, path: str, params: dict[str, Any], body: Any = None) -> list[str]:
        """What is wrong with the answer: it is another one than that of the house without, or bears the mark."""
        filled = [path.replace("ID", i).replace("QUERY", s.query_id) for s, i in self._ids(path)]
        (status, text), (other_status, other) = (
            side.asked(each, params, body) for side, each in zip((self.with_it, self.without), filled, strict=True)
        )
        asked = f"{path} {params or body or ''}"
        known = any(path.startswith(each) for each in COUNTS_OF_ALL)
        wrong = [] if known or (status, text) == (other_status, other) else [f"{asked}: {text} is not {other}"]
        sent = MARK in asked
        return wrong + ([f"{asked}: {text}"] if not sent and MARK in text.lower() else [])

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
        forbidden = _forbidden(first, client(url, first, admin=True))
        sides = [_side(first, url), _side(second, other_url)]
        yield Pair(*sides, forbidden)
    first.close(), second.close()


def _send(
    root: httpx.Client, mailroom: Mailroom, name: str, text: str, access: str, label: str, title: str, **fields: str
) -> str:
    params = {"access": access, **fields}
    sent = root.post("/v1/documents", content=text.encode(), headers={"X-Filename": name}, params=params)
    return read_and_index(mailroom, sent.json()["id"], text, label, title).id


def _forbidden(mailroom: Mailroom, root: httpx.Client) -> str:
    """Ann's document, labelled by a person, found useful, and looked for by a saved query of hers."""
    metadata = json.dumps({"department": "board", MARK: MARK, "owner": MARK})
    places = {"source": f"{MARK}-source", "path": f"{MARK}-folder/{MARK}.txt", "metadata": metadata}
    made = _send(root, mailroom, f"{MARK}.txt", FORBIDDEN, "user:ann", "invoice", f"Pump of the {MARK}", **places)
    mailroom.review.approve(mailroom.catalogue.documents.get(made), ["invoice"], "ann")
    mailroom.catalogue.feedback.record(Feedback(f"{MARK} pump", made, "useful", 1.0, "ann"))
    root.post("/v1/queries", json={"name": MARK, "search": {"query": MARK}})
    return made


def _side(mailroom: Mailroom, url: str) -> Side:
    root, bob = client(url, mailroom, admin=True), client(url, mailroom, ["user:bob"])
    side = Side(mailroom, bob, root.get("/openapi.json").json())
    for name, text in READABLE.items():
        metadata = json.dumps({"department": "hr", "owner": "Ben"})
        places = {"path": f"in/{name}", "metadata": metadata}
        made = _send(root, mailroom, name, text, "user:bob", "contract", f"Note on the {name[:4]}", **places)
        side.names[made] = f"<{name}>"
    lease = next(each for each, name in side.names.items() if "lease" in name)
    mailroom.review.approve(mailroom.catalogue.documents.get(lease), ["contract"], "bob")
    bob.post("/v1/feedback", json={"query": "notice", "document_id": lease, "kind": "useful"})
    saved = {"name": "pumps", "search": {"query": "pump", "facets": ["type", "owner"], "mode": "lexical"}}
    side.query_id = bob.post("/v1/queries", json=saved).json()["id"]
    side.names[side.query_id] = "<pumps>"
    return side


def asked(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every GET route with what its parameters take: each value of the required ones, the others beside the first of these."""
    for path, verbs in described["paths"].items():
        parameters = verbs.get("get", {}).get("parameters", []) if "get" in verbs else None
        if parameters is None:
            continue
        by_place: dict[str, dict[str, bool]] = {"path": {}, "query": {}, "header": {}}
        for each in parameters:
            by_place[each["in"]][each["name"]] = each.get("required", False)
        unknown = {*by_place["path"], *by_place["query"]} - SENT.keys() - LEFT_OUT
        assert not unknown, f"{path}: say in SENT what is to be sent for {unknown}, or leave it out in LEFT_OUT"
        for name in by_place["path"]:
            path = path.replace(f"{{{name}}}", SENT[name][0])
        needed = [name for name, required in by_place["query"].items() if required]
        for values in product(*(SENT[name] for name in needed)):
            yield path, dict(zip(needed, values, strict=True))
        base = {name: SENT[name][0] for name in needed}
        for name in sorted(by_place["query"].keys() - base.keys() - LEFT_OUT):
            yield from ((path, {**base, name: value}) for value in SENT[name])


def test_every_get_route_tells_the_same_without_the_forbidden_document(pair: Pair) -> None:
    wrong: list[str] = []
    walked: set[str] = set()
    for path, params in asked(pair.with_it.described):
        walked.add(path)
        wrong += pair.differing(path, params)
    assert {"/v1/documents", "/v1/search", "/v1/suggest", "/v1/documents/ID/similar", "/v1/feedback"} <= walked
    assert wrong[:5] == []


def test_its_id_is_not_found_on_any_route(pair: Pair) -> None:
    paths = [
        path for path, verbs in pair.with_it.described["paths"].items() if "{document_id}" in path and "get" in verbs
    ]
    for path in paths:
        answer = pair.with_it.bob.get(path.replace("{document_id}", pair.forbidden))
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), path
    assert len(paths) >= 6


def test_his_own_documents_tell_the_same_on_every_route(pair: Pair) -> None:
    """What is told of a readable document (its record, its neighbours, its verdict) holds nothing of the forbidden one."""
    wrong = []
    for path, verbs in pair.with_it.described["paths"].items():
        if "{document_id}" in path and "get" in verbs:
            for mine, other in zip(pair.with_it.names, pair.without.names, strict=True):
                if mine != pair.with_it.query_id:
                    told = pair.with_it.asked(path.replace("{document_id}", mine), {})
                    wrong += [path] if told != pair.without.asked(path.replace("{document_id}", other), {}) else []
                    wrong += [f"{path}: {told}"] if MARK in told[1].lower() or told[0] != 200 else []
    assert wrong == []


@pytest.mark.parametrize("query", SENT["query"])
def test_what_is_asked_in_a_body_is_answered_the_same(pair: Pair, query: str) -> None:
    body = {"query": query, "mode": "lexical", "facets": ["type", "owner"], "per_document": 1}
    asked_twice = pair.differing("/v1/search", {}, body) + pair.differing("/v1/ask", {}, {"question": query})
    assert asked_twice == []
