"""The ports IndexReader and IndexWriter, over a folder and over Milvus, compared with the specification in memory.

Random documents are added, replaced and removed in several publications; after each, random filters and queries must
find what `tests.support.memory_index` finds: the same chunks, and the same order where scores are not tied.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from indexes.lexical.completion import continues
from indexes.places import FolderIndexes, Indexes, MilvusIndexes, index_folder
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk, EmbeddingModel
from pipeline.errors import Misconfigured, Refused
from pipeline.ports import IndexWriter, Snapshot
from pipeline.query import parse
from pipeline.questions import Hit
from tests.support.corpora import DIMENSION, RANKED_WORD, Corpus
from tests.support.memory_index import MemoryIndex, MemoryLexical, StoredDocument
from tests.support.milvus import MilvusServer

MODEL, OTHER = EmbeddingModel("E", "model@1", DIMENSION), EmbeddingModel("F", "other@1", DIMENSION)
#: Documents have these numbers; publications of a corpus, changes in each, and queries after each.
NUMBERS = range(1, 41)
PUBLICATIONS, CHANGES, QUERIES = 4, 12, 30
ALL = 1000


@pytest.fixture(params=["folder", "milvus"])
def indexes(request: pytest.FixtureRequest, tmp_path: Path) -> Indexes:
    """Return an empty place for indexes."""
    if request.param == "folder":
        return FolderIndexes(tmp_path / "index")
    server: MilvusServer = request.getfixturevalue("milvus")
    return MilvusIndexes(server.url(), tmp_path / "index")


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few documents take the ways of many: a search that reads too few allowed hits is repeated under the filter.

    Filters are not split over several searches here: milvus-lite rates a word's rarity among the filtered rows, so that
    the scores of two searches cannot be compared.
    """
    monkeypatch.setattr("indexes.lexical.filter.SPARE", 0)
    monkeypatch.setattr("indexes.milvus.filter.SPARE", 0)
    monkeypatch.setattr("indexes.milvus.filter.FEW_RUNS", 2)


def chunks(hits: Iterable[Hit]) -> list[int]:
    return [hit.chunk for hit in hits]


