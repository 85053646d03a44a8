"""THE PATH IN. What happens to a document, readable top to bottom.

`PATH` is the whole of it: receive (done by whoever took the bytes in) -> parse -> chunk -> classify -> route -> embed
-> index (done by the one writer). `Ingest.run` is the engine: it takes a claimed job, calls the job's stage, commits
the outcome under the job's fence and goes on with the next stage while the queue stays the same.

A stage that repeats finds its own output: parse results and predictions under
hash(input, stage, configuration, model digest), chunks and vectors in the document's rows. Changing the chunker thus
redoes only what follows it.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np

from pipeline.chunk import chunk
from pipeline.classify import text_quality
from pipeline.codec import decode_parsed, decode_prediction, encode_parsed, encode_prediction
from pipeline.documents import (
    Arrival,
    Child,
    Chunk,
    Destination,
    Document,
    Job,
    Outcome,
    Parsed,
    Prediction,
    Stage,
    State,
)
from pipeline.errors import MailroomError, Misconfigured, Rejected, Unavailable
from pipeline.faults import fault
from pipeline.ports import Blobs, Classifier, Embedder, Parser
from pipeline.route import route
from pipeline.rules import Rules

log = logging.getLogger(__name__)

#: Mails inside mails: an attachment found deeper than this is named in a flag and not taken out.
MAX_NESTING = 5


@dataclass(frozen=True, slots=True)
class Policy:
    """The engine's numbers. Seconds, counts, and a floor in 0..1 under which a text is not readable.

    ``trays`` names the sources that are watched folders: what fails there goes to the folder's ``failed/``.
    """

    max_attempts: int = 3
    lease_seconds: float = 60.0
    readable_floor: float = 0.35
    max_attachment_bytes: int = 256 * 1024 * 1024
    trays: frozenset[str] = field(default_factory=frozenset)


class Documents(Protocol):
    """What the stages read of the catalogue's documents: see `indexes.catalogue.documents.DocumentStore`."""

    def get(self, document_id: str) -> Document: ...


class StoredChunks(Protocol):
    """What the stages read of earlier outputs: see `indexes.catalogue.chunks.ChunkStore`."""

    def of_document(
        self, document_number: int, embedder: str | None = None
    ) -> tuple[list[Chunk], np.ndarray | None]: ...

    def result(self, key: str) -> bytes | None: ...


class Jobs(Protocol):
    """What the engine does to a job under its lease: see `indexes.catalogue.jobs.JobStore`."""

    def commit(self, job: Job, outcome: Outcome, keep: bool = False, seconds: float = 0.0) -> Job | None: ...

    def release(self, job: Job, delay: float, reason: str, detail: str, counted: bool = True) -> bool: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What the stages work with, built once per process. ``classifier`` gives the one in force, which may change between
    two documents, or None where its model cannot be used: then documents go to review and ingestion goes on. ``embedder``
    gives the one in force, too."""

    documents: Documents
    chunks: StoredChunks
    jobs: Jobs
    blobs: Blobs
    parser: Parser
    classifier: Callable[[], Classifier | None]
    embedder: Callable[[], Embedder]
    rules: Rules
    policy: Policy


class Pass:
    """One document on its way under one lease; keeps what a stage made for the next, so that it is not read back. Its
    classifier is asked for once: a promotion meanwhile is for the next document."""

    def __init__(self, tools: Tools, document: Document) -> None:
        self.tools = tools
        self.document = document

    @cached_property
    def parse_key(self) -> str:
        suffix = PurePosixPath(self.document.name).suffix.lower()
        return cache_key(self.document.content_hash, Stage.PARSE, self.tools.parser.digest, suffix)

    @cached_property
    def parsed(self) -> Parsed:
        payload = self.tools.chunks.result(self.parse_key)
        return decode_parsed(payload) if payload is not None else self.parse_bytes()

    @cached_property
    def classifier(self) -> Classifier | None:
        return self.tools.classifier()

    @cached_property
    def prediction(self) -> tuple[str, Prediction] | None:
        """Return the prediction, stored or new, and the key it is stored under; None without a classifier."""
        if self.classifier is None:
            return None
        key = cache_key(self.parse_key, Stage.CLASSIFY, self.classifier.digest)
        payload = self.tools.chunks.result(key)
        return key, decode_prediction(payload) if payload is not None else self.classifier.classify([self.parsed.text])[
            0
        ]

    @cached_property
    def quality(self) -> float:
        return text_quality(self.parsed.text)

    def parse_bytes(self) -> Parsed:
        with self.tools.blobs.open(self.document.content_hash) as content:
            return self.tools.parser.parse(content, self.document.name)


def parse(work: Pass) -> Outcome:
    """Bytes to elements. Attachments of a mail become documents of their own."""
    payload = work.tools.chunks.result(work.parse_key)
    if payload is None:
        work.parsed = work.parse_bytes()
        payload = encode_parsed(work.parsed)
    parsed = work.parsed
    children, too_deep = _children(work)
    flags = (*parsed.flags, "attachments-too-deep") if too_deep else parsed.flags
    document = {
        "media_type": parsed.media_type,
        "title": parsed.title,
        "pages": parsed.pages,
        "languages": parsed.languages,
        "flags": flags,
        "metadata": {**work.document.metadata, **parsed.metadata},
        "reason": None,
        "detail": None,
    }
    data = {
        "parser": parsed.parser,
        "media_type": parsed.media_type,
        "pages": parsed.pages,
        "elements": len(parsed.elements),
        "text_quality": round(work.quality, 3),
        "flags": list(flags),
        "attachments": [child.arrival.name for child in children],
    }
    outcome = {"data": data, "document": document, "result": (work.parse_key, payload), "children": children}
    if work.quality < work.tools.policy.readable_floor:
        # An unreadable page is never classified: its neighbours' metadata would be guessed onto it.
        detail = _unreadable_detail(flags)
        return Outcome(Stage.PARSE, **outcome, chunks=(), state=State.REVIEW, reason="no-text", detail=detail)
    return Outcome(Stage.PARSE, **outcome, next_stage=Stage.CHUNK)


def cut(work: Pass) -> Outcome:
    """Elements to passages."""
    chunks = chunk(work.parsed)
    stored, _ = work.tools.chunks.of_document(work.document.number)
    return Outcome(
        Stage.CHUNK,
        data={"chunks": len(chunks)},
        document={"chunks": len(chunks)},
        chunks=None if tuple(stored) == chunks else chunks,
        next_stage=Stage.CLASSIFY,
    )


def classify(work: Pass) -> Outcome:
    """Turn text into a calibrated prediction."""
    if work.prediction is None:
        data = {"prediction": None, "why": "bad-model"}
        return Outcome(Stage.CLASSIFY, data=data, document=NO_PREDICTION, next_stage=Stage.ROUTE)
    key, prediction = work.prediction
    return Outcome(
        Stage.CLASSIFY,
        data=prediction_facts(prediction),
        document=_judged(prediction),
        result=(key, encode_prediction(prediction)),
        next_stage=Stage.ROUTE,
    )


#: The document's columns where no classifier could be asked.
NO_PREDICTION = {"label": None, "probability": None, "model": None}


def _judged(prediction: Prediction | None) -> Mapping[str, object]:
    """Return a prediction as values of the document's columns."""
    if prediction is None:
        return NO_PREDICTION
    return {"label": prediction.label, "probability": prediction.probability, "model": prediction.model}


