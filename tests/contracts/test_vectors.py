"""The port Vectors, over the specification, FAISS and Milvus."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.milvus.reader import MilvusReader
from indexes.milvus.server import Server
from indexes.milvus.writer import MilvusWriter
from indexes.vectors import segments
from indexes.vectors.faiss import FaissVectors
from indexes.vectors.kinds import EXACT, KINDS
from indexes.vectors.segments import make_segment, read_segment, write_segment
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.ports import Vectors
from pipeline.questions import ORDINAL_BITS, chunk_key
from tests.support.memory_index import MemoryVectors
from tests.support.milvus import MilvusServer

#: Builds an index of keys and rows.
Build = Callable[[np.ndarray, np.ndarray], Vectors]


def in_two_segments(keys: np.ndarray, rows: np.ndarray) -> FaissVectors:
    cut = len(keys) // 3
    parts = [slice(0, cut), slice(cut, None)] if cut else [slice(0, None)]
    return FaissVectors([make_segment(f"s{i}", keys[part], rows[part]) for i, part in enumerate(parts)])


def of_kind(kind: str, files: bool = False) -> Build:
    """Build one segment of a kind that a large one would get; with ``files`` it is written and read back."""

    def build(keys: np.ndarray, rows: np.ndarray) -> FaissVectors:
        segment = make_segment("s", keys, rows, kind)
        if files:
            folder = Path(tempfile.mkdtemp())
            write_segment(segment, folder)
            segment = read_segment("s", kind, rows.shape[1], folder)
        return FaissVectors([segment])

    return build


IN_MEMORY: dict[str, Build] = {"memory": MemoryVectors, "faiss": in_two_segments} | {k: of_kind(k) for k in KINDS}
BACKENDS: dict[str, Build] = {"memory": MemoryVectors, "faiss": in_two_segments} | {
    kind: of_kind(kind, files=True) for kind in (EXACT, *KINDS)
}


@pytest.fixture(autouse=True)
def _filters_reach_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let FAISS apply its own filter: few rows would all be compared."""
    monkeypatch.setattr(segments, "FEW_ROWS", 0)


