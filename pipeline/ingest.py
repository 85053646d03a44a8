"""THE PATH IN. What happens to a document, readable from top to bottom.

`PATH` is the whole of it: receive (by whoever accepts the bytes) -> parse -> chunk -> classify -> route -> embed ->
index (by the one writer). `Ingest.run` is the engine: it takes a claimed job, calls the job's stage, commits the
outcome under the job's fence and continues with the next stage while the queue stays the same.

What a stage produced is in the `StageContext` of the next one. A stage that is repeated, after a crash or a retry,
finds its earlier output: parse results and predictions under hash(input, stage, configuration, model digest), chunks
and vectors in the document's rows. Changing the chunker thus repeats only what follows it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np

from pipeline.chunk import chunk
from pipeline.codec import cache_key, decode_parsed, decode_prediction, encode_parsed, encode_prediction
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
from pipeline.personal_data.detect import counts, find
from pipeline.personal_data.kinds import DETECTORS
from pipeline.ports import Blobs, Classifier, Embedder, Parser
from pipeline.route import review_detail, route
from pipeline.rules import Rules
from pipeline.text_quality import text_quality
from pipeline.timings import TIMINGS

log = logging.getLogger(__name__)

#: Attachments nested more deeply (mails inside mails) are not extracted; a flag says so.
MAX_NESTING = 5
#: The document's columns if no classifier can be used.
NO_PREDICTION: Mapping[str, object] = {"label": None, "probability": None, "model": None}
#: The details of a document whose text cannot be read.
NO_OCR = "The document is an image and no OCR program is installed; install tesseract-ocr, then run `mailroom retry`."
NO_TEXT = "The document has no readable text (an empty page, or a scan that OCR could not read); a person has to look."


@dataclass(frozen=True, slots=True)
class Policy:
    """The engine's limits: counts, seconds, bytes, and the text quality (0.0 to 1.0) under which a text is unreadable.

    ``trays`` are the sources that are watched folders: a file that fails there is copied to the folder's ``failed/``.
    """

    max_attempts: int = 3
    lease_seconds: float = 60.0
    readable_floor: float = 0.35
    max_attachment_bytes: int = 256 * 1024 * 1024
    trays: frozenset[str] = field(default_factory=frozenset)


class Documents(Protocol):
    """Reads documents: see `indexes.catalogue.documents.DocumentStore`."""

    def get(self, document_id: str) -> Document:
        """Return the document. Raises Refused("not-found")."""


class StoredOutputs(Protocol):
    """Reads what earlier runs of the stages produced: see `indexes.catalogue.chunks.ChunkStore`."""

    def of_document(self, document_number: int, embedder: str | None = None) -> tuple[list[Chunk], np.ndarray | None]:
        """Return the document's chunks, and the vectors that ``embedder`` (a digest) computed for them, or None."""

    def result(self, key: str) -> bytes | None:
        """Return the cached result, or None."""


class Jobs(Protocol):
    """Ends a stage of a leased job: see `indexes.catalogue.jobs.JobStore`."""

    def commit(self, job: Job, outcome: Outcome, keep: bool = False, seconds: float = 0.0) -> Job | None:
        """Store the outcome under the job's fence; return the job's next state, or None if the lease was lost."""

    def release(self, job: Job, delay: float, reason: str, detail: str, counted: bool = True) -> bool:
        """Give the job back, due in ``delay`` seconds."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the stages work with, built once per process.

    ``classifier`` returns the active classifier, which may change between two documents, or None if its model cannot be
    used: then documents go to review and ingestion continues. ``embedder`` returns the active embedder.
    """

    documents: Documents
    chunks: StoredOutputs
    jobs: Jobs
    blobs: Blobs
    parser: Parser
    classifier: Callable[[], Classifier | None]
    embedder: Callable[[], Embedder]
    rules: Rules
    policy: Policy


class StageContext:
    """One document under one lease: what the stages produced so far in this run, for the stages that follow.

    ``new_chunks`` are chunks that this run stored, which therefore have no vectors yet; None if it stored none. The
    classifier is looked up once: a promotion in the meantime applies to the next document.
    """

    def __init__(self, tools: Tools, document: Document) -> None:
        self.tools = tools
        self.document = document
        self.new_chunks: tuple[Chunk, ...] | None = None
        suffix = PurePosixPath(document.name).suffix.lower()
        self.parse_key = cache_key(
            document.id, document.content_hash, Stage.PARSE, tools.parser.digest, suffix, DETECTORS
        )

    @cached_property
    def parsed(self) -> Parsed:
        """The parse result with its text quality and personal data: the stored one, or a new one."""
        payload = self.tools.chunks.result(self.parse_key)
        if payload is not None:
            return decode_parsed(payload)
        with self.tools.blobs.open(self.document.content_hash) as content:
            parsed = self.tools.parser.parse(content, self.document.name)
        return replace(parsed, text_quality=text_quality(parsed.text), personal_data=find(parsed.text))

    @cached_property
    def classifier(self) -> Classifier | None:
        """The active classifier, if its model can be used."""
        return self.tools.classifier()

    @cached_property
    def prediction(self) -> tuple[str, Prediction] | None:
        """The key and the prediction, stored or new; None without a classifier."""
        if self.classifier is None:
            return None
        key = cache_key(self.parse_key, Stage.CLASSIFY, self.classifier.digest)
        payload = self.tools.chunks.result(key)
        if payload is not None:
            return key, decode_prediction(payload)
        (prediction,) = self.classifier.classify([self.parsed.text])
        return key, prediction


