"""Interfaces: one Protocol per replaceable component. The in-memory implementation is the specification, and one contract
suite under tests/contracts runs over all implementations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np

from pipeline.access import Effect, Rule, Scope
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import (
    Arrival,
    Chunk,
    Document,
    EmbeddingModel,
    Event,
    Head,
    Job,
    Outcome,
    Parsed,
    Prediction,
    QueueName,
)
from pipeline.facets import Facet
from pipeline.questions import Caller, Feedback, Filters, Hit, SavedQuery


class Parser(Protocol):
    """Turns bytes into elements, within limits. ``parse`` raises Rejected with a code for the reason."""

    digest: str  # changes when its output may change; part of the cache key

    def parse(self, content: BinaryIO, name: str, media_type: str | None = None) -> Parsed: ...


class Classifier(Protocol):
    """Turns texts into calibrated predictions. ``digest`` names the model file and its configuration."""

    name: str  # "document-type@2026.11.24"
    digest: str
    labels: tuple[str, ...]

    def classify(self, texts: Sequence[str]) -> list[Prediction]: ...


class Embedder(Protocol):
    """Turns texts into L2-normalised float32 vectors of shape (len(texts), dimension)."""

    name: str
    digest: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


class Reranker(Protocol):
    """Reranks the best passages by reading question and text together. Optional."""

    name: str
    digest: str

    def scores(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """Return the probability (0 to 1) that a text answers, for every text: float32 of shape (len(texts),)."""


class Blobs(Protocol):
    """Content-addressed bytes. A digest is 64 lower-case hex digits of SHA-256."""

    def put(self, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
        """Store durably (file and folder fsynced before return); return (digest, size). Refused over ``limit`` bytes."""

    def open(self, digest: str) -> BinaryIO:
        """Open the bytes for reading. Raises KeyError when absent."""

    def delete(self, digest: str) -> None:
        """Delete the bytes. Idempotent."""

    def digests(self) -> Iterable[str]: ...


class Vectors(Protocol):
    """Nearest neighbours by inner product over an immutable snapshot. Chunk keys as in questions.chunk_key."""

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Best first; ``allowed`` limits to these document numbers *before* the search, None means no limit. A `DocumentNumbers`
        is quickest: what an index derives from it is kept for as long as the same object is given."""

    def __len__(self) -> int: ...


