"""The filter of who may see what, as expressions of Milvus of bounded size.

Allowed documents become runs among those that the index holds, so that nearly all of a house and nearly nothing of it are both
short. Where there are many runs, hits are read on past the forbidden ones, or the runs are asked for in parts and the best
of all parts taken. Every hit is held against the list again here: the server may hold newer documents than it knows.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np

from indexes.milvus.server import MOST
from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import ORDINAL_BITS, Hits

#: Runs in one expression; more are asked for in parts.
RUNS = 4096
#: Where more than this share is allowed, reading on is tried first if there are more than `FEW` runs.
WIDE, FEW = 0.25, 256
MARGIN, SPARE = 1.2, 64
FILTERS_KEPT = 16

#: (expression, limit) -> hits, best first.
Search = Callable[[str, int], Hits]


@dataclass(frozen=True, slots=True)
class Runs:
    """``expressions``: each of at most `RUNS` runs, together all that is allowed."""

    count: int
    share: float
    expressions: tuple[str, ...]


class Limit:
    """``present``: the documents in the index."""

    def __init__(self, present: DocumentNumbers) -> None:
        self._present = present
        self._kept: list[tuple[weakref.ref[DocumentNumbers], Runs]] = []
        self._lock = Lock()

    def best(self, search: Search, k: int, allowed: DocumentNumbers | None) -> Hits:
        """The ``k`` best hits among the allowed documents."""
        k = min(k, MOST)
        if allowed is None:
            return search("", k)
        runs = self._runs(allowed)
        if not runs.count:
            return Hits([], [])
        wanted = int(k / runs.share * MARGIN) + SPARE
        if runs.count > FEW and runs.share > WIDE and wanted <= MOST:
            read = search("", wanted)
            good = _allowed(read, allowed)
            if len(read) < wanted or len(good) >= k:
                return good[:k]
        parts = [_allowed(search(expression, k), allowed) for expression in runs.expressions]
        keys, scores = np.concatenate([p.keys for p in parts]), np.concatenate([p.scores for p in parts])
        order = np.lexsort((keys, -scores))[:k]
        return Hits(keys[order], scores[order])

    def _runs(self, allowed: DocumentNumbers) -> Runs:
        """Kept while ``allowed`` lives."""
        with self._lock:
            for ref, runs in self._kept:
                if ref() is allowed:
                    return runs
        runs = runs_of(allowed, self._present)
        with self._lock:
            alive = [each for each in self._kept if each[0]() is not None]
            self._kept = [(weakref.ref(allowed), runs), *alive][:FILTERS_KEPT]
        return runs


def runs_of(allowed: DocumentNumbers, present: DocumentNumbers) -> Runs:
    """Runs reach over numbers that no document of the index has."""
    places = np.flatnonzero(allowed.member(present.array))
    if len(places) == len(present):
        return Runs(1 if len(places) else 0, 1.0, ("",) if len(places) else ())
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    firsts = present.array[places[np.concatenate([[0], cuts]).astype(int)]] if len(places) else places
    lasts = present.array[places[np.concatenate([cuts - 1, [len(places) - 1]]).astype(int)]] if len(places) else places
    pairs = list(zip(firsts.tolist(), lasts.tolist(), strict=True))
    parts = tuple(_expression(pairs[at : at + RUNS]) for at in range(0, len(pairs), RUNS))
    return Runs(len(pairs), len(places) / max(1, len(present)), parts)


def _expression(pairs: list[tuple[int, int]]) -> str:
    single = [first for first, last in pairs if first == last]
    found = [f"document in {single}"] if single else []
    found += [f"(document >= {first} and document <= {last})" for first, last in pairs if first != last]
    return f"({' or '.join(found)})"


def _allowed(hits: Hits, allowed: DocumentNumbers) -> Hits:
    return hits[allowed.member(hits.keys >> ORDINAL_BITS)]