def parse_stage(context: StageContext) -> Outcome:
    """Parse bytes to elements. Attachments of a mail become documents of their own."""
    parsed = context.parsed
    children, too_deep = _children(context)
    flags = (*parsed.flags, "attachments-too-deep") if too_deep else parsed.flags
    personal_data = counts(parsed.personal_data or ())
    outcome = Outcome(
        Stage.PARSE,
        data={
            "parser": parsed.parser,
            "media_type": parsed.media_type,
            "pages": parsed.pages,
            "elements": len(parsed.elements),
            "text_quality": round(parsed.text_quality, 3),
            "flags": list(flags),
            "personal_data": personal_data,
            "detectors": DETECTORS,
            "attachments": [child.arrival.name for child in children],
        },
        document={
            "media_type": parsed.media_type,
            "title": parsed.title,
            "pages": parsed.pages,
            "languages": parsed.languages,
            "flags": flags,
            "metadata": {**context.document.metadata, **parsed.metadata},
            "personal_data": personal_data,
            "reason": None,
            "detail": None,
        },
        result=(context.parse_key, encode_parsed(parsed)),
        children=children,
        next_stage=Stage.CHUNK,
    )
    if parsed.text_quality >= context.tools.policy.readable_floor:
        return outcome
    # An unreadable page is never classified: the classifier would guess.
    detail = NO_OCR if "needs-ocr" in flags else NO_TEXT
    return replace(outcome, chunks=(), next_stage=None, state=State.REVIEW, reason="no-text", detail=detail)


def chunk_stage(context: StageContext) -> Outcome:
    """Cut elements into chunks. Chunks that the document has already are kept, with their vectors."""
    chunks = chunk(context.parsed)
    was_chunked = context.document.chunks is not None
    if not was_chunked or tuple(context.tools.chunks.of_document(context.document.number)[0]) != chunks:
        context.new_chunks = chunks
    return Outcome(
        Stage.CHUNK,
        data={"chunks": len(chunks)},
        document={"chunks": len(chunks)},
        chunks=context.new_chunks,
        next_stage=Stage.CLASSIFY,
    )


def classify_stage(context: StageContext) -> Outcome:
    """Predict the label, with a calibrated probability."""
    if context.prediction is None:
        data = {"prediction": None, "why": "bad-model"}
        return Outcome(Stage.CLASSIFY, data=data, document=NO_PREDICTION, next_stage=Stage.ROUTE)
    key, prediction = context.prediction
    return Outcome(
        Stage.CLASSIFY,
        data=prediction_data(prediction),
        document=_prediction_columns(prediction),
        result=(key, encode_prediction(prediction)),
        next_stage=Stage.ROUTE,
    )


def route_stage(context: StageContext) -> Outcome:
    """Apply the rules to the prediction: destinations, or a review."""
    document, parsed = context.document, context.parsed
    prediction = context.prediction[1] if context.prediction else None
    if any(getattr(document, name) != value for name, value in _prediction_columns(prediction).items()):
        # An earlier attempt classified it and another version was promoted since. It is classified again, since label
        # and destinations must come from the same version.
        return Outcome(Stage.ROUTE, data={"again": "classify"}, next_stage=Stage.CLASSIFY)
    routing = route(context.tools.rules, prediction, document, parsed.text, document.metadata)
    reason = routing.review_reason
    return Outcome(
        Stage.ROUTE,
        data={
            "rules": list(routing.rules),
            "rules_digest": routing.rules_digest,
            "destinations": [f"{d.kind}:{d.target}" for d in routing.destinations],
            "review": reason,
        },
        document={
            "rules": routing.rules,
            "reason": reason,
            "detail": review_detail(document, reason) if reason else None,
        },
        deliveries=() if reason else routing.destinations,
        next_stage=Stage.EMBED,
    )


def embed_stage(context: StageContext) -> Outcome:
    """Compute the chunks' vectors, unless the same embedder has computed them already."""
    embedder = context.tools.embedder()
    chunks: Sequence[Chunk]
    if context.new_chunks is not None:
        chunks, stored = context.new_chunks, None
    else:
        chunks, stored = context.tools.chunks.of_document(context.document.number, embedder.digest)
    is_cached = stored is not None
    return Outcome(
        Stage.EMBED,
        data={"embedder": embedder.name, "digest": embedder.digest, "vectors": len(chunks), "cached": is_cached},
        vectors=None if is_cached else embedder.embed([chunk.text_with_heading for chunk in chunks]),
        embedder=None if is_cached else embedder.digest,
        next_stage=Stage.INDEX,
    )


