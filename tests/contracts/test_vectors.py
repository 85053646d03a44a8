"""The port Vectors, over the specification and FAISS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.vectors.faiss import FaissVectors, make_segment
from indexes.vectors.memory import MemoryVectors
from pipeline.ports import Vectors
from pipeline.questions import chunk_key

Make = Callable[[np.ndarray, np.ndarray], Vectors]


def segmented(keys: np.ndarray, rows: np.ndarray) -> FaissVectors:
    cut = len(keys) // 3
    parts = [slice(0, cut), slice(cut, None)] if cut else [slice(0, None)]
    return FaissVectors([make_segment(f"s{i}", keys[part], rows[part]) for i, part in enumerate(parts)])


@pytest.fixture(params=[MemoryVectors, segmented], ids=["memory", "faiss"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def some(documents: int, each: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(documents * each, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    keys = np.array([chunk_key(1 + n // each, n % each) for n in range(len(rows))], np.int64)
    return keys, rows


def test_the_nearest_comes_first(make: Make) -> None:
    keys, rows = some(20)
    hits = make(keys, rows).search(rows[7], 5, None)
    assert hits[0].chunk == keys[7]
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_both_backends_agree_with_exact_arithmetic(make: Make) -> None:
    keys, rows = some(50, seed=1)
    query = rows[3] + 0.1 * rows[9]
    exact = keys[np.argsort(-(rows @ query))[:10]]
    assert [h.chunk for h in make(keys, rows).search(query, 10, None)] == list(exact)


def test_more_than_there_is_gives_all(make: Make) -> None:
    keys, rows = some(4)
    assert len(make(keys, rows).search(rows[0], 1000, None)) == len(keys) == len(make(keys, rows))


def test_an_empty_list_allows_nothing(make: Make) -> None:
    keys, rows = some(4)
    assert make(keys, rows).search(rows[0], 5, frozenset()) == []


@settings(max_examples=60, deadline=None)
@given(allowed=st.frozensets(st.integers(1, 30), max_size=30), seed=st.integers(0, 5), k=st.integers(1, 20))
@pytest.mark.parametrize("backend", [MemoryVectors, segmented], ids=["memory", "faiss"])
def test_no_forbidden_hit_and_no_starved_k(backend: Make, allowed: frozenset[int], seed: int, k: int) -> None:
    keys, rows = some(20, seed=seed)
    hits = backend(keys, rows).search(rows[seed], k, allowed)
    assert all(hit.document_number in allowed for hit in hits)
    assert len(hits) == min(k, 3 * len([n for n in allowed if n <= 20]))
