"""Saved queries over REST and the command line: visible to their owner, run with the owner's rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from pipeline.access import AccessRule, Effect, Scope
from pipeline.questions import ADMINISTRATOR, Caller
from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main


@dataclass
class Place:
    mailroom: Mailroom
    url: str
    ann: httpx.Client
    ben: httpx.Client
    ids: list[str]

    def options(self, local: bool) -> list[str]:
        if local:
            return ["--data", str(self.mailroom.settings.home)]
        return ["--url", self.url, "--key", self.ann.headers["authorization"].split()[1]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("queries"))
    with serving(mailroom) as url:
        root = client(url, mailroom, admin=True)
        ids = []
        for access, label in (("*", "contract"), ("user:ann", "contract"), ("user:ben", "invoice")):
            receipt = root.post(
                "/v1/documents",
                content=f"{access}{label}".encode(),
                params={"access": access, "path": f"{len(ids)}.txt"},
            ).json()
            ids.append(read_and_index(mailroom, receipt["id"], f"The pump number {len(ids)} is paid.", label).id)
        ann, ben = (client(url, mailroom, [f"user:{name}"], ["read"]) for name in ("ann", "ben"))
        yield Place(mailroom, url, ann, ben, ids)
    mailroom.close()


@pytest.fixture
def place(filled: Place) -> Iterator[Place]:
    """Provide the same documents to all tests, and delete the saved queries of each."""
    yield filled
    for caller in (Caller(("user:ann",)), Caller(("user:ben",)), ADMINISTRATOR):
        for query in filled.mailroom.catalogue.queries.of_owner(caller):
            filled.mailroom.catalogue.queries.delete(caller, query.id)


def document_ids(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {item["document_id"] for item in answer.json()["items"]}


def test_a_query_is_saved_run_and_forgotten(place: Place) -> None:
    """Given a saved query, When rights change, Then it finds what its owner may read at that time."""
    search = {
        "query": "pump",
        "mode": "lexical",
        "collapse": False,
        "filters": {"label": ["contract"]},
        "facets": ["type"],
    }
    answer = place.ann.post("/v1/queries", json={"name": " pumps é ", "search": search})
    assert answer.status_code == 201, answer.text
    saved = answer.json()
    assert saved["name"] == "pumps é"
    assert {name: saved["search"][name] for name in ("query", "mode", "facets")} == {
        "query": "pump",
        "mode": "lexical",
        "facets": ["type"],
    }
    assert place.ann.get("/v1/queries").json()["items"] == [saved]
    answer = place.ann.get(saved["href"])
    assert document_ids(answer) == set(place.ids[:2])
    assert answer.json()["facets"]["fields"]["type"] == [{"value": "contract", "count": 2}]
    assert len(place.ann.get(saved["href"], params={"k": 1, "offset": 1}).json()["items"]) == 1
    deny = AccessRule(Scope(document_id=place.ids[0]), "user:ann", Effect.DENY)
    place.mailroom.catalogue.rules.add(deny)
    assert document_ids(place.ann.get(saved["href"])) == {place.ids[1]}
    place.mailroom.catalogue.rules.remove(deny.scope, deny.principal, deny.effect)
    assert place.ann.delete(f"/v1/queries/{saved['id']}").status_code == 204
    assert place.ann.get(saved["href"]).status_code == 404
    assert place.ann.get("/v1/queries").json() == {"items": []}


def test_another_s_query_is_hidden_and_the_same_query_finds_different_documents(place: Place) -> None:
    body = {"name": "pumps", "search": {"query": "pump", "mode": "lexical", "collapse": False}}
    mine = place.ann.post("/v1/queries", json=body).json()
    root = client(place.url, place.mailroom, admin=True)
    for other in (place.ben, root):
        assert other.get("/v1/queries").json() == {"items": []}
        answer, missing = other.get(mine["href"]), other.get(f"/v1/queries/{'0' * 32}/results")
        assert (answer.status_code, answer.json()["detail"]) == (404, missing.json()["detail"])
        assert other.delete(f"/v1/queries/{mine['id']}").status_code == 404
    answer = place.ben.post("/v1/queries", json=body)
    assert answer.status_code == 201
    assert document_ids(place.ann.get(mine["href"])) == {place.ids[0], place.ids[1]}
    assert document_ids(place.ben.get(answer.json()["href"])) == {place.ids[0], place.ids[2]}
    again = client(place.url, place.mailroom, ["user:ann"], ["read"])
    assert again.get("/v1/queries").json()["items"] == [mine]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": " ", "search": {"query": "x"}}, 400),
        ({"name": "a\nb", "search": {"query": "x"}}, 400),
        ({"name": "x" * 201, "search": {"query": "x"}}, 400),
        ({"name": "n"}, 400),
        ({"name": "n", "search": {"query": " "}}, 400),
        ({"name": "n", "search": {"query": 'an "open quote'}}, 400),
        ({"name": "n", "search": {"query": "x", "k": 0}}, 400),
        ({"name": "n", "search": {"query": "x", "facets": ["colour"]}}, 400),
        ({"name": "n", "search": {"query": "x", "filters": {"colour": ["red"]}}}, 400),
        ({"name": "n", "search": {"query": "x", "filters": {"metadata": ["colour=red"]}}}, 404),
        ({"name": "n", "search": {"query": "x"}, "owner": "user:ben"}, 400),
    ],
)
def test_an_invalid_query_is_not_saved(place: Place, body: dict, status: int) -> None:
    answer = place.ann.post("/v1/queries", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] in ("bad-request", "bad-query", "not-found")
    assert place.ann.get("/v1/queries").json() == {"items": []}


def test_a_repeated_name_and_invalid_ids(place: Place) -> None:
    body = {"name": "n", "search": {"query": "x"}}
    assert [place.ann.post("/v1/queries", json=body).status_code for _ in range(2)] == [201, 409]
    for name in ("n", "%00", "0" * 33, "..%2f.."):
        assert place.ann.get(f"/v1/queries/{name}/results").status_code == 404
        assert place.ann.delete(f"/v1/queries/{name}").status_code == 404
    writer = client(place.url, place.mailroom, ["user:ann"], ["upload"])
    assert writer.get("/v1/queries").status_code == 403


@pytest.mark.parametrize("local", [True, False])
def test_the_command_line(place: Place, local: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def mailroom(*words: str) -> tuple[int, str]:
        code = main([*place.options(local), "queries", *words])
        streams = capsys.readouterr()
        return code, streams.out + streams.err

    assert mailroom("create", "pumps", "pump", "--type", "contract", "--mode", "lexical", "--duplicates")[0] == exits.OK
    assert mailroom("create", "none", "xylophone", "--mode", "lexical")[0] == exits.OK
    code, output = mailroom("create", "pumps", "pump")
    assert (code, "conflict" in output) == (exits.ERROR, True)
    assert mailroom("create", "bad", 'an "open quote')[0] == exits.USAGE
    assert mailroom("create", " ", "pump")[0] == exits.USAGE
    code, output = mailroom("list")
    assert code == exits.OK and "pumps" in output and "xylophone" in output
    items = json.loads(mailroom("list", "--json")[1])["items"]
    assert [item["name"] for item in items] == ["none", "pumps"]
    page = json.loads(mailroom("run", "pumps", "--json")[1])
    assert {item["document_id"] for item in page["items"]} == set(place.ids[:2])
    code, output = mailroom("run", items[1]["id"], "-k", "1")
    assert code == exits.OK and "1 of 2" in output
    assert mailroom("run", "none")[0] == exits.NOT_FOUND
    assert mailroom("delete", "pumps")[0] == exits.OK
    assert mailroom("run", "pumps")[0] == exits.NOT_FOUND
    assert mailroom("delete", "pumps")[0] == exits.NOT_FOUND
