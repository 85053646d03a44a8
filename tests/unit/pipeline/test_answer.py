"""The path out: pages that do not overlap, a document's share, nothing deleted or forbidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from indexes.open import open_catalogue
from pipeline.answer import MAX_DEPTH, Finder, Reranking
from pipeline.documents import Arrival, Chunk, Outcome, QueueName, Stage, State
from pipeline.errors import Refused
from pipeline.ports import Snapshot
from pipeline.questions import Caller, Hit, SearchRequest, chunk_key
from tests.support.memory_index import MemoryLexical, MemoryVectors
from tests.unit.pipeline.test_read import Hashed

DOCUMENTS, EACH = 60, 5
ANA, ANYONE = Caller(("user:ana",)), Caller(("*",))


class Fixed:
    """One snapshot for ever."""

    stale = False

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot


def text_of(number: int, ordinal: int) -> str:
    return f"Invoice {number} part {ordinal}: " + " ".join(f"word{(number * 7 + ordinal * i) % 23}" for i in range(12))


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory):
    """A catalogue with every third document for Ana alone, and a finder over it."""
    catalogue = open_catalogue(f"sqlite:///{tmp_path_factory.mktemp('house') / 'catalogue.db'}")
    texts: dict[int, str] = {}
    ids: dict[int, str] = {}
    for n in range(DOCUMENTS):
        access = ("user:ana",) if n % 3 == 0 else ("*",)
        arrival = Arrival("test", f"{n}.txt", 1.0, access=access)
        document, _ = catalogue.documents.receive(f"{n:064x}", 1, arrival)
        held = [text_of(n, ordinal) for ordinal in range(EACH)]
        chunks = tuple(Chunk(i, text, 0, len(text)) for i, text in enumerate(held))
        job = catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0]
        outcome = Outcome("chunk", chunks=chunks, next_stage=Stage.EMBED)
        job = catalogue.jobs.commit(job, outcome, keep=True, seconds=60)
        vectors = Hashed().embed(held)
        catalogue.jobs.commit(job, Outcome("embed", vectors=vectors, embedder="hashed", state=State.INDEXED))
        texts |= {chunk_key(document.number, i): text for i, text in enumerate(held)}
        ids[document.number] = document.id
    keys = np.array(list(texts), np.int64)
    vectors = MemoryVectors(keys, Hashed().embed(list(texts.values())))
    snapshot = Snapshot("1", "hashed", vectors, MemoryLexical(texts), frozenset(ids))
    yield catalogue, Finder(catalogue.documents, catalogue.chunks, Fixed(snapshot), Hashed()), ids
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
    keys = [chunk_key(number, ordinal) for number in ids for ordinal in range(EACH)]
    snapshot = Snapshot("1", "hashed", Shuffled(keys, 1), Shuffled(keys, 2), frozenset(ids))
    finder = Finder(catalogue.documents, catalogue.chunks, Fixed(snapshot), Hashed())
    pages = [finder.search(ANA, SearchRequest("any", 10, at)).passages for at in range(0, 100, 10)]
    small = [passage.chunk for page in pages for passage in page]
    large = [passage.chunk for passage in finder.search(ANA, SearchRequest("any", 100)).passages]
    assert len(set(small)) == 100
    assert small == large


def test_a_document_gives_no_more_than_its_share(mailroom) -> None:
    _, finder, _ = mailroom
    found = [p.document_id for p in finder.search(ANA, SearchRequest("invoice", 100)).passages]
    assert found and max(map(found.count, found)) <= 3


@pytest.mark.parametrize("share", [1, 5])
def test_the_share_can_be_asked_for(mailroom, share: int) -> None:
    found = [p.document_id for p in mailroom[1].search(ANA, SearchRequest("invoice", 100, per_document=share)).passages]
    assert max(map(found.count, found)) == share


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "vector"])
@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ('"invoice 7 part"', lambda text: "Invoice 7 part" in text), ("invoice -word3", lambda text: "word3" not in text.split()),
        ("+part 8..8 2..9", lambda text: "8" in text.replace(":", " ").split()),
    ],
)  # fmt: skip
def test_what_is_required_holds_for_every_passage_however_it_was_found(mailroom, mode: str, query: str, holds) -> None:
    found = mailroom[1].search(ANA, SearchRequest(query, 50, mode=mode)).passages
    assert found and all(holds(passage.text) for passage in found)


def finder_of(texts: list[str], embedder: object, look: Reranking | None = None) -> tuple[Finder, dict[str, str]]:
    """Each text a document; the finder, and the texts by document id."""
    catalogue = open_catalogue("memory:")
    held: dict[int, str] = {}
    ids: dict[str, str] = {}
    for n, text in enumerate(texts):
        document, _ = catalogue.documents.receive(f"{n:064x}", 1, Arrival("test", f"{n}.txt", 1.0))
        job = catalogue.jobs.claim(QueueName.INGEST, "test", 60)[0]
        outcome = Outcome("chunk", chunks=(Chunk(0, text, 0, len(text)),), next_stage=Stage.EMBED)
        job = catalogue.jobs.commit(job, outcome, keep=True, seconds=60)
        outcome = Outcome("embed", vectors=Hashed().embed([text]), embedder="hashed", state=State.INDEXED)
        catalogue.jobs.commit(job, outcome)
        held[chunk_key(document.number, 0)], ids[document.id] = text, text
    vectors = MemoryVectors(np.array(list(held), np.int64), Hashed().embed(texts))
    numbers = frozenset(key >> 20 for key in held)
    snapshot = Snapshot("1", "hashed", vectors, MemoryLexical(held), numbers)
    return Finder(catalogue.documents, catalogue.chunks, Fixed(snapshot), embedder, look), ids


BODY = "the parties agree that the pump is to be delivered to the site office before noon and that the invoice follows "


def test_passages_that_say_the_same_are_one_and_figures_keep_them_apart() -> None:
    texts = [BODY * 3, (BODY * 3).upper() + "soon", BODY * 3 + "for 100 EUR", BODY * 3 + "for 200 EUR", "another pump"]
    finder, ids = finder_of(texts, Hashed())
    collapsed = finder.search(ANA, SearchRequest("pump")).passages
    assert len(collapsed) == 4
    kept = next(p for p in collapsed if p.duplicates)
    assert {kept.text, *(ids[d] for d in kept.duplicates)} == set(texts[:2])
    assert len(finder.search(ANA, SearchRequest("pump", collapse=False)).passages) == 5


def test_a_reranker_has_the_last_word_but_not_on_codes() -> None:
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
    asked = SearchRequest("pump", rerank=False)
    assert "rerank" not in finder.search(ANA, asked).passages[0].scores
    seldom, _ = finder_of(texts, Hashed(), Reranking(Longest(), passages=2, by_default=False))
    assert "rerank" not in seldom.search(ANA, SearchRequest("pump")).passages[0].scores
    found = seldom.search(ANA, replace(asked, rerank=True)).passages
    assert ["rerank" in passage.scores for passage in found] == [True, True, False]


def test_a_second_look_that_is_not_to_be_had_is_refused() -> None:
    finder, _ = finder_of(["a pump"], Hashed())
    with pytest.raises(Refused, match=r"models\.reranker"):
        finder.search(ANA, SearchRequest("pump", rerank=True))


def test_the_vector_is_of_the_words_without_their_signs() -> None:
    class Noting(Hashed):
        def embed(self, texts):
            asked.extend(texts)
            return super().embed(texts)

    asked: list[str] = []
    finder, _ = finder_of(["pump house"], Noting())
    finder.search(ANA, SearchRequest('+pump "house rules" -car title:lease* 10..20'))
    finder.search(ANA, SearchRequest("10..20"))
    finder.search(ANA, SearchRequest('-pump "', plain=True))
    assert asked == ["pump house rules lease", '-pump "']


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "vector"])
def test_nothing_forbidden_is_found(mailroom, mode: str) -> None:
    _, finder, ids = mailroom
    secret = {document_id for number, document_id in ids.items() if document_id and (number - min(ids)) % 3 == 0}
    seen = {p.document_id for p in finder.search(ANYONE, SearchRequest("invoice", 100, mode=mode)).passages}
    assert seen and not seen & secret
    assert secret & {p.document_id for p in finder.search(ANA, SearchRequest("invoice", 100, mode=mode)).passages}
    elsewhere = Caller(("user:ana", "*"), tenant="another")
    assert finder.search(elsewhere, SearchRequest("invoice", mode=mode)).passages == ()


def test_a_deleted_document_is_gone_at_once(mailroom) -> None:
    catalogue, finder, _ = mailroom
    gone = finder.search(ANA, SearchRequest("invoice word3")).passages[0].document_id
    catalogue.documents.delete(gone)
    assert gone not in {p.document_id for p in finder.search(ANA, SearchRequest("invoice word3", 100)).passages}


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


def test_every_quote_stands_in_the_text(mailroom) -> None:
    _, finder, _ = mailroom
    answer = finder.ask(ANA, "What is invoice 7 part 2?")
    assert 0.0 <= answer.confidence <= 1.0
    assert all(text_of_name(q.document_name, q.start, q.end, q.text) for q in answer.quotes)


def text_of_name(name: str, start: int, end: int, quoted: str) -> bool:
    number = int(name.removesuffix(".txt"))
    return any(text_of(number, ordinal)[start:end] == quoted for ordinal in range(EACH))
