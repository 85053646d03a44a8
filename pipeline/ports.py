"""Ports: one Protocol for each thing that has two implementations, and only there.

| port | implementations |
|---|---|
| `Parser` | the readers in this process, and the child process around them |
| `Classifier`, `Embedder`, `Reranker` | ONNX models, and small computed ones for tests |
| `Blobs` | a folder, and memory |
| `Vectors` | FAISS, Milvus, and memory |
| `Lexical` | Tantivy, Milvus, and memory |

The in-memory implementation is the specification; one contract suite under tests/contracts runs over all of them. The
catalogue is one class on one database (`indexes.catalogue`), so its contract stands there; the few of its methods that
a module here calls are a small Protocol in that module."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import BinaryIO, Protocol

import numpy as np

from pipeline.documents import Parsed, Prediction
from pipeline.questions import Hit


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
