"""The records of ingestion, all frozen. They import no other module of the project and hold no client and no lock.

Vocabulary: a *document* is one content at one place (source and path) of one owner, however often it arrived there; an
*arrival* is one delivery of it; a *revision* is an older or newer content at the same place; a *content hash* is the
SHA-256 of the bytes in lower-case hex; *elements* and *chunks* are as in unstructured. All times are UTC epoch seconds
(float). All offsets are counted in characters, half open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Stage(StrEnum):
    """The stages of the path in, in order."""

    RECEIVE = "receive"
    PARSE = "parse"
    CHUNK = "chunk"
    CLASSIFY = "classify"
    ROUTE = "route"
    EMBED = "embed"
    INDEX = "index"


class State(StrEnum):
    """The state of a document. All but ``PROCESSING`` are terminal."""

    PROCESSING = "processing"
    #: routed and searchable
    INDEXED = "indexed"
    #: a person decides: low confidence, no text, sensitive route, type mismatch. Searchable when it has text.
    REVIEW = "review"
    #: rejected for a reason of its own
    FAILED = "failed"
    #: it killed or stalled its worker on every attempt
    QUARANTINED = "quarantined"
    DELETED = "deleted"


TERMINAL = frozenset(State) - {State.PROCESSING}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One delivery of a content: where it came from and under which name.

    ``source`` is a configured name ("tray", "api", a sub-folder's source); ``path`` the place inside it (a POSIX
    relative path for trays, the client's file name for uploads); ``access`` the principals that may read the document
    ("*" means every key); ``labels`` free words from the tray's configuration; ``metadata`` short strings by name;
    ``owner`` who sent it, as `questions.Caller.owner`, or empty for what the source itself took in, as a tray does.
    """

    source: str
    path: str
    arrived_at: float
    access: tuple[str, ...] = ("*",)
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""

    @property
    def name(self) -> str:
        """The last segment of the path: the file name as people know it."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Element:
    """A piece of a document as the parser read it.

    ``category`` is unstructured's: Title, NarrativeText, ListItem, Table, Header, Footer, Image, PageBreak,
    UncategorizedText, EmailHeader ... ``page`` counts from 1, or is None if the format has no pages. ``html`` is a
    table's sanitised HTML.
    """

    category: str
    text: str
    page: int | None = None
    depth: int | None = None
    html: str | None = None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class PersonalSpan:
    """Where a value of personal data stands in a text: offsets, and its kind, such as "iban"; never the value."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """The parser's output for a document.

    ``flags`` are short words such as "active-content", "macros", "ocr", "truncated", "mismatch", "external-links".
    ``attachments`` are the parts of an e-mail that become documents of their own. ``parser`` names program and version.
    ``text_quality`` is `text_quality.text_quality` of the text, set by the parse stage, and ``personal_data`` what
    `personal_data.detect.find` finds in it; None before that.
    """

    media_type: str
    elements: tuple[Element, ...]
    pages: int
    parser: str
    languages: tuple[str, ...] = ()
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    text_quality: float = 0.0
    attachments: tuple[Attachment, ...] = ()
    personal_data: tuple[PersonalSpan, ...] | None = None

    @property
    def text(self) -> str:
        """All element texts joined by blank lines: the input of the classifier, and what offsets refer to."""
        return "\n\n".join(e.text for e in self.elements if e.text)

    def page_at(self, offset: int) -> int | None:
        """Return the page of the character at ``offset`` in the text; None if the format has no pages."""
        at, page = 0, None
        for element in self.elements:
            if element.text:
                if at > offset:
                    break
                page, at = element.page, at + len(element.text) + 2  # the blank line that joins elements
        return page


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part of a mail that is a document of its own."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """An embedding model of which the catalogue stores vectors.

    ``digest`` is `Embedder.digest`; ``model`` is NAME@VERSION or a folder; ``setting`` the value of `models.embedder`
    when it became active; ``served_until`` when another model replaced it (epoch seconds), or None.
    """

    digest: str
    model: str
    dimension: int
    serving: bool = False
    setting: str = ""
    changed_at: float = 0.0
    served_until: float | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document's text, as stored and indexed.

    ``start`` and ``end`` are offsets into ``Parsed.text``; ``ordinal`` counts from 0.
    """

    ordinal: int
    text: str
    start: int
    end: int
    page_first: int | None = None
    page_last: int | None = None
    heading: str | None = None

    @property
    def text_with_heading(self) -> str:
        """The text to embed or rerank: the heading gives a short chunk the context that it lost when it was cut."""
        return f"{self.heading}\n{self.text}" if self.heading and self.heading not in self.text else self.text


