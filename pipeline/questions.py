"""The words of the path out, as frozen records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search is limited to. Empty means no limit; several values of one field are alternatives.

    ``received_from`` and ``received_to`` are epoch seconds, half open; ``folder`` is a path prefix inside the source;
    ``owners`` as `facets.facts` tells them; ``metadata`` pairs a field with its alternatives, each field of which must
    hold.
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
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the principals that the key carries. ``admin`` sees every document of the tenant."""

    principals: tuple[str, ...]
    tenant: str = "default"
    admin: bool = False
    key_id: str = ""

    @property
    def owner(self) -> str:
        """Whose a caller's saved queries are: the user's that the key stands for, whichever key it is, else the key's
        own."""
        users = sorted(each for each in self.principals if each.startswith(USER))
        return users[0] if users else f"key:{self.key_id}"


#: The administrator of an installation with one tenant: sees every document.
ADMINISTRATOR = Caller((), admin=True)

#: How the principal of a person begins; others are groups and services.
USER = "user:"


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """``mode`` is "hybrid", "lexical" or "vector"; ``k`` passages are returned from ``offset`` on, at most
    ``per_document`` of one document; ``collapse`` leaves out passages that say nearly the same as a better one. A
    ``plain`` query is text as people write it, nothing in which is syntax. ``rerank`` asks for a second look at the
    best passages, or for none; None leaves it to the installation."""

    query: str
    k: int = 10
    offset: int = 0
    mode: str = "hybrid"
    filters: Filters = field(default_factory=Filters)
    per_document: int = 3
    collapse: bool = True
    plain: bool = False
    rerank: bool | None = None


#: Hits that become objects together: of thousands often only the first few are looked at.
_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that an index proposes: ``chunk`` is document number << 20 | ordinal; ``score`` in the index's own
    unit."""

    chunk: int
    score: float

    @property
    def document_number(self) -> int:
        return self.chunk >> ORDINAL_BITS

    @property
    def ordinal(self) -> int:
        return self.chunk & ((1 << ORDINAL_BITS) - 1)


class Hits(Sequence[Hit]):
    """Hits as two arrays of shape (n,): ``keys`` int64, ``scores`` float64. Thousands of them are ranked without
    becoming objects; a `Hit` is made when one is looked at."""

    __slots__ = ("keys", "scores")

    def __init__(self, keys: np.ndarray, scores: np.ndarray) -> None:
        import numpy as np

        self.keys, self.scores = np.asarray(keys, np.int64), np.asarray(scores, np.float64)

    @classmethod
    def of(cls, hits: Sequence[Hit]) -> Hits:
        """The same object where it is one already."""
        if isinstance(hits, Hits):
            return hits
        import numpy as np

        return cls(np.array([hit.chunk for hit in hits], np.int64), np.array([hit.score for hit in hits], np.float64))

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Hit]:
        for start in range(0, len(self), _AT_A_TIME):
            yield from map(Hit, *(each[start : start + _AT_A_TIME].tolist() for each in (self.keys, self.scores)))

    def __getitem__(self, at: int | slice | np.ndarray) -> Any:
        """A `Hit` for a place; `Hits` for a slice, places or a mask."""
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
        """Those of a few keys, in the order of these."""
        if not len(self):
            return self
        import numpy as np

        order = np.argsort(self.keys)
        at = order[np.searchsorted(self.keys, keys, sorter=order).clip(max=len(self) - 1)]
        return self[at[self.keys[at] == keys]]


#: Chunks of one document are numbered in this many bits, the document in the 31 above them.
ORDINAL_BITS = 20


def chunk_key(document_number: int, ordinal: int) -> int:
    """The 63-bit id of a chunk in every index. Never reused, since document numbers are not."""
    return document_number << ORDINAL_BITS | ordinal


@dataclass(frozen=True, slots=True)
class Passage:
    """A hit with its text, as the caller sees it. ``highlights`` are (start, end) offsets into ``text``;
    ``start`` and ``end`` locate the passage in the document's text; ``scores`` its parts ("vector", "lexical", "fused",
    "rerank"); ``duplicates`` are ids of other documents with a passage that says nearly the same."""

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
    """The page of passages, how many matched before paging (a lower bound where ``total_is_exact`` is False), and the
    name of the index generation that answered."""

    passages: tuple[Passage, ...]
    total: int
    total_is_exact: bool
    generation: str
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """A verbatim sentence: ``start`` and ``end`` are offsets into the document's text, so that anyone can check it."""

    text: str
    document_id: str
    document_name: str
    page: int | None
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """``answered`` False means "not found in your documents"; ``nearest`` then holds the closest passages."""

    question: str
    answered: bool
    text: str
    quotes: tuple[Quote, ...]
    nearest: tuple[Passage, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A search under a name of its owner's; ``search`` is the request as the REST API takes it, ``created_at`` epoch
    seconds."""

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
