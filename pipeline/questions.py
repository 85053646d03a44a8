"""The records of the path out, all frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


#: Which contents of a place a search looks through: the one that stands for it, or older ones as well.
NEWEST, ALL = "newest", "all"


@dataclass(frozen=True, slots=True)
class Filters:
    """The limits of a search. An empty field does not limit; several values of one field are alternatives.

    ``received_from`` and ``received_to`` are epoch seconds, half open; ``folder`` is a path prefix inside the source;
    ``owners`` are as in `facets.attributes`; ``personal_data`` are kinds; ``metadata`` are pairs of
    a field and its alternatives, all of which must match. ``revisions`` is NEWEST or ALL: without superseded
    documents, or with them.
    """

    labels: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    folder: str | None = None
    received_from: float | None = None
    received_to: float | None = None
    states: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    personal_data: tuple[str, ...] = ()
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()
    revisions: str = NEWEST


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request: the principals of its API key. An ``admin`` sees every document of the tenant."""

    principals: tuple[str, ...]
    tenant: str = "default"
    admin: bool = False
    key_id: str = ""

    @property
    def owner(self) -> str:
        """The owner of the caller's documents and saved queries: the key's user, who may have several keys, or the
        key."""
        users = sorted(principal for principal in self.principals if principal.startswith(USER))
        return users[0] if users else f"key:{self.key_id}"


#: The administrator of an installation with one tenant: sees every document.
ADMINISTRATOR = Caller((), admin=True)

#: The prefix of a person's principal; others are groups and services.
USER = "user:"


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search: ``k`` passages from ``offset`` on, at most ``per_document`` of one document.

    ``mode`` is "hybrid", "lexical" or "vector". ``collapse`` shows each content once, without passages that nearly
    repeat a better one. In a ``plain`` query nothing is syntax. ``rerank`` requests reranking of the best passages, or
    forbids it; None leaves it to the installation.
    """

    query: str
    k: int = 10
    offset: int = 0
    mode: str = "hybrid"
    filters: Filters = field(default_factory=Filters)
    per_document: int = 3
    collapse: bool = True
    plain: bool = False
    rerank: bool | None = None


#: Hits that become objects together: of thousands often only the first few are read.
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that an index proposes, by its `chunk_key`; ``score`` is in the index's own unit."""

    chunk: int
    score: float

    @property
    def document_number(self) -> int:
        """The number of the chunk's document."""
        return self.chunk >> ORDINAL_BITS

    @property
    def ordinal(self) -> int:
        """The chunk's position in its document, from 0."""
        return self.chunk & ((1 << ORDINAL_BITS) - 1)


class Hits(Sequence[Hit]):
    """Hits as two arrays of shape (n,): ``keys`` int64, ``scores`` float64.

    Thousands of hits are ranked without becoming objects; a `Hit` is created on access.
    """

    __slots__ = ("keys", "scores")

    def __init__(self, keys: np.ndarray, scores: np.ndarray) -> None:
        import numpy as np

        self.keys, self.scores = np.asarray(keys, np.int64), np.asarray(scores, np.float64)

    @classmethod
    def of(cls, hits: Sequence[Hit]) -> Hits:
        """Return ``hits`` as Hits: the same object if it is one already."""
        if isinstance(hits, Hits):
            return hits
        import numpy as np

        return cls(np.array([hit.chunk for hit in hits], np.int64), np.array([hit.score for hit in hits], np.float64))

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Hit]:
        for start in range(0, len(self), _BATCH):
            keys, scores = (array[start : start + _BATCH].tolist() for array in (self.keys, self.scores))
            yield from map(Hit, keys, scores)

    def __getitem__(self, at: int | slice | np.ndarray) -> Any:
        """Return a `Hit` for a position; `Hits` for a slice, positions or a mask."""
        if isinstance(at, int):
            return Hit(int(self.keys[at]), float(self.scores[at]))
        return Hits(self.keys[at], self.scores[at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Hits({list(self)})"

    __hash__ = None  # type: ignore[assignment]

    @property
    def score_of(self) -> dict[int, float]:
        """Score by chunk key."""
        return dict(zip(self.keys.tolist(), self.scores.tolist(), strict=True))

    def among(self, keys: Sequence[int]) -> Hits:
        """Return the hits with these keys, in the order of ``keys``."""
        if not len(self):
            return self
        import numpy as np

        order = np.argsort(self.keys)
        at = order[np.searchsorted(self.keys, keys, sorter=order).clip(max=len(self) - 1)]
        at = at[self.keys[at] == keys]
        return Hits(self.keys[at], self.scores[at])


#: Chunks of one document are numbered in this many bits, the document in the 31 above them.
ORDINAL_BITS = 20


def chunk_key(document_number: int, ordinal: int) -> int:
    """Return the 63-bit id of a chunk in every index. It is never reused, since document numbers are not."""
    return document_number << ORDINAL_BITS | ordinal


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that a search returns, with its document.

    ``highlights`` are (start, end) offsets into ``text``; ``start`` and ``end`` are offsets into the document's text.
    ``scores`` are the parts of the score ("vector", "lexical", "fused", "rerank"); ``duplicates`` are ids of other
    documents with the same content or a nearly equal passage.
    """

    document_id: str
    document_name: str
    chunk: int
    ordinal: int
    text: str
    start: int
    end: int
    page_first: int | None
    page_last: int | None
    heading: str | None
    score: float
    highlights: tuple[tuple[int, int], ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    label: str | None = None
    source: str = ""
    path: str = ""
    received_at: float = 0.0
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A page of passages, the number of matches before paging (a lower bound unless ``total_is_exact``), and the name
    of the index generation that was searched."""

    passages: tuple[Passage, ...]
    total: int
    total_is_exact: bool
    generation: str
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """A verbatim sentence; ``start`` and ``end`` are its offsets in the document's text, so that anyone can check
    it."""

    text: str
    document_id: str
    document_name: str
    page: int | None
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Quotes that answer a question; if not ``answered``, ``text`` says so and ``nearest`` has the closest passages."""

    question: str
    answered: bool
    text: str
    quotes: tuple[Quote, ...]
    nearest: tuple[Passage, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A named search; ``search`` is the request in the form of the REST API, ``created_at`` is in epoch seconds."""

    id: str
    name: str
    search: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person's judgement of a document that a query found.

    ``kind`` is "click", "useful" or "not-useful"; ``rank`` is the document's place among the hits, from 1.
    """

    query: str
    document_id: str
    kind: str
    at: float
    key_id: str = ""
    tenant: str = "default"
    rank: int | None = None