def send(work: Pass) -> Outcome:
    """Turn prediction and rules into destinations or a review."""
    document, parsed = work.document, work.parsed
    prediction = work.prediction[1] if work.prediction else None
    if any(getattr(document, name) != value for name, value in _judged(prediction).items()):
        # Judged in an earlier attempt, and another version was promoted since: the document is judged again, since
        # what it is called and where it goes must come from the same version.
        return Outcome(Stage.ROUTE, data={"again": "classify"}, next_stage=Stage.CLASSIFY)
    routing = route(work.tools.rules, prediction, document, parsed.text, document.metadata)
    deliveries = () if routing.review_reason else routing.destinations
    data = {
        "rules": list(routing.rules),
        "rules_digest": routing.rules_digest,
        "destinations": [f"{d.kind}:{d.target}" for d in routing.destinations],
        "review": routing.review_reason,
    }
    detail = None
    if routing.review_reason:
        detail = review_detail(document, routing.review_reason)
    return Outcome(
        Stage.ROUTE,
        data=data,
        document={"rules": routing.rules, "reason": routing.review_reason, "detail": detail},
        deliveries=deliveries,
        next_stage=Stage.EMBED,
    )


def embed(work: Pass) -> Outcome:
    """Passages to vectors."""
    embedder = work.tools.embedder()
    chunks, vectors = work.tools.chunks.of_document(work.document.number, embedder.digest)
    fresh = vectors is None
    if fresh:
        vectors = embedder.embed([passage_text(c.heading, c.text) for c in chunks])
    return Outcome(
        Stage.EMBED,
        data={"embedder": embedder.name, "digest": embedder.digest, "vectors": len(chunks), "cached": not fresh},
        vectors=vectors if fresh else None,
        embedder=embedder.digest if fresh else None,
        next_stage=Stage.INDEX,
    )


#: The path in, as one table. RECEIVE comes before it (`DocumentStore.receive`), INDEX after it (the one writer).
PATH: dict[Stage, Callable[[Pass], Outcome]] = {
    Stage.PARSE: parse,
    Stage.CHUNK: cut,
    Stage.CLASSIFY: classify,
    Stage.ROUTE: send,
    Stage.EMBED: embed,
}


