"""Every route of the description with every scope alone, with none and without a key: exactly `ROUTES` is open."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from pipeline.rights import SCOPES
from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.api.app import create_app
from workers.api.auth import ANY_KEY, OPEN, ROUTES
from workers.assemble import Mailroom

DOCS = Path(__file__).parents[2] / "docs" / "rest.md"
#: A request of each route that needs one to be more than a 400; the others are sent without body and parameters.
BODIES = {
    "POST /v1/search": {"query": "notice"},
    "POST /v1/ask": {"question": "How long is the notice period?"},
    "POST /v1/queries": {"name": "n", "search": {"query": "notice"}},
    "POST /v1/feedback": {"query": "notice", "document_id": "ID", "kind": "click"},
    "POST /v1/documents/{document_id}/approve": {"label": "contract"},
    "POST /v1/taxonomy": {"kind": "retire", "labels": ["contract"]},
    "POST /v1/access": {"effect": "allow", "principal": "user:x", "source": "api"},
    "POST /v1/groups": {"name": "group:x", "members": ["user:x"]},
    "POST /v1/keys": {"name": "more", "scopes": ["admin"]},
}


@dataclass
class Place:
    """An installation with a document that everyone may read, and a client for each scope alone."""

    mailroom: Mailroom
    url: str
    document_id: str
    clients: dict[str, httpx.Client]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("routes"), **{"catalogue.url": "memory:"})
    with serving(mailroom) as url:
        root = client(url, mailroom, admin=True)
        sent = root.post("/v1/documents", content=b"The notice period.", headers={"X-Filename": "lease.txt"})
        document = read_and_index(mailroom, sent.json()["id"], "The notice period is three months.", "contract")
        clients = {scope: client(url, mailroom, ["*"], [scope]) for scope in SCOPES}
        clients |= {"no scope": client(url, mailroom, ["*"], []), "no key": httpx.Client(base_url=url)}
        yield Place(mailroom, url, document.id, clients)
    mailroom.close()


def all_routes(mailroom: Mailroom) -> list[APIRoute]:
    """Return every route of the application, those outside of the description too."""
    included = create_app(mailroom, warm=False).routes
    routes = [route for router in included for route in router.original_router.routes]
    assert all(isinstance(route, APIRoute) for route in routes)  # a mounted application would not be checked
    return routes


def test_every_route_is_in_the_table_or_open(place: Place) -> None:
    names = {f"{method} {route.path}" for route in all_routes(place.mailroom) for method in route.methods - {"HEAD"}}
    assert {name for name in names if not OPEN.fullmatch(re.sub(r"\{.*?\}", "x", name.split()[1]))} == {*ROUTES}
    # This scope opens no route: it shows what others hide.
    assert {*ROUTES.values()} | {"personal-data"} == {*SCOPES, ANY_KEY}


def test_the_documentation_lists_the_same_scopes() -> None:
    listed = {}
    for cell, scope in re.findall(r"^\| (`/?[A-Z].*?`) \| (.*?) \|", DOCS.read_text(), re.MULTILINE):
        for methods, path in re.findall(r"`([A-Z, ]+) (/.*?)`", cell):
            listed |= {f"{method} {path}": scope for method in methods.split(", ")}
    assert {name: scope for name, scope in listed.items() if scope != "no key"} == {**ROUTES}


def test_each_scope_opens_its_routes_and_no_other(place: Place) -> None:
    """Routes x roles: a refused role gets 403 (401 without a key), an allowed one anything else."""
    tried, breaches = 0, []
    # Requests that destroy nothing that a later one needs: whatever a role may delete is not there.
    for name, scope in ROUTES.items():
        method, path = name.split()
        for role, who in place.clients.items():
            document_id = "0" * 32 if method == "DELETE" else place.document_id
            address = path.replace("{document_id}", document_id).replace("{query_id}", "none").replace("{key_id}", "no")
            body = BODIES.get(name)
            if body:
                body = {field: place.document_id if value == "ID" else value for field, value in body.items()}
            response = who.request(method, address, json=body)
            allowed = role != "no key" and scope in (role, ANY_KEY)
            expected = {"no key": 401}.get(role, 403)
            tried += 1
            if (response.status_code == expected) is allowed or response.status_code >= 500:
                breaches.append(f"{name} with {role}: {response.status_code}")
    assert breaches == []
    assert tried == len(ROUTES) * (len(SCOPES) + 2)


def test_a_scanner_s_key_only_sends(place: Place) -> None:
    """An upload key gets the id and the state of what it sent, and reads, lists, approves and deletes nothing."""
    scanner = place.clients["upload"]
    receipt = scanner.post("/v1/documents", content=b"A page.", headers={"X-Filename": "scan.txt"})
    assert (receipt.status_code, receipt.json()["state"]) == (202, "processing")
    answers = [scanner.request(verb, f"{receipt.json()['href']}{rest}") for verb, rest in DOCUMENT_REQUESTS]
    assert {answer.status_code for answer in answers} == {403}


DOCUMENT_REQUESTS = [("GET", rest) for rest in ("", "/content", "/text", "/record", "/why", "/similar")]
DOCUMENT_REQUESTS += [("POST", "/approve"), ("POST", "/retry"), ("DELETE", "")]


def test_an_administrator_s_key_opens_every_route(place: Place) -> None:
    root = client(place.url, place.mailroom, [], [], admin=True)
    assert root.get("/v1/me").json()["scopes"] == sorted(SCOPES)
    for name in ROUTES:
        method, path = name.split()
        if method == "GET":
            address = re.sub(r"\{document_id\}", place.document_id, path).replace("{query_id}", "none")
            assert root.get(address).status_code not in (401, 403), name


def test_a_route_without_a_line_in_the_table_answers_nobody(place: Place) -> None:
    app = create_app(place.mailroom, warm=False)

    @app.get("/v1/forgotten")
    def forgotten() -> str:
        return "open"

    root = client(place.url, place.mailroom, [], [], admin=True)
    assert TestClient(app).get("/v1/forgotten", headers=root.headers).status_code == 403


def test_the_last_use_of_a_key_is_listed(place: Place) -> None:
    root = client(place.url, place.mailroom, [], [], admin=True)
    before = time.time()
    root.get("/v1/me"), root.get("/v1/me")
    key_id = root.get("/v1/me").json()["key_id"]
    while (last_used_at := place.mailroom.catalogue.keys.get(key_id).last_used_at) is None:
        assert time.time() < before + 10
        time.sleep(0.01)
    assert before <= last_used_at <= time.time()
    (listed,) = [key for key in root.get("/v1/keys").json()["items"] if key["id"] == key_id]
    assert datetime.fromisoformat(listed["last_used_at"]).timestamp() == pytest.approx(last_used_at, abs=1e-3)


def test_the_description_names_the_scope_of_each_operation(place: Place) -> None:
    paths = place.clients["no scope"].get("/openapi.json").json()["paths"]
    for name, scope in ROUTES.items():
        method, path = name.split()
        if scope != ANY_KEY:
            assert f"Needs the scope `{scope}`." in paths[path][method.lower()]["description"]


def test_a_locked_catalogue_delays_no_check_of_a_key(tmp_path: Path) -> None:
    """The last use waits for a writer; the request that is recorded does not."""
    mailroom = make_mailroom(tmp_path)
    with serving(mailroom) as url:
        who = client(url, mailroom)
        with mailroom.catalogue.database.write():
            started = time.monotonic()
            key_id = who.get("/v1/me").json()["key_id"]
            assert time.monotonic() - started < 5
            assert mailroom.catalogue.keys.get(key_id).last_used_at is None
        while mailroom.catalogue.keys.get(key_id).last_used_at is None:
            assert time.monotonic() - started < 20
            time.sleep(0.05)
    mailroom.close()
