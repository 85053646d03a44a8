"""The path out: pages that do not overlap, a limit per document, nothing deleted or forbidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from indexes.open import open_catalogue
from pipeline.answer import MAX_DEPTH, Finder, Reranking
from pipeline.documents import Arrival, Chunk, Outcome, QueueName, Stage, State
from pipeline.errors import Refused
from pipeline.ports import Snapshot
from pipeline.questions import Caller, Filters, Hit, SearchRequest, chunk_key
from tests.support.memory_index import MemoryLexical, MemoryVectors
from tests.unit.pipeline.test_read import Hashed

DOCUMENTS, CHUNKS = 60, 5
ANA, ANYONE = Caller(("user:ana",)), Caller(("*",))


class FixedReader:
    """A reader whose snapshot never changes."""

    stale = False

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot


def text_of(number: int, ordinal: int) -> str:
    return f"Invoice {number} part {ordinal}: " + " ".join(f"word{(number * 7 + ordinal * i) % 23}" for i in range(12))


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory):
    """Make a catalogue in which every third document is for Ana alone, and a finder over it."""
    catalogue = open_catalogue(f"sqlite:///{tmp_path_factory.mktemp('catalogue') / 'catalogue.db'}")
    texts: dict[int, str] = {}
    ids: dict[int, str] = {}
    for n in range(DOCUMENTS):
        access = ("user:ana",) if n % 3 == 0 else ("*",)
        arrival = Arrival("test", f"{n}.txt", 1.0, access=access)
        document, _ = catalogue.documents.receive(f"{n:064x}", 1, arrival)
        document_texts = [text_of(n, ordinal) for ordinal in range(CHUNKS)]
        chunks = tuple(Chunk(i, text, 0, len(text)) for i, text in enumerate(document_texts))
        job = catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0]
        outcome = Outcome("chunk", chunks=chunks, next_stage=Stage.EMBED)
        job = catalogue.jobs.commit(job, outcome, keep=True, seconds=60)
        vectors = Hashed().embed(document_texts)
        catalogue.jobs.commit(job, Outcome("embed", vectors=vectors, embedder="hashed", state=State.INDEXED))
        texts |= {chunk_key(document.number, i): text for i, text in enumerate(document_texts)}
        ids[document.number] = document.id
    keys = np.array(list(texts), np.int64)
    vectors = MemoryVectors(keys, Hashed().embed(list(texts.values())))
    snapshot = Snapshot("1", "hashed", vectors, MemoryLexical(texts), frozenset(ids))
    yield catalogue, Finder(catalogue.documents, catalogue.chunks, FixedReader(snapshot), Hashed()), ids
    catalogue.close()


class Shuffled:
    """An index whose ranking has nothing to do with the other one's."""

    def __init__(self, keys: list[int], seed: int) -> None:
        self._order = [int(key) for key in np.random.default_rng(seed).permutation(keys)]

    def search(self, query: object, k: int, *_: object) -> list[Hit]:
        return [Hit(key, 1.0 / rank) for rank, key in enumerate(self._order, 1)][:k]

    def highlights(self, query: object, text: str, *_: object) -> tuple[tuple[int, int], ...]:
        return ()


def test_small_pages_make_up_the_large_one(mailroom) -> None:
    catalogue, _, ids = mailroom
    keys = [chunk_key(number, ordinal) for number in ids for ordinal in range(CHUNKS)]
    snapshot = Snapshot("1", "hashed", Shuffled(keys, 1), Shuffled(keys, 2), frozenset(ids))
    finder = Finder(catalogue.documents, catalogue.chunks, FixedReader(snapshot), Hashed())
    pages = [finder.search(ANA, SearchRequest("any", 10, at)).passages for at in range(0, 100, 10)]
    small = [passage.chunk for page in pages for passage in page]
    large = [passage.chunk for passage in finder.search(ANA, SearchRequest("any", 100)).passages]
    assert len(set(small)) == 100
    assert small == large


