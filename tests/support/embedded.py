"""Documents that have come as far as the index's writer."""

from __future__ import annotations

import numpy as np

from pipeline.documents import Chunk, Lane, Outcome, Sighting, Stage
from workers.assemble import House


def embedded(house: House, number: int, reason: str | None = None) -> str:
    """One of them; its id."""
    document, _ = house.catalogue.documents.receive(f"{number:064x}", 1, Sighting("tray", f"{number}.txt", 0.0))
    (job,) = house.catalogue.ledger.claim(Lane.INGEST, "test", 60)
    vector = np.zeros((1, house.embedder.dimension), np.float32)
    vector[0, number] = 1.0
    outcome = Outcome(
        Stage.EMBED,
        document={"reason": reason},
        chunks=(Chunk(0, f"text number {number}", 0, 13),),
        vectors=vector,
        embedder=house.embedder.digest,
        next_stage=Stage.INDEX,
    )
    assert house.catalogue.ledger.commit(job, outcome)
    return document.id
