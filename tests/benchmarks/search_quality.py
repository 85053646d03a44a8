"""The ranking on public test collections, beside two peers: `MAILROOM_DATA=... python -m tests.benchmarks.search_quality`.

    --collection NAME   one of scifact, cranfield, cisi, cacm, squad; repeatable; default all
    --peers PYTHON      an environment with txtai and haystack-ai, to run them too (see peers.py)
    --way NAME          only bm25, vector, hybrid, hybrid_rerank, txtai or haystack; repeatable; the other figures stay
    --scratch FOLDER    where the installations are made; default .work/search_quality; kept for the next run
    --train             the training queries instead, printed and not recorded: for choosing

Each collection becomes an installation of its own: documents through the chunker and the shipped embedding model into the
catalogue, and from there into the index by the one writer; asked is the Finder, one hit a document. All embeddings are
made once and kept under .work/, and the peers are given the same vectors, so that only the search differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.answer import Finder
from pipeline.chunk import chunk
from pipeline.documents import Lane, Outcome, Sighting, Stage, State
from pipeline.evaluate import DEPTH, evaluate
from pipeline.ingest import passage_text
from pipeline.ports import Embedder
from pipeline.questions import Caller, SearchRequest
from tests.benchmarks.public_collections import COLLECTIONS, SEED, Queries, TestCollection, load
from tests.benchmarks.record import RESULTS, public_data, record_part
from workers.assemble import House
from workers.settings import load_settings

WORK = Path(__file__).parents[2] / ".work" / "search_quality"
MODES = {"bm25": "lexical", "vector": "vector", "hybrid": "hybrid"}
PEERS = ("txtai", "haystack")
WAYS = (*MODES, "hybrid_rerank", *PEERS)
ADMIN = Caller((), admin=True)
DATA = "public collections; SQuAD: 2,000 sampled dev questions over all paragraphs; peers with the same vectors"


class Remembered:
    """An embedder that keeps what it made, by the text's digest, in one file."""

    def __init__(self, embedder: Embedder, file: Path) -> None:
        self.name, self.digest, self.dimension = embedder.name, embedder.digest, embedder.dimension
        self._embedder, self._file = embedder, file
        held = np.load(file) if file.exists() else {"keys": [], "vectors": np.zeros((0, self.dimension), np.float32)}
        self._rows = dict(zip(held["keys"], held["vectors"], strict=True))
        self._known = len(self._rows)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        if new:
            self._rows |= zip(new, self._embedder.embed(list(new.values())), strict=True)
        return np.array([self._rows[key] for key in keys], np.float32).reshape(len(keys), self.dimension)

    def save(self) -> None:
        if len(self._rows) == self._known:
            return
        np.savez(self._file, keys=np.array(list(self._rows)), vectors=np.stack(list(self._rows.values())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", action="append", choices=list(COLLECTIONS))
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--way", action="append", choices=[*MODES, "hybrid_rerank", *PEERS])
    parser.add_argument("--scratch", type=Path, default=WORK)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    for name in options.collection or COLLECTIONS:
        collection = load(name, public_data())
        queries = collection.train if options.train else collection.test
        if queries.texts:
            found = measure(collection, queries, options.scratch, options.peers, set(options.way or WAYS))
            print(name, json.dumps(found))
            if not options.train:
                _record(name, found)


def _record(name: str, found: Mapping[str, float]) -> None:
    """Add to what is recorded, in a fixed order."""
    file = RESULTS / "search.json"
    known = dict(json.loads(file.read_text()).get("collections", {})) if file.exists() else {}
    known[name] = known.get(name, {}) | found
    figures = {
        each: {way: known[each][way] for way in WAYS if way in known[each]} for each in COLLECTIONS if each in known
    }
    command = "MAILROOM_DATA=... python -m tests.benchmarks.search_quality --peers PYTHON"
    record_part("search", "collections", figures, command, SEED, DATA)


def measure(
    collection: TestCollection, queries: Queries, scratch: Path, peers: Path | None, ways: set[str]
) -> dict[str, float]:
    """nDCG@10 of each way of searching."""
    (WORK / "vectors").mkdir(parents=True, exist_ok=True)
    chosen = {"data.path": str(scratch / collection.name), "models.threads": str(len(os.sched_getaffinity(0)))}
    house = House(load_settings(chosen, environ={}).settings)
    house.embedder = Remembered(house.embedder, WORK / "vectors" / f"{collection.name}.npz")
    runs: dict[str, dict[str, list[str]]] = {}
    if ways - set(PEERS):
        fill(house, collection)
        index(house)
        plain = Finder(house.catalogue.documents, house.catalogue.passages, house.reader, house.embedder)
        runs |= {way: ask(plain, queries.texts, mode) for way, mode in MODES.items() if way in ways}
        if house.reranker and "hybrid_rerank" in ways:
            runs["hybrid_rerank"] = ask(house.search, queries.texts, "hybrid")
    if peers:
        chosen = [peer for peer in PEERS if peer in ways]
        runs |= ask_peers(peers, chosen, collection, queries, house.embedder)
    house.embedder.save()
    house.close()
    return {way: round(evaluate(queries.judgements, run).mean["nDCG@10"], 4) for way, run in runs.items()}


def fill(house: House, collection: TestCollection) -> None:
    """Every document into the catalogue, with passages and vectors; nothing where an earlier run did it."""
    if house.catalogue.documents.counts().get(State.INDEXED, 0) == len(collection.documents):
        return
    for number, (name, parsed) in enumerate(tqdm(collection.documents.items(), desc=collection.name, unit="doc")):
        sighting = Sighting("bench", name, time.time())
        house.catalogue.documents.receive(f"{number:064x}", 1, sighting)
        job = house.catalogue.ledger.claim(Lane.INGEST, "bench", 60)[0]
        chunks = chunk(parsed)
        outcome = Outcome(Stage.CHUNK, document={"title": parsed.title}, chunks=chunks, next_stage=Stage.EMBED)
        job = house.catalogue.ledger.commit(job, outcome, keep=True, seconds=60)
        vectors = house.embedder.embed([passage_text(c.heading, c.text) for c in chunks])
        outcome = Outcome(Stage.EMBED, vectors=vectors, embedder=house.embedder.digest, state=State.INDEXED)
        house.catalogue.ledger.commit(job, outcome)


def index(house: House) -> None:
    """The index anew from the catalogue, as the code of today makes it."""
    shutil.rmtree(house.settings.index_path, ignore_errors=True)
    for document, chunks, vectors in tqdm(
        house.catalogue.passages.scan(house.embedder.digest), desc="index", unit="doc"
    ):
        house.writer.add(document.number, chunks, vectors, document.title, document.name)
    house.writer.publish()


def ask(finder: Finder, texts: Mapping[str, str], mode: str) -> dict[str, list[str]]:
    """Documents by query, best first. Collections judge every document by itself, so that none may stand for another."""
    run = {}
    for name, text in tqdm(texts.items(), desc=mode, unit="query"):
        request = SearchRequest(text, DEPTH, mode=mode, per_document=1, collapse=False, plain=True)
        run[name] = [passage.path for passage in finder.search(ADMIN, request).passages]
    return run


def ask_peers(
    python: Path, peers: Sequence[str], collection: TestCollection, queries: Queries, embedder: Embedder
) -> dict[str, dict[str, list[str]]]:
    """The same documents, queries and vectors through the peers, each in a process of its own."""
    folder = WORK / "peers" / collection.name
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: parsed.text for name, parsed in collection.documents.items()}
    (folder / "texts.json").write_text(json.dumps({"documents": texts, "queries": dict(queries.texts)}))
    rows = {"documents": embedder.embed(list(texts.values())), "queries": embedder.embed(list(queries.texts.values()))}
    np.savez(folder / "vectors.npz", **rows)
    runs = {}
    for peer in peers:
        subprocess.run([python, Path(__file__).with_name("peers.py"), peer, folder], check=True)
        runs[peer] = json.loads((folder / f"{peer}.json").read_text())
    return runs


if __name__ == "__main__":
    main()