@pytest.fixture(scope="session")
def in_milvus(milvus: MilvusServer, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that builds an index in Milvus, once for the same vectors."""
    indexes: dict[bytes, Vectors] = {}

    def build(keys: np.ndarray, rows: np.ndarray) -> Vectors:
        if rows.tobytes() not in indexes:
            server = Server(milvus.url())
            writer = MilvusWriter(server, tmp_path_factory.mktemp("milvus"), "serving", "E", rows.shape[1])
            for number in np.unique(keys >> ORDINAL_BITS).tolist():
                vectors = rows[keys >> ORDINAL_BITS == number]
                writer.add(number, [Chunk(n, "text", 0, 4) for n in range(len(vectors))], vectors)
            writer.publish()
            writer.close()
            indexes[rows.tobytes()] = MilvusReader(server, "serving").snapshot().vectors
        return indexes[rows.tobytes()]

    return build


@pytest.fixture(params=[*BACKENDS, "milvus"])
def build(request: pytest.FixtureRequest) -> Build:
    """Return what builds an index with one of the backends."""
    return BACKENDS.get(request.param) or request.getfixturevalue("in_milvus")


@pytest.fixture(params=[*IN_MEMORY, "milvus"])
def build_quickly(request: pytest.FixtureRequest) -> Build:
    """Return what builds an index with one of the backends, without files where that is possible."""
    return IN_MEMORY.get(request.param) or request.getfixturevalue("in_milvus")


def random_vectors(documents: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw (keys, rows) of documents with three chunks each."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(documents * 3, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.array([chunk_key(1 + n // 3, n % 3) for n in range(len(rows))], np.int64), rows


def test_the_nearest_comes_first(build: Build) -> None:
    keys, rows = random_vectors(20)
    hits = build(keys, rows).search(rows[7], 5, None)
    assert hits[0].chunk == keys[7]
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_every_backend_agrees_with_exact_arithmetic(build: Build) -> None:
    keys, rows = random_vectors(50, seed=1)
    query = rows[3] + 0.1 * rows[9]
    exact = keys[np.argsort(-(rows @ query))[:10]]
    assert [h.chunk for h in build(keys, rows).search(query, 10, None)] == list(exact)


def test_a_large_k_returns_every_chunk(build: Build) -> None:
    keys, rows = random_vectors(4)
    assert len(build(keys, rows).search(rows[0], 1000, None)) == len(keys) == len(build(keys, rows))


def test_an_empty_list_allows_nothing(build: Build) -> None:
    keys, rows = random_vectors(4)
    assert build(keys, rows).search(rows[0], 5, frozenset()) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(allowed=st.frozensets(st.integers(1, 30), max_size=30), seed=st.integers(0, 5), k=st.integers(1, 20))
def test_no_forbidden_hit_and_no_starved_k(build_quickly: Build, allowed: frozenset[int], seed: int, k: int) -> None:
    keys, rows = random_vectors(20, seed=seed)
    hits = build_quickly(keys, rows).search(rows[seed], k, allowed)
    assert all(hit.document_number in allowed for hit in hits)
    assert len(hits) == min(k, 3 * len([n for n in allowed if n <= 20]))


@pytest.mark.parametrize(
    ("checked", "visible"), [({21}, {21}), ({3}, set()), ({4}, {4}), ({4, 21}, {4, 21}), ({3, 4}, {4})]
)
def test_a_filter_that_was_derived_from_another_one(build_quickly: Build, checked: set[int], visible: set[int]) -> None:
    keys, rows = random_vectors(20)
    vectors, before = build_quickly(keys, rows), DocumentNumbers([1, 2, 3])
    assert {hit.document_number for hit in vectors.search(rows[0], 60, before)} == set(before)
    after = before.updated(DocumentNumbers(checked), DocumentNumbers(visible))
    assert {hit.document_number for hit in vectors.search(rows[0], 60, after)} == set(after) - {21}


@pytest.mark.parametrize("resident", [0, 512])  # rows are copied; compared where they are stored
@pytest.mark.parametrize("kind", KINDS)
def test_few_rows_are_all_compared(kind: str, resident: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FEW_ROWS", 1000)
    monkeypatch.setattr("indexes.vectors.rows.WINDOWS_RESIDENT", resident)
    keys, rows = random_vectors(50, seed=2)
    allowed, stored = DocumentNumbers([2, 17, 40]), rows.astype(np.float16).astype(np.float32)
    mask = allowed.member(keys >> ORDINAL_BITS)
    order = np.argsort(-(stored @ rows[5]) + 9.0 * ~mask)[: mask.sum()]
    hits = of_kind(kind, files=True)(keys, rows).search(rows[5], 20, allowed)
    assert [hit.chunk for hit in hits] == keys[order].tolist()
    assert [hit.score for hit in hits] == pytest.approx((stored @ rows[5])[order].tolist(), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_segment_finds_what_comparing_all_finds(kind: str) -> None:
    rng = np.random.default_rng(4)
    topics = rng.normal(size=(40, 64)).astype(np.float32)
    rows = topics[rng.integers(40, size=4000)] + 0.7 * rng.normal(size=(4000, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    keys = np.array([chunk_key(1 + n, 0) for n in range(len(rows))], np.int64)
    exact, other = MemoryVectors(keys, rows), of_kind(kind)(keys, rows)
    half = DocumentNumbers(range(1, 4000, 2))
    for allowed in (None, half, DocumentNumbers(range(3900, 3990))):
        shared = [
            len({h.chunk for h in exact.search(q, 10, allowed)} & {h.chunk for h in other.search(q, 10, allowed)})
            for q in rows[:50]
        ]
        assert sum(shared) / len(shared) / 10 >= 0.97