def test_a_document_has_a_limited_number_of_passages(mailroom) -> None:
    _, finder, _ = mailroom
    documents = [p.document_id for p in finder.search(ANA, SearchRequest("invoice", 100)).passages]
    assert documents and max(map(documents.count, documents)) <= 3


@pytest.mark.parametrize("share", [1, 5])
def test_a_request_may_set_the_limit(mailroom, share: int) -> None:
    request = SearchRequest("invoice", 100, per_document=share)
    documents = [passage.document_id for passage in mailroom[1].search(ANA, request).passages]
    assert max(map(documents.count, documents)) == share


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "vector"])
@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ('"invoice 7 part"', lambda text: "Invoice 7 part" in text),
        ("invoice -word3", lambda text: "word3" not in text.split()),
        ("+part 8..8 2..9", lambda text: "8" in text.replace(":", " ").split()),
    ],
)  # fmt: skip
def test_a_required_clause_holds_for_every_passage_in_every_mode(mailroom, mode: str, query: str, holds) -> None:
    passages = mailroom[1].search(ANA, SearchRequest(query, 50, mode=mode)).passages
    assert passages and all(holds(passage.text) for passage in passages)


def finder_of(texts: list[str], embedder: object, reranking: Reranking | None = None) -> tuple[Finder, dict[str, str]]:
    """Return a finder over documents of one text each, and the texts by document id."""
    catalogue = open_catalogue("memory:")
    by_chunk: dict[int, str] = {}
    ids: dict[str, str] = {}
    for n, text in enumerate(texts):
        document, _ = catalogue.documents.receive(f"{n:064x}", 1, Arrival("test", f"{n}.txt", 1.0))
        job = catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0]
        outcome = Outcome("chunk", chunks=(Chunk(0, text, 0, len(text)),), next_stage=Stage.EMBED)
        job = catalogue.jobs.commit(job, outcome, keep=True, seconds=60)
        outcome = Outcome("embed", vectors=Hashed().embed([text]), embedder="hashed", state=State.INDEXED)
        catalogue.jobs.commit(job, outcome)
        by_chunk[chunk_key(document.number, 0)], ids[document.id] = text, text
    vectors = MemoryVectors(np.array(list(by_chunk), np.int64), Hashed().embed(texts))
    numbers = frozenset(key >> 20 for key in by_chunk)
    snapshot = Snapshot("1", "hashed", vectors, MemoryLexical(by_chunk), numbers)
    return Finder(catalogue.documents, catalogue.chunks, FixedReader(snapshot), embedder, reranking), ids


BODY = "the parties agree that the pump is to be delivered to the site office before noon and that the invoice follows "


def test_near_duplicates_are_one_passage_unless_their_numbers_differ() -> None:
    texts = [BODY * 3, (BODY * 3).upper() + "soon", BODY * 3 + "for 100 EUR", BODY * 3 + "for 200 EUR", "another pump"]
    finder, ids = finder_of(texts, Hashed())
    collapsed = finder.search(ANA, SearchRequest("pump")).passages
    assert len(collapsed) == 4
    representative = next(p for p in collapsed if p.duplicates)
    assert {representative.text, *(ids[d] for d in representative.duplicates)} == set(texts[:2])
    assert len(finder.search(ANA, SearchRequest("pump", collapse=False)).passages) == 5


def test_a_reranker_decides_the_order_but_not_of_codes() -> None:
    class Longest:
        name = digest = "longest"

        def scores(self, query: str, texts: list[str]) -> np.ndarray:
            return np.array([10.0 ** len(text) for text in texts], np.float32) / 1e30

    texts = ["pump PX-1", "pump again and again", "a pump"]
    finder, _ = finder_of(texts, Hashed(), Reranking(Longest()))
    best = finder.search(ANA, SearchRequest("pump"))
    assert best.passages[0].text == "pump again and again"
    assert best.passages[0].scores["rerank"] > 0
    assert finder.search(ANA, SearchRequest("PX-1")).passages[0].text == "pump PX-1"
    request = SearchRequest("pump", rerank=False)
    assert "rerank" not in finder.search(ANA, request).passages[0].scores
    on_request, _ = finder_of(texts, Hashed(), Reranking(Longest(), passages=2, by_default=False))
    assert "rerank" not in on_request.search(ANA, SearchRequest("pump")).passages[0].scores
    passages = on_request.search(ANA, replace(request, rerank=True)).passages
    assert ["rerank" in passage.scores for passage in passages] == [True, True, False]


