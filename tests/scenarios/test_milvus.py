"""The writer, the reader and the path out over an index in Milvus."""

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
from workers.indexer.writer import REQUEST
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


def found(mailroom: Mailroom, text: str) -> set[str]:
    return {passage.document_id for passage in mailroom.search.search(ADMINISTRATOR, SearchRequest(text, k=5)).passages}


def test_documents_are_found_until_they_are_deleted(mailroom: Mailroom) -> None:
    one, two = embedded(mailroom, 1), embedded(mailroom, 2)
    writer = mailroom.indexer()
    assert writer.step() == 2
    assert mailroom.catalogue.documents.get(one).state is State.INDEXED
    assert found(mailroom, "text number") == {one, two}
    mailroom.catalogue.documents.delete(one)
    assert found(mailroom, "text number") == {two}  # at once, before the index knows
    writer._compared_at = float("-inf")
    writer.step()
    assert numbers(mailroom) == {mailroom.catalogue.documents.get(two).number}
    assert mailroom.indexes.counts() == (1, 1)


def test_over_rest_a_file_is_found_by_who_may_see_it_until_it_is_deleted(tmp_path: Path, url: str) -> None:
    mailroom = make_mailroom(tmp_path / "data", **{"index.url": url})
    with serving(mailroom) as address:
        root = client(address, mailroom, admin=True)
        ann, bob = (client(address, mailroom, [f"user:{name}"], ["read", "write"]) for name in ("ann", "bob"))
        receipt = ann.post("/v1/documents", content=b"a lease", headers={"X-Filename": "lease.txt"}).json()
        read_and_index(mailroom, receipt["id"], "The notice period of lease PPR-9087 is three months.", "contract")
        asked = ("notice period", '"notice period" -pump', "PPR-9087", "noti*")
        for who, expected in ((ann, [receipt["id"]]), (bob, []), (root, [receipt["id"]])):
            for query in asked:
                passages = who.get("/v1/search", params={"query": query}).raise_for_status().json()["items"]
                assert [passage["document_id"] for passage in passages] == expected, (who, query)
        filed = {"access": "user:ann", "metadata": '{"department": "hr"}'}
        other = ann.post("/v1/documents", content=b"b", headers={"X-Filename": "b.txt"}, params=filed).json()
        read_and_index(mailroom, other["id"], "The notice period of the flat is a month.", "letter")
        near = f"/v1/documents/{receipt['id']}/similar"
        narrowed = {"query": "notice period", "metadata": "department=hr", "facets": "type,metadata.department"}
        for who, expected in ((ann, [other["id"]]), (bob, None), (root, [other["id"]])):
            found = who.get("/v1/search", params=narrowed)
            if expected is None:  # to bob neither the document nor the field is there
                assert found.status_code == 400 and who.get(near).status_code == 404
                continue
            page = found.raise_for_status().json()
            assert [passage["document_id"] for passage in page["items"]] == expected
            counted = {
                name: [(each["value"], each["count"]) for each in held]
                for name, held in page["facets"]["fields"].items()
            }
            assert counted == {"type": [("letter", 1)], "metadata.department": [("hr", 1)]}
            assert [each["document"]["id"] for each in who.get(near).raise_for_status().json()["items"]] == expected
        assert ann.delete(other["href"]).status_code == 204
        assert root.get("/healthz").json()["index"] == "ok"
        assert ann.delete(receipt["href"]).status_code == 204
        assert ann.get("/v1/search", params={"query": "notice period"}).json()["items"] == []
    mailroom.close()


def test_another_process_goes_on_and_a_request_makes_the_index_anew(
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


def test_a_publication_that_ends_half_way_is_made_good_by_the_next(
    mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.indexer.writer.PAUSE_SECONDS", 0.0)
    one, writer = embedded(mailroom, 1), mailroom.indexer()
    writer.step()
    two = embedded(mailroom, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexes.milvus.state.write", raising)  # the rows are in, the state is not
        with pytest.raises(Unavailable):
            writer.step()
    assert len(numbers(mailroom)) == 1 and found(mailroom, "text number") >= {one}
    writer._compared_at = float("-inf")
    writer.step()
    assert mailroom.indexes.counts() == (2, 2) and found(mailroom, "text number") == {one, two}


def test_the_index_of_another_model_takes_the_place_of_this_one_and_gives_it_back(tmp_path: Path, url: str) -> None:
    indexes = open_indexes(url, tmp_path)
    models = [EmbeddingModel("E" * 64, "one", 4), EmbeddingModel("F" * 64, "other", 8)]
    paths = [candidate_folder(indexes.root, model.digest) for model in models]
    main = indexes.writer(models[0])
    for writer, model in ((main, models[0]), (indexes.writer(models[1], paths[1]), models[1])):
        writer.add(7, [Chunk(0, f"the {model.model} index", 0, 9)], np.eye(1, model.dimension))
        writer.publish()
    reader = indexes.reader()
    for now, was, nearest in ((1, 0, 8), (0, 1, 4)):
        assert reader.snapshot().model == models[was].model
        assert main.keep_as(paths[was])
        main.change_model(models[now].digest, models[now].dimension, models[now].model)
        assert main.rebuild_needed
        main.adopt(paths[now], 1.0)
        assert not main.rebuild_needed and main.numbers == {7}
        taken = indexes.reader().snapshot()
        assert taken.model == models[now].model
        assert len(taken.vectors.search(np.ones(nearest, np.float32), 5, [7])) == 1
        reader._look_at = 0.0
    main.close()


def raising(*_: object) -> None:
    raise Unavailable("index-unavailable", "as a server that ends just here")


def test_a_server_that_is_gone_is_said_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexes.milvus.server.TIMEOUT", 1.0)
    mailroom = opened(tmp_path, "milvus+http://127.0.0.1:9/db")
    reader = mailroom.reader
    assert len(reader.snapshot().numbers) == 0 and reader.stale and "127.0.0.1:9" in reader.problem
    assert mailroom.indexes.state().name == "unavailable"
    with pytest.raises(Unavailable):
        mailroom.writer  # noqa: B018


def test_an_answer_that_does_not_come_in_time_is_the_surroundings_fault(
    milvus: MilvusServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(url)
    server.call("create_collection", "any", 4)
    server.call("search", "any", [[1.0, 0.0, 0.0, 0.0]])
    monkeypatch.setattr("indexes.milvus.server.TIMEOUT", 0.3)
    with milvus.paused(), pytest.raises(Unavailable, match="Milvus at"):
        server.call("search", "any", [[1.0, 0.0, 0.0, 0.0]])


def test_a_wrong_url_and_a_kind_of_the_other_backend_are_mistakes_in_the_settings(tmp_path: Path, url: str) -> None:
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
    assert "3 documents, 3 passages" in asked(home, "index", "migrate", "--to", url)
    late = opened(home, "")
    fourth = embedded(late, 4)  # comes before the switch
    late.close()
    there = opened(home, url)
    there.indexer().step()
    assert numbers(there) == {there.catalogue.documents.get(each).number for each in (*ids, fourth)}
    assert "ok" in asked(home, "--set", f"index.url={url}", "index", "status")
    there.close()
    assert "4 documents, 4 passages" in asked(home, "--set", f"index.url={url}", "index", "migrate", "--to", "folder")
    assert len(numbers(opened(home, ""))) == 4


def test_a_copy_that_was_interrupted_goes_on(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def asked(home: Path, *arguments: str) -> str:
    """What the command line says; it must succeed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["--data", str(home), *arguments]) == exits.OK
    return " ".join(said.getvalue().split())
