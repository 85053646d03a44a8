"""Feedback on hits over REST, its export by the command line, and the metrics of the search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main
from workers.services.keys import access_for

TEXTS = {
    "lease.txt": "The notice period of the lease is three months.",
    "pump.txt": "The pump of the northern station was replaced on Tuesday.",
    "memo.txt": "Travel expenses are paid within thirty days.",
}


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailroom]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("feedback") / "data")
    yield mailroom
    mailroom.close()


@pytest.fixture(scope="module")
def url(mailroom: Mailroom) -> Iterator[str]:
    with serving(mailroom) as url:
        yield url


def client(mailroom: Mailroom, url: str, name: str, scopes: tuple[str, ...], admin: bool = False) -> httpx.Client:
    _, secret = mailroom.catalogue.keys.create(name, access_for([f"user:{name}"], scopes, admin=admin))
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture(scope="module")
def ids(mailroom: Mailroom, url: str) -> dict[str, str]:
    """Ann's documents: name -> id."""
    ids = {}
    with client(mailroom, url, "ann", ("read", "upload")) as ann:
        for name, text in TEXTS.items():
            receipt = ann.post(
                "/v1/documents", content=text.encode(), headers={"X-Filename": name}, params={"path": name}
            )
            ids[name] = read_and_index(mailroom, receipt.json()["id"], text, "other").id
    return ids


def test_feedback_is_stored_listed_and_exported(
    mailroom: Mailroom, url: str, ids: dict[str, str], tmp_path: Path
) -> None:
    """Given clicks and votes, When they are exported, Then they are judgements that the search can be measured on."""
    with client(mailroom, url, "ann", ("read",)) as ann, client(mailroom, url, "root", (), True) as root:
        feedback = [
            {"query": "notice period", "document_id": ids["lease.txt"], "kind": "useful", "rank": 1},
            {"query": "Notice  period", "document_id": ids["memo.txt"], "kind": "not-useful"},
            {"query": "pump", "document_id": ids["pump.txt"], "kind": "click", "rank": 2},
        ]
        for line in [*feedback, feedback[2]]:
            assert ann.post("/v1/feedback", json=line).status_code == 204
        page = root.get("/v1/feedback", params={"limit": 2}).json()
        rest = root.get("/v1/feedback", params={"after": page["next_after"]}).json()
        items = [*page["items"], *rest["items"]]
        assert [(item["kind"], item["rank"]) for item in items] == [("useful", 1), ("not-useful", None), ("click", 2)]
        assert rest["next_after"] is None
        assert ann.get("/v1/feedback").status_code == 403
        with client(mailroom, url, "meter", ("train",)) as meter:  # may read no document, so no feedback on one
            assert meter.get("/v1/feedback").json() == {"items": [], "next_after": None}
        remote = ["--url", url, "--key", root.headers["authorization"].split()[1]]
    for options in (["--data", str(mailroom.settings.home)], remote):
        q, r = tmp_path / "q.tsv", tmp_path / "r.tsv"
        assert main([*options, "eval", "export", "--queries", str(q), "--qrels", str(r)]) == exits.OK
        assert q.read_text() == "1\tnotice period\n2\tpump\n"
        lines = [f"1 0 {ids['lease.txt']} 2", f"1 0 {ids['memo.txt']} 0", f"2 0 {ids['pump.txt']} 1"]
        assert r.read_text().splitlines() == lines


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "loved"}, 400), ({"document_id": "0" * 32}, 404), ({"document_id": "x"}, 400), ({"query": " "}, 400),
        ({"rank": 0}, 400), ({"query": "x" * 4001}, 400), ({"surprise": 1}, 400),
    ],
)  # fmt: skip
def test_invalid_feedback_is_refused(
    mailroom: Mailroom, url: str, ids: dict[str, str], body: dict, status: int
) -> None:
    good = {"query": "pump", "document_id": ids["pump.txt"], "kind": "click"}
    with client(mailroom, url, "ann", ("read",)) as ann:
        assert ann.post("/v1/feedback", json=good | body).status_code == status