#: The path in, as one table. RECEIVE comes before it (`DocumentStore.receive`), INDEX after it (the one writer).
PATH: dict[Stage, Callable[[StageContext], Outcome]] = {
    Stage.PARSE: parse_stage,
    Stage.CHUNK: chunk_stage,
    Stage.CLASSIFY: classify_stage,
    Stage.ROUTE: route_stage,
    Stage.EMBED: embed_stage,
}


class Ingest:
    """The engine. One instance per process; `run` is called with a claimed job."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    def run(self, job: Job) -> State | None:
        """Take the job's document through its stage and the following ones of this queue.

        Return the terminal state that it reached, or None: passed on to the writer, given back for a retry, or the
        lease was lost (then nothing was changed). Raises Misconfigured after giving the job back.
        """
        tools = self.tools
        context = StageContext(tools, tools.documents.get(job.subject))
        while True:
            started = time.perf_counter()
            outcome = self._attempt(context, job)
            TIMINGS.observe(job.stage, time.perf_counter() - started)
            if outcome is None:
                return None
            keep = outcome.next_stage in PATH
            committed = tools.jobs.commit(job, outcome, keep=keep, seconds=tools.policy.lease_seconds)
            if committed is None or not keep:
                return outcome.state if committed is not None else None
            job = committed
            # What was committed, without reading it back: only the holder of the lease changes these columns.
            context.document = replace(context.document, **outcome.document, stage=Stage(job.stage))

    def _attempt(self, context: StageContext, job: Job) -> Outcome | None:
        """Return the stage's outcome, or that of its failure; None if the job was given back."""
        if job.attempt > self.tools.policy.max_attempts:
            detail = (
                f"{job.stage} did not survive {self.tools.policy.max_attempts} attempts; look at the worker's log, "
                f"then run `mailroom retry {job.subject}`."
            )
            return self._failed(context, job, State.QUARANTINED, "attempts-exhausted", detail)
        started = time.perf_counter()
        try:
            fault(f"{job.stage}.before", context.document.name)
            outcome = PATH[Stage(job.stage)](context)
            fault(f"{job.stage}.after", context.document.name)
            seconds = round(time.perf_counter() - started, 4)
            return replace(outcome, data={**outcome.data, "attempt": job.attempt, "seconds": seconds})
        except Rejected as error:
            return self._failed(context, job, State.FAILED, error.code, error.detail)
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
        TIMINGS.fail(job.stage, code)
        self.tools.jobs.release(job, backoff(job.attempt), code, detail, counted=counted)

    def _failed(self, context: StageContext, job: Job, state: State, code: str, detail: str) -> Outcome:
        TIMINGS.fail(job.stage, code)
        document = context.document
        is_in_tray = document.source in self.tools.policy.trays and document.parent is None
        return Outcome(
            Stage(job.stage),
            data={"error": code, "detail": detail, "attempt": job.attempt},
            deliveries=(Destination("failed", document.source),) if is_in_tray else (),
            state=state,
            reason=code,
            detail=detail,
        )


def backoff(attempt: int) -> float:
    """Return the seconds until the next attempt: 1, 2, 4 ... 300, with jitter so that many jobs do not retry at
    once."""
    return min(300.0, 2.0 ** min(attempt - 1, 9)) * random.uniform(0.5, 1.0)


def prediction_data(prediction: Prediction) -> dict[str, object]:
    """Return the prediction as it is written to the decision record."""
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


def _prediction_columns(prediction: Prediction | None) -> Mapping[str, object]:
    """Return a prediction as values of the document's columns."""
    if prediction is None:
        return NO_PREDICTION
    return {"label": prediction.label, "probability": prediction.probability, "model": prediction.model}


def _children(context: StageContext) -> tuple[tuple[Child, ...], bool]:
    """Store the attachments' bytes; return the attachments as documents, and whether they are nested too deeply."""
    document, attachments = context.document, context.parsed.attachments
    depth = int(document.metadata.get("nesting", "0")) + 1
    if depth > MAX_NESTING:
        return (), bool(attachments)
    children = []
    for attachment in attachments:
        content_hash, size = context.tools.blobs.put([attachment.content], context.tools.policy.max_attachment_bytes)
        arrival = Arrival(
            source=document.source,
            path=f"{document.path}/{PurePosixPath(attachment.name).name or 'attachment'}",
            arrived_at=document.received_at,
            access=document.access,
            labels=document.labels,
            metadata={"attached_to": document.id, "nesting": str(depth)},
            owner=document.owner,
        )
        children.append(Child(content_hash, size, arrival))
    return tuple(children), False
