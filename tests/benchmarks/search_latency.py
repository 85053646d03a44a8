"""Measure search over REST at 10,000 passages: `python -m tests.benchmarks.search_latency`.

The passages are generated, embedded with the shipped model and published by the real writer. The API runs in a process
of its own; one client sends hybrid searches over HTTP.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.documents import Arrival, Chunk, Outcome, QueueName, Stage, State
from pipeline.questions import ADMINISTRATOR, SearchRequest
from tests.benchmarks.corpus import OBJECTS, SUBJECTS, sentences
from tests.benchmarks.record import record
from tests.support.installation import Installation
from workers.assemble import Mailroom
from workers.settings import load_settings

DOCUMENTS, PER_DOCUMENT, QUERIES, SEED = 1000, 10, 300, 11


def main() -> None:
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        mailroom = Mailroom(load_settings({"data.path": str(folder)}, environ={}).settings)
        fill(mailroom, rng)
        queries = [f"{rng.choice(SUBJECTS)} {rng.choice(OBJECTS)}" for _ in range(QUERIES)]
        inside = [timed(lambda q=q: mailroom.search.search(ADMINISTRATOR, SearchRequest(q))) for q in queries]
        with Installation(folder) as running, running.client() as client:
            for query in queries[:20]:
                client.get("/v1/search", params={"query": query})
            over_rest = [timed(lambda q=q: client.get("/v1/search", params={"query": q})) for q in queries]
    figures = {
        "passages": DOCUMENTS * PER_DOCUMENT,
        "queries": QUERIES,
        "rest_p50_ms": percentile(over_rest, 50),
        "rest_p95_ms": percentile(over_rest, 95),
        "in_process_p50_ms": percentile(inside, 50),
        "rest_to_in_process_p50": round(percentile(over_rest, 50) / percentile(inside, 50), 2),
    }
    print(json.dumps(figures, indent=1))
    record("search_latency", "python -m tests.benchmarks.search_latency", figures, SEED, "generated passages")


def fill(mailroom: Mailroom, rng: random.Random) -> None:
    """Store documents with chunks and vectors, and publish them."""
    for number in tqdm(range(DOCUMENTS), desc="fill", unit="doc"):
        arrival = Arrival("bench", f"{number}.txt", time.time())
        document, _ = mailroom.catalogue.documents.receive(f"{number:064x}", 1, arrival)
        job = mailroom.catalogue.jobs.claim(QueueName.INGEST, "bench", 60)[0]
        texts = [" ".join(sentences(rng, 60)) for _ in range(PER_DOCUMENT)]
        chunks = tuple(Chunk(i, text, 0, len(text)) for i, text in enumerate(texts))
        job = mailroom.catalogue.jobs.commit(
            job, Outcome("chunk", chunks=chunks, next_stage=Stage.EMBED), keep=True, seconds=60
        )
        vectors = mailroom.embedder.embed(texts)
        outcome = Outcome("embed", vectors=vectors, embedder=mailroom.embedder.digest, state=State.INDEXED)
        mailroom.catalogue.jobs.commit(job, outcome)
        mailroom.writer.add(document.number, chunks, vectors, None, document.name)
    mailroom.writer.publish()
    mailroom.writer.close()


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def percentile(seconds: list[float], share: int) -> float:
    """Return a percentile in milliseconds."""
    return round(1000 * float(np.percentile(seconds, share)), 1)


if __name__ == "__main__":
    main()
