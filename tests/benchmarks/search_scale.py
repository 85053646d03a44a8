"""Measure search at 100 thousand, 1 million and 10 million chunks.

    python -m tests.benchmarks.search_scale [COUNT ...] [--keep FOLDER]

The real writer builds the index; `pipeline.answer.Finder` searches it, hybrid, over a catalogue of as many texts, in a
process of its own. A search is complete but for the embedding model: its vectors are fixed. "bare" are the two
libraries' own calls to the same depth over the same files: FAISS `index.search`, Tantivy `searcher.search`. They take
turns with whole searches, a few queries at a time, in several passes, and all times count: other work of the machine
affects both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from indexes.catalogue.catalogue import Catalogue
from indexes.catalogue.database import bump_visibility
from indexes.catalogue.tables import documents
from indexes.lexical.tantivy import TantivyLexical
from indexes.reader import FolderReader
from indexes.vectors.kinds import probes
from indexes.writer import FolderWriter
from pipeline.answer import MAX_DEPTH, Finder
from pipeline.documents import Chunk
from pipeline.query import parse
from pipeline.questions import Caller, Filters, SearchRequest
from tests.benchmarks.chunks import DIMENSION, SHARES, Chunks
from tests.benchmarks.record import RESULTS, _commit, machine, record_part
from tests.benchmarks.scale_fill import EMBEDDER, Exact, catalogue_of, fill

QUERIES, RECALL_QUERIES, CLIENTS, ADDITIONS = 300, 200, (1, 2, 8), 8
#: Passes over all queries for the times of one client without a filter, and queries of a turn.
PASSES, TURN = 8, 10
ANYONE = Caller(("user:ann",))
FILTERS = {"none": Filters(), **{label: Filters(labels=(label,)) for label in SHARES}}
NAMES = {"none": "no_filter", "half": "filter_50", "twentieth": "filter_5", "thousandth": "filter_0_1"}


class FixedEmbedder:
    """An embedder that only knows the queries and returns their vectors."""

    name, digest, dimension = EMBEDDER, EMBEDDER, DIMENSION

    def __init__(self, texts: Sequence[str], rows: np.ndarray) -> None:
        self._rows = {parse(text).meaning: row for text, row in zip(texts, rows, strict=True)}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (texts, DIMENSION)."""
        return np.stack([self._rows[text] for text in texts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", nargs="*", type=int, default=[100_000])
    parser.add_argument("--keep", type=Path, help="the folder to build in, or one that was built before")
    parser.add_argument("--build", action="store_true", help="build only; an interrupted build resumes")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--watch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    chunks = Chunks(options.counts[0])
    if options.measure:
        print(json.dumps(measured(options.measure, chunks)))
    elif options.watch:
        watch(options.watch, chunks)
    elif options.build:
        print(json.dumps(build(options.keep, chunks)))
    else:
        for count in options.counts:
            with tempfile.TemporaryDirectory() as scratch:
                put(count, run(options.keep or Path(scratch), Chunks(count)))


def run(folder: Path, chunks: Chunks) -> dict[str, Any]:
    """Build if need be, measure in a new process, then add documents while another process searches."""
    figures = build(folder, chunks)
    figures |= json.loads(_child("--measure", folder, chunks).communicate()[0])
    figures |= freshness(folder, chunks)
    print(json.dumps(figures, indent=1))
    return figures


def build(folder: Path, chunks: Chunks) -> dict[str, Any]:
    """Fill the folder and compute the exact results, unless that was done; return what it cost."""
    folder.mkdir(parents=True, exist_ok=True)
    costs, exact = folder / "built.json", _exact(folder, chunks)
    if not costs.exists():
        costs.write_text(json.dumps(fill(folder, chunks, exact)))
    for block in chunks.blocks[exact.blocks :]:  # in a folder that was filled without exact results
        exact.add(block, chunks.vectors(block))
    return json.loads(costs.read_text())


def _exact(folder: Path, chunks: Chunks) -> Exact:
    masks = {name: None if name == "none" else chunks.labels == name for name in FILTERS}
    return Exact(folder / "exact.npz", chunks.queries(QUERIES)[0][:RECALL_QUERIES], 10, masks)


def _child(what: str, folder: Path, chunks: Chunks) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.search_scale", str(chunks.count), what, str(folder)]
    # Like every role that the supervisor or compose.yaml starts: more threads would only wait for each other.
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)


def put(count: int, figures: dict[str, Any]) -> None:
    """Record the figures of one count; the other counts, and the other parts of the result, stay."""
    stored = json.loads((RESULTS / "search.json").read_text())["scale"]
    figures |= {"commit": _commit(), "date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine()}
    counts = stored | {str(count): figures}
    data = (
        "generated: clustered vectors of 384 dimensions, texts of 24 words; one searching process, a thread per client"
    )
    record_part("search", "scale", counts, "python -m tests.benchmarks.search_scale COUNT", 11, data)


def measured(folder: Path, chunks: Chunks) -> dict[str, Any]:
    """Return all figures of one searching process: opening, recall, memory, times."""
    rows, texts = chunks.queries(QUERIES)
    catalogue, started = catalogue_of(folder), time.perf_counter()
    reader = FolderReader(folder / "index")
    reader.snapshot()
    figures: dict[str, Any] = {"open_s": round(time.perf_counter() - started, 2)}
    finder = Finder(catalogue.documents, catalogue.chunks, reader, FixedEmbedder(texts, rows))
    searches = [
        lambda t=t, f=f: finder.search(ANYONE, SearchRequest(t, filters=f)) for f in FILTERS.values() for t in texts
    ]
    per_filter = dict(zip(FILTERS, np.array_split(np.array(searches, dtype=object), len(FILTERS)), strict=True))
    bare = _bare(folder, reader, rows, texts)
    ours = per_filter["none"]
    for call in [*ours[:50], *bare[:50]]:
        call()
    figures |= _in_turns(ours, bare)
    for name, calls in per_filter.items():
        calls[0]()  # the filter's bitmaps: once for each change of the catalogue
        for clients in CLIENTS[1:] if name == "none" else CLIENTS:
            chosen = calls if clients == 1 or name == "none" else calls[:100]
            times, seconds = _by_clients(chosen, clients)
            prefix = f"{NAMES[name]}_{clients}_clients_"
            figures |= {f"{prefix}{key}": value for key, value in _times(times).items()}
            figures[f"{prefix}queries_per_s"] = round(len(chosen) / seconds, 1)
    figures["load_average"] = round(os.getloadavg()[1], 1)  # up to eight of it are our own clients
    figures["p99_to_bare"] = round(figures["p99_ms"] / figures["bare_p99_ms"], 2)
    figures |= _memory() | _recall(folder, chunks, reader, catalogue, rows[:RECALL_QUERIES])
    return figures | _after_changes(catalogue)


def _bare(folder: Path, reader: FolderReader, rows: np.ndarray, texts: Sequence[str]) -> list[Callable[[], Any]]:
    """Return searches by the libraries alone.

    FAISS probes as many lists as a search of ours, without the exact scores that ours adds. Tantivy's hits are
    addresses, so the ids of their passages are read too.
    """
    snapshot = reader.snapshot()
    largest = max(snapshot.vectors.segments, key=len)  # type: ignore[attr-defined]
    index = largest.index or _flat(largest.rows.array)
    lexical: TantivyLexical = snapshot.lexical  # type: ignore[assignment]
    builder = lexical._builder
    queries = [builder.build(parse(text).clauses, builder.is_known) for text in texts]
    parameters = faiss.SearchParametersIVF(nprobe=probes(index)) if isinstance(index, faiss.IndexIVF) else None

    def call(row: np.ndarray, query: Any) -> None:
        index.search(row.reshape(1, -1), MAX_DEPTH, params=parameters)
        hits = lexical._searcher.search(query, MAX_DEPTH, count=False).hits
        lexical._searcher.fast_field_values("chunk", [address for _, address in hits])

    return [lambda r=r, q=q: call(r, q) for r, q in zip(rows, queries, strict=True)]


def _flat(rows: np.ndarray) -> faiss.Index:
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(np.ascontiguousarray(rows, dtype=np.float32))
    return index


def _in_turns(ours: Sequence[Callable[[], Any]], bare: Sequence[Callable[[], Any]]) -> dict[str, float]:
    """Time `PASSES` passes over both, `TURN` queries of one and then of the other.

    Returns percentiles of the time on the clock and of this thread's processor time, on which other work of the machine
    has less effect.
    """
    samples: dict[str, list[tuple[float, float]]] = {"": [], "bare_": []}
    for start in [*range(0, len(ours), TURN)] * PASSES:
        for measured_times, calls in zip(samples.values(), (ours, bare), strict=True):
            measured_times += map(_clocked, calls[start : start + TURN])
    figures = {}
    for whose, times in samples.items():
        for kind, seconds in zip(("", "cpu_"), np.array(times).T, strict=True):
            figures |= {f"{whose}{kind}{name}": value for name, value in _times(seconds).items()}
    return figures | {"queries_per_s": round(len(samples[""]) / sum(wall for wall, _ in samples[""]), 1)}


def _clocked(call: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.thread_time()
    call()
    return time.perf_counter() - wall, time.thread_time() - cpu


def _timed(calls: Sequence[Callable[[], Any]]) -> list[float]:
    times = []
    for call in calls:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def _by_clients(calls: Sequence[Callable[[], Any]], clients: int) -> tuple[list[float], float]:
    """Share the calls among clients; return the seconds of each call, and of the whole."""
    times: list[list[float]] = [[] for _ in range(clients)]
    started = time.perf_counter()
    threads = [threading.Thread(target=lambda n=n: times[n].extend(_timed(calls[n::clients]))) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [seconds for part in times for seconds in part], time.perf_counter() - started


def _times(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{share}_ms": round(1000 * float(np.percentile(seconds, share)), 2) for share in (50, 95, 99)}


def _memory() -> dict[str, float]:
    """Return the resident memory in GiB: the process's own, and pages of mapped files."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    private = kib["Anonymous"]
    status = Path("/proc/self/status").read_text()
    return {
        "rss_gb": round(kib["Rss"] / 2**20, 3),
        "rss_peak_gb": round(int(status.split("VmHWM:")[1].split()[0]) / 2**20, 3),
        "rss_private_gb": round(private / 2**20, 3),
        "rss_mapped_gb": round((kib["Rss"] - private) / 2**20, 3),
    }


def _recall(
    folder: Path, chunks: Chunks, reader: FolderReader, catalogue: Catalogue, rows: np.ndarray
) -> dict[str, float]:
    vectors, shares = reader.snapshot().vectors, {}
    for name, best in _exact(folder, chunks).best.items():
        allowed = catalogue.documents.visible(ANYONE, FILTERS[name])
        hits = [vectors.search(row, 10, allowed) for row in rows]
        numbers = [{(h.document_number - 1) * 10 + h.ordinal for h in row_hits} for row_hits in hits]
        share = sum(len(set(a.tolist()) & b) for a, b in zip(best, numbers, strict=True)) / best.size
        shares["recall_at_10" if name == "none" else f"{NAMES[name]}_recall_at_10"] = round(share, 4)
    return shares


def _after_changes(catalogue: Catalogue) -> dict[str, float]:
    """Return the milliseconds of finding the visible documents after a change of one (median), and of all."""
    times = {}
    for name, changes in {
        "one_changed": [documents.c.number == 1 + n for n in range(11)],
        "all_changed": [None],
    }.items():
        seconds = []
        for which in changes:
            with catalogue.database.write() as connection:
                bump_visibility(connection, *([] if which is None else [which]))
            seconds += _timed([lambda: catalogue.documents.visible(ANYONE, Filters())])
        times[f"visible_{name}_ms"] = round(1000 * float(np.median(seconds)), 1)
    return times


def freshness(folder: Path, chunks: Chunks) -> dict[str, float]:
    """Return the seconds from `add` to the first hit, lexical and by vector, while another process searches."""
    writer = FolderWriter(folder / "index", EMBEDDER, DIMENSION)
    child = _child("--watch", folder, chunks)
    assert child.stdout.readline().strip() == "ready"
    added, number = [], chunks.documents
    for n in range(ADDITIONS):
        row = np.random.default_rng((chunks.seed, 5, n)).standard_normal((1, DIMENSION), dtype=np.float32)
        text = f"freshmark{n} and the words around it"
        added.append(time.time())
        writer.add(number + 1 + n, [Chunk(0, text, 0, len(text))], row / np.linalg.norm(row), None, f"fresh{n}.txt")
        time.sleep(0.5)  # the writer's pause between publications, `index.publish_seconds`
        writer.publish()
    found_at = json.loads(child.communicate()[0])
    for n in range(ADDITIONS):
        writer.remove(number + 1 + n)
    writer.publish()
    writer.close()
    waits = [hit - at for hit, at in zip(found_at, added, strict=True)]
    return {"freshness_s_median": round(float(np.median(waits)), 2), "freshness_s_worst": round(max(waits), 2)}


def watch(folder: Path, chunks: Chunks) -> None:
    """Search in two threads without pause, look for each addition, and print when it was found."""
    rows, texts = chunks.queries(QUERIES)
    catalogue, reader = catalogue_of(folder), FolderReader(folder / "index")
    finder = Finder(catalogue.documents, catalogue.chunks, reader, FixedEmbedder(texts, rows))
    finder.search(ANYONE, SearchRequest(texts[0]))
    over = threading.Event()

    def search() -> None:
        while not over.is_set():
            for text in texts:
                finder.search(ANYONE, SearchRequest(text))
                if over.is_set():
                    return

    threads = [threading.Thread(target=search, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    print(json.dumps([_first_seen(reader, chunks, n) for n in range(ADDITIONS)]))
    over.set()


def _first_seen(reader: FolderReader, chunks: Chunks, n: int) -> float:
    row = np.random.default_rng((chunks.seed, 5, n)).standard_normal(DIMENSION, dtype=np.float32)
    deadline = time.time() + 60
    while time.time() < deadline:
        snapshot = reader.snapshot()
        number = chunks.documents + 1 + n
        by_words = [h.document_number for h in snapshot.lexical.search(parse(f"freshmark{n}"), 1, None)]
        by_vector = [h.document_number for h in snapshot.vectors.search(row / np.linalg.norm(row), 1, None)]
        if by_words == by_vector == [number]:
            return time.time()
        time.sleep(0.02)
    raise SystemExit(f"document {chunks.documents + 1 + n} was not found within a minute")


if __name__ == "__main__":
    main()