def test_reranking_without_a_reranker_is_refused() -> None:
    finder, _ = finder_of(["a pump"], Hashed())
    with pytest.raises(Refused, match=r"models\.reranker"):
        finder.search(ANA, SearchRequest("pump", rerank=True))


def test_a_query_is_embedded_without_its_signs() -> None:
    class RecordingEmbedder(Hashed):
        def embed(self, texts):
            embedded.extend(texts)
            return super().embed(texts)

    embedded: list[str] = []
    finder, _ = finder_of(["pump house"], RecordingEmbedder())
    finder.search(ANA, SearchRequest('+pump "house rules" -car title:lease* 10..20'))
    finder.search(ANA, SearchRequest("10..20"))
    finder.search(ANA, SearchRequest('-pump "', plain=True))
    assert embedded == ["pump house rules lease", '-pump "']


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "vector"])
def test_nothing_forbidden_is_returned(mailroom, mode: str) -> None:
    _, finder, ids = mailroom
    secret = {document_id for number, document_id in ids.items() if document_id and (number - min(ids)) % 3 == 0}
    visible = {p.document_id for p in finder.search(ANYONE, SearchRequest("invoice", 100, mode=mode)).passages}
    assert visible and not visible & secret
    assert secret & {p.document_id for p in finder.search(ANA, SearchRequest("invoice", 100, mode=mode)).passages}
    elsewhere = Caller(("user:ana", "*"), tenant="another")
    assert finder.search(elsewhere, SearchRequest("invoice", mode=mode)).passages == ()


def test_a_deleted_document_is_gone_at_once(mailroom) -> None:
    catalogue, finder, _ = mailroom
    deleted = finder.search(ANA, SearchRequest("invoice word3")).passages[0].document_id
    catalogue.documents.delete(deleted)
    assert deleted not in {p.document_id for p in finder.search(ANA, SearchRequest("invoice word3", 100)).passages}


def test_highlights_and_score_parts(mailroom) -> None:
    _, finder, _ = mailroom
    best = finder.search(ANA, SearchRequest("invoices")).passages[0]
    assert [best.text[a:b] for a, b in best.highlights] == ["Invoice"]
    assert set(best.scores) >= {"lexical", "fused"}


@pytest.mark.parametrize("bad", [{"k": 0}, {"k": 10**9}, {"offset": -1}, {"offset": MAX_DEPTH}, {"mode": "psychic"},
                                 {"per_document": 0}, {"per_document": 101}])  # fmt: skip
def test_a_request_out_of_bounds_is_refused(mailroom, bad: dict) -> None:
    with pytest.raises(Refused, match="bad-request"):
        mailroom[1].search(ANA, SearchRequest("invoice", **bad))


def test_every_quote_is_verbatim(mailroom) -> None:
    _, finder, _ = mailroom
    answer = finder.ask(ANA, "What is invoice 7 part 2?")
    assert 0.0 <= answer.confidence <= 1.0
    assert all(text_of_name(q.document_name, q.start, q.end, q.text) for q in answer.quotes)


def text_of_name(name: str, start: int, end: int, quoted: str) -> bool:
    number = int(name.removesuffix(".txt"))
    return any(text_of(number, ordinal)[start:end] == quoted for ordinal in range(CHUNKS))


# --- one content in many places