class Lexical(Protocol):
    """BM25 over an immutable snapshot. Queries are those of `pipeline.query`; a mistake in one is Refused("bad-query")
    with its place. A ``plain`` query is text as people write it, nothing in which is syntax."""

    def search(
        self,
        query: str,
        k: int,
        allowed: Collection[int] | None,
        plain: bool = False,
        readable: Collection[int] | None = None,
    ) -> Sequence[Hit]:
        """Best first, filtered before ranking. ``readable`` are the documents by which it is judged whether a word is misspelt,
        all that the caller may read: a narrower filter takes no word out of the world. None: those allowed."""

    def highlights(
        self, query: str, text: str, plain: bool = False, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        """Return (start, end) offsets of the query's words in ``text``. Here and in `search` only readable documents decide
        whether a word is misspelt: otherwise highlights or hits would reveal that it occurs in a hidden document."""

    def admits(self, query: str, text: str, title: str, name: str) -> bool:
        """Return True if a passage from another index has all that the query requires and nothing that it excludes.
        ``title`` is the document's with the passage's heading."""

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        """Words that the last one of ``typed``, of two letters or more, begins, in passages of allowed documents that have
        those before it, each with a few passages that have it; without case and accents, the most frequent first."""

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Passages whose title, heading or file name may go on from ``typed``, best first. May hold some that do not."""

    def __len__(self) -> int: ...


# --- the catalogue: one database, twelve ports -----------------------------------------------------------------------


class Documents(Protocol):
    """Documents, their arrivals and their decision record."""

    def receive(self, content_hash: str, size: int, arrival: Arrival, tenant: str = "default") -> tuple[Document, bool]:
        """Record an arrival. New content becomes a document with an ingest job at stage PARSE, in the same
        transaction; existing content (not deleted) only gains an arrival, and its access list is widened. Returns
        (document, created). Safe under concurrency: the unique (tenant, content hash) decides."""

    def get(self, document_id: str) -> Document:
        """Raises Refused("not-found")."""

    def read(self, caller: Caller, document_id: str) -> Document:
        """The same for what the caller may read; what is not the caller's is not found either."""

    def find(
        self, caller: Caller, filters: Filters, limit: int = 50, offset: int = 0, newest_first: bool = True
    ) -> tuple[list[Document], int]:
        """Documents that the caller may read, in every state but deleted, and how many there are. Refused("bad-request") for
        a filter on a field of metadata that none of the caller's documents has."""

    def visible(self, caller: Caller, filters: Filters) -> DocumentNumbers:
        """Numbers of the searchable documents (they have vectors, and are not deleted) that the caller may read. The
        same object for as long as nothing has changed."""

    def facets(
        self,
        caller: Caller,
        filters: Filters,
        names: Sequence[str],
        limit: int = 20,
        among: DocumentNumbers | None = None,
    ) -> tuple[Facet, ...]:
        """Of the documents that `find` would find (those ``among`` the numbers), how many have each value of each facet;
        exact. ``limit`` values are told of each."""

    def finished_since(self, at: float) -> DocumentNumbers:
        """Numbers of the documents, deleted ones left out, that came to their end at ``at`` (epoch seconds) or later."""

    def by_number(self, numbers: Collection[int]) -> dict[int, Document]:
        """The documents, deleted ones left out."""

    def delete(self, document_id: str) -> Document:
        """Hide at once and forget texts, vectors and cached results; returns the document as it was. The blob is the
        caller's to delete. Idempotent; Refused("not-found") for an unknown id."""

    def holds(self, content_hash: str) -> bool:
        """Does any document that is not deleted, of any tenant, have this content?"""

    def history(self, document_id: str) -> tuple[list[Arrival], list[Event]]:
        """The arrivals and the decision record, oldest first."""

    def record(self, event: Event) -> None: ...

    def counts(self) -> Mapping[str, int]:
        """Return the number of documents per state."""


class JobStore(Protocol):
    """The job store: leased jobs. The queue only sends wake-ups."""

    def claim(
        self, queue: QueueName, owner: str, seconds: float, limit: int = 1, job_id: str | None = None
    ) -> list[Job]:
        """Lease up to ``limit`` due jobs (the given one only, if ``job_id`` is set and due), oldest first, counting the
        attempt in the same transaction. Two callers never hold one job."""

    def renew(self, job: Job, seconds: float) -> bool:
        """Extend the lease; False when it has passed on."""

    def commit(self, job: Job, outcome: Outcome, keep: bool = False, seconds: float = 0.0) -> Job | None:
        """Apply the outcome of an ingest or index job in one transaction, if the lease still holds; None if it does not
        (nothing is changed then). With ``next_stage`` the job moves there (queue INDEX for Stage.INDEX), attempts back
        to 0; with ``keep`` it stays leased for ``seconds`` more to the same owner, counted as attempt 1 of the next
        stage, and is returned; else it is released as due now, and the released job is returned. With ``state`` the
        job ends."""

    def done(self, job: Job, data: Mapping[str, Any]) -> bool:
        """End a job of the other queues, recording an event on its document when the subject is one."""

    def release(self, job: Job, delay: float, reason: str, detail: str, counted: bool = True) -> bool:
        """Give the job back, due after ``delay`` seconds. ``counted=False`` takes the attempt back (the surroundings
        failed, not the document)."""

    def park(self, job: Job, reason: str, detail: str) -> bool:
        """A dead letter: the job stays, in state "dead", until `retry`."""

    def due(self, queue: QueueName, limit: int = 1000) -> list[str]:
        """Ids of the jobs that could be claimed now (unleased or lease expired, run_after passed)."""

    def backlog(self) -> list[Mapping[str, Any]]:
        """Return rows {queue, stage, state ("waiting" | "leased" | "dead"), count, oldest (epoch seconds)} for status and metrics."""

    def retry(self, document_id: str) -> bool:
        """Send a failed, quarantined or reviewed document back to stage PARSE, and its dead deliveries to the queue;
        False when it is still processing."""


class Passages(Protocol):
    """Chunk texts with their vectors, and cached stage results: what every index can be rebuilt from."""

    def chunks(self, keys: Collection[int]) -> dict[int, Chunk]:
        """Return chunks by key; chunks of deleted documents are left out."""

    def with_documents(self, keys: Collection[int]) -> dict[int, tuple[Chunk, Head]]:
        """Return chunks by key with their documents: all that a search returns about its hits."""

    def of_document(self, document_number: int, embedder: str | None = None) -> tuple[list[Chunk], np.ndarray | None]:
        """All chunks in order, and their vectors of shape (n, dimension), or None before they are embedded; None too
        when ``embedder`` (a digest) is given and another one made them."""

    def scan(self, embedder: str, after: int = 0) -> Iterator[tuple[Document, list[Chunk], np.ndarray]]:
        """Every embedded, undeleted document with number > ``after``, in order of number; streams."""

    def result(self, key: str) -> bytes | None: ...

    def parsed_key(self, document_id: str) -> str | None:
        """The key of the latest parse result."""


class Embeddings(Protocol):
    """Embedding models beside the one of the settings: built in the background, compared, swapped, swapped back. Which one
    serves stands here, so that every process knows."""

    def models(self) -> list[EmbeddingModel]:
        """Those that were ever built, and those that gave way to them; at most one serves."""

    def keep(self, model: EmbeddingModel) -> None:
        """From now on its vectors are made and kept too. Nothing happens where it is known."""

    def serve(self, digest: str, instead_of: EmbeddingModel, setting: str) -> None:
        """Let a known model serve; the one that did stays beside it. Refused("not-found") for an unknown one."""

    def drop(self, digest: str) -> None:
        """Forget a model and its vectors, but not those that a document was first embedded with."""

    def missing(self, digest: str, limit: int) -> list[int]:
        """Numbers of embedded documents that this model has not embedded, the smallest first."""

    def count_missing(self, digest: str) -> int: ...

    def store_vectors(self, number: int, digest: str, of: Sequence[Chunk], vectors: np.ndarray) -> bool:
        """Keep a document's vectors; False, and nothing kept, where it is gone or no longer consists of these passages."""


class Keys(Protocol):
    """API keys. Only a salted hash is stored; the secret is shown once."""

    def create(
        self, name: str, principals: Sequence[str], scopes: Sequence[str], admin: bool = False
    ) -> tuple[str, str]:
        """Returns (key id, secret). Scopes: "read", "write", "admin"."""

    def check(self, secret: str) -> tuple[Caller, frozenset[str]] | None:
        """Constant-time check; None for an unknown or revoked key."""

    def revoke(self, key_id: str) -> bool: ...

    def list(self) -> list[Mapping[str, Any]]: ...


class Requests(Protocol):
    """Idempotency keys of uploads, per API key, remembered for a week."""

    def recall(self, key_id: str, name: str) -> tuple[str, str] | None:
        """Return (content hash, document id) stored under this name."""

    def remember(self, key_id: str, name: str, content_hash: str, document_id: str) -> None: ...


class FeedbackStore(Protocol):
    """People's feedback on hits: the organisation's own relevance judgements."""

    def record(self, feedback: Feedback) -> None:
        """A vote replaces the same key's earlier vote on the same query and document; a click is kept once."""

    def given(self, caller: Caller, after: int = 0, limit: int = 1000) -> list[tuple[int, Feedback]]:
        """(serial, feedback) with serial > ``after``, in order, on documents that the caller may read. That of deleted
        documents is gone with them."""


class Queries(Protocol):
    """Saved queries. Each belongs to its caller's `Caller.owner` in its tenant; to every other caller it is not there."""

    def create(self, caller: Caller, name: str, search: Mapping[str, Any]) -> SavedQuery:
        """Refused("conflict") where the caller has one of this name, or as many as there may be."""

    def list(self, caller: Caller) -> list[SavedQuery]:
        """The caller's, by name."""

    def get(self, caller: Caller, query_id: str) -> SavedQuery:
        """Raises Refused("not-found")."""

    def delete(self, caller: Caller, query_id: str) -> None:
        """Raises Refused("not-found")."""

    def everyones(self, tenant: str = "default") -> list[SavedQuery]:
        """Return the saved queries of all callers, oldest first, for measuring search."""


class Plans(Protocol):
    """Saved reclassification differences. A plan is {id, created_at, model, rules_digest, selection, state, counts};
    an item is {document_id, old: {...}, new: {...}, state: "pending" | "applied" | "stale" | "undone"}; old and new hold label,
    probability, model, rules, reason, state."""

    def create(self, model: str, rules_digest: str, selection: Mapping[str, Any]) -> str: ...

    def add(self, plan_id: str, items: Sequence[Mapping[str, Any]], ready: bool) -> None:
        """Append items (an item of a document already in the plan is ignored); ``ready`` closes the comparison."""

    def get(self, plan_id: str) -> Mapping[str, Any]:
        """Raises Refused("not-found")."""

    def items(
        self, plan_id: str, state: str | None = None, limit: int = 100, after: str = ""
    ) -> list[Mapping[str, Any]]:
        """In order of document id, from after ``after`` on."""

    def list(self) -> Sequence[Mapping[str, Any]]:
        """All plans, oldest first."""

    def compared(self, job: Job, items: Sequence[Mapping[str, Any]]) -> bool:
        """End a "compare" job with its items, in one transaction under its fence; the last one makes the plan ready."""

    def start(self, plan_id: str, action: str, batch: int, document_ids: Sequence[str] = ()) -> Sequence[str]:
        """Enqueue jobs of the queue RECLASSIFY ("compare", "apply" or "undo"), each over a batch of document ids (payload
        {"documents": [...]}), returning their ids; "compare" takes ``document_ids``, the others the plan's open items.
        Refused("conflict") unless the plan is ready (apply) or applied (undo). A repeat enqueues only what is still open."""

    def execute(self, job: Job) -> Mapping[str, int] | None:
        """Apply or undo the job's batch in one transaction under its fence and end the job. An item whose document
        changed since the plan was made becomes "stale" and is left alone. Returns counts, or None when the lease has passed on."""


class Reviews(Protocol):
    """What people decided of documents. A decided document's model is "person:" and who it was."""

    def decide(self, item: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
        """Apply a difference (an item of a plan) at once, in one transaction, with ``data`` in its record; its new
        destinations become deliveries. False where the document is no longer what the item's old side says."""

    def approved(self, caller: Caller) -> DocumentNumbers:
        """The filed documents whose label a person gave, of those that the caller may read: examples to learn from."""

    def labels(self) -> frozenset[str]:
        """Return the labels that people assigned."""


class Rules(Protocol):
    """Access rules of sources, folders and documents, as `pipeline.access` evaluates them. A change holds from the next query
    on, in every process."""

    def add(self, rule: Rule, tenant: str = "default") -> bool:
        """False where it was there already. Refused("not-found") for an unknown document, Refused("bad-request") for a
        principal that cannot be one."""

    def remove(self, scope: Scope, principal: str, effect: Effect, tenant: str = "default") -> bool:
        """Take a rule away, or a principal from the list that a document arrived with; False where there is none.
        Refused("conflict") for one that the settings make."""

    def standing(self, sources: Collection[str], rules: Sequence[Rule], tenant: str = "default") -> None:
        """The settings' rules for these sources, in place of those that they made before."""

    def list(self, scope: Scope | None = None, tenant: str = "default") -> list[Rule]:
        """Those of one scope (for a document with the list that it arrived with), or all but such lists."""

    def on(self, document_id: str, tenant: str = "default") -> list[Rule]:
        """Every rule that bears on a document: its own, those of what it was attached to, of its folders and sources."""


class Groups(Protocol):
    """Principals that stand together under a name. Groups may hold groups, but not in a circle: Refused("conflict")."""

    def all(self, tenant: str = "default") -> Mapping[str, tuple[str, ...]]:
        """Members by name; a group without members is none."""

    def add(self, group: str, members: Collection[str], tenant: str = "default") -> int:
        """Add members; return how many are new."""

    def remove(self, group: str, members: Collection[str], tenant: str = "default") -> int:
        """How many were in it."""

    def put(self, group: str, members: Collection[str], tenant: str = "default") -> None:
        """These members and no others."""

    def principals(self, own: Collection[str], tenant: str = "default") -> frozenset[str]:
        """All that a key of these principals stands for: with the groups, however deeply, and "*"."""


class Catalogue(Protocol):
    """The database behind all of them."""

    documents: Documents
    ledger: JobStore
    passages: Passages
    embeddings: Embeddings
    keys: Keys
    plans: Plans
    requests: Requests
    feedback: FeedbackStore
    reviews: Reviews
    rules: Rules
    groups: Groups
    queries: Queries

    def check(self) -> None:
        """Integrity check; Misconfigured("bad-store") with what is wrong."""

    def close(self) -> None: ...