def test_feedback_on_a_forbidden_document_is_refused(mailroom: Mailroom, url: str, ids: dict[str, str]) -> None:
    with client(mailroom, url, "bob", ("read",)) as bob:
        feedback = {"query": "pump", "document_id": ids["pump.txt"], "kind": "useful"}
        assert bob.post("/v1/feedback", json=feedback).status_code == 404


@pytest.fixture(params=["local", "remote"])
def options(request: pytest.FixtureRequest, mailroom: Mailroom, url: str) -> list[str]:
    if request.param == "local":
        return ["--data", str(mailroom.settings.home)]
    with client(mailroom, url, "ann", ("read",)) as ann:
        return ["--url", url, "--key", ann.headers["authorization"].split()[1]]


def test_the_search_is_measured(
    options: list[str], ids: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Documents may be named by id, name or path; a query without judgement is counted, not measured."""
    q, r, run = tmp_path / "q.tsv", tmp_path / "r.tsv", tmp_path / "run.trec"
    q.write_text('a\tHow long is the notice period?\nb\treplaced pump\nc\t-nothing "judged\nd\ttravel\n')
    r.write_text(f"a 0 {ids['lease.txt']} 2\nb 0 pump.txt 1\nd 0 lease.txt 1\n")
    words = ["eval", "search", "--queries", str(q), "--qrels", str(r)]
    assert main([*options, *words, "--run", str(run), "--json"]) == exits.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["judged"], report["unjudged"]) == (3, 1)
    assert report["queries"]["a"]["MRR"] == report["queries"]["b"]["nDCG@10"] == 1.0
    assert report["queries"]["d"]["MRR"] < 1.0
    assert report["mean"]["recall@100"] == 1.0 and report["latency"]["p50_ms"] > 0
    assert run.read_text().startswith(f"a Q0 {ids['lease.txt']} 1 ")
    assert main([*options, *words, "--worst", "1", "--mode", "lexical"]) == exits.OK
    table = capsys.readouterr().out
    assert "nDCG@10" in table and "travel" in table.split("The worst")[1]


def test_with_filters_only_matching_documents_are_measured(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    q, r = tmp_path / "q.tsv", tmp_path / "r.tsv"
    q.write_text("a\tnotice period\nb\tpump\n")
    r.write_text("a 0 lease.txt 1\nb 0 nowhere.txt 1\n")
    words = ["eval", "search", "--queries", str(q), "--qrels", str(r)]
    assert main([*options, *words, "--since", "1970-01-01", "--json"]) == exits.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["judged"], report["unjudged"], report["left_out"], report["mean"]["MRR"]) == (1, 1, 1, 1.0)
    assert main([*options, *words, "--until", "1970-01-01"]) == exits.USAGE
    assert "No judged document matches the filters" in capsys.readouterr().err


def test_judgements_of_other_documents_are_reported_as_such(
    options: list[str], ids: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    q, r = tmp_path / "q.tsv", tmp_path / "r.tsv"
    q.write_text("a\tnotice period\n")
    words = ["eval", "search", "--queries", str(q), "--qrels", str(r), "--no-rerank"]
    r.write_text("a 0 elsewhere.txt 1\n")
    assert main([*options, *words]) == exits.OK
    assert "No query finds a judged document" in capsys.readouterr().err
    r.write_text("a 0 lease.txt 1\n")
    assert main([*options, *words]) == exits.OK
    assert "No query finds a judged document" not in capsys.readouterr().err


def test_invalid_files_are_named(mailroom: Mailroom, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    q, r = tmp_path / "q.tsv", tmp_path / "r.tsv"
    r.write_text("a 0 lease.txt 1\n")
    for content in (None, "no tab", "z\tquery"):
        if content is not None:
            q.write_text(content)
        words = ["--data", str(mailroom.settings.home), "eval", "search", "--queries", str(q), "--qrels", str(r)]
        assert main(words) == exits.USAGE
        assert "error: bad-request" in capsys.readouterr().err
