"""A real API over a real catalogue: uvicorn in a thread; outcomes of the stages are committed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import uvicorn

from pipeline.codec import encode_parsed
from pipeline.documents import Chunk, Document, Element, Outcome, Parsed, QueueName, Stage, State
from pipeline.rights import SCOPES
from workers.api.app import create_app
from workers.api.serve import bind, configuration, url_of
from workers.assemble import Mailroom
from workers.services.keys import access_for
from workers.settings import load_settings

ALL = tuple(SCOPES)


def make_mailroom(folder: Path, **overrides: str) -> Mailroom:
    """Return an installation in ``folder`` without a broker: its wake-ups are lost, which does no harm."""
    return Mailroom(load_settings({"data.path": str(folder), "api.port": "0", **overrides}, environ={}).settings)


@contextmanager
def serving(mailroom: Mailroom) -> Iterator[str]:
    """Serve the API by uvicorn in this process; yield its URL."""
    listening = bind(mailroom.settings)
    server = uvicorn.Server(configuration(create_app(mailroom, warm=False), mailroom.settings.api))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield url_of(mailroom.settings, listening)
    finally:
        server.should_exit = True
        thread.join(20)


def client(
    url: str, mailroom: Mailroom, principals: Sequence[str] = ("*",), scopes: Sequence[str] = ALL, admin: bool = False
) -> httpx.Client:
    """Return a client with a new key, which may write anywhere and name any principal."""
    access = access_for(principals, scopes, ["*"], ["*"], admin)
    _, secret = mailroom.catalogue.keys.create("test", access)
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=30)


def read_and_index(
    mailroom: Mailroom, document_id: str, text: str, label: str = "invoice", title: str | None = None
) -> Document:
    """Commit the outcomes of all stages for a received document with this text; return it as it is then, indexed."""
    job_store, embedder = mailroom.catalogue.jobs, mailroom.embedder
    while (jobs := job_store.claim(QueueName.INGEST, "test", 60)) and jobs[0].subject != document_id:
        job_store.release(jobs[0], 3600, "test", "", counted=False)
    job = jobs[0]
    parsed = Parsed("text/plain", (Element("NarrativeText", text, 1),), 1, "test")
    chunks = (Chunk(0, text, 0, len(text), 1, 1, None),)
    document = {
        "media_type": "text/plain",
        "pages": 1,
        "chunks": 1,
        "label": label,
        "probability": 0.99,
        "title": title,
    }
    outcome = Outcome(
        Stage.PARSE,
        document=document,
        result=(document_id * 2, encode_parsed(parsed)),
        chunks=chunks,
        next_stage=Stage.EMBED,
    )
    job = job_store.commit(job, outcome, keep=True, seconds=60)
    vectors = embedder.embed([text])
    job_store.commit(job, Outcome(Stage.EMBED, vectors=vectors, embedder=embedder.digest, next_stage=Stage.INDEX))
    mailroom.indexer().step()
    indexed = mailroom.catalogue.documents.get(document_id)
    assert indexed.state is State.INDEXED
    return indexed
