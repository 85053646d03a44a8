"""The path in: a stage passes its output on, and after a restart the stored output is found."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from indexes.catalogue.catalogue import Catalogue
from indexes.open import open_catalogue
from pipeline.classify import OnnxClassifier
from pipeline.documents import Arrival, Document, Element, Job, Outcome, Parsed, QueueName, Stage, State
from pipeline.ingest import PATH, Ingest, Policy, StageContext, Tools, embed_stage
from pipeline.rules import load_rules
from tests.support.memory_blobs import MemoryBlobs
from tests.support.tiny import make_classifier
from tests.unit.pipeline.test_read import Hashed

#: Seconds; short, since a test waits until the lease of a process that died has expired.
LEASE = 0.2
TEXT = b"Invoice 17\n\nThe invoice is due on the first of March. The total is 120 euros for twelve bearings."


class PlainParser:
    """Reads paragraphs of plain text."""

    digest = "plain"

    def parse(self, content: BinaryIO, name: str, media_type: str | None = None) -> Parsed:
        paragraphs = content.read().decode().split("\n\n")
        elements = tuple(Element("NarrativeText", paragraph) for paragraph in paragraphs)
        return Parsed("text/plain", elements, 1, "plain", languages=("en",), metadata={"from": "ann@example.org"})


class Counted:
    """Passes calls on to a part of the catalogue and counts them by name."""

    def __init__(self, part: Any, counts: Counter[str]) -> None:
        self._part, self._counts = part, counts

    def __getattr__(self, name: str) -> Any:
        self._counts[name] += 1
        return getattr(self._part, name)


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    catalogue = open_catalogue(f"sqlite:///{tmp_path / 'catalogue.db'}")
    yield catalogue
    catalogue.close()


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def ingest(catalogue: Catalogue, counts: Counter[str], tmp_path: Path) -> Ingest:
    words = {"invoice": ("invoice", "total"), "letter": ("dear", "regards")}
    classifier = OnnxClassifier(make_classifier(tmp_path / "models", "1", words, weight=2.0))
    documents, chunks = Counted(catalogue.documents, counts), Counted(catalogue.chunks, counts)
    policy = Policy(lease_seconds=LEASE)
    tools = Tools(
        documents,
        chunks,
        catalogue.jobs,
        MemoryBlobs(),
        PlainParser(),
        lambda: classifier,
        Hashed,
        load_rules(None),
        policy,
    )
    return Ingest(tools)


def receive(ingest: Ingest, catalogue: Catalogue, text: bytes = TEXT) -> tuple[Document, Job]:
    content_hash, size = ingest.tools.blobs.put([text], 10_000)
    document, _ = catalogue.documents.receive(content_hash, size, Arrival("tray", "post/invoice.txt", 1.0))
    return document, claim(catalogue)


def claim(catalogue: Catalogue) -> Job:
    """Claim the only job, as soon as its lease has expired."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if jobs := catalogue.jobs.claim(QueueName.INGEST, "test", LEASE):
            return jobs[0]
        time.sleep(0.05)
    raise AssertionError("the job did not become due")


def test_a_new_document_is_read_once(ingest: Ingest, catalogue: Catalogue, counts: Counter[str]) -> None:
    document, job = receive(ingest, catalogue)
    assert ingest.run(job) is None
    assert counts == {"get": 1, "result": 2}  # the document; whether a parse result or a prediction is stored
    final = catalogue.documents.get(document.id)
    assert (final.stage, final.label, final.media_type) == (Stage.INDEX, "invoice", "text/plain")
    chunks, vectors = catalogue.chunks.of_document(document.number, Hashed.digest)
    assert final.chunks == len(chunks) and vectors is not None and len(vectors) == len(chunks)


def test_the_document_in_hand_equals_the_stored_one(ingest: Ingest, catalogue: Catalogue) -> None:
    document, job = receive(ingest, catalogue)
    in_hand: list[Document] = []

    def recording(context: StageContext) -> Outcome:
        in_hand.append(context.document)
        return embed_stage(context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PATH, Stage.EMBED, recording)
        ingest.run(job)
    stored = catalogue.documents.get(document.id)
    assert in_hand[0].stage == Stage.EMBED
    assert replace(in_hand[0], stage=stored.stage) == stored


@pytest.mark.parametrize("stage", list(PATH))
def test_a_restart_at_any_stage_has_the_same_result(ingest: Ingest, catalogue: Catalogue, stage: Stage) -> None:
    document, job = receive(ingest, catalogue)

    def failing(context: StageContext) -> Outcome:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PATH, stage, failing)
        with pytest.raises(KeyboardInterrupt):
            ingest.run(job)
    ingest.run(claim(catalogue))
    final = catalogue.documents.get(document.id)
    chunks, vectors = catalogue.chunks.of_document(document.number, Hashed.digest)
    assert (final.stage, final.label, final.state) == (Stage.INDEX, "invoice", State.PROCESSING)
    assert vectors is not None and len(vectors) == len(chunks) == final.chunks


def test_an_unreadable_text_goes_to_review(ingest: Ingest, catalogue: Catalogue) -> None:
    document, job = receive(ingest, catalogue, b"%& 12 /.- ]]")
    assert ingest.run(job) is State.REVIEW
    final = catalogue.documents.get(document.id)
    assert (final.reason, final.label) == ("no-text", None)
    record = catalogue.documents.history(document.id)[1][-1]
    assert record.data["text_quality"] < ingest.tools.policy.readable_floor


def test_a_repeated_parse_keeps_chunks_and_vectors(ingest: Ingest, catalogue: Catalogue, counts: Counter[str]) -> None:
    document, job = receive(ingest, catalogue)
    ingest.run(job)
    catalogue.jobs.commit(catalogue.jobs.claim(QueueName.INDEX, "test", 60)[0], Outcome("index", state=State.INDEXED))
    assert catalogue.jobs.retry(document.id)
    counts.clear()
    ingest.run(claim(catalogue))
    embedded = [event for event in catalogue.documents.history(document.id)[1] if event.stage == Stage.EMBED]
    assert [event.data["cached"] for event in embedded] == [False, True]
    assert counts["of_document"] == 2