class Comparison:
    """Compares a snapshot with its specification, by queries of a corpus."""

    def __init__(self, corpus: Corpus, actual: Snapshot, expected: Snapshot) -> None:
        self._corpus, self._actual, self._expected = corpus, actual, expected

    def run(self) -> None:
        actual, expected = self._actual, self._expected
        assert actual.numbers == expected.numbers
        assert actual.without_vectors == expected.without_vectors
        assert (len(actual.vectors), len(actual.lexical)) == (len(expected.vectors), len(expected.lexical))
        for allowed, readable in islice(self._corpus.visibility(NUMBERS), QUERIES):
            self._same_neighbours(allowed)
            self._same_hits(allowed, readable)
            self._same_ranking(allowed)
        for allowed, _ in islice(self._corpus.visibility(NUMBERS), QUERIES // 3):
            self._same_completions(allowed)
            self._same_titles(allowed)

    def _same_neighbours(self, allowed: DocumentNumbers | None) -> None:
        (vector,) = self._corpus.vectors(1)
        k = self._corpus.rng.choice((1, 5, ALL))
        actual = list(self._actual.vectors.search(vector, k, allowed))
        expected = list(self._expected.vectors.search(vector, k, allowed))
        assert chunks(actual) == chunks(expected), (k, allowed)
        assert [hit.score for hit in actual] == pytest.approx([hit.score for hit in expected], abs=1e-5)

    def _same_hits(self, allowed: DocumentNumbers | None, readable: DocumentNumbers | None) -> None:
        text = self._corpus.query()
        actual = list(self._actual.lexical.search(parse(text), ALL, allowed, readable))
        expected = self._expected.lexical.search(parse(text), ALL, allowed, readable)
        assert set(chunks(actual)) == set(chunks(expected)), (text, allowed, readable)
        assert len(actual) == len(expected), text
        scores = [hit.score for hit in actual]
        assert scores == sorted(scores, reverse=True), text
        k = self._corpus.rng.randint(1, 4)
        best = chunks(self._actual.lexical.search(parse(text), k, allowed, readable))
        assert len(best) == min(k, len(expected)) and set(best) <= set(chunks(expected)), (text, k, allowed, readable)

    def _same_ranking(self, allowed: DocumentNumbers | None) -> None:
        """Chunks of the same length, ranked by how often they have the word."""
        k = self._corpus.rng.choice((2, 5, ALL))
        expected = list(self._expected.lexical.search(parse(RANKED_WORD), ALL, allowed))
        score = {hit.chunk: round(hit.score, 6) for hit in expected}
        actual = chunks(self._actual.lexical.search(parse(RANKED_WORD), k, allowed))
        assert [score[chunk] for chunk in actual] == [round(hit.score, 6) for hit in expected[:k]], allowed

    def _same_completions(self, allowed: DocumentNumbers | None) -> None:
        typed = self._corpus.beginning()
        actual = dict(self._actual.lexical.completions(typed, ALL, allowed))
        expected = dict(self._expected.lexical.completions(typed, ALL, allowed))
        assert actual.keys() >= expected.keys(), (typed, allowed)
        for word, hits in actual.items():
            assert hits and word.startswith(typed.split()[-1]), (typed, word)
            assert allowed is None or {hit.document_number for hit in hits} <= allowed, (typed, word)

    def _same_titles(self, allowed: DocumentNumbers | None) -> None:
        """Compare the chunks whose title or name continues the text; a backend may return a few others."""
        typed = self._corpus.beginning()
        expected = chunks(self._expected.lexical.titled(typed, ALL, allowed))
        actual = chunks(self._actual.lexical.titled(typed, ALL, allowed))
        fields = cast(MemoryLexical, self._expected.lexical).fields
        continuing = [key for key in actual if any(continues(typed, text) is not None for text in fields(key)[1:])]
        assert sorted(continuing) == sorted(expected), (typed, allowed)


def change(corpus: Corpus, writer: IndexWriter, specification: MemoryIndex) -> None:
    """Add, replace or remove a few documents in both."""
    for _ in range(CHANGES):
        number = corpus.rng.choice(NUMBERS)
        if corpus.rng.random() < 0.25:
            writer.remove(number)
            specification.remove(number)
            continue
        document = corpus.document()
        writer.add(number, document.chunks, document.vectors, document.title, document.name)
        specification.add(number, document)


@pytest.mark.parametrize(
    ("indexes", "seed"),
    [*(("folder", seed) for seed in range(16)), *(("milvus", seed) for seed in range(16, 20))],
    indirect=["indexes"],
)
def test_an_index_finds_what_the_specification_finds(indexes: Indexes, seed: int) -> None:
    corpus, specification = Corpus(seed), MemoryIndex()
    writer, reader = indexes.writer(MODEL), indexes.reader()
    for publication in range(PUBLICATIONS):
        change(corpus, writer, specification)
        assert writer.publish()
        assert writer.numbers == specification.snapshot().numbers
        if publication % 2:  # the next process goes on from what is stored
            writer.close()
            writer = indexes.writer(MODEL)
            assert not writer.rebuild_needed and writer.numbers == specification.snapshot().numbers
        Comparison(corpus, reader.snapshot(), specification.snapshot()).run()
    writer.close()


def document(number: int, text: str = "") -> StoredDocument:
    text = text or f"document number{number} of the test"
    vectors = np.full((1, DIMENSION), number, np.float32)
    return StoredDocument((Chunk(0, text, 0, len(text)),), vectors / np.linalg.norm(vectors), None, f"{number}.txt")


def add(writer: IndexWriter, number: int, text: str = "") -> None:
    stored = document(number, text)
    writer.add(number, stored.chunks, stored.vectors, stored.title, stored.name)


def test_before_the_first_publication_nothing_is_found(indexes: Indexes) -> None:
    snapshot = indexes.reader().snapshot()
    assert (len(snapshot.vectors), len(snapshot.lexical), len(snapshot.numbers)) == (0, 0, 0)
    assert list(snapshot.vectors.search(np.ones(DIMENSION, np.float32), 5, None)) == []
    assert list(snapshot.lexical.search(parse("word"), 5, None)) == []


def test_a_publication_without_changes_needs_force(indexes: Indexes) -> None:
    writer = indexes.writer(MODEL)
    assert writer.rebuild_needed and writer.publish() is None
    assert writer.publish(force=True) is not None
    writer.remove(7)  # which the index does not hold
    assert writer.publish() is None
    writer.close()
    again = indexes.writer(MODEL)
    assert not again.rebuild_needed and len(again.numbers) == 0
    again.close()


def test_a_second_writer_is_refused(indexes: Indexes) -> None:
    writer = indexes.writer(MODEL)
    assert writer.is_open and writer.damage is None
    with pytest.raises(Refused, match="conflict"):
        indexes.writer(MODEL)
    writer.close()
    assert not writer.is_open
    indexes.writer(MODEL).close()


@pytest.mark.parametrize("vectors", [np.ones((2, DIMENSION)), np.ones((1, 3)), np.full((1, DIMENSION), np.nan)])
def test_vectors_that_do_not_fit_are_refused(indexes: Indexes, vectors: np.ndarray) -> None:
    writer = indexes.writer(MODEL)
    with pytest.raises(Misconfigured, match="bad-index"):
        writer.add(1, document(1).chunks, vectors)
    assert writer.publish() is None
    writer.close()


@pytest.mark.parametrize("closed", [False, True])
def test_what_was_not_published_is_dropped(indexes: Indexes, closed: bool) -> None:
    writer = indexes.writer(MODEL)
    add(writer, 1)
    writer.publish()
    openings = writer.openings
    add(writer, 2)
    writer.remove(1)
    if closed:
        writer.close()
        writer = indexes.writer(MODEL)
    else:
        writer.reopen()
        assert writer.openings == openings + 1
    assert writer.numbers == {1} and writer.since > 0
    assert indexes.reader().snapshot().numbers == {1}
    writer.close()


def test_another_model_needs_a_rebuild_and_readers_keep_what_they_have(indexes: Indexes) -> None:
    writer, reader = indexes.writer(MODEL), indexes.reader()
    add(writer, 1)
    writer.publish()
    writer.change_model(OTHER.digest, OTHER.dimension, OTHER.model)
    assert writer.rebuild_needed and len(writer.numbers) == 0
    assert (reader.snapshot().embedder, reader.snapshot().numbers) == (MODEL.digest, {1})
    add(writer, 2)
    writer.publish()
    snapshot = reader.snapshot()
    assert (snapshot.embedder, snapshot.model, snapshot.numbers) == (OTHER.digest, OTHER.model, {2})
    writer.close()


def test_an_index_is_kept_and_adopted_again(indexes: Indexes) -> None:
    writer, reader = indexes.writer(MODEL), indexes.reader()
    candidate = index_folder(indexes.root, "model-kept")
    assert writer.keep_as(candidate) is None
    add(writer, 1)
    writer.publish()
    made_at = writer.keep_as(candidate)
    assert made_at is not None and made_at > 0
    writer.change_model(OTHER.digest, OTHER.dimension, OTHER.model)
    add(writer, 2)
    writer.publish()
    assert indexes.reader(candidate).snapshot().numbers == {1}
    add(writer, 3)  # dropped by the adoption
    writer.adopt(candidate, since=1.5)
    assert (writer.embedder, writer.model, writer.numbers, writer.since) == (MODEL.digest, MODEL.model, {1}, 1.5)
    snapshot = reader.snapshot()
    assert (snapshot.embedder, snapshot.model, snapshot.numbers) == (MODEL.digest, MODEL.model, {1})
    with pytest.raises(Misconfigured, match="bad-index"):
        writer.adopt(index_folder(indexes.root, "model-missing"), since=0.0)
    writer.close()


def test_a_candidate_is_built_next_to_the_serving_index_and_dropped(indexes: Indexes) -> None:
    candidate = index_folder(indexes.root, "rebuild")
    serving, building = indexes.writer(MODEL), indexes.writer(MODEL, candidate, compacting=False)
    for number in (1, 2, 3):
        add(building, number)
        building.publish()
    building.compact()
    building.await_compaction()
    building.publish(force=True)
    assert not building.is_compacting
    building.close()
    assert indexes.reader(candidate).snapshot().numbers == {1, 2, 3}
    assert len(indexes.reader().snapshot().numbers) == 0
    indexes.drop(candidate)
    indexes.drop(candidate)
    assert len(indexes.reader(candidate).snapshot().numbers) == 0
    serving.close()


def test_the_place_reports_its_state_and_counts(indexes: Indexes) -> None:
    assert indexes.state().name in ("missing", "empty")
    writer = indexes.writer(MODEL)
    add(writer, 1)
    add(writer, 2)
    writer.publish()
    assert indexes.state().name == "ok" and indexes.counts() == (2, 2)
    described = indexes.describe()
    assert (described["documents"], described["passages"], described["without_vectors"]) == (2, 2, 0)
    assert described["model"] == MODEL.model and described["generation"]
    writer.close()


def test_words_of_a_removed_document_are_neither_completed_nor_known(indexes: Indexes) -> None:
    writer, reader = indexes.writer(MODEL), indexes.reader()
    add(writer, 1, "the contract of the tenant")
    add(writer, 2, "a sharp contrast in the pictures")
    writer.publish()
    lexical = reader.snapshot().lexical
    assert [word for word, _ in lexical.completions("contr", 10, None)] == ["contract", "contrast"]
    assert [hit.document_number for hit in lexical.search(parse("contrast"), 10, None)] == [2]
    writer.remove(2)
    writer.publish()
    lexical = reader.snapshot().lexical
    assert [word for word, _ in lexical.completions("contr", 10, None)] == ["contract"]
    assert [hit.document_number for hit in lexical.search(parse("contrast"), 10, None)] == [1]  # now a misspelt word
    writer.close()


def test_a_purge_ends_and_the_other_documents_are_found_as_before(indexes: Indexes) -> None:
    writer, reader = indexes.writer(MODEL), indexes.reader()
    for number in range(1, 9):
        add(writer, number)
    writer.publish()
    writer.remove(3)

    def texts(number: int) -> tuple[tuple[Chunk, ...], None, str]:
        return document(number).chunks, None, f"{number}.txt"

    for _ in range(5):
        if is_clean := writer.purge(texts, 1.0):
            break
        writer.publish()
    assert is_clean
    snapshot = reader.snapshot()
    assert snapshot.numbers == {1, 2, 4, 5, 6, 7, 8}
    for number in snapshot.numbers:
        assert [hit.document_number for hit in snapshot.lexical.search(parse(f"number{number}"), 10, None)] == [number]
    writer.close()
