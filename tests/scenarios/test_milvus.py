"""Writer, reader and search over an index in Milvus."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexes.milvus.server import Server
from indexes.open import open_indexes
from pipeline.documents import Chunk, EmbeddingModel, State
from pipeline.errors import Misconfigured, Refused, Unavailable
from pipeline.questions import ADMINISTRATOR, SearchRequest
from tests.support.embedded import embedded
from tests.support.milvus import MilvusServer
from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main
from workers.services.rebuild import REBUILD_REQUEST as REQUEST
from workers.services.rebuild import Rebuild, candidate_folder
from workers.settings import load_settings


def opened(home: Path, url: str) -> Mailroom:
    return Mailroom(load_settings({"data.path": str(home), "index.url": url}, environ={}).settings)


@pytest.fixture
def url(milvus: MilvusServer) -> str:
    return milvus.url()


@pytest.fixture
def mailroom(tmp_path: Path, url: str) -> Iterator[Mailroom]:
    mailroom = opened(tmp_path / "data", url)
    yield mailroom
    mailroom.close()


def numbers(mailroom: Mailroom) -> set[int]:
    return set(mailroom.indexes.reader().snapshot().numbers)


def search(mailroom: Mailroom, text: str) -> set[str]:
    return {passage.document_id for passage in mailroom.search.search(ADMINISTRATOR, SearchRequest(text, k=5)).passages}


def test_documents_are_found_until_they_are_deleted(mailroom: Mailroom) -> None:
    first, second = embedded(mailroom, 1), embedded(mailroom, 2)
    writer = mailroom.indexer()
    assert writer.step() == 2
    assert mailroom.catalogue.documents.get(first).state is State.INDEXED
    assert search(mailroom, "text number") == {first, second}
    mailroom.catalogue.documents.delete(first)
    assert search(mailroom, "text number") == {second}  # at once, before the index knows
    writer._compared_at = float("-inf")
    writer.step()
    assert numbers(mailroom) == {mailroom.catalogue.documents.get(second).number}
    assert mailroom.indexes.counts() == (1, 1)


def test_over_rest_a_file_is_found_by_who_may_see_it_until_it_is_deleted(tmp_path: Path, url: str) -> None:
    mailroom = make_mailroom(tmp_path / "data", **{"index.url": url})
    with serving(mailroom) as address:
        root = client(address, mailroom, admin=True)
        ann, bob = (
            client(address, mailroom, [f"user:{name}"], ["read", "upload", "delete", "review"])
            for name in ("ann", "bob")
        )
        receipt = ann.post("/v1/documents", content=b"a lease", headers={"X-Filename": "lease.txt"}).json()
        read_and_index(mailroom, receipt["id"], "The notice period of lease PPR-9087 is three months.", "contract")
        queries = ("notice period", '"notice period" -pump', "PPR-9087", "noti*")
        for who, expected in ((ann, [receipt["id"]]), (bob, []), (root, [receipt["id"]])):
            for query in queries:
                passages = who.get("/v1/search", params={"query": query}).raise_for_status().json()["items"]
                assert [passage["document_id"] for passage in passages] == expected, (who, query)
        filed = {"access": "user:ann", "metadata": '{"department": "hr"}'}
        other = ann.post("/v1/documents", content=b"b", headers={"X-Filename": "b.txt"}, params=filed).json()
        read_and_index(mailroom, other["id"], "The notice period of the flat is a month.", "letter")
        near = f"/v1/documents/{receipt['id']}/similar"
        narrowed = {"query": "notice period", "metadata": "department=hr", "facets": "type,metadata.department"}
        for who, expected in ((ann, [other["id"]]), (bob, None), (root, [other["id"]])):
            answer = who.get("/v1/search", params=narrowed)
            if expected is None:  # to bob neither the document nor the field is there
                assert answer.status_code == 404 and who.get(near).status_code == 404
                continue
            page = answer.raise_for_status().json()
            assert [passage["document_id"] for passage in page["items"]] == expected
            counts = {
                name: [(value["value"], value["count"]) for value in values]
                for name, values in page["facets"]["fields"].items()
            }
            assert counts == {"type": [("letter", 1)], "metadata.department": [("hr", 1)]}
            assert [hit["document"]["id"] for hit in who.get(near).raise_for_status().json()["items"]] == expected
        assert ann.delete(other["href"]).status_code == 200
        assert root.get("/healthz").json()["index"] == "ok"
        assert ann.delete(receipt["href"]).status_code == 200
        assert ann.get("/v1/search", params={"query": "notice period"}).json()["items"] == []
    mailroom.close()


def test_another_process_takes_over_and_a_request_rebuilds_the_index(
    mailroom: Mailroom, tmp_path: Path, url: str
) -> None:
    embedded(mailroom, 1)
    mailroom.indexer().step()
    with pytest.raises(Refused):
        opened(tmp_path / "data", url).writer  # noqa: B018
    mailroom.writer.close()
    again = opened(tmp_path / "data", url)
    assert again.writer.numbers == numbers(mailroom) and not again.writer.rebuild_needed
    (again.settings.index_path / REQUEST).touch()
    embedded(again, 2)
    writer = again.indexer()
    while (again.settings.index_path / REQUEST).exists():
        writer.step()
    writer.step()
    assert len(numbers(again)) == 2 and len(mailroom.reader.snapshot().numbers) >= 1
    again.close()


def test_an_interrupted_publication_is_completed_by_the_next(
    mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.indexer.writer.PAUSE_SECONDS", 0.0)
    first, writer = embedded(mailroom, 1), mailroom.indexer()
    writer.step()
    second = embedded(mailroom, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexes.milvus.state.write", raising)  # the rows are in, the state is not
        with pytest.raises(Unavailable):
            writer.step()
    assert len(numbers(mailroom)) == 1 and search(mailroom, "text number") >= {first}
    writer._compared_at = float("-inf")
    writer.step()
    assert mailroom.indexes.counts() == (2, 2) and search(mailroom, "text number") == {first, second}


def test_the_index_of_another_model_replaces_this_one_and_is_replaced_again(tmp_path: Path, url: str) -> None:
    indexes = open_indexes(url, tmp_path)
    models = [EmbeddingModel("E" * 64, "one", 4), EmbeddingModel("F" * 64, "other", 8)]
    paths = [candidate_folder(indexes.root, model.digest) for model in models]
    main = indexes.writer(models[0])
    for writer, model in ((main, models[0]), (indexes.writer(models[1], paths[1]), models[1])):
        writer.add(7, [Chunk(0, f"the {model.model} index", 0, 9)], np.eye(1, model.dimension))
        writer.publish()
    reader = indexes.reader()
    for now, before, nearest in ((1, 0, 8), (0, 1, 4)):
        assert reader.snapshot().model == models[before].model
        assert main.keep_as(paths[before])
        main.change_model(models[now].digest, models[now].dimension, models[now].model)
        assert main.rebuild_needed
        main.adopt(paths[now], 1.0)
        assert not main.rebuild_needed and main.numbers == {7}
        snapshot = indexes.reader().snapshot()
        assert snapshot.model == models[now].model
        assert len(snapshot.vectors.search(np.ones(nearest, np.float32), 5, [7])) == 1
        reader._look_at = 0.0
    main.close()


def raising(*_: object) -> None:
    raise Unavailable("index-unavailable", "as if the server ended just here")


def test_a_missing_server_is_reported_and_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexes.milvus.server.TIMEOUT", 1.0)
    mailroom = opened(tmp_path, "milvus+http://127.0.0.1:9/db")
    reader = mailroom.reader
    assert len(reader.snapshot().numbers) == 0 and reader.stale and "127.0.0.1:9" in reader.problem
    assert mailroom.indexes.state().name == "unavailable"
    with pytest.raises(Unavailable):
        mailroom.writer  # noqa: B018


def test_a_late_answer_means_unavailable(milvus: MilvusServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(url)
    server.call("create_collection", "any", 4)
    server.call("search", "any", [[1.0, 0.0, 0.0, 0.0]])
    monkeypatch.setattr("indexes.milvus.server.TIMEOUT", 0.3)
    with milvus.paused(), pytest.raises(Unavailable, match="Milvus at"):
        server.call("search", "any", [[1.0, 0.0, 0.0, 0.0]])


def test_a_wrong_url_and_the_other_backend_s_kind_are_errors_in_the_settings(tmp_path: Path, url: str) -> None:
    with pytest.raises(Misconfigured, match=r"index\.url"):
        opened(tmp_path, "http://milvus:19530").indexes  # noqa: B018
    mailroom = Mailroom(
        load_settings({"data.path": str(tmp_path), "index.url": url, "index.kind": "hnsw-sq8"}, environ={}).settings
    )
    with pytest.raises(Misconfigured, match=r"index\.kind"):
        mailroom.writer  # noqa: B018


def test_an_index_is_copied_there_and_back_without_embedding(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "data"
    first = opened(home, "")
    ids = {embedded(first, number) for number in (1, 2, 3)}
    first.indexer().step()
    monkeypatch.setattr(first.embedder.__class__, "embed", lambda *_: pytest.fail("nothing is embedded again"))
    first.close()
    assert "3 documents, 3 chunks" in run(home, "index", "migrate", "--to", url)
    late = opened(home, "")
    fourth = embedded(late, 4)  # comes before the switch
    late.close()
    there = opened(home, url)
    there.indexer().step()
    assert numbers(there) == {there.catalogue.documents.get(document).number for document in (*ids, fourth)}
    assert "ok" in run(home, "--set", f"index.url={url}", "index", "status")
    there.close()
    assert "4 documents, 4 chunks" in run(home, "--set", f"index.url={url}", "index", "migrate", "--to", "folder")
    assert len(numbers(opened(home, ""))) == 4


def test_an_interrupted_copy_resumes(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.services.rebuild.CHECKPOINT", 1)
    mailroom = opened(tmp_path / "data", "")
    for number in (1, 2, 3):
        embedded(mailroom, number)
    target = open_indexes(url, mailroom.settings.index_path)
    writer = target.writer(mailroom.embedders.serving_model())
    begun = Rebuild(mailroom.catalogue.chunks, target, writer)
    assert not begun.run_for(0.0)  # one document and a checkpoint
    begun.close()
    again = Rebuild(mailroom.catalogue.chunks, target, writer)
    assert again.documents_done >= 1 and again.started_at == begun.started_at
    assert again.run_for() and target.counts() == (3, 3)
    writer.close()
    mailroom.close()


def run(home: Path, *arguments: str) -> str:
    """Run a command, which must succeed, and return what it prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["--data", str(home), *arguments]) == exits.OK
    return " ".join(output.getvalue().split())
