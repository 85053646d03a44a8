"""Four searchers and one writer over one index that never stands still.

    python -m tests.benchmarks.soak [--seconds 600] [--chunks 100000] [--keep FOLDER]

Two processes search with two threads each, one adds and deletes documents in the catalogue, one is the writer as it
runs in production: its publications, tombstones and merges are those of the house. Every process notes what it did and
saw; the notes are held against one another afterwards:

- a hit of a search is a document that the catalogue showed at some moment of that search, with that document's text;
- a hit of a generation is a document that this generation holds, so that a deleted one is gone with the next publication;
- whoever asks for the very vector of a document that the generation holds finds that document first.
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
    parser.add_argument("--keep", type=Path, help="fill here, or use what was filled here; what happens is kept there")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    given = parser.parse_args()
    made = Chunks(given.chunks)
    if given.role:
        Role(given.keep, made, given.role).play(given.seconds)
        return
    with tempfile.TemporaryDirectory() as scratch:
        figures = soak(given.keep or Path(scratch), made, given.seconds)
    command = f"python -m tests.benchmarks.soak --seconds {given.seconds:g} --chunks {given.chunks}"
    data = "chunks of 384 dimensions with text, made in code; two processes of two searching threads, one writer"
    print(record("soak", command, figures, made.seed, data).read_text())
    sys.exit(any(figures[wrong] for wrong in WRONG))


def soak(folder: Path, made: Chunks, seconds: float) -> dict[str, Any]:
    """Fill with segments that the writer has to merge at once, let them all work for so long, and hold their notes against one another."""
    mailroom = _mailroom(folder)
    fill(folder, made, embedder=mailroom.embedders.serving_model().digest, merged=False)
    mailroom.close()
    (folder / "over").unlink(missing_ok=True)
    for old in folder.glob("*.jsonl"):
        old.unlink()
    command = [sys.executable, "-m", "tests.benchmarks.soak", "--keep", str(folder), "--chunks", str(made.count)]
    command += ["--seconds", str(seconds)]
    roles = ["write", *(f"search{n}" for n in range(SEARCHING)), "change"]
    started = {role: subprocess.Popen([*command, "--role", role]) for role in roles}
    codes = {"change": started["change"].wait()}
    (folder / "over").touch()
    codes |= {role: process.wait() for role, process in started.items()}
    return judged(folder, made, roles) | {"failed_processes": sum(code != 0 for code in codes.values())}


class Role:
    """One of the processes. What it notes is a line of JSON in a file of its own."""

    def __init__(self, folder: Path, made: Chunks, name: str) -> None:
        self._folder, self._made = folder, made
        self._mailroom = _mailroom(folder)
        self._notes, self._lock = (folder / f"{name}.jsonl").open("w"), threading.Lock()
        self._play = {"search": self.search, "write": self.write, "change": self.change}[name.rstrip("0123456789")]

    def play(self, seconds: float) -> None:
        self._play(seconds)
        self._notes.close()
        self._mailroom.close()

    def note(self, kind: str, **values: Any) -> None:
        with self._lock:
            self._notes.write(json.dumps({"kind": kind, **values}) + "\n")

    @property
    def over(self) -> bool:
        return (self._folder / "over").exists()

    def change(self, seconds: float) -> None:
        """Adds new documents and deletes old ones, as many as are added, at random."""
        rng = np.random.default_rng(self._made.seed)
        held = [(f"{number:032x}", number) for number in range(1, self._made.documents + 1)]
        until, count = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            for _ in range(WAVE):
                held.append(self._add(count := count + 1))
                self._delete(*held.pop(int(rng.integers(len(held)))))
            time.sleep(PAUSE)

    def _add(self, count: int) -> tuple[str, int]:
        """Receive a document and bring it as far as the writer, by the job store's own steps."""
        catalogue, began = self._mailroom.catalogue, time.monotonic()
        document, _ = catalogue.documents.receive(f"{2**200 + count:064x}", 1, Arrival("soak", f"{count}.txt", 0.0))
        texts, rows = self._made.document(document.number)
        chunks = tuple(Chunk(n, text, 0, len(text)) for n, text in enumerate(texts))
        digest = self._mailroom.embedders.serving_model().digest
        (job,) = catalogue.jobs.claim(QueueName.INGEST, "soak", 60)
        outcome = Outcome(Stage.EMBED, chunks=chunks, vectors=rows, embedder=digest, next_stage=Stage.INDEX)
        assert catalogue.jobs.commit(job, outcome)
        self.note("added", number=document.number, at=began)
        return document.id, document.number

    def _delete(self, document_id: str, number: int) -> None:
        self._mailroom.catalogue.documents.delete(document_id)
        self.note("deleted", number=number, at=time.monotonic())

    def write(self, seconds: float) -> None:
        """As the writer's process does; afterwards until nothing is left to do."""
        writer, last, quiet = self._mailroom.indexer(), self._note_generation(), 0
        while not self.over or quiet < 3:
            done, now = writer.step(), gen.current(self._mailroom.settings.index_path).name
            if now != last:
                self._note_generation()
            settled = done == 0 and now == last and not self._mailroom.writer.is_compacting
            quiet = quiet + 1 if settled and self._equal() else 0
            last = now
            time.sleep(self._mailroom.settings.index.publish_seconds)
        writer.close()

    def _note_generation(self) -> str:
        held = _ranges(self._mailroom.writer.numbers.array)
        manifest = gen.read_manifest(gen.current(self._mailroom.settings.index_path))
        segments = [(each.name, each.kind) for each in manifest.segments]
        self.note("published", generation=manifest.generation, held=held, segments=segments)
        return manifest.generation

    def _equal(self) -> bool:
        return self._mailroom.writer.numbers == self._mailroom.catalogue.documents.visible(ADMINISTRATOR, Filters())

    def search(self, seconds: float) -> None:
        """`THREADS` of them, each asking for words and meaning, then for the very vector of a document."""
        asked = Asked(self._mailroom, self._made)
        finder = Finder(
            self._mailroom.catalogue.documents, self._mailroom.catalogue.chunks, self._mailroom.reader, asked
        )
        finder.search(ADMINISTRATOR, SearchRequest(asked.texts[0]))
        self.note("memory", kib=_resident())
        threads = [threading.Thread(target=self._search, args=(finder, asked, n)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.note("memory", kib=_resident())

    def _search(self, finder: Finder, asked: Asked, seed: int) -> None:
        rng = np.random.default_rng((self._made.seed, seed))
        while not self.over:
            try:
                self._ask(finder, asked, rng)
                self._ask_for_itself(asked, rng)
            except Exception as error:  # that there is none is what is measured
                self.note("error", error=f"{type(error).__name__}: {error}")

    def _ask(self, finder: Finder, asked: Asked, rng: np.random.Generator) -> None:
        request = SearchRequest(asked.texts[int(rng.integers(QUERIES))], k=10)
        began = time.monotonic()
        found = finder.search(ADMINISTRATOR, request)
        ended = time.monotonic()
        wrong = [p.chunk for p in found.passages if p.text != asked.text_of(p.chunk)]
        numbers = sorted({p.chunk >> ORDINAL_BITS for p in found.passages})
        self.note("asked", began=began, ended=ended, found=numbers, wrong_texts=wrong, stale=found.stale)

    def _ask_for_itself(self, asked: Asked, rng: np.random.Generator) -> None:
        number, row = asked.some_document(rng)
        snapshot = self._mailroom.reader.snapshot()
        hits = [hit.document_number for hit in snapshot.vectors.search(row, 10, None)]
        self.note("itself", generation=snapshot.generation, number=number, found=hits)


class Asked:
    """The queries, as an embedder that knows their vectors; and what the documents are made of."""

    def __init__(self, mailroom: Mailroom, made: Chunks) -> None:
        self.name, self.digest, self.dimension = (
            "given",
            mailroom.embedders.serving_model().digest,
            mailroom.embedder.dimension,
        )
        rows, self.texts = made.queries(QUERIES)
        self._row_of = dict(zip(self.texts, rows, strict=True))
        self._made, self._reader = made, mailroom.reader
        self._texts = [text for block in made.blocks for text in made.texts(block)]
        self._first = made.vectors(0)

    def embed(self, texts: list[str]) -> np.ndarray:
        return np.stack([self._row_of[text] for text in texts])

    def text_of(self, chunk: int) -> str:
        number, ordinal = chunk >> ORDINAL_BITS, chunk & ((1 << ORDINAL_BITS) - 1)
        if number <= self._made.documents:
            return self._texts[(number - 1) * PER_DOCUMENT + ordinal]
        return self._made.document(number)[0][ordinal]

    def some_document(self, rng: np.random.Generator) -> tuple[int, np.ndarray]:
        """(number, vector of one of its chunks): of the first block, or one that was added; it may be gone by now."""
        ordinal = int(rng.integers(PER_DOCUMENT))
        newest = int(self._reader.snapshot().numbers.array[-1])
        if newest > self._made.documents and rng.random() < 0.5:
            number = int(rng.integers(self._made.documents + 1, newest + 1))
            return number, self._made.document(number)[1][ordinal]
        number = int(rng.integers(1, len(self._first) // PER_DOCUMENT + 1))
        return number, self._first[(number - 1) * PER_DOCUMENT + ordinal]


#: Figures of which each one is a fault.
WRONG = (
    "index_differs",
    "wrong_ids",
    "deleted_shown",
    "wrong_texts",
    "not_found",
    "stale_answers",
    "errors",
    "failed_processes",
)


def judged(folder: Path, made: Chunks, roles: list[str]) -> dict[str, Any]:
    """The notes of all, held against one another."""
    notes = [note for role in roles for note in _read(folder / f"{role}.jsonl")]
    of = lambda kind: [note for note in notes if note["kind"] == kind]  # noqa: E731
    came = {note["number"]: note["at"] for note in of("added")}
    went = {note["number"]: note["at"] for note in of("deleted")}
    held = {note["generation"]: _members(note["held"]) for note in of("published")}
    asked, itself = of("asked"), of("itself")
    known = lambda number: number <= made.documents or number in came  # noqa: E731
    hits = [(note, number) for note in asked for number in note["found"]]
    live = [note for note in itself if note["number"] in held[note["generation"]]]
    times = [1000 * (note["ended"] - note["began"]) for note in asked]
    shown = [n for note, n in hits if went.get(n, np.inf) < note["began"]]
    early = [n for note, n in hits if not known(n) or came.get(n, 0.0) > note["ended"]]
    strange = [n for note in itself for n in note["found"] if n not in held[note["generation"]]]
    memory = [note["kib"] for note in of("memory")]
    last = _members(of("published")[-1]["held"])
    expected = (set(range(1, made.documents + 1)) | came.keys()) - went.keys()
    return {
        "searches": len(asked),
        "searches_per_s": round(
            len(asked) / (max(note["ended"] for note in asked) - min(note["began"] for note in asked)), 1
        ),
        **{f"p{share}_ms": round(float(np.percentile(times, share)), 1) for share in (50, 95, 99)},
        "vector_searches": len(itself),
        "hits_checked": len(hits) + sum(len(note["found"]) for note in itself),
        "added": len(came),
        "deleted": len(went),
        **_segments(of("published")),
        "wrong_ids": len(early) + len(strange),
        "deleted_shown": len(shown),
        "wrong_texts": sum(len(note["wrong_texts"]) for note in asked),
        "not_found": sum(note["number"] not in note["found"][:1] for note in live),
        "stale_answers": sum(note["stale"] for note in asked),
        "errors": len(of("error")),
        "index_differs": len(last ^ DocumentNumbers(expected)),
        "searcher_rss_mb_first": round(max(memory[0::2]) / 1024),
        "searcher_rss_mb_last": round(max(memory[1::2]) / 1024),
    }


def _segments(notes: list[dict[str, Any]]) -> dict[str, int]:
    """Publications, and how many of them took in a merged segment: small ones at once, large ones from the background."""
    merged = {"exact": 0, "large": 0}
    for before, after in itertools.pairwise(notes):
        old, new = dict(before["segments"]), dict(after["segments"])
        if old.keys() - new.keys():
            kinds = {kind for name, kind in new.items() if name not in old}
            merged["large" if kinds - {"exact"} else "exact"] += 1
    return {"publications": len(notes), "merges": merged["exact"], "background_merges": merged["large"]}


def _mailroom(folder: Path) -> Mailroom:
    return Mailroom(load_settings({"data.path": str(folder)}, environ={}).settings)


def _ranges(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Runs of numbers: first and last."""
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    return list(zip(numbers[[0, *(breaks + 1)]].tolist(), numbers[[*breaks, -1]].tolist(), strict=True))


def _members(ranges: list[tuple[int, int]]) -> DocumentNumbers:
    return DocumentNumbers(np.concatenate([np.arange(first, last + 1) for first, last in ranges]))


def _read(file: Path) -> Iterator[dict[str, Any]]:
    with file.open() as lines:
        yield from map(json.loads, lines)


def _resident() -> int:
    """KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


if __name__ == "__main__":
    main()