class Ingest:
    """The engine. One instance per process; `run` is called with a job already claimed."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    def run(self, job: Job) -> State | None:
        """Bring the job's document through its stage and the following ones of this queue.

        Returns the terminal state it reached, or None: handed on to the writer, given back for a retry, or the lease
        was lost (then nothing was changed). Raises Misconfigured after giving the job back.
        """
        job_store, policy = self.tools.jobs, self.tools.policy
        work = Pass(self.tools, self.tools.documents.get(job.subject))
        while True:
            outcome = self._attempt(work, job)
            if outcome is None:
                return None
            keep = outcome.next_stage in PATH
            committed = job_store.commit(job, outcome, keep=keep, seconds=policy.lease_seconds)
            if committed is None or not keep:
                return outcome.state if committed is not None else None
            job = committed
            work.document = self.tools.documents.get(job.subject)

    def _attempt(self, work: Pass, job: Job) -> Outcome | None:
        """The stage's outcome, or the outcome of its failure; None when the job was given back."""
        if job.attempt > self.tools.policy.max_attempts:
            return self._quarantined(work, job)
        started = time.perf_counter()
        try:
            fault(f"{job.stage}.before", work.document.name)
            outcome = PATH[Stage(job.stage)](work)
            fault(f"{job.stage}.after", work.document.name)
            seconds = round(time.perf_counter() - started, 4)
            return replace(outcome, data={**outcome.data, "attempt": job.attempt, "seconds": seconds})
        except Rejected as error:
            return self._failed(work, job, State.FAILED, error.code, error.detail)
        except (Unavailable, Misconfigured) as error:
            self._give_back(job, error, counted=False)
            if isinstance(error, Misconfigured):
                raise
        except Exception as error:
            log.exception("stage %s of document %s failed", job.stage, job.subject)
            self._give_back(job, error, counted=True)
        return None

    def _give_back(self, job: Job, error: Exception, counted: bool) -> None:
        code = error.code if isinstance(error, MailroomError) else "internal"
        detail = error.detail if isinstance(error, MailroomError) else type(error).__name__
        self.tools.jobs.release(job, backoff(job.attempt), code, detail, counted=counted)

    def _quarantined(self, work: Pass, job: Job) -> Outcome:
        detail = (
            f"{job.stage} did not survive {self.tools.policy.max_attempts} attempts; look at the worker's log, "
            f"then run `mailroom retry {job.subject}`."
        )
        return self._failed(work, job, State.QUARANTINED, "attempts-exhausted", detail)

    def _failed(self, work: Pass, job: Job, state: State, code: str, detail: str) -> Outcome:
        tray = work.document.source in self.tools.policy.trays and work.document.parent is None
        return Outcome(
            job.stage,
            data={"error": code, "detail": detail, "attempt": job.attempt},
            deliveries=(Destination("failed", work.document.source),) if tray else (),
            state=state,
            reason=code,
            detail=detail,
        )


def cache_key(*parts: str) -> str:
    """The name of a stage's output: SHA-256 over (input, stage, configuration and model digests)."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def backoff(attempt: int) -> float:
    """Seconds to wait before the next attempt: 1, 2, 4 ... 300, with jitter so that a herd spreads out."""
    return min(300.0, 2.0 ** min(attempt - 1, 9)) * random.uniform(0.5, 1.0)


def passage_text(heading: str | None, text: str) -> str:
    """What is embedded for a passage: its heading gives a short passage the context that it lost when it was cut."""
    return f"{heading}\n{text}" if heading and heading not in text else text


def prediction_facts(prediction: Prediction) -> dict[str, object]:
    """Return the prediction as recorded in the decision record."""
    return {
        "label": prediction.label,
        "probability": round(prediction.probability, 4),
        "runner_up": prediction.runner_up,
        "runner_up_probability": round(prediction.runner_up_probability, 4),
        "threshold": prediction.threshold,
        "confident": prediction.confident,
        "model": prediction.model,
        "digest": prediction.digest,
        **({"also": list(prediction.also)} if prediction.also else {}),
        **({"model_label": prediction.model_label} if prediction.model_label else {}),
        **({"taxonomy": prediction.taxonomy} if prediction.taxonomy else {}),
    }


def _children(work: Pass) -> tuple[tuple[Child, ...], bool]:
    """The attachments as documents of their own, their bytes stored; and whether they were nested too deeply."""
    depth = int(work.document.metadata.get("nesting", "0")) + 1
    attachments = work.parsed.attachments
    if depth > MAX_NESTING:
        return (), bool(attachments)
    return tuple(_child(work, a.name, a.content, depth) for a in attachments), False


def _child(work: Pass, name: str, content: bytes, depth: int) -> Child:
    document = work.document
    content_hash, size = work.tools.blobs.put([content], work.tools.policy.max_attachment_bytes)
    arrival = Arrival(
        source=document.source,
        path=f"{document.path}/{PurePosixPath(name).name or 'attachment'}",
        arrived_at=document.received_at,
        access=document.access,
        labels=document.labels,
        metadata={"attached_to": document.id, "nesting": str(depth)},
    )
    return Child(content_hash, size, arrival)


def _unreadable_detail(flags: tuple[str, ...]) -> str:
    if "needs-ocr" in flags:
        return "The document is an image and no OCR program is installed; install tesseract-ocr, then run `mailroom retry`."
    return "The document has no readable text (an empty page, or a scan that OCR could not read); a person has to look."


def review_detail(document: Document, reason: str) -> str:
    if reason == "low-confidence" and document.probability is not None:
        return f"The classifier proposes {document.label} at {document.probability:.2f}, which is under its threshold."
    return f"A rule or a missing verdict asks for a person: {reason}."
