"""A candidate embedding model: built, compared, swapped in and back; nothing is embedded twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes.catalogue.verify import verify
from indexes.reader import FolderReader, Snapshot
from pipeline.documents import Arrival, Chunk, Outcome, QueueName, Stage, State
from pipeline.erasure import ErasureOrder
from pipeline.errors import Misconfigured, Refused
from pipeline.faults import arm
from pipeline.questions import ADMINISTRATOR, Caller, SearchRequest
from tests.support.serving import make_mailroom
from tests.support.tiny import make_embedder
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main
from workers.indexer.writer import Indexer
from workers.services.rebuild import candidate_folder, is_ready

STEMS = "pump gate lease office tenant motor valve notice clerk ledger boiler fence roof".split()
WORDS = [f"{stem}{end}" for stem in STEMS for end in ("ing", "er", "age", "ful", "s")]
OTHER = "tiny-e@2"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        make_embedder(tmp_path / "data" / "models", version, WORDS, dimension=12 if version == "1" else 20)
    return tmp_path / "data"


@pytest.fixture
def mailroom(home: Path) -> Iterator[Mailroom]:
    mailroom = make_mailroom(home, **{"models.embedder": "tiny-e@1"})
    yield mailroom
    mailroom.close()


def text_of(number: int) -> str:
    return " ".join(WORDS[(number * step) % len(WORDS)] for step in (1, 3, 7))


def arrive(mailroom: Mailroom, number: int, text: str | None = None) -> str:
    """Receive a document, embedded by the active model, that waits for the index writer; return its id."""
    text = text or text_of(number)
    document, _ = mailroom.catalogue.documents.receive(f"{number:064x}", 1, Arrival("tray", f"{number}.txt", 0.0))
    (job,) = mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)
    embedder = mailroom.embedders.current()
    outcome = Outcome(
        Stage.EMBED,
        chunks=(Chunk(0, text, 0, len(text)),),
        vectors=embedder.embed([text]),
        embedder=embedder.digest,
        next_stage=Stage.INDEX,
    )
    assert mailroom.catalogue.jobs.commit(job, outcome)
    return document.id


def names_found(mailroom: Mailroom, text: str) -> list[str]:
    request = SearchRequest(text, 5, mode="vector", plain=True)
    return [passage.document_name for passage in mailroom.search.search(ADMINISTRATOR, request).passages]


def finish_background_work(writer: Indexer, rounds: int = 400) -> None:
    """Take steps until no work is left in the background."""
    quiet = 0
    for _ in range(rounds):
        writer._candidates._search_at = 0.0
        writer.step()
        busy = writer._candidates._embedding is not None or writer._candidates._index is not None
        quiet = 0 if busy else quiet + 1
        if quiet > 3:
            return
        time.sleep(0.02)
    raise AssertionError("the work in the background never ends")


def serve(mailroom: Mailroom, name: str, writer: Indexer) -> None:
    model = mailroom.embedders.describe(name)
    mailroom.catalogue.embeddings.serve(
        model.digest, mailroom.embedders.serving_model(), mailroom.settings.models.embedder
    )
    mailroom.embedders._checked_at = float("-inf")  # as after a second
    finish_background_work(writer)
    fresh_reader(mailroom)


def fresh_reader(mailroom: Mailroom) -> None:
    mailroom.reader._looked_at = float("-inf")
    mailroom.reader.snapshot()


def test_a_candidate_is_built_swapped_in_and_back_without_embedding_again(
    mailroom: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = mailroom.indexer()
    for number in range(1, 31):
        arrive(mailroom, number)
    writer.step()
    first, other = mailroom.embedders.serving_model(), mailroom.embedders.describe(OTHER)
    mailroom.catalogue.embeddings.add(other)
    finish_background_work(writer)
    assert (
        is_ready(mailroom.settings.index_path, other) and mailroom.catalogue.embeddings.count_missing(other.digest) == 0
    )
    assert mailroom.reader.snapshot().embedder == first.digest  # it still serves
    late = arrive(mailroom, 31)  # arrives after the candidate's index was built
    finish_background_work(writer)

    serve(mailroom, OTHER, writer)
    snapshot = mailroom.reader.snapshot()
    assert snapshot.embedder == other.digest and snapshot.model == OTHER and len(snapshot.numbers) == 31
    assert len(snapshot.vectors) == 31 and snapshot.without_vectors == 0
    assert names_found(mailroom, text_of(7))[0] == "7.txt" and names_found(mailroom, text_of(31))[0] == "31.txt"
    newest = arrive(mailroom, 32)  # embedded by the new model; the former one is kept up to date
    finish_background_work(writer)

    embedded = []
    real = mailroom.embedders.load(first).embed
    monkeypatch.setattr(mailroom.embedders.load(first), "embed", lambda texts: embedded.append(texts) or real(texts))
    serve(mailroom, "tiny-e@1", writer)
    snapshot = mailroom.reader.snapshot()
    assert snapshot.embedder == first.digest and len(snapshot.vectors) == 32 and embedded == []
    assert names_found(mailroom, text_of(32))[0] == "32.txt"
    assert {mailroom.catalogue.documents.get(document_id).state for document_id in (late, newest)} == {State.INDEXED}
    assert [
        breach for breach in verify(mailroom.catalogue, mailroom.blobs, snapshot.numbers) if "index" in breach
    ] == []


def test_an_erasure_waits_until_no_candidate_index_holds_the_document(mailroom: Mailroom) -> None:
    writer, order = mailroom.indexer(), ErasureOrder("e" * 32, "test")
    for number in range(1, 11):
        arrive(mailroom, number)
    erased = arrive(mailroom, 11)
    writer.step()
    other = mailroom.embedders.describe(OTHER)
    mailroom.catalogue.embeddings.add(other)
    finish_background_work(writer)
    folder = candidate_folder(mailroom.settings.index_path, other.digest)
    number = mailroom.catalogue.documents.get(erased).number
    assert number in mailroom.indexes.reader(folder).snapshot().numbers
    mailroom.catalogue.erasures.open(order)
    mailroom.catalogue.documents.delete(erased, order)
    mailroom.catalogue.erasures.seal(order.id)
    finish_background_work(writer)
    assert mailroom.catalogue.erasures.get(order.id).index_clean
    assert mailroom.indexes.reader(folder).snapshot().numbers == mailroom.indexes.reader().snapshot().numbers
    assert number not in mailroom.indexes.reader().snapshot().numbers and is_ready(mailroom.settings.index_path, other)
    assert len(list((mailroom.settings.index_path / "generations").glob("[0-9]*"))) == 1


def test_changes_during_a_build_are_in_the_index_that_is_swapped_in(mailroom: Mailroom) -> None:
    writer = mailroom.indexer()
    ids = [arrive(mailroom, number) for number in range(1, 11)]
    writer.step()
    other = mailroom.embedders.describe(OTHER)
    mailroom.catalogue.embeddings.add(other)
    finish_background_work(writer)
    mailroom.catalogue.documents.delete(ids[0])
    document = mailroom.catalogue.documents.get(ids[1])
    mailroom.catalogue.jobs.retry(document.id)  # its new chunks need vectors of both models
    (job,) = mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)
    text = "leaseage leaseage tenantful"
    vectors = mailroom.embedders.current().embed([text])
    chunks = (Chunk(0, text, 0, len(text)),)
    digest = mailroom.embedders.current().digest
    outcome = Outcome(Stage.EMBED, chunks=chunks, vectors=vectors, embedder=digest, next_stage=Stage.INDEX)
    mailroom.catalogue.jobs.commit(job, outcome)
    writer.step()
    serve(mailroom, OTHER, writer)
    writer._compared_at = float("-inf")
    finish_background_work(writer)
    fresh_reader(mailroom)
    snapshot = mailroom.reader.snapshot()
    assert len(snapshot.numbers) == len(snapshot.vectors) == 9
    assert names_found(mailroom, text)[0] == document.name


def test_documents_that_the_serving_model_has_not_embedded_get_their_vectors(mailroom: Mailroom, home: Path) -> None:
    """Given a setting that was changed without a candidate: lexical hits at once, vector hits once embedded."""
    writer = mailroom.indexer()
    for number in range(1, 6):
        arrive(mailroom, number)
    writer.step()
    writer.close()
    mailroom.close()
    changed = make_mailroom(home, **{"models.embedder": OTHER})
    writer = changed.indexer()
    writer.step()
    finish_background_work(writer)
    fresh_reader(changed)
    snapshot = changed.reader.snapshot()
    assert snapshot.without_vectors == 0 and len(snapshot.vectors) == 5
    assert names_found(changed, text_of(3))[0] == "3.txt"
    writer.close()
    changed.close()


def test_a_build_resumes_after_a_crash(mailroom: Mailroom) -> None:
    writer = mailroom.indexer()
    for number in range(1, 13):
        arrive(mailroom, number)
    writer.step()
    other = mailroom.embedders.describe(OTHER)
    mailroom.catalogue.embeddings.add(other)
    arm("embedding.stored:error:5")
    try:
        while (thread := writer._candidates._embedding) is None:
            writer.step()
        thread.join()
    finally:
        arm("")
    missing = mailroom.catalogue.embeddings.count_missing(other.digest)
    assert 0 < missing < 12
    finish_background_work(writer)
    assert mailroom.catalogue.embeddings.count_missing(other.digest) == 0
    assert is_ready(mailroom.settings.index_path, other)


def test_a_swap_survives_the_death_of_the_writer(mailroom: Mailroom, home: Path) -> None:
    writer = mailroom.indexer()
    for number in range(1, 6):
        arrive(mailroom, number)
    writer.step()
    other, first = mailroom.embedders.describe(OTHER), mailroom.embedders.serving_model()
    mailroom.catalogue.embeddings.add(other)
    finish_background_work(writer)
    mailroom.catalogue.embeddings.serve(other.digest, first, mailroom.settings.models.embedder)
    writer.close()
    mailroom.close()
    again = make_mailroom(home, **{"models.embedder": "tiny-e@1"})
    writer = again.indexer()
    writer.step()
    assert again.reader.snapshot().embedder == other.digest and len(again.reader.snapshot().vectors) == 5
    assert not candidate_folder(again.settings.index_path, other.digest).exists()
    writer.close()
    again.close()


def test_another_setting_overrules_a_swap(mailroom: Mailroom, home: Path) -> None:
    arrive(mailroom, 1)
    mailroom.indexer().step()
    other = mailroom.embedders.describe(OTHER)
    mailroom.catalogue.embeddings.add(other)
    mailroom.catalogue.embeddings.serve(other.digest, mailroom.embedders.serving_model(), "tiny-e@1")
    make_embedder(home / "models", "3", WORDS)
    elsewhere = make_mailroom(home, **{"models.embedder": "tiny-e@3"})
    assert elsewhere.embedders.serving_model().model == "tiny-e@3"
    elsewhere.close()


def test_questions_are_embedded_by_the_model_of_the_index(mailroom: Mailroom) -> None:
    writer = mailroom.indexer()
    for number in range(1, 11):
        arrive(mailroom, number)
    writer.step()
    mailroom.catalogue.embeddings.add(mailroom.embedders.describe(OTHER))
    finish_background_work(writer)
    stop, wrong = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            names = names_found(mailroom, text_of(4))
            if names[:1] != ["4.txt"]:
                wrong.append(names)

    thread = threading.Thread(target=search)
    thread.start()
    serve(mailroom, OTHER, writer)
    serve(mailroom, "tiny-e@1", writer)
    stop.set()
    thread.join()
    assert wrong == []


def test_the_comparison_counts_common_hits(mailroom: Mailroom) -> None:
    writer = mailroom.indexer()
    for number in range(1, 41):
        arrive(mailroom, number)
    writer.step()
    other = mailroom.embedders.describe(OTHER)
    mailroom.catalogue.embeddings.add(other)
    finish_background_work(writer)
    queries = [text_of(number) for number in range(1, 9)]

    def requests(mode: str) -> list[SearchRequest]:
        return [SearchRequest(query, 3, 2, mode=mode, plain=True) for query in queries]

    result = mailroom.comparison.compare(other, requests("vector"), 10)  # the best ten, whatever page a query asks for
    expected = [
        mailroom.search.search(ADMINISTRATOR, SearchRequest(q, 10, mode="vector", plain=True)).passages for q in queries
    ]
    assert [list(top) for top in result.sides[0].tops] == [[p.chunk for p in passages] for passages in expected]
    assert 0 < result.overlap < 1 and result.same_first == 1.0 and result.sides[1].p50_ms > 0
    lexical = mailroom.comparison.compare(other, requests("lexical"), 10)
    assert lexical.overlap == 1.0


def test_an_empty_index_is_not_compared(mailroom: Mailroom) -> None:
    with pytest.raises(Refused, match="nothing that can be read"):
        mailroom.comparison._side(mailroom.reader, mailroom.embedders.serving_model(), [SearchRequest("pump")])


def test_a_model_that_is_not_an_embedder_or_was_altered_is_refused(mailroom: Mailroom, home: Path) -> None:
    with pytest.raises(Misconfigured, match="not embedder"):
        mailroom.embedders.describe("document-type")
    model = mailroom.embedders.describe(OTHER)
    mailroom.catalogue.embeddings.add(model)
    (home / "models" / "tiny-e" / "2" / "tokenizer.json").write_text("{}")
    assert mailroom.embedders.by_digest(model.digest) is None  # the search is then a lexical one
    with pytest.raises(Misconfigured):
        mailroom.embedders.load(model)


def test_the_commands(
    mailroom: Mailroom,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(1, 11):
        arrive(mailroom, number)
    for user in ("user:ann", "user:ben"):  # both have a query of the same name
        mailroom.catalogue.queries.create(
            Caller((user,)), "mine", {"query": f"+{WORDS[7]} {user[5:]}", "k": 3, "plain": False}
        )
    mailroom.close()
    queries = tmp_path / "queries.tsv"
    queries.write_text(f"1\t{text_of(2)}\n{text_of(5)}\n")

    def run(*arguments: str) -> str:
        assert (
            main(["--data", str(home), "--set", "models.embedder=tiny-e@1", "index", "model", *arguments]) == exits.OK
        )
        return capsys.readouterr().out

    settings = ["--data", str(home), "--set", "models.embedder=tiny-e@1", "index", "model"]
    assert main([*settings, "swap", OTHER]) == exits.ERROR
    assert main([*settings, "back"]) == exits.ERROR
    assert main([*settings, "build", "tiny-e@1"]) == exits.ERROR
    assert "ready to serve" in run("build", OTHER)
    assert "overlap@10" in run("compare", OTHER, "--queries", str(queries))
    assert json.loads(run("compare", OTHER, "--queries", str(queries), "--json"))["overlap"] > 0
    result = json.loads(run("compare", OTHER, "--saved", "--json"))
    assert list(result["queries"]) == [f"+{WORDS[7]} ann", f"+{WORDS[7]} ben"] and result["k"] == 10
    assert main([*settings, "compare", OTHER]) == main([*settings, "compare", OTHER, "--saved", "--queries", "x"]) == 2
    with monkeypatch.context() as broken:  # what the writer publishes cannot be opened

        def fail(reader: FolderReader, folder: Path, digest: str | None) -> Snapshot:
            raise Misconfigured("bad-index", "rows.f32 is cut off.")

        broken.setattr(FolderReader, "_open", fail)
        broken.setattr("workers.indexer.maintenance.STUCK_SECONDS", 0.1)
        assert main([*settings, "swap", OTHER]) == exits.UNAVAILABLE
        assert "its index cannot be opened" in capsys.readouterr().err
    assert "tiny-e@1 serves" in run("back")
    assert f"{OTHER} serves" in run("swap", OTHER)
    roles = {row["model"]: row["role"] for row in json.loads(run("status", "--json"))}
    assert roles == {OTHER: "active", "tiny-e@1": "former"}
    assert "tiny-e@1 serves" in run("back")
    assert "dropped" in run("drop", OTHER, "--yes")
    assert [row["model"] for row in json.loads(run("status", "--json"))] == ["tiny-e@1"]
