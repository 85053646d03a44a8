"""Suggestions and similar documents over REST and the command line, without a word of what the caller may not see."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main

#: name, who may read it, text
FILED = [
    (
        "Pump-Inspection_2026.txt",
        "*",
        "The inspector found the Pumpenhaus dry. Report PPR-9087 says the pump was replaced.",
    ),
    ("lease.txt", "*", "The notice period of the lease is three months; a period of notice binds both parties."),
    ("Kündigung.txt", "*", "Die Kündigung des Vertrages ist bis zum Jahresende zu erklären."),
    ("Pump-Takeover.txt", "group:board", "The pumpkin takeover of Zyxcorp is secret; the notice perimeter too."),
]


@dataclass
class Place:
    mailroom: Mailroom
    root: httpx.Client
    clerk: httpx.Client
    ids: dict[str, str]


@contextmanager
def filed(folder: Path, texts: Sequence[tuple[str, str, str]]) -> Iterator[Place]:
    """Serve an installation with these texts: name, who may read it, text."""
    mailroom = make_mailroom(folder)
    with serving(mailroom) as url:
        root = client(url, mailroom, admin=True)
        ids = {}
        for name, access, text in texts:
            receipt = root.post("/v1/documents", content=text.encode(), params={"access": access, "name": name}).json()
            read_and_index(mailroom, receipt["id"], text)
            ids[name] = receipt["id"]
        yield Place(mailroom, root, client(url, mailroom, ["group:clerks"], ["read"]), ids)
    mailroom.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with filed(tmp_path_factory.mktemp("discovery"), FILED) as place:
        yield place


def suggested(who: httpx.Client, prefix: str, **more: int) -> list[tuple[str, str]]:
    answer = who.get("/v1/suggest", params={"prefix": prefix, **more})
    assert answer.status_code == 200, answer.text
    return [(item["text"], item["kind"]) for item in answer.json()["items"]]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("pump", {("Pump-Inspection_2026.txt", "name"), ("Pumpenhaus", "word")}),
        ("inspectio", {("Pump-Inspection_2026.txt", "name")}),
        ("pump insp", {("Pump-Inspection_2026.txt", "name"), ("pump inspector", "word")}),
        ("insp pump", set()),
        ("KUND", {("Kündigung.txt", "name"), ("Kündigung", "word")}),
        ("ppr-9", {("PPR-9087", "word")}),
        ("notice per", {("notice period", "word")}),
        ("notice ", set()),
        ("th", {("three", "word")}),
        ("???", set()),
        ("[a-z]*", set()),
        ("zyx", set()),
    ],
)
def test_titles_and_words_that_complete_the_prefix(place: Place, prefix: str, expected: set[tuple[str, str]]) -> None:
    assert set(suggested(place.clerk, prefix)) == expected


def test_nothing_of_a_forbidden_document_is_suggested(place: Place) -> None:
    secret = {"pumpkin", "Pump-Takeover.txt", "notice perimeter", "Zyxcorp"}
    prefixes = ["pump", "pump t", "pumpk", "tak", "zy", "notice per", "secr"]
    assert not secret & {text for prefix in prefixes for text, _ in suggested(place.clerk, prefix, limit=20)}
    assert secret <= {text for prefix in prefixes for text, _ in suggested(place.root, prefix, limit=20)}


def test_an_erased_document_is_no_longer_suggested(place: Place) -> None:
    text = "The quixotic gadget."
    receipt = place.root.post("/v1/documents", content=text.encode(), params={"name": "Quixotic plan.txt"}).json()
    read_and_index(place.mailroom, receipt["id"], text)
    assert set(suggested(place.root, "quix")) == {("Quixotic plan.txt", "name"), ("quixotic", "word")}
    assert place.root.delete(f"/v1/documents/{receipt['id']}").status_code == 200
    assert suggested(place.root, "quix") == []


def test_the_limit_of_suggestions(place: Place) -> None:
    assert len(suggested(place.clerk, "pump", limit=1)) == 1


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"prefix": ""},
        {"prefix": "  "},
        {"prefix": "a\x00b"},
        {"prefix": "a\x1bb"},
        {"prefix": "x" * 201},
        {"prefix": "pump", "limit": 0},
        {"prefix": "pump", "limit": 10**9},
        {"prefix": "pump", "colour": "red"},
    ],
)
def test_a_bad_request_is_refused_with_its_field(place: Place, query: dict) -> None:
    answer = place.clerk.get("/v1/suggest", params=query)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"].split(".")[-1] in {"prefix", "limit", "colour"}


def test_a_prefix_of_a_megabyte_is_refused(place: Place) -> None:
    answer = place.clerk.get("/v1/suggest", params={"prefix": "x" * 65_000})
    assert answer.status_code in (400, 414)
    assert _status(place, "/v1/suggest?prefix=" + "x" * 1_000_000) in (400, 414)
    assert suggested(place.clerk, "ppr-9") == [("PPR-9087", "word")]


def _status(place: Place, path: str) -> int:
    """Return the status of a GET that is too long for httpx; a server that closes the connection has refused it."""
    connection = HTTPConnection(place.clerk.base_url.host, place.clerk.base_url.port, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": place.clerk.headers["Authorization"]})
        return connection.getresponse().status
    except ConnectionError:
        return 400
    finally:
        connection.close()


def test_the_command_line_suggests(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = main(["--data", str(place.mailroom.settings.home), "suggest", *words])
        return code, capsys.readouterr().out

    page = json.loads(run("pump", "--json")[1])
    assert {"text": "Pump-Takeover.txt", "kind": "name", "document_id": place.ids["Pump-Takeover.txt"]} in page["items"]
    code, output = run("ppr-9")
    assert code == exits.OK and "PPR-9087" in output
    assert run("zzzz")[0] == exits.NOT_FOUND
    assert run("x" * 1_000_000)[0] == exits.USAGE
    assert run("")[0] == exits.USAGE


LEASE = "The tenant of the flat pays the rent for the lease each month; the landlord repairs the roof and the heating."
ALIKE = [
    ("flat.txt", "*", LEASE),
    (
        "house.txt",
        "*",
        "A lease of the house: the landlord may raise the rent once a year, the tenant repairs nothing.",
    ),
    (
        "house-copy.txt",
        "*",
        "A lease of the house: the landlord may raise the rent once a year, the tenant repairs nothing!",
    ),
    ("bakery.txt", "*", "Sourdough bread wants flour, water, salt and patience in a warm oven."),
    ("villa.txt", "group:board", LEASE.replace("flat", "villa")),
]


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with filed(tmp_path_factory.mktemp("alike"), ALIKE) as place:
        yield place


def neighbours(who: httpx.Client, document_id: str, **more: int) -> list[dict]:
    answer = who.get(f"/v1/documents/{document_id}/similar", params=more)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def test_the_nearest_come_first_and_never_the_document_itself(alike: Place) -> None:
    names = [hit["document"]["name"] for hit in neighbours(alike.root, alike.ids["flat.txt"])]
    assert names[0] == "villa.txt" and names[-1] == "bakery.txt"
    assert "flat.txt" not in names


def test_near_duplicates_are_listed_once(alike: Place) -> None:
    hits = neighbours(alike.clerk, alike.ids["flat.txt"])
    copies = {alike.ids["house.txt"], alike.ids["house-copy.txt"]}
    assert len(hits) == 2
    assert {hits[0]["document"]["id"], *hits[0]["duplicates"]} == copies
    assert hits[0]["text"].startswith("A lease of the house")


def test_a_forbidden_document_is_not_a_neighbour(alike: Place) -> None:
    for name in ("flat.txt", "house.txt", "bakery.txt"):
        answer = alike.clerk.get(f"/v1/documents/{alike.ids[name]}/similar", params={"k": 50})
        assert "villa" not in answer.text and alike.ids["villa.txt"] not in answer.text


def test_a_forbidden_document_has_no_neighbours(alike: Place) -> None:
    for document_id in (alike.ids["villa.txt"], "0" * 32, "nothing"):
        answer = alike.clerk.get(f"/v1/documents/{document_id}/similar")
        assert answer.status_code == 404
        assert answer.json()["detail"] == "There is no such document, or this key may not see it."


def test_an_erased_neighbour_is_gone_at_once(alike: Place) -> None:
    text = LEASE + " The cellar is dry."
    receipt = alike.root.post("/v1/documents", content=text.encode(), params={"name": "cellar.txt"}).json()
    read_and_index(alike.mailroom, receipt["id"], text)
    assert neighbours(alike.clerk, alike.ids["flat.txt"], k=1)[0]["document"]["name"] == "cellar.txt"
    assert alike.root.delete(f"/v1/documents/{receipt['id']}").status_code == 200
    assert neighbours(alike.clerk, alike.ids["flat.txt"], k=1)[0]["document"]["name"] != "cellar.txt"


@pytest.mark.parametrize("query", [{"k": 0}, {"k": 10**9}, {"colour": "red"}])
def test_neighbours_out_of_bounds_are_refused(alike: Place, query: dict) -> None:
    assert alike.clerk.get(f"/v1/documents/{alike.ids['flat.txt']}/similar", params=query).status_code == 400


def test_the_command_line_finds_more_like_this(alike: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = main(["--data", str(alike.mailroom.settings.home), "similar", *words])
        return code, capsys.readouterr().out

    page = json.loads(run(alike.ids["flat.txt"], "--json")[1])
    assert page["items"] == neighbours(alike.root, alike.ids["flat.txt"])
    code, output = run(alike.ids["flat.txt"])
    assert code == exits.OK and "villa.txt" in output and "near-duplicates:" in output
    assert run("0" * 32)[0] == exits.NOT_FOUND
