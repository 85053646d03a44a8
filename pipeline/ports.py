"""Ports: one Protocol for each thing that has two implementations, and only there.

| port | implementations |
|---|---|
| `Parser` | the readers in this process, and the child process around them |
| `Classifier`, `Embedder`, `Reranker` | ONNX models, and small computed ones for tests |
| `Blobs` | a folder, and memory |
| `Vectors` | FAISS, Milvus, and memory |
| `Lexical` | Tantivy, Milvus, and memory |

The in-memory implementation is the specification; one contract suite under tests/contracts runs over all of them. The
catalogue is one class on one database (`indexes.catalogue`), so its contract is the class's own; the few of its methods
that a module here calls are a small Protocol in that module.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol

from pipeline.documents import Parsed, Prediction
from pipeline.query import Query
from pipeline.questions import Hit

if TYPE_CHECKING:
    import numpy as np


class Parser(Protocol):
    """Turns bytes into elements, within limits. ``digest`` changes if the output for the same bytes may change."""

    digest: str

    def parse(self, content: BinaryIO, name: str) -> Parsed:
        """Parse a file called ``name``. Raises Rejected with the code of the reason."""


class Classifier(Protocol):
    """Turns texts into calibrated predictions. ``name`` is "name@version"; ``digest`` covers model and
    configuration."""

    name: str
    digest: str
    labels: tuple[str, ...]

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Return one prediction per text, in order."""


class Embedder(Protocol):
    """Turns texts into vectors of ``dimension`` numbers. ``name`` and ``digest`` as `Classifier`'s."""

    name: str
    digest: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return L2-normalised float32 vectors of shape (len(texts), dimension), in order."""


class Reranker(Protocol):
    """Scores passages by reading question and text together. Optional."""

    name: str
    digest: str

    def scores(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """Return the probability (0 to 1) that a text answers, for every text: float32 of shape (len(texts),)."""


class Blobs(Protocol):
    """Stores bytes by content. A digest is 64 lower-case hex digits of SHA-256."""

    def put(self, stream: Iterable[bytes], limit: int) -> tuple[str, int]:
        """Store durably (file and folder fsynced before return); return (digest, size). Raises Refused over ``limit``
        bytes."""

    def open(self, digest: str) -> BinaryIO:
        """Open the bytes for reading. Raises KeyError if absent."""

    def delete(self, digest: str) -> None:
        """Delete the bytes. Idempotent."""

    def digests(self) -> Iterable[str]:
        """Yield the digest of everything stored, in no order."""


class Vectors(Protocol):
    """Nearest neighbours by inner product over an immutable snapshot. Chunk keys as in `questions.chunk_key`."""

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return the ``k`` best hits among the document numbers ``allowed`` (None: all), best first.

        The filter applies before the search. `DocumentNumbers` are fastest: what an index derives from them is reused
        as long as the same object is passed.
        """

    def __len__(self) -> int: ...


class Lexical(Protocol):
    """BM25 over an immutable snapshot."""

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> Sequence[Hit]:
        """Return the ``k`` best hits among the document numbers ``allowed`` (None: all), best first.

        A word that occurs in no document of ``readable`` (all that the caller may read; None: those allowed) is taken
        for a misspelling. A narrower filter does not make a word unknown.
        """

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        """Return (start, end) offsets of the query's words in ``text``.

        Here and in `search` only readable documents decide whether a word is misspelt: otherwise highlights or hits
        would reveal that it occurs in a hidden document.
        """

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        """Return True if a passage from another index has all that the query requires and nothing that it excludes.
        ``title`` is the document's title followed by the passage's heading."""

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        """Return words that begin with the last word of ``typed`` (two letters or more), each with a few passages.

        Only passages of allowed documents count that have the other words of ``typed``. Case and accents are ignored;
        the most frequent words come first.
        """

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return passages whose title, heading or file name may continue ``typed``, best first; some may not."""

    def __len__(self) -> int: ...
