"""Measure the ranking on public test collections and compare it with two other libraries.

    MAILROOM_DATA=... python -m tests.benchmarks.search_quality

    --collection NAME   one of scifact, cranfield, cisi, cacm, squad; repeatable; default all
    --peers PYTHON      an environment with txtai and haystack-ai, to run them too (see peers.py)
    --way NAME          only bm25, vector, hybrid, hybrid_rerank, txtai or haystack; repeatable; other figures stay
    --reranker NAME     the reranker of hybrid_rerank, a version that --models FOLDER holds or a shipped one
    --time QUERIES      instead: what reranking costs, over so many queries of each collection
    --scratch FOLDER    where the installations are made; default .work/search_quality; kept for the next run
    --train             the training queries instead, printed and not recorded: for choosing

Each collection becomes an installation of its own: its documents go through the chunker and the shipped embedding model
into the catalogue, and from there into the index by the one writer. The Finder searches, with one hit per document. All
embeddings are computed once and stored under .work/; the other libraries get the same vectors, so that only the search
differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.answer import Finder
from pipeline.chunk import chunk
from pipeline.documents import Arrival, Outcome, QueueName, Stage, State
from pipeline.evaluate import DEPTH, evaluate
from pipeline.ports import Embedder
from pipeline.questions import ADMINISTRATOR, SearchRequest
from tests.benchmarks.public_collections import COLLECTIONS, SEED, Queries, TestCollection, load
from tests.benchmarks.record import public_data, record_figures
from workers.assemble import Mailroom
from workers.settings import load_settings

WORK = Path(__file__).parents[2] / ".work" / "search_quality"
MODES = {"bm25": "lexical", "vector": "vector", "hybrid": "hybrid"}
PEERS = ("txtai", "haystack")
WAYS = (*MODES, "hybrid_rerank", *PEERS)
#: New vectors after which the cache is written.
SAVE_EVERY = 1000
DATA = "public collections; SQuAD: 2,000 sampled dev questions over all paragraphs; peers with the same vectors"


class CachedEmbedder:
    """An embedder that caches its vectors, by the text's digest, in one file.

    The file is written every `SAVE_EVERY` texts, so that an interrupted run can resume.
    """

    def __init__(self, embedder: Embedder, file: Path) -> None:
        self.name, self.digest, self.dimension = embedder.name, embedder.digest, embedder.dimension
        self._embedder, self._file = embedder, file
        stored = np.load(file) if file.exists() else {"keys": [], "vectors": np.zeros((0, self.dimension), np.float32)}
        self._rows = dict(zip(stored["keys"], stored["vectors"], strict=True))
        self._saved = len(self._rows)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, (texts, dimension), computing those that are not in the cache."""
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        if new:
            self._rows |= zip(new, self._embedder.embed(list(new.values())), strict=True)
        if len(self._rows) >= self._saved + SAVE_EVERY:
            self.save()
        return np.array([self._rows[key] for key in keys], np.float32).reshape(len(keys), self.dimension)

    def save(self) -> None:
        """Write the cache if it has grown."""
        if len(self._rows) == self._saved:
            return
        part = self._file.with_suffix(".part.npz")
        np.savez(part, keys=np.array(list(self._rows)), vectors=np.stack(list(self._rows.values())))
        part.replace(self._file)
        self._saved = len(self._rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", action="append", choices=list(COLLECTIONS))
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--way", action="append", choices=[*MODES, "hybrid_rerank", *PEERS])
    parser.add_argument("--reranker", default="")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--time", type=int, default=0)
    parser.add_argument("--scratch", type=Path, default=WORK)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    for name in options.collection or COLLECTIONS:
        collection = load(name, public_data())
        queries = collection.train if options.train else collection.test
        if not queries.texts:
            continue
        mailroom = installation(collection, options)
        if options.time:
            fill(mailroom, collection)
            index(mailroom)
            _record_times(name, times(mailroom, dict(list(queries.texts.items())[: options.time])), mailroom)
        else:
            scores = measure(mailroom, collection, queries, options.peers, set(options.way or WAYS))
            print(name, json.dumps(scores))
            if not options.train:
                _record(name, scores, mailroom)
        mailroom.close()


def _record(name: str, scores: Mapping[str, float], mailroom: Mailroom) -> None:
    """Record the scores; a figure that this run did not measure keeps its own run."""
    command = "MAILROOM_DATA=... python -m tests.benchmarks.search_quality --peers PYTHON --reranker NAME"
    data = f"{DATA}; {_reranked(mailroom)}" if "hybrid_rerank" in scores else DATA
    record_figures("search", "collections", {name: scores}, WAYS, command, SEED, data)


def _record_times(name: str, costs: Mapping[str, float], mailroom: Mailroom) -> None:
    print(name, json.dumps(costs))
    command = "MAILROOM_DATA=... python -m tests.benchmarks.search_quality --reranker NAME --time QUERIES"
    record_figures("search", "reranking", {name: costs}, list(costs), command, SEED, _reranked(mailroom))


def _reranked(mailroom: Mailroom) -> str:
    return f"rerank: the best {mailroom.settings.search.reranked} passages by {mailroom.reranker.name}"


def installation(collection: TestCollection, options: argparse.Namespace) -> Mailroom:
    """Return the installation for one collection; its embedder has a cache."""
    (WORK / "vectors").mkdir(parents=True, exist_ok=True)
    chosen = {"data.path": str(options.scratch / collection.name), "models.threads": str(len(os.sched_getaffinity(0)))}
    chosen |= {"models.reranker": options.reranker} | ({"models.root": str(options.models)} if options.models else {})
    mailroom = Mailroom(load_settings(chosen, environ={}).settings)
    if options.reranker and not mailroom.reranker:
        raise SystemExit(f"{options.reranker} cannot serve as a reranker")
    if mailroom.catalogue.documents.counts().get(State.INDEXED, 0) not in (0, len(collection.documents)):
        raise SystemExit(
            f"{mailroom.settings.data.path} was filled in part; remove it, its vectors are stored elsewhere"
        )
    if not options.time:
        mailroom.embedder = CachedEmbedder(mailroom.embedder, WORK / "vectors" / f"{collection.name}.npz")
    return mailroom


def measure(
    mailroom: Mailroom, collection: TestCollection, queries: Queries, peers: Path | None, ways: set[str]
) -> dict[str, float]:
    """Return nDCG@10 by way of searching."""
    runs: dict[str, dict[str, list[str]]] = {}
    if ways - set(PEERS):
        fill(mailroom, collection)
        index(mailroom)
        runs |= {way: ask(plain(mailroom), queries.texts, mode) for way, mode in MODES.items() if way in ways}
        if mailroom.reranker and "hybrid_rerank" in ways:
            runs["hybrid_rerank"] = ask(mailroom.search, queries.texts, "hybrid")
    if peers:
        chosen = [peer for peer in PEERS if peer in ways]
        runs |= ask_peers(peers, chosen, collection, queries, mailroom.embedder)
    mailroom.embedder.save()
    return {way: round(evaluate(queries.judgements, run).mean["nDCG@10"], 4) for way, run in runs.items()}


def plain(mailroom: Mailroom) -> Finder:
    """Return a search without reranking."""
    return Finder(mailroom.catalogue.documents, mailroom.catalogue.chunks, mailroom.reader, mailroom.embedder)


def times(mailroom: Mailroom, texts: Mapping[str, str]) -> dict[str, float]:
    """Return the median processor time, in milliseconds, of a search for ten passages without and with reranking.

    Both take turns, and the query's embedding is included. Processor time hardly depends on other work of the machine.
    """
    samples: dict[bool, list[float]] = {False: [], True: []}
    for text in tqdm(texts.values(), desc="time", unit="query"):
        for reranking, measured in samples.items():
            request = SearchRequest(text, 10, mode="hybrid", plain=True, rerank=reranking)
            started = time.process_time()
            mailroom.search.search(ADMINISTRATOR, request)
            measured.append(1000 * (time.process_time() - started))
    plain_ms, reranked_ms = map(statistics.median, samples.values())
    return {
        "hybrid_cpu_ms": round(plain_ms, 1),
        "hybrid_rerank_cpu_ms": round(reranked_ms, 1),
        "times_hybrid": round(reranked_ms / plain_ms, 1),
        "queries": len(texts),
    }


def fill(mailroom: Mailroom, collection: TestCollection) -> None:
    """Store every document in the catalogue with chunks and vectors, unless an earlier run did."""
    if mailroom.catalogue.documents.counts().get(State.INDEXED, 0) == len(collection.documents):
        return
    for number, (name, parsed) in enumerate(tqdm(collection.documents.items(), desc=collection.name, unit="doc")):
        arrival = Arrival("bench", name, time.time())
        mailroom.catalogue.documents.receive(f"{number:064x}", 1, arrival)
        job = mailroom.catalogue.jobs.claim(QueueName.INGEST, "bench", 60)[0]
        chunks = chunk(parsed)
        outcome = Outcome(Stage.CHUNK, document={"title": parsed.title}, chunks=chunks, next_stage=Stage.EMBED)
        job = mailroom.catalogue.jobs.commit(job, outcome, keep=True, seconds=60)
        vectors = mailroom.embedder.embed([chunk.text_with_heading for chunk in chunks])
        outcome = Outcome(Stage.EMBED, vectors=vectors, embedder=mailroom.embedder.digest, state=State.INDEXED)
        mailroom.catalogue.jobs.commit(job, outcome)


def index(mailroom: Mailroom) -> None:
    """Build the index from the catalogue again, since the code may have changed."""
    shutil.rmtree(mailroom.settings.index_path, ignore_errors=True)
    for document, chunks, vectors in tqdm(
        mailroom.catalogue.chunks.scan(mailroom.embedder.digest), desc="index", unit="doc"
    ):
        mailroom.writer.add(document.number, chunks, vectors, document.title, document.name)
    mailroom.writer.publish()


def ask(finder: Finder, texts: Mapping[str, str], mode: str) -> dict[str, list[str]]:
    """Return documents by query, best first; near-duplicates stay, since collections judge every document by itself."""
    run = {}
    for name, text in tqdm(texts.items(), desc=mode, unit="query"):
        request = SearchRequest(text, DEPTH, mode=mode, per_document=1, collapse=False, plain=True)
        run[name] = [passage.path for passage in finder.search(ADMINISTRATOR, request).passages]
    return run


def ask_peers(
    python: Path, peers: Sequence[str], collection: TestCollection, queries: Queries, embedder: Embedder
) -> dict[str, dict[str, list[str]]]:
    """Run the other libraries on the same documents, queries and vectors, each in a process of its own."""
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
