"""The kinds of vector index, and which one a segment of a given size gets.

Every kind but "exact" proposes candidates from short codes; the scores that count are computed from the stored vectors.
FAISS's parameters are known here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import faiss
import numpy as np

from pipeline.errors import Misconfigured

EXACT = "exact"
#: Up to this many rows comparing with all of them takes a few milliseconds; measured by `mailroom index advise`.
EXACT_ROWS = 20_000
#: What a larger segment gets. Measured on 2026-11-24 (docs/decisions/0030): the smallest codes with the highest recall.
LARGE = "ivf-rabitq"
#: Lists looked into without a filter where nothing was measured (see measure.py). More of them where a filter leaves less
#: in each.
PROBES = 48
#: Vectors per list that k-means is shown, and its rounds.
SAMPLE_PER_LIST, ROUNDS = 40, 8
_BLOCK = 1 << 16
_INNER = faiss.METRIC_INNER_PRODUCT


def kind_for(rows: int, large: str = "") -> str:
    """The kind of a segment of so many rows; ``large``: what one above `EXACT_ROWS` gets, empty for the usual one."""
    return EXACT if rows <= EXACT_ROWS else large or LARGE


def lists_for(rows: int) -> int:
    """Inverted lists: a power of two near 4 * sqrt(rows), with enough rows in each to place it."""
    return 1 << int(np.log2(max(1, min(4 * sqrt(rows), rows / SAMPLE_PER_LIST))))


def _rabitq(dimension: int, rows: int) -> faiss.Index:
    return faiss.IndexIVFRaBitQ(faiss.IndexFlatIP(dimension), dimension, lists_for(rows), _INNER)


def _scalar(bits: int) -> Callable[[int, int], faiss.Index]:
    def make(dimension: int, rows: int) -> faiss.Index:
        coarse = faiss.IndexFlatIP(dimension)
        quantiser = faiss.ScalarQuantizer.QT_8bit if bits == 8 else faiss.ScalarQuantizer.QT_4bit
        return faiss.IndexIVFScalarQuantizer(coarse, dimension, lists_for(rows), quantiser, _INNER)

    return make


def _product(dimension: int, rows: int) -> faiss.Index:
    parts = next(m for m in range(max(1, dimension // 8), 0, -1) if dimension % m == 0)
    bits = max(1, min(8, int(np.log2(max(2, rows / SAMPLE_PER_LIST)))))
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dimension), dimension, lists_for(rows), parts, bits, _INNER)
    index.pq.cp.niter = ROUNDS
    return index


def _hnsw(dimension: int, rows: int) -> faiss.Index:
    index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_8bit, 16, _INNER)
    index.hnsw.efConstruction = 80
    return index


#: name -> (dimension, rows) -> an empty index for so many rows.
KINDS: dict[str, Callable[[int, int], faiss.Index]] = {
    "ivf-rabitq": _rabitq,
    "ivf-sq8": _scalar(8),
    "ivf-sq4": _scalar(4),
    "ivf-pq": _product,
    "hnsw-sq8": _hnsw,
}


def build(kind: str, rows: np.ndarray, seed: int = 7) -> faiss.Index:
    """An index over ``rows`` (n, dimension; float16 or float32, may be memory-mapped); ids are positions.

    Holds a sample and one block of rows as float32 at a time, whatever n is.
    """
    if kind not in KINDS:
        raise Misconfigured("bad-index", f"no index kind {kind!r}; there are exact, {', '.join(KINDS)}")
    count, dimension = rows.shape
    index = KINDS[kind](dimension, count)
    if not index.is_trained:
        if isinstance(index, faiss.IndexIVF):
            index.cp.niter, index.cp.spherical, index.cp.seed = ROUNDS, True, seed
            index.cp.min_points_per_centroid = 1
        index.train(_sample(rows, max(4096, SAMPLE_PER_LIST * lists_for(count)), seed))
    for start in range(0, count, _BLOCK):
        index.add(np.ascontiguousarray(rows[start : start + _BLOCK], dtype=np.float32))
    return index


def by_lists(index: faiss.IndexIVF) -> np.ndarray:
    """Renumber the index's rows list by list; returns the former number of each. Rows stored in that order lie together
    where a search reads them together: about a tenth of the pages (docs/decisions/0031)."""
    order = np.empty(index.ntotal, np.int64)
    start = 0
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
            order[start : start + size] = ids
            ids[:] = np.arange(start, start + size)
            start += size
    return order


def _sample(rows: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    if len(rows) > wanted:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), wanted, replace=False))
        rows = rows[chosen]
    return np.ascontiguousarray(rows, dtype=np.float32)


def nearest(
    index: faiss.IndexRefine, query: np.ndarray, count: int, bits: np.ndarray | None, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of about ``count`` rows near ``query`` (1, dimension), and their scores, best first: ``index.base_index`` proposes,
    ``index.refine_index`` compares, in one call that holds no lock of Python's.

    ``bits`` packs one bit per row, little endian, of those that may be proposed; ``share`` of the rows they are.
    Where the lists that lie near hold too few, all of them are looked into: a narrow filter never starves the answer.
    """
    # Named: FAISS keeps only pointers to the bits and to the selector.
    selector = faiss.IDSelectorBitmap(len(bits) * 8, faiss.swig_ptr(bits)) if bits is not None else None
    wanted = min(count, max(1, round(share * index.ntotal)))
    base = faiss.downcast_index(index.base_index)
    for effort in _efforts(base, count, share):
        proposing = _parameters(base, effort, selector)
        parameters = faiss.IndexRefineSearchParameters(k_factor=1, base_index_params=proposing)
        scores, positions = (each[0] for each in index.search(query, count, params=parameters))
        found = positions >= 0
        if np.count_nonzero(found) >= wanted:
            break
    return positions[found], scores[found]


def best_of(
    index: faiss.Index, query: np.ndarray, k: int, bits: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and scores of the ``k`` best rows, best first, by comparing all whose bit is set; there are ``k`` at least."""
    selector = faiss.IDSelectorBitmap(len(bits) * 8, faiss.swig_ptr(bits)) if bits is not None else None
    scores, positions = index.search(query, k, params=faiss.SearchParameters(sel=selector))
    return positions[0], scores[0]


def probes(index: faiss.IndexIVF) -> int:
    """The lists that were measured to be enough when the index was built; its file keeps them."""
    return index.nprobe if index.nprobe > 1 else PROBES


def _efforts(index: faiss.Index, count: int, share: float) -> tuple[int, ...]:
    """Lists to look into (or for a graph, candidates to follow): first as many as should do, then all."""
    if not isinstance(index, faiss.IndexIVF):
        return (max(int(count / max(share, 0.01)), 64), index.ntotal)
    per_list = index.ntotal / index.nlist
    first = max(probes(index), 2 * count / per_list) / max(share, 1e-6)
    return (min(index.nlist, int(first) + 1), index.nlist)


def _parameters(index: faiss.Index, effort: int, selector: faiss.IDSelector | None) -> faiss.SearchParameters:
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=effort, sel=selector)
    return faiss.SearchParametersHNSW(efSearch=effort, sel=selector)
