"""The one writer of an index in Milvus. A publication is: old rows out, new rows in, then the state that tells of them.

It is not atomic as a generation is, so it is announced: after a crash the next writer takes out the rows of every document
that was announced, and the catalogue adds again what there is of them. No reader shows a passage that the catalogue has not.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from indexes import generations as gen
from indexes.milvus import schema, state
from indexes.milvus.lexical import fields_of
from indexes.milvus.schema import DOCUMENTS, PASSAGES, WORDS
from indexes.milvus.server import Server
from indexes.milvus.state import Facts, Held
from indexes.milvus.words import Vocabulary, only_in, words_of
from pipeline.disk import ProcessLock
from pipeline.document_numbers import DocumentNumbers
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured
from pipeline.faults import fault
from pipeline.questions import chunk_key

#: Rows of one insertion, and documents of one deletion: a message stays under a few megabytes.
ROWS, NUMBERS = 500, 1000
#: Milvus's index types by ours; the empty one leaves the choice to the server.
KINDS = {"": "AUTOINDEX", "exact": "FLAT"}


class MilvusWriter:
    """Does what `indexes.writer.IndexWriter` does, and is exclusive by a lock in ``root``. The server merges and compacts by
    itself."""

    is_compacting = False

    def __init__(
        self, server: Server, root: Path, role: str, embedder: str, dimension: int, model: str = "", large: str = ""
    ) -> None:
        if large not in KINDS:
            raise Misconfigured("bad-settings", "index.kind: Milvus chooses the kind; leave it empty, or give exact.")
        self.root, self.embedder, self.dimension, self.model, self.large = root, embedder, dimension, model, large
        self._server, self._role, self._names = server, role, schema.names(role)
        self._lock = ProcessLock(root / "writer.lock", "An index writer")
        self.openings = 0
        self.reopen()

    @property
    def numbers(self) -> DocumentNumbers:
        """The documents that the index will hold after the next publication."""
        return DocumentNumbers(self._held)

    @property
    def without_vectors(self) -> DocumentNumbers:
        """Those of them that are found by their words only."""
        return DocumentNumbers(each.number for each in self._held.values() if each.bare)

    @property
    def is_there(self) -> bool:
        """False when somebody took the lock's folder away."""
        return self._lock.is_held

    @property
    def is_open(self) -> bool:
        """False, too, when the last attempt to open it failed."""
        return self._open and self.is_there

    @property
    def damage(self) -> str | None:
        """None: what the server keeps is the server's to check."""
        return None

    def reopen(self) -> None:
        """Forget what is not published and go on from what is."""
        self._rows: dict[int, list[dict[str, Any]]] = {}
        self._changed: dict[int, Held] = {}
        self._before: dict[int, Held | None] = {}
        self._held: dict[int, Held] = {}
        self.since, self.openings, self._open = 0.0, self.openings + 1, False
        self._lock.acquire()
        facts = state.read_facts(self._server, self._names[DOCUMENTS])
        fits = facts is not None and (facts.embedder, facts.dimension) == (self.embedder, self.dimension)
        self.rebuild_needed = not fits
        self._facts = facts if fits else None
        self._languages = set(facts.languages) if fits else set()
        self._vocabulary = Vocabulary(self._server, self._names[WORDS])
        if fits:
            self.since, self.model = facts.since, self.model or facts.model
            held = state.changed_since(self._server, self._names[DOCUMENTS], 0)
            self._held = {each.number: each for each in held if each.passages}
            for each in state.changed_since(self._server, self._names[DOCUMENTS], facts.serial):
                gone = Held(each.number, 0, False)
                self._change(gone, before=gone)
        self._open = True

    def add(
        self, number: int, chunks: Sequence[Chunk], vectors: np.ndarray | None, title: str | None = None, name: str = ""
    ) -> None:
        """Add the document, or replace it. Without ``vectors`` it is found by its words only."""
        if vectors is not None and (vectors.shape != (len(chunks), self.dimension) or not np.isfinite(vectors).all()):
            raise Misconfigured("bad-index", f"document {number}: vectors {vectors.shape} do not fit its chunks")
        bare = vectors is None
        rows, given = [], np.zeros((len(chunks), self.dimension)) if bare else vectors
        for chunk, vector in zip(chunks, given, strict=True):
            fields, language = fields_of(chunk, title, name)
            key = chunk_key(number, chunk.ordinal)
            rows.append({"key": key, "document": number, "bare": bare, "vector": vector.tolist(), **fields})
            self._languages.add(language)
        self._change(Held(number, len(rows), bare))
        self._rows[number] = rows

    def remove(self, number: int) -> None:
        """Forget the document; nothing happens where it is not held."""
        if number in self._held:
            self._change(Held(number, 0, False))

    def publish(self, anyway: bool = False) -> str | None:
        """Make the changes visible to readers; returns the publication's name, or None when nothing has changed (unless
        ``anyway``). After Unavailable nothing of this step is kept here, and the catalogue still has it all."""
        if not (anyway or self._changed):
            return None
        try:
            return self._publish()
        except Exception:
            self._open = False  # reopened, which forgets this step, before the next one
            raise

    def adopt(self, other: Path, since: float) -> str:
        """Let the index that stands beside under the name of ``other`` take this one's place. ``since``: when it was begun."""
        facts = state.read_facts(self._server, schema.names(other.name)[DOCUMENTS])
        if facts is None:
            raise Misconfigured("bad-index", f"There is no index {other.name} beside.")
        state.write(self._server, schema.names(other.name)[DOCUMENTS], replace(facts, since=since), {})
        schema.rename(self._server, other.name, self._role)
        self.change_model(facts.embedder, facts.dimension, facts.model)
        return f"{facts.serial:012d}"

    def set_aside(self, target: Path) -> float | None:
        """Let this index stand beside under the name of ``target``; when it was made, None where there is none."""
        if self._facts is None:
            return None
        schema.rename(self._server, self._role, target.name)
        return self._facts.since

    def change_model(self, embedder: str, dimension: int, model: str) -> None:
        """Go on with vectors of another model."""
        self.embedder, self.dimension, self.model = embedder, dimension, model
        self.reopen()

    def compact(self) -> None:
        """The server's own affair."""

    def await_compaction(self) -> None:
        """The server's own affair."""

    def close(self) -> None:
        """Let go of the lock; what was not published is dropped."""
        self._lock.release()

    def _change(self, to: Held, before: Held | None = None) -> None:
        """What the next publication makes of a document. ``before``: how it may stand there, where it is not held."""
        self._before.setdefault(to.number, before or self._held.get(to.number))
        self._rows.pop(to.number, None)
        self._held.pop(to.number, None)
        self._changed[to.number] = to
        if to.passages:
            self._held[to.number] = to

    def _publish(self) -> str:
        facts = self._next_facts()
        if self._facts is None:
            schema.drop(self._server, self._role)
            schema.create(self._server, self._role, self.dimension, KINDS[self.large])
        else:
            before = {number: held or Held(number, 0, False) for number, held in self._before.items()}
            state.announce(self._server, self._names[DOCUMENTS], facts.serial, before)
        new = {word for rows in self._rows.values() for row in rows for word in words_of(row)}
        self._vocabulary.add(new)
        for numbers in _parts((number for number, held in self._before.items() if held), NUMBERS):
            self._take_out(numbers, new)
        for rows in _parts(chain.from_iterable(self._rows.values()), ROWS):
            self._server.call("insert", self._names[PASSAGES], list(rows))
        fault("index.manifest")
        state.write(self._server, self._names[DOCUMENTS], facts, self._changed)
        self._facts, self._rows, self._changed, self._before = facts, {}, {}, {}
        return f"{facts.serial:012d}"

    def _take_out(self, numbers: Sequence[int], kept: Collection[str]) -> None:
        """The words first: after a crash the rows still tell which they were."""
        passages = self._names[PASSAGES]
        self._vocabulary.forget(only_in(self._server, passages, numbers).difference(kept))
        self._server.call("delete", passages, filter=f"document in {list(numbers)}")

    def _next_facts(self) -> Facts:
        before = self._facts
        return Facts(
            serial=before.serial + 1 if before else 1,
            embedder=self.embedder,
            dimension=self.dimension,
            model=self.model,
            since=gen.now(),
            born=before.born if before else uuid.uuid4().hex,
            languages=tuple(sorted(self._languages)),
        )


def _parts(values: Iterable[Any], size: int) -> Iterable[Sequence[Any]]:
    part: list[Any] = []
    for value in values:
        part.append(value)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
