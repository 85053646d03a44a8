"""Documents that are embedded and wait for the index writer."""

from __future__ import annotations

import numpy as np

from pipeline.documents import Arrival, Chunk, Outcome, QueueName, Stage
from workers.assemble import Mailroom


def embedded(mailroom: Mailroom, number: int, reason: str | None = None) -> str:
    """Receive and embed a document with one chunk and a vector of its own; return its id."""
    document, _ = mailroom.catalogue.documents.receive(f"{number:064x}", 1, Arrival("tray", f"{number}.txt", 0.0))
    (job,) = mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 60)
    vector = np.zeros((1, mailroom.embedder.dimension), np.float32)
    vector[0, number] = 1.0
    outcome = Outcome(
        Stage.EMBED,
        document={"reason": reason},
        chunks=(Chunk(0, f"text number {number}", 0, 13),),
        vectors=vector,
        embedder=mailroom.embedder.digest,
        next_stage=Stage.INDEX,
    )
    assert mailroom.catalogue.jobs.commit(job, outcome)
    return document.id
