"""The seams: one Protocol per replaceable thing. A memory implementation of each is its specification, and one
contract suite under tests/contracts runs over every implementation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import BinaryIO, Protocol

import numpy as np

from pipeline.documents import Parsed, Verdict
from pipeline.questions import Hit


class Parser(Protocol):
    """Bytes to elements, inside limits. ``parse`` raises Rejected with a code that says why."""

    digest: str  # changes when its output may change; part of the cache key

    def parse(self, content: BinaryIO, name: str, media_type: str | None = None) -> Parsed: ...


class Classifier(Protocol):
    """Texts to calibrated verdicts. ``digest`` names the model file and its configuration."""

    name: str  # "document-type@2026.11.24"
    digest: str
    labels: tuple[str, ...]

    def classify(self, texts: Sequence[str]) -> list[Verdict]: ...


class Embedder(Protocol):
    """Texts to L2-normalised float32 vectors of shape (len(texts), dimension)."""

    name: str
    digest: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


class Blobs(Protocol):
    """Content-addressed bytes. A digest is 64 lower-case hex digits of SHA-256."""

    def put(self, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
        """Store durably (file and folder fsynced before return); return (digest, size). Refused over ``limit`` bytes."""

    def open(self, digest: str) -> BinaryIO:
        """Raises KeyError when absent."""

    def delete(self, digest: str) -> None:
        """Idempotent."""

    def digests(self) -> Iterable[str]: ...


class Vectors(Protocol):
    """Nearest neighbours by inner product over an immutable snapshot. Chunk keys as in questions.chunk_key."""

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> list[Hit]:
        """Best first; ``allowed`` limits to these document numbers *before* the search, None means no limit."""

    def __len__(self) -> int: ...


class Lexical(Protocol):
    """BM25 over an immutable snapshot. Raises Refused("bad-query") with the place of the mistake."""

    def search(self, query: str, k: int, allowed: Collection[int] | None) -> list[Hit]: ...

    def __len__(self) -> int: ...
