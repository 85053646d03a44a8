"""Rules and groups over REST: effective from the next request on, for administrators' keys only, errors as problems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from pipeline.rights import SCOPES
from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom


@dataclass
class Place:
    mailroom: Mailroom
    root: httpx.Client
    bob: httpx.Client
    meter: httpx.Client
    document_id: str

    def bob_finds(self) -> bool:
        """Return whether Bob sees the document, and check that search, list and detail agree."""
        answers = {
            bool(self.bob.get("/v1/search", params={"query": "pump"}).json()["items"]),
            bool(self.bob.get("/v1/documents").json()["total"]),
            self.bob.get(f"/v1/documents/{self.document_id}").status_code == 200,
        }
        assert len(answers) == 1
        return answers.pop()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("rights"), **{"catalogue.url": "memory:"})
    with serving(mailroom) as url:
        root, bob = client(url, mailroom, admin=True), client(url, mailroom, ["user:bob"], ["read"])
        meter = client(url, mailroom, ["user:meter"], [scope for scope in SCOPES if scope != "access"])
        fields = {"access": "user:ann", "source": "scans", "path": "hr/pay/a.txt"}
        receipt = root.post("/v1/documents", content=b"a", headers={"X-Filename": "a.txt"}, params=fields).json()
        read_and_index(mailroom, receipt["id"], "The pump was paid.")
        yield Place(mailroom, root, bob, meter, receipt["id"])
    mailroom.close()


@pytest.fixture
def place(filled: Place) -> Iterator[Place]:
    """Provide the installation without rules and groups, and remove those that a test adds."""
    yield filled
    for rule in filled.root.get("/v1/access").json()["items"]:
        line = {name: value for name, value in rule.items() if value and name not in ("origin", "by", "at")}
        assert filled.root.delete("/v1/access", params=line).status_code == 204
    for group in filled.root.get("/v1/groups").json()["items"]:
        params = {"name": group["name"], "member": group["members"]}
        assert filled.root.delete("/v1/groups", params=params).status_code == 200
    assert not filled.bob_finds()


def test_a_rule_is_added_listed_explained_and_removed(place: Place) -> None:
    line = {"effect": "allow", "principal": "user:bob", "source": "scans", "folder": "/hr/"}
    assert not place.bob_finds()
    assert [place.root.post("/v1/access", json=line).status_code for _ in range(2)] == [201, 200]
    assert place.bob_finds()
    (rule,) = place.root.get("/v1/access", params={"source": "scans", "folder": "hr"}).json()["items"]
    assert (rule["effect"], rule["folder"], rule["origin"], rule["by"][:4]) == ("allow", "hr", "given", "key:")
    assert place.root.get("/v1/access", params={"source": "scans"}).json() == {"items": []}
    query = {"document_id": place.document_id, "principal": ["user:bob", "user:eve"]}
    explanation = place.root.get("/v1/access/explain", params=query).json()
    assert (explanation["allowed"], explanation["rule"]["folder"]) == (True, "hr")
    denied = {"effect": "deny", "principal": "*", "document_id": place.document_id}
    assert place.root.post("/v1/access", json=denied).json() == {"created": True}
    assert not place.bob_finds()
    explanation = place.root.get("/v1/access/explain", params=query).json()
    assert (explanation["allowed"], explanation["rule"]["effect"]) == (False, "deny")
    rules = place.root.get("/v1/access", params={"document_id": place.document_id}).json()["items"]
    assert [(rule["effect"], rule["origin"]) for rule in rules] == [("deny", "given"), ("allow", "arrival")]
    assert place.root.delete("/v1/access", params=denied).status_code == 204
    assert place.bob_finds()


def test_groups(place: Place) -> None:
    line = {"effect": "only", "principal": "group:hr", "source": "scans"}
    assert place.root.post("/v1/access", json=line).status_code == 201
    group = {"name": "group:hr", "members": ["user:bob", "group:pay"]}
    assert place.root.post("/v1/groups", json=group).json() == {"members": 2}
    assert place.root.post("/v1/groups", json=group).json() == {"members": 0}
    assert place.bob_finds()
    assert place.root.get("/v1/groups").json()["items"] == [{"name": "group:hr", "members": ["group:pay", "user:bob"]}]
    circle = place.root.post("/v1/groups", json={"name": "group:pay", "members": ["group:hr"]})
    assert (circle.status_code, circle.json()["code"]) == (409, "conflict")
    assert place.root.delete("/v1/groups", params={"name": "group:hr", "member": "user:bob"}).json() == {"members": 1}
    assert not place.bob_finds()


@pytest.mark.parametrize(
    ("verb", "path", "fields", "status"),
    [
        ("POST", "/v1/access", {"effect": "allow", "principal": "user:bob"}, 409),
        ("POST", "/v1/access", {"effect": "allow", "principal": "user:bob", "folder": "hr"}, 409),
        (
            "POST",
            "/v1/access",
            {"effect": "allow", "principal": "user:bob", "source": "s", "document_id": "0" * 32},
            409,
        ),
        ("POST", "/v1/access", {"effect": "allow", "principal": "user:bob", "document_id": "0" * 32}, 404),
        ("POST", "/v1/access", {"effect": "allow", "principal": "user:bob", "document_id": "x"}, 400),
        ("POST", "/v1/access", {"effect": "maybe", "principal": "user:bob", "source": "s"}, 400),
        ("POST", "/v1/access", {"effect": "allow", "principal": " ", "source": "s"}, 400),
        ("POST", "/v1/access", {"effect": "allow", "principal": "user:bob", "source": "s", "by": "user:ann"}, 400),
        ("DELETE", "/v1/access", {"effect": "allow", "principal": "user:bob", "source": "nowhere"}, 404),
        ("GET", "/v1/access", {"document_id": "0" * 32}, 404),
        ("GET", "/v1/access/explain", {"document_id": "0" * 32, "principal": "user:bob"}, 404),
        ("GET", "/v1/access/explain", {"document_id": "0" * 32}, 400),
        ("POST", "/v1/groups", {"name": "*", "members": ["user:bob"]}, 409),
        ("POST", "/v1/groups", {"name": "group:hr", "members": []}, 400),
        ("DELETE", "/v1/groups", {"name": "group:none", "member": "user:bob"}, 404),
    ],
)
def test_invalid_rules_and_groups_are_refused(place: Place, verb: str, path: str, fields: dict, status: int) -> None:
    arguments = {"json": fields} if verb == "POST" else {"params": fields}
    answer = place.root.request(verb, path, **arguments)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text


def test_without_the_scope_access_no_key_grants_rights(place: Place) -> None:
    line = {"effect": "allow", "principal": "user:meter", "source": "scans"}
    for who in (place.bob, place.meter):
        answers = [
            who.get("/v1/access"),
            who.post("/v1/access", json=line),
            who.delete("/v1/access", params=line),
            who.get("/v1/access/explain", params={"document_id": place.document_id, "principal": "*"}),
            who.get("/v1/groups"),
            who.post("/v1/groups", json={"name": "group:x", "members": ["user:meter"]}),
            who.delete("/v1/groups", params={"name": "group:x", "member": "user:meter"}),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "forbidden")}
    assert place.root.get("/v1/access").json() == place.root.get("/v1/groups").json() == {"items": []}
