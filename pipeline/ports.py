"""Ports: one Protocol for each thing that has two implementations, and only there.

| port | implementations |
|---|---|
| `Parser` | the readers in this process, and the child process around them |
| `Classifier`, `Embedder`, `Reranker` | ONNX models, and small computed ones for tests |
| `Blobs` | a folder, and memory for tests |
| `Vectors` | FAISS, and Milvus |
| `Lexical` | Tantivy, and Milvus |
| `IndexReader`, `IndexWriter` | generations in a folder, and collections of a Milvus server |

The specifications are plain Python in memory (`memory_index.py` and `memory_blobs.py` in tests/support); one suite
under tests/contracts runs over specification and implementations. The catalogue is one class on one database
(`indexes.catalogue`), so its contract is the class's own; the few of its methods that a module here calls are a small
Protocol in that module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    import numpy as np

    from pipeline.document_numbers import DocumentNumbers
    from pipeline.documents import Chunk, Parsed, Prediction
    from pipeline.query import Query
    from pipeline.questions import Hit


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
    """Nearest neighbours by inner product over an immutable snapshot. Chunk keys are those of `questions.chunk_key`."""

    def search(self, vector: np.ndarray, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return the ``k`` nearest chunks, best first; of equal ones the lower key first.

        ``vector``: float32 of shape (dimension,). ``allowed`` limits the documents *before* the search; None sets no
        limit. A `DocumentNumbers` is quickest: what an index derives from it is kept for as long as that object lives.
        """

    def __len__(self) -> int:
        """Count the chunks with a vector."""


class Lexical(Protocol):
    """BM25 over an immutable snapshot.

    ``readable`` are the documents that the caller may read. They alone decide whether a word of the query is misspelt:
    otherwise hits or highlights would reveal that it occurs in a hidden document.
    """

    def search(
        self, query: Query, k: int, allowed: Collection[int] | None, readable: Collection[int] | None = None
    ) -> Sequence[Hit]:
        """Return the ``k`` best chunks of allowed documents, best first, filtered before ranking.

        ``readable`` None stands for ``allowed``. A filter narrower than ``readable`` makes no word misspelt.
        """

    def highlights(
        self, query: Query, text: str, readable: Collection[int] | None = None
    ) -> tuple[tuple[int, int], ...]:
        """Return (start, end) offsets of the query's words in ``text``."""

    def admits(self, query: Query, text: str, title: str, name: str) -> bool:
        """Return True if a passage from another index has all that the query requires and nothing that it excludes.

        ``title`` is the document's title with the passage's heading, ``name`` its file name.
        """

    def completions(self, typed: str, k: int, allowed: Collection[int] | None) -> list[tuple[str, Sequence[Hit]]]:
        """Return words that complete the last word of ``typed`` (two letters or more), the most frequent first.

        Words come in lower case without accents, each with a few chunks of allowed documents that hold it and the
        complete words of ``typed``.
        """

    def titled(self, typed: str, k: int, allowed: Collection[int] | None) -> Sequence[Hit]:
        """Return chunks whose title, heading or file name may continue ``typed``, best first.

        A few may not; `indexes.lexical.completion.continues` decides on the text itself.
        """

    def __len__(self) -> int:
        """Count the chunks."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One publication of an index, open for searching.

    ``numbers``: its documents. ``embedder``: digest of the model of its vectors; ``model``: that model's name.
    ``without_vectors``: how many of its documents that model has not embedded yet; search finds them by words alone.
    """

    generation: str
    embedder: str
    vectors: Vectors
    lexical: Lexical
    numbers: DocumentNumbers
    model: str = ""
    without_vectors: int = 0


class IndexReader(Protocol):
    """Opens the newest publication of one index and follows it without a restart. Thread-safe."""

    @property
    def problem(self) -> str | None:
        """Why the newest publication cannot be used, or None."""

    @property
    def stale(self) -> bool:
        """True while the newest publication cannot be used and an older one is searched."""

    def snapshot(self) -> Snapshot:
        """Return the newest usable publication; an empty one before the first."""


#: Returns chunks, title and name of a document by its number; None for one that is deleted.
DocumentTexts = Callable[[int], tuple[Sequence["Chunk"], str | None, str] | None]


class IndexWriter(Protocol):
    """Changes one index; exclusive by a file lock in ``root``. Changes are visible to readers after `publish`.

    ``embedder``: digest of the model whose vectors it takes, of ``dimension`` numbers; ``model``: its name; ``since``:
    what the catalogue finished after this time (epoch seconds) may be missing here; ``openings`` counts how often it
    resumed from what is stored; ``rebuild_needed``: nothing usable of this model is stored, and readers keep what they
    have until the first publication.
    """

    root: Path
    embedder: str
    dimension: int
    model: str
    since: float
    openings: int
    rebuild_needed: bool

    @property
    def numbers(self) -> DocumentNumbers:
        """The documents that the next publication will hold."""

    @property
    def without_vectors(self) -> DocumentNumbers:
        """Those of `numbers` that the model has not embedded yet; search finds them by words alone."""

    @property
    def is_open(self) -> bool:
        """False after a failed opening, or when somebody removed or replaced the folder."""

    @property
    def damage(self) -> str | None:
        """A stored file that is gone or altered, or None. After damage call `reopen`; `publish` would refuse."""

    @property
    def is_compacting(self) -> bool:
        """True while segments are merged in the background."""

    def reopen(self) -> None:
        """Drop what is not published and resume from the newest usable publication."""

    def add(
        self, number: int, chunks: Sequence[Chunk], vectors: np.ndarray | None, title: str | None = None, name: str = ""
    ) -> None:
        """Add or replace a document. ``vectors``: float32 of shape (len(chunks), dimension); None if not embedded yet.

        Raises Misconfigured("bad-index") for vectors of another shape or with a value that is not finite.
        """

    def remove(self, number: int) -> None:
        """Remove a document. Does nothing for one that the index does not hold."""

    def publish(self, force: bool = False) -> str | None:
        """Make the changes visible to readers; return the publication's name, or None without changes.

        With ``force`` it publishes even then. Raises Unavailable where the index cannot be written; then this step is
        dropped here, and the catalogue still has it.
        """

    def purge(self, texts: DocumentTexts, seconds: float) -> bool:
        """Work for about ``seconds`` on what is still stored of removed documents; call it before each publication.

        Returns True once a publication shows that nothing is left of what was removed and published before.
        """

    def adopt(self, other: Path, since: float) -> str:
        """Publish the index under ``other`` in place of this one; return the publication's name.

        What is not published here is dropped. ``since``: when the other one was begun (epoch seconds).
        Raises Misconfigured("bad-index") where ``other`` holds no usable index.
        """

    def keep_as(self, target: Path) -> float | None:
        """Keep the published index under ``target`` as well, for a later `adopt`.

        Returns the time that it was made (epoch seconds), or None where nothing of this model is published.
        """

    def change_model(self, embedder: str, dimension: int, model: str) -> None:
        """Resume with vectors of another model; what is not published is dropped."""

    def compact(self) -> None:
        """Start to merge all segments into one in the background; a later `publish` takes the result."""

    def await_compaction(self) -> None:
        """Wait for the merge that runs in the background, if one does."""

    def close(self) -> None:
        """Release the lock; what was not published is dropped."""
