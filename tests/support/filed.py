"""Documents that are parsed, classified, routed and embedded, committed to a catalogue without a model."""

from __future__ import annotations

import hashlib

import numpy as np

from indexes.catalogue.catalogue import Catalogue
from pipeline.codec import cache_key, encode_parsed
from pipeline.documents import (
    Arrival,
    Chunk,
    Destination,
    Document,
    Element,
    Outcome,
    Parsed,
    QueueName,
    Stage,
    State,
)
from pipeline.ports import Blobs


def file_away(
    catalogue: Catalogue,
    blobs: Blobs,
    name: str,
    text: str,
    label: str = "letter",
    destinations: tuple[Destination, ...] = (),
    source: str = "tray",
) -> Document:
    """Return a searchable document of ``text`` that was routed to ``destinations``; its deliveries are not made yet."""
    content_hash, size = blobs.put([text.encode()], limit=1 << 20)
    document, _ = catalogue.documents.receive(content_hash, size, Arrival(source, name, 1_790_000_000.0))
    parsed = Parsed("text/plain", (Element("NarrativeText", text),), pages=1, parser="test")
    key = cache_key(content_hash, Stage.PARSE, "test", ".txt")
    data = {"rules": ["default"], "destinations": [f"{d.kind}:{d.target}" for d in destinations], "review": None}
    decided = {"label": label, "probability": 0.9, "model": "old@1", "rules": ("default",)}
    outcomes = [
        Outcome(
            Stage.PARSE,
            document={"media_type": "text/plain", "pages": 1},
            result=(key, encode_parsed(parsed)),
            chunks=(Chunk(0, text, 0, len(text)),),
            next_stage=Stage.ROUTE,
        ),
        Outcome(Stage.ROUTE, data, decided, deliveries=destinations, next_stage=Stage.EMBED),
        Outcome(
            Stage.EMBED,
            vectors=np.ones((1, 4), np.float32),
            embedder=hashlib.sha256(b"test").hexdigest(),
            next_stage=Stage.INDEX,
        ),
    ]
    (job,) = (job for job in catalogue.jobs.claim(QueueName.INGEST, "test", 60) if job.subject == document.id)
    for outcome in outcomes:
        job = catalogue.jobs.commit(job, outcome, keep=True, seconds=60)
        assert job is not None
    assert catalogue.jobs.commit(job, Outcome(Stage.INDEX, state=State.INDEXED)) is not None
    return catalogue.documents.get(document.id)
