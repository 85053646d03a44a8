"""Search, change and write one index at the same time, and check every result.

    python -m tests.benchmarks.soak [--seconds 600] [--chunks 100000] [--keep FOLDER]

Two processes search with two threads each, one adds and deletes documents in the catalogue, and one is the writer as it
runs in production, with its publications, tombstones and merges. Every process logs what it did and got; afterwards the
logs are compared:

- a hit of a search is a document that was visible at some moment of that search, with that document's text;
- a hit of a generation is a document of this generation, so that a deleted one is gone with the next publication;
- a search for the vector of a document in the generation finds that document first.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from indexes import generations as gen
from pipeline.answer import Finder
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Arrival, Chunk, Outcome, QueueName, Stage
from pipeline.questions import ADMINISTRATOR, ORDINAL_BITS, Filters, SearchRequest
from tests.benchmarks.chunks import PER_DOCUMENT, Chunks
from tests.benchmarks.record import record
from tests.benchmarks.scale_fill import fill
from workers.assemble import Mailroom
from workers.settings import load_settings

SEARCHING, THREADS, QUERIES = 2, 2, 500
#: Documents added and deleted in one go, and the seconds between two.
WAVE, PAUSE = 10, 0.5
ROLES = ("search", "write", "change")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument(
        "--keep", type=Path, help="the folder to fill, or one that was filled before; the logs are kept there"
    )
    parser.add_argument("--role", help=argparse.SUPPRESS)
    options = parser.parse_args()
    chunks = Chunks(options.chunks)
    if options.role:
        Role(options.keep, chunks, options.role).play(options.seconds)
        return
    with tempfile.TemporaryDirectory() as scratch:
        figures = soak(options.keep or Path(scratch), chunks, options.seconds)
    command = f"python -m tests.benchmarks.soak --seconds {options.seconds:g} --chunks {options.chunks}"
    data = "generated chunks of 384 dimensions with text; two processes of two searching threads, one writer"
    print(record("soak", command, figures, chunks.seed, data).read_text())
    sys.exit(any(figures[wrong] for wrong in FAULTS))


def soak(folder: Path, chunks: Chunks, seconds: float) -> dict[str, Any]:
    """Fill with segments that the writer has to merge, run all processes for so long, and compare their logs."""
    mailroom = _mailroom(folder)
    fill(folder, chunks, embedder=mailroom.embedders.serving_model().digest, merged=False)
    mailroom.close()
    (folder / "over").unlink(missing_ok=True)
    for old in folder.glob("*.jsonl"):
        old.unlink()
    command = [sys.executable, "-m", "tests.benchmarks.soak", "--keep", str(folder), "--chunks", str(chunks.count)]
    command += ["--seconds", str(seconds)]
    roles = ["write", *(f"search{n}" for n in range(SEARCHING)), "change"]
    started = {role: subprocess.Popen([*command, "--role", role]) for role in roles}
    codes = {"change": started["change"].wait()}
    (folder / "over").touch()
    codes |= {role: process.wait() for role, process in started.items()}
    return evaluated(folder, chunks, roles) | {"failed_processes": sum(code != 0 for code in codes.values())}


class Role:
    """One of the processes, with a log of its own in JSON lines."""

    def __init__(self, folder: Path, chunks: Chunks, name: str) -> None:
        self._folder, self._chunks = folder, chunks
        self._mailroom = _mailroom(folder)
        self._log, self._lock = (folder / f"{name}.jsonl").open("w"), threading.Lock()
        self._play = {"search": self.search, "write": self.write, "change": self.change}[name.rstrip("0123456789")]

    def play(self, seconds: float) -> None:
        """Run the process for its time, or until the folder says that the run is over."""
        self._play(seconds)
        self._log.close()
        self._mailroom.close()

    def log(self, kind: str, **values: Any) -> None:
        """Write an entry to the log."""
        with self._lock:
            self._log.write(json.dumps({"kind": kind, **values}) + "\n")

    @property
    def over(self) -> bool:
        """True once the changing process has ended."""
        return (self._folder / "over").exists()

    def change(self, seconds: float) -> None:
        """Add new documents, and delete as many old ones at random."""
        rng = np.random.default_rng(self._chunks.seed)
        present = [(f"{number:032x}", number) for number in range(1, self._chunks.documents + 1)]
        until, count = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            for _ in range(WAVE):
                present.append(self._add(count := count + 1))
                self._delete(*present.pop(int(rng.integers(len(present)))))
            time.sleep(PAUSE)

    def _add(self, count: int) -> tuple[str, int]:
        """Receive a document and take it through the job store up to the writer."""
        catalogue, began = self._mailroom.catalogue, time.monotonic()
        document, _ = catalogue.documents.receive(f"{2**200 + count:064x}", 1, Arrival("soak", f"{count}.txt", 0.0))
        texts, rows = self._chunks.document(document.number)
        chunks = tuple(Chunk(n, text, 0, len(text)) for n, text in enumerate(texts))
        digest = self._mailroom.embedders.serving_model().digest
        (job,) = catalogue.jobs.claim(QueueName.INGEST, "soak", 60)
        outcome = Outcome(Stage.EMBED, chunks=chunks, vectors=rows, embedder=digest, next_stage=Stage.INDEX)
        assert catalogue.jobs.commit(job, outcome)
        self.log("added", number=document.number, at=began)
        return document.id, document.number

    def _delete(self, document_id: str, number: int) -> None:
        self._mailroom.catalogue.documents.delete(document_id)
        self.log("deleted", number=number, at=time.monotonic())

    def write(self, seconds: float) -> None:
        """Write like the writer's process, in the end until nothing is left to do."""
        writer, last, quiet = self._mailroom.indexer(), self._log_generation(), 0
        while not self.over or quiet < 3:
            done, now = writer.step(), gen.current(self._mailroom.settings.index_path).name
            if now != last:
                self._log_generation()
            settled = done == 0 and now == last and not self._mailroom.writer.is_compacting
            quiet = quiet + 1 if settled and self._equal() else 0
            last = now
            time.sleep(self._mailroom.settings.index.publish_seconds)
        writer.close()

    def _log_generation(self) -> str:
        members = _ranges(self._mailroom.writer.numbers.array)
        manifest = gen.read_manifest(gen.current(self._mailroom.settings.index_path))
        segments = [(segment.name, segment.kind) for segment in manifest.segments]
        self.log("published", generation=manifest.generation, members=members, segments=segments)
        return manifest.generation

    def _equal(self) -> bool:
        return self._mailroom.writer.numbers == self._mailroom.catalogue.documents.visible(ADMINISTRATOR, Filters())

    def search(self, seconds: float) -> None:
        """Search in `THREADS` threads: a hybrid search, then one for the vector of a document, again and again."""
        queries = SoakQueries(self._mailroom, self._chunks)
        finder = Finder(
            self._mailroom.catalogue.documents, self._mailroom.catalogue.chunks, self._mailroom.reader, queries
        )
        finder.search(ADMINISTRATOR, SearchRequest(queries.texts[0]))
        self.log("memory", kib=_resident())
        threads = [threading.Thread(target=self._search, args=(finder, queries, n)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.log("memory", kib=_resident())

    def _search(self, finder: Finder, queries: SoakQueries, seed: int) -> None:
        rng = np.random.default_rng((self._chunks.seed, seed))
        while not self.over:
            try:
                self._search_hybrid(finder, queries, rng)
                self._search_itself(queries, rng)
            except Exception as error:  # none is expected; the log shows it
                self.log("error", error=f"{type(error).__name__}: {error}")

    def _search_hybrid(self, finder: Finder, queries: SoakQueries, rng: np.random.Generator) -> None:
        request = SearchRequest(queries.texts[int(rng.integers(QUERIES))], k=10)
        began = time.monotonic()
        result = finder.search(ADMINISTRATOR, request)
        ended = time.monotonic()
        wrong = [p.chunk for p in result.passages if p.text != queries.text_of(p.chunk)]
        numbers = sorted({p.chunk >> ORDINAL_BITS for p in result.passages})
        self.log("search", began=began, ended=ended, hits=numbers, wrong_texts=wrong, stale=result.stale)

    def _search_itself(self, queries: SoakQueries, rng: np.random.Generator) -> None:
        number, row = queries.some_document(rng)
        snapshot = self._mailroom.reader.snapshot()
        hits = [hit.document_number for hit in snapshot.vectors.search(row, 10, None)]
        self.log("itself", generation=snapshot.generation, number=number, hits=hits)


class SoakQueries:
    """Queries with an embedder that knows their vectors, and the texts and vectors of the documents."""

    def __init__(self, mailroom: Mailroom, chunks: Chunks) -> None:
        self.name, self.digest, self.dimension = (
            "fixed",
            mailroom.embedders.serving_model().digest,
            mailroom.embedder.dimension,
        )
        rows, self.texts = chunks.queries(QUERIES)
        self._row_of = dict(zip(self.texts, rows, strict=True))
        self._chunks, self._reader = chunks, mailroom.reader
        self._texts = [text for block in chunks.blocks for text in chunks.texts(block)]
        self._first = chunks.vectors(0)

    def embed(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of queries, (texts, dimension)."""
        return np.stack([self._row_of[text] for text in texts])

    def text_of(self, chunk: int) -> str:
        """Return the text that a chunk id must have."""
        number, ordinal = chunk >> ORDINAL_BITS, chunk & ((1 << ORDINAL_BITS) - 1)
        if number <= self._chunks.documents:
            return self._texts[(number - 1) * PER_DOCUMENT + ordinal]
        return self._chunks.document(number)[0][ordinal]

    def some_document(self, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """Return the number of a document and the vector of one of its chunks; it may be deleted by now."""
        ordinal = int(rng.integers(PER_DOCUMENT))
        newest = int(self._reader.snapshot().numbers.array[-1])
        if newest > self._chunks.documents and rng.random() < 0.5:
            number = int(rng.integers(self._chunks.documents + 1, newest + 1))
            return number, self._chunks.document(number)[1][ordinal]
        number = int(rng.integers(1, len(self._first) // PER_DOCUMENT + 1))
        return number, self._first[(number - 1) * PER_DOCUMENT + ordinal]


#: Counts that have to be zero.
FAULTS = (
    "index_differs",
    "wrong_ids",
    "deleted_shown",
    "wrong_texts",
    "not_found",
    "stale_answers",
    "errors",
    "failed_processes",
)


def evaluated(folder: Path, chunks: Chunks, roles: list[str]) -> dict[str, Any]:
    """Compare the logs of all processes and return the figures."""
    entries = [entry for role in roles for entry in _read(folder / f"{role}.jsonl")]
    of = lambda kind: [entry for entry in entries if entry["kind"] == kind]  # noqa: E731
    added_at = {entry["number"]: entry["at"] for entry in of("added")}
    deleted_at = {entry["number"]: entry["at"] for entry in of("deleted")}
    members = {entry["generation"]: _members(entry["members"]) for entry in of("published")}
    searches, itself = of("search"), of("itself")
    exists = lambda number: number <= chunks.documents or number in added_at  # noqa: E731
    hits = [(search, number) for search in searches for number in search["hits"]]
    present = [search for search in itself if search["number"] in members[search["generation"]]]
    times = [1000 * (search["ended"] - search["began"]) for search in searches]
    deleted = [n for search, n in hits if deleted_at.get(n, np.inf) < search["began"]]
    early = [n for search, n in hits if not exists(n) or added_at.get(n, 0.0) > search["ended"]]
    foreign = [n for search in itself for n in search["hits"] if n not in members[search["generation"]]]
    memory = [entry["kib"] for entry in of("memory")]
    last = _members(of("published")[-1]["members"])
    expected = (set(range(1, chunks.documents + 1)) | added_at.keys()) - deleted_at.keys()
    seconds = max(search["ended"] for search in searches) - min(search["began"] for search in searches)
    return {
        "searches": len(searches),
        "searches_per_s": round(len(searches) / seconds, 1),
        **{f"p{share}_ms": round(float(np.percentile(times, share)), 1) for share in (50, 95, 99)},
        "vector_searches": len(itself),
        "hits_checked": len(hits) + sum(len(search["hits"]) for search in itself),
        "added": len(added_at),
        "deleted": len(deleted_at),
        **_segments(of("published")),
        "wrong_ids": len(early) + len(foreign),
        "deleted_shown": len(deleted),
        "wrong_texts": sum(len(search["wrong_texts"]) for search in searches),
        "not_found": sum(search["number"] not in search["hits"][:1] for search in present),
        "stale_answers": sum(search["stale"] for search in searches),
        "errors": len(of("error")),
        "index_differs": len(last ^ DocumentNumbers(expected)),
        "searcher_rss_mb_first": round(max(memory[0::2]) / 1024),
        "searcher_rss_mb_last": round(max(memory[1::2]) / 1024),
    }


def _segments(published: list[dict[str, Any]]) -> dict[str, int]:
    """Count the publications, and those with a merged segment: small ones at once, large ones from the background."""
    merged = {"exact": 0, "large": 0}
    for before, after in itertools.pairwise(published):
        old, new = dict(before["segments"]), dict(after["segments"])
        if old.keys() - new.keys():
            kinds = {kind for name, kind in new.items() if name not in old}
            merged["large" if kinds - {"exact"} else "exact"] += 1
    return {"publications": len(published), "merges": merged["exact"], "background_merges": merged["large"]}


def _mailroom(folder: Path) -> Mailroom:
    return Mailroom(load_settings({"data.path": str(folder)}, environ={}).settings)


def _ranges(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Return runs of consecutive numbers as (first, last)."""
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    return list(zip(numbers[[0, *(breaks + 1)]].tolist(), numbers[[*breaks, -1]].tolist(), strict=True))


def _members(ranges: list[tuple[int, int]]) -> DocumentNumbers:
    return DocumentNumbers(np.concatenate([np.arange(first, last + 1) for first, last in ranges]))


def _read(file: Path) -> Iterator[dict[str, Any]]:
    with file.open() as lines:
        yield from map(json.loads, lines)


def _resident() -> int:
    """Return the resident memory in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


if __name__ == "__main__":
    main()