PLACES, OTHERS = 40, 12


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory):
    """Make a catalogue with one content in many folders, every second for Ana alone, and a few other documents."""
    catalogue = open_catalogue(f"sqlite:///{tmp_path_factory.mktemp('copies') / 'catalogue.db'}")
    texts: dict[int, str] = {}
    for n in range(PLACES + OTHERS):
        content, access = (0, ("user:ana",) if n % 2 else ("*",)) if n < PLACES else (n, ("*",))
        arrival = Arrival("test", f"folder {n}/form {n}.txt", 1.0, access, owner=f"user:{n}")
        document, _ = catalogue.documents.receive(f"{content:064x}", 1, arrival)
        document_texts = [f"pump pump pump {part}" if content == 0 else f"pump of station {n} {part}" for part in "ab"]
        chunks = tuple(Chunk(i, text, 0, len(text)) for i, text in enumerate(document_texts))
        vectors = Hashed().embed(document_texts)
        outcome = Outcome("embed", chunks=chunks, vectors=vectors, embedder="hashed", state=State.INDEXED)
        assert catalogue.jobs.commit(catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0], outcome)
        texts |= {chunk_key(document.number, i): text for i, text in enumerate(document_texts)}
    keys = np.array(list(texts), np.int64)
    numbers = frozenset(int(key) >> 20 for key in keys)
    snapshot = Snapshot(
        "1", "hashed", MemoryVectors(keys, Hashed().embed(list(texts.values()))), MemoryLexical(texts), numbers
    )
    yield catalogue, Finder(catalogue.documents, catalogue.chunks, FixedReader(snapshot), Hashed())
    catalogue.close()


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "vector"])
@pytest.mark.parametrize("depth", [10, 100, 1000])
@pytest.mark.parametrize("caller", [ANA, ANYONE])
def test_a_content_in_many_places_is_shown_once_and_leaves_room(
    copies, monkeypatch: pytest.MonkeyPatch, mode: str, depth: int, caller: Caller
) -> None:
    catalogue, finder = copies
    monkeypatch.setattr("pipeline.answer.MAX_DEPTH", depth)
    request = SearchRequest("pump", min(100, depth), mode=mode, per_document=2)
    passages = finder.search(caller, request).passages
    assert len(passages) == min(2 * (OTHERS + 1), request.k)
    ids = {passage.document_id for passage in passages}
    assert len({catalogue.documents.get(document_id).content_hash for document_id in ids}) == len(ids)
    first = next(passage for passage in passages if passage.duplicates)
    visible = [d.id for d in catalogue.documents.find(caller, Filters(), 1000)[0] if int(d.content_hash, 16) == 0]
    assert first.document_id in visible and set(first.duplicates) <= set(visible)
    if depth == 1000:
        assert {first.document_id, *first.duplicates} == set(visible)


def test_the_pages_of_a_content_in_many_places_do_not_overlap(copies, monkeypatch: pytest.MonkeyPatch) -> None:
    _, finder = copies
    monkeypatch.setattr("pipeline.answer.MAX_DEPTH", 20)
    pages = [finder.search(ANYONE, SearchRequest("pump", 3, at, per_document=2)).passages for at in range(0, 18, 3)]
    small = [passage.chunk for page in pages for passage in page]
    large = [p.chunk for p in finder.search(ANYONE, SearchRequest("pump", 18, per_document=2)).passages]
    assert small == large and len(set(small)) == 18


def test_a_content_in_many_places_is_found_under_each_of_them(copies) -> None:
    _, finder = copies
    for n in (2, 17, 38):
        (passage,) = finder.search(
            ANA, SearchRequest("pump", filters=Filters(folder=f"folder {n}"), per_document=1)
        ).passages
        assert (passage.document_name, passage.duplicates) == (f"form {n}.txt", ())
    hidden = finder.search(ANYONE, SearchRequest("pump", filters=Filters(folder="folder 17"))).passages
    assert hidden == ()


def test_without_collapsing_every_place_is_shown(copies) -> None:
    _, finder = copies
    passages = finder.search(ANYONE, SearchRequest("pump", 100, per_document=1, collapse=False)).passages
    assert len({passage.document_id for passage in passages}) == PLACES // 2 + OTHERS