@dataclass(frozen=True, slots=True)
class Prediction:
    """The classifier's output: the label with its calibrated ``probability`` and its own ``threshold``.

    ``model`` is "name@version"; ``digest`` the SHA-256 of its ONNX file. ``model_label`` is the model's own label if
    the organisation's differs, ``taxonomy`` the id of the last taxonomy operation. ``also`` are further confident
    labels, from a model with several labels per text; rules test all of them.
    """

    label: str
    probability: float
    runner_up: str
    runner_up_probability: float
    threshold: float
    model: str
    digest: str
    model_label: str = ""
    taxonomy: str = ""
    also: tuple[str, ...] = ()

    @property
    def confident(self) -> bool:
        """True if the probability reaches the label's threshold."""
        return self.probability >= self.threshold


@dataclass(frozen=True, slots=True)
class Destination:
    """A place that a document is sent to.

    ``kind`` is "folder" or "webhook", ``target`` a folder template or an endpoint's name.
    """

    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class Routing:
    """The rules' proposal: destinations, the names of the matching rules, and why a person must decide, or None."""

    destinations: tuple[Destination, ...]
    rules: tuple[str, ...]
    rules_digest: str
    review_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document as stored in the catalogue.

    ``id`` is an opaque string for people and the API; ``number`` a positive 31-bit integer for the indexes, never
    reused. ``reason`` is an error code or a review reason, ``detail`` its sentence. ``owner`` is as in `Arrival`;
    ``superseded_by`` the id of the newest revision, if this document is an older one. ``personal_data`` is how many
    values of each kind the text has.
    """

    id: str
    number: int
    tenant: str
    content_hash: str
    size: int
    name: str
    source: str
    path: str
    access: tuple[str, ...]
    labels: tuple[str, ...]
    state: State
    stage: Stage
    received_at: float
    finished_at: float | None = None
    media_type: str | None = None
    title: str | None = None
    pages: int | None = None
    chunks: int | None = None
    languages: tuple[str, ...] = ()
    label: str | None = None
    probability: float | None = None
    model: str | None = None
    rules: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    reason: str | None = None
    detail: str | None = None
    parent: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    superseded_by: str | None = None
    personal_data: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """The fields of a `Document` that a search returns with each passage."""

    id: str
    number: int
    content_hash: str
    name: str
    title: str | None
    label: str | None
    source: str
    path: str
    received_at: float


class QueueName(StrEnum):
    """The queues of jobs; each kind of worker claims from one of them."""

    INGEST = "ingest"  # parse .. embed
    INDEX = "index"  # the one writer
    DELIVER = "deliver"  # the outbox
    RECLASSIFY = "reclassify"


@dataclass(frozen=True, slots=True)
class Job:
    """A leased piece of work on ``subject`` (a document's id; a plan's id in the queue RECLASSIFY).

    ``stage`` is a Stage in the queues INGEST and INDEX, "deliver" or "apply"/"undo"/"compare" in the others.
    ``payload`` is small JSON. ``token`` is the fence: every write names it and has no effect once another worker has
    taken over. ``attempt`` (from 1) was counted before the work began.
    """

    id: str
    queue: QueueName
    subject: str
    stage: str
    attempt: int
    token: str
    lease_until: float
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Child:
    """A document inside another one (a mail's attachment); its bytes are already stored under ``content_hash``."""

    content_hash: str
    size: int
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a stage changes, committed in one transaction under the job's fence.

    ``data`` goes into the decision record. ``document`` maps column names of Document to new values. ``result`` is the
    cached output as (key, payload). ``chunks`` replace the document's chunks (and drop their vectors); ``vectors`` is a
    float32 array of shape (number of chunks, dimension) from the embedder with digest ``embedder``. ``deliveries``
    become jobs of the queue DELIVER. Exactly one of ``next_stage`` and ``state`` is set: where the document goes next,
    or the terminal state that it has reached (with ``reason`` a code and ``detail`` its sentence).
    """

    stage: str
    data: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    result: tuple[str, bytes] | None = None
    chunks: tuple[Chunk, ...] | None = None
    vectors: Any = None
    embedder: str | None = None
    deliveries: tuple[Destination, ...] = ()
    children: tuple[Child, ...] = ()
    next_stage: Stage | None = None
    state: State | None = None
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the decision record: what was decided at ``stage``, by which versions, with which outcome."""

    document_id: str
    at: float
    stage: str
    event: str
    data: Mapping[str, Any]
