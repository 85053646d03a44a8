"""The account of a verdict: which classifier is asked, and which labelled documents come nearest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from pipeline.classify import OnnxClassifier
from pipeline.documents import Document, Parsed
from pipeline.errors import MailroomError, Misconfigured, Refused
from pipeline.explanation import Example, Explanation, influences
from pipeline.questions import ORDINAL_BITS, Caller, Filters
from workers.services.active_classifier import Classifiers

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from pipeline.ports import IndexReader

EXAMPLES = 3
#: Passages asked for, so that three documents are among them although one may have many near ones.
PASSAGES = 60


class PredictionExplainer:
    """Explains verdicts. One account at a time: each keeps a processor busy for seconds."""

    def __init__(self, catalogue: Catalogue, reader: IndexReader, classifiers: Classifiers, passes: int) -> None:
        self._catalogue, self._reader, self._classifiers, self._passes = catalogue, reader, classifiers, passes
        self._lock = threading.Lock()
        self._older: OnnxClassifier | None = None

    def explain(self, caller: Caller, document: Document) -> Explanation:
        """The account of a document that ``caller`` may read; examples are only of documents that it may read too.

        Raises Refused("conflict") for a document without a stored text, Misconfigured("bad-model") without a classifier.
        """
        parsed = self._parsed(document)
        with self._lock:
            classifier = self._classifier(document)
            (prediction,) = classifier.classify([parsed.text])
            spans, passes = influences(classifier, parsed, prediction.label, self._passes)
        return Explanation(
            document_id=document.id,
            label=prediction.label,
            probability=prediction.probability,
            runner_up=prediction.runner_up,
            threshold=prediction.threshold,
            confident=prediction.confident,
            model=prediction.model,
            recorded=document.label,
            recorded_by=document.model,
            passes=passes,
            spans=spans,
            examples=self.examples(caller, document),
        )

    def examples(self, caller: Caller, document: Document) -> tuple[Example, ...]:
        """The documents nearest to this one, the nearest first, among those whose label a person gave and that ``caller``
        may read. Empty where there are none, and before the document is indexed."""
        catalogue, snapshot = self._catalogue, self._reader.snapshot()
        _, vectors = catalogue.chunks.of_document(document.number, snapshot.embedder)
        allowed = catalogue.reviews.approved(caller) & catalogue.documents.visible(caller, Filters())
        allowed -= [document.number]
        if vectors is None or not len(vectors) or not len(allowed):
            return ()
        middle = vectors.mean(axis=0)
        middle /= max(float(np.linalg.norm(middle)), 1e-12)
        best: dict[int, tuple[int, float]] = {}
        for hit in snapshot.vectors.search(middle.astype(np.float32), PASSAGES, allowed):
            best.setdefault(hit.document_number, (hit.chunk, hit.score))
        nearest = sorted(best.values(), key=lambda each: -each[1])[:EXAMPLES]
        chunks = catalogue.chunks.by_key([key for key, _ in nearest])
        documents = catalogue.documents.by_number(best)
        found = [(documents.get(key >> ORDINAL_BITS), chunks.get(key), score) for key, score in nearest]
        return tuple(
            Example(d.id, d.name, d.label or "", round(score, 4), c.text, c.start, c.end, c.page_first)
            for d, c, score in found
            if d is not None and c is not None
        )

    def _parsed(self, document: Document) -> Parsed:
        parsed = self._catalogue.chunks.parsed(document.id)
        if parsed is None or not parsed.text.strip():
            raise Refused("conflict", f"Document {document.id} has no stored text; there is no verdict to explain.")
        return parsed

    def _classifier(self, document: Document) -> OnnxClassifier:
        """The version that judged the document, where it is still here; else the one in force."""
        current = self._classifiers.current()
        if document.model and "@" in document.model and (current is None or document.model != current.name):
            if self._older is None or self._older.name != document.model:
                self._older = self._opened(document.model) or self._older
            if self._older is not None and self._older.name == document.model:
                return self._older
        if current is None:
            raise Misconfigured("bad-model", "There is no usable classifier; see `mailroom doctor`.")
        return current

    def _opened(self, model: str) -> OnnxClassifier | None:
        try:
            return self._classifiers.open(model)
        except MailroomError:
            return None
