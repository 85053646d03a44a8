"""Kinds of index are chosen by what they find, measured on rows of their own."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import faiss
import numpy as np
import pytest

from indexes.vectors import kinds, measure
from indexes.vectors.advise import Measurement, generate, measure_kinds, recommend, sample
from indexes.vectors.kinds import EXACT, EXACT_ROWS, KINDS, best_of, build
from indexes.vectors.rows import MappedRows, MemoryRows
from indexes.vectors.segments import make_segment
from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import chunk_key
from workers.settings import IndexSettings


@pytest.fixture(scope="module")
def vectors() -> tuple[np.ndarray, np.ndarray]:
    return generate(6000, 64, 50)


def test_stored_rows_are_compared_without_a_copy(vectors: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    rows, (query, *_) = vectors[0].astype(np.float16), vectors[1]
    rows.tofile(tmp_path / "rows.f16")
    expected = np.sort(rows.astype(np.float32) @ query)[::-1][:10]
    for stored in (MemoryRows(rows), MappedRows(tmp_path / "rows.f16", rows.shape[1])):
        positions, scores = best_of(stored.index, query.reshape(1, -1), 10)
        assert np.allclose(scores, expected, atol=1e-5)
        assert np.array_equal(stored.copied(positions).array, rows[positions])


def test_nearest_is_what_sorting_all_scores_gives(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    rows, queries = vectors
    expected = -np.sort(-(queries @ rows.T), axis=1)[:, :10]
    assert np.allclose(measure.nearest_scores(rows, queries, 10), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("ivf")])
def test_an_index_probes_as_few_lists_as_find_enough(vectors: tuple[np.ndarray, np.ndarray], kind: str) -> None:
    chosen, index = measure.build_measured(kind, vectors[0])
    assert isinstance(index, faiss.IndexIVF)
    assert chosen == kind and 1 < kinds.probes(index) <= index.nlist
    again = faiss.deserialize_index(faiss.serialize_index(index))
    assert kinds.probes(again) == kinds.probes(index)


def test_codes_that_find_too_little_are_replaced_by_better_ones(
    vectors: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def coarse(dimension: int, rows: int) -> faiss.Index:
        return faiss.IndexIVFPQ(faiss.IndexFlatIP(dimension), dimension, 8, 1, 2, faiss.METRIC_INNER_PRODUCT)

    monkeypatch.setitem(KINDS, "ivf-pq", coarse)
    assert measure.tune(build("ivf-pq", vectors[0]), vectors[0]) < measure.MIN_RECALL
    segment = make_segment("s", np.arange(6000), vectors[0], "ivf-pq")
    assert segment.kind == measure.BETTER and measure.tune(segment.index, segment.rows.array) >= measure.MIN_RECALL


def test_equal_vectors_stand_for_one_another() -> None:
    rows = np.ones((500, 16), np.float32) / 4
    assert measure.tune(build("ivf-sq8", rows), rows) == 1.0


def test_the_table_measures_every_kind(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    lines = list(measure_kinds(*vectors))
    assert [line.requested for line in lines] == [EXACT, *KINDS]
    assert all(line.recall >= measure.MIN_RECALL and line.p50_ms > 0 for line in lines)
    sizes = {line.kind: line.index_bytes for line in lines}
    assert sizes["ivf-rabitq"] < sizes["ivf-sq4"] < sizes["ivf-sq8"] < sizes[EXACT] == 64 * 4


def test_the_smallest_good_kind_that_is_quick_is_recommended() -> None:
    def line(kind: str, recall: float, ms: float, size: float) -> Measurement:
        return Measurement(kind, kind, 50_000, recall, ms, size, size, 1.0)

    lines = [line(EXACT, 1, 20, 99), line("a", 0.9, 1, 1), line("b", 0.99, 9, 2), line("c", 0.98, 2, 4)]
    lines.append(line("d", 0.99, 1.5, 8))
    assert recommend(lines, EXACT_ROWS)[0] == EXACT
    assert recommend(lines, EXACT_ROWS + 1)[0] == "c"
    assert recommend(lines[:2], EXACT_ROWS + 1)[0] == EXACT


def test_a_sample_holds_valid_vectors_only_and_no_query() -> None:
    rows, _ = generate(300, 32, 1)
    keys = np.array([chunk_key(n, 0) for n in range(300)], np.int64)
    parts = [make_segment("a", keys[:100], rows[:100]), make_segment("b", keys[100:], rows[100:])]
    gone = DocumentNumbers(range(50, 150))
    rows_sampled, queries = sample([part.without(gone & part.documents) for part in parts], 1000, 15)
    together = np.concatenate([rows_sampled, queries])
    assert (len(queries), len(together)) == (15, 200)
    assert {row.tobytes() for row in together} == {row.tobytes() for row in np.delete(rows, range(50, 150), 0)}


def test_the_settings_name_every_kind() -> None:
    assert set(get_args(IndexSettings.model_fields["kind"].annotation)) == {"", EXACT, *KINDS}
