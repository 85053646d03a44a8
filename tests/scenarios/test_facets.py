"""Filters and facets over REST and the command line: they count what matches, without what the caller may not see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main

#: name, label, who may read it, metadata
FILED = [
    ("a.txt", "invoice", "*", {"owner": "Ana", "department": "hr"}),
    ("b.txt", "invoice", "*", {"author": "Ben", "department": "works"}),
    ("c.txt", "contract", "*", {"owner": "Ana"}),
    ("d.txt", "memo", "group:board", {"owner": "Zoe", "department": "board", "secrecy": "high"}),
]


@dataclass
class Place:
    mailroom: Mailroom
    root: httpx.Client
    clerk: httpx.Client


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("facets"))
    with serving(mailroom) as url:
        root = client(url, mailroom, admin=True)
        for name, label, access, metadata in FILED:
            fields = {"access": access, "metadata": json.dumps(metadata)}
            headers = {"X-Filename": name}
            receipt = root.post("/v1/documents", content=name.encode(), headers=headers, params=fields).json()
            read_and_index(mailroom, receipt["id"], f"The pump of {name} was paid.", label)
        yield Place(mailroom, root, client(url, mailroom, ["group:clerks"], ["read"]))
    mailroom.close()


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return sorted(item.get("name") or item["document_name"] for item in answer.json()["items"])


def counts(answer: httpx.Response) -> dict[str, dict[str, int]]:
    assert answer.status_code == 200, answer.text
    fields = answer.json()["facets"]["fields"]
    return {field: {value["value"]: value["count"] for value in values} for field, values in fields.items()}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"owner": ["Ana"]}, ["a.txt", "c.txt"]),
        ({"owner": ["Ana", "Ben"], "label": ["invoice"]}, ["a.txt", "b.txt"]),
        ({"metadata": ["department=hr", "department=works"]}, ["a.txt", "b.txt"]),
        ({"metadata": ["department=hr", "owner=Ben"]}, []),
        ({"owner": ["Zoe"]}, []),
        ({"language": ["tlh"]}, []),
        ({"state": ["failed"]}, []),
        ({"received_to": "2020-01-01"}, []),
    ],
)
def test_a_filter_holds_in_lists_searches_links_and_answers(place: Place, filters: dict, expected: list[str]) -> None:
    assert names(place.clerk.get("/v1/documents", params=filters)) == expected
    assert names(place.clerk.post("/v1/search", json={"query": "pump", "filters": filters})) == expected
    assert names(place.clerk.get("/v1/search", params={"query": "pump", **filters})) == expected
    answer = place.clerk.post("/v1/ask", json={"question": "Was the pump paid?", "filters": filters}).json()
    assert {quote["document_name"] for quote in answer["quotes"]} <= set(expected)


def test_facets_count_what_matches_and_may_be_read(place: Place) -> None:
    fields = "type,source,owner,state,month,metadata.department,metadata.secrecy"
    for answer in (
        place.clerk.get("/v1/documents", params={"facets": fields}),
        place.clerk.get("/v1/search", params={"query": "pump", "facets": fields}),
        place.clerk.post("/v1/search", json={"query": "pump", "facets": fields.split(",")}),
    ):
        facets = counts(answer)
        assert facets["type"] == {"invoice": 2, "contract": 1}
        assert facets["owner"] == {"Ana": 2, "Ben": 1}
        assert facets["metadata.department"] == {"hr": 1, "works": 1}
        assert facets["metadata.secrecy"] == {}
        assert (facets["source"], facets["state"]) == ({"api": 3}, {"indexed": 3})
        assert list(facets["month"].values()) == [3]
        assert answer.json()["facets"]["exact"] is True
        assert answer.json()["facets"]["documents"] == 3
        assert "Zoe" not in answer.text and "board" not in answer.text
    assert counts(place.root.get("/v1/documents", params={"facets": "type"}))["type"]["memo"] == 1


def test_facets_narrow_with_the_query_and_the_filter(place: Place) -> None:
    body = {"query": '"pump of a.txt"', "facets": ["type"], "filters": {"label": ["invoice"]}}
    assert counts(place.clerk.post("/v1/search", json=body)) == {"type": {"invoice": 1}}
    body = {"query": "pump", "mode": "vector", "facets": ["type"]}
    answer = place.clerk.post("/v1/search", json=body)
    assert counts(answer) == {"type": {"invoice": 2, "contract": 1}}
    assert answer.json()["facets"]["exact"] is False


def test_the_limit_of_a_facet_s_values(place: Place) -> None:
    facets = place.clerk.get("/v1/documents", params={"facets": "type", "facet_limit": 1}).json()["facets"]
    assert facets["fields"]["type"] == [{"value": "invoice", "count": 2}]
    assert facets["more"] == {"type": 1}


def test_an_unknown_field_is_refused_with_the_known_ones(place: Place) -> None:
    for answer in (
        place.clerk.get("/v1/documents", params={"colour": "red"}),
        place.clerk.post("/v1/search", json={"query": "pump", "filters": {"colour": "red"}}),
        place.clerk.post("/v1/ask", json={"question": "pump", "filters": {"colour": "red"}}),
    ):
        assert answer.status_code == 400
        (error,) = answer.json()["errors"]
        assert error["field"].endswith("colour")
        assert "label" in error["detail"] and "owner" in error["detail"]
    for name in ("colour", "secrecy"):  # the second is there, in a document that is not the clerk's
        answer = place.clerk.post("/v1/search", json={"query": "pump", "filters": {"metadata": [f"{name}=x"]}})
        assert answer.status_code == 404
        assert "author, department, owner" in answer.json()["detail"]
        assert answer.json()["detail"].count("secrecy") == (name == "secrecy")
    answer = place.clerk.get("/v1/search", params={"query": "pump", "facets": "colour"})
    assert answer.status_code == 400 and "metadata.FIELD" in answer.json()["detail"]


def test_the_command_line_filters_and_counts(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = main(["--data", str(place.mailroom.settings.home), *words])
        return code, capsys.readouterr().out

    page = json.loads(run("search", "pump", "--owner", "Ana", "--facets", "type,owner", "--json")[1])
    assert sorted(item["document_name"] for item in page["items"]) == ["a.txt", "c.txt"]
    assert page["facets"]["fields"]["owner"] == [{"value": "Ana", "count": 2}]
    code, output = run("list", "--meta", "department=hr", "--facets", "type")
    assert code == exits.OK and "invoice" in output and "documents" in output
    assert run("search", "pump", "--facets", "colour")[0] == exits.USAGE
    assert run("list", "--facets", "colour")[0] == exits.USAGE
