"""Explanation of a prediction: the parts of the text that moved it most, and the nearest labelled documents."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from pipeline.classify import OnnxClassifier
from pipeline.documents import Document
from pipeline.errors import MailroomError, Misconfigured, Refused
from pipeline.explanation import Example, Explanation, influences
from pipeline.questions import Caller, Filters, Hit
from workers.services.active_classifier import Classifiers
from workers.services.similar import mean_vector

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue
    from pipeline.ports import IndexReader

EXAMPLES = 3
#: Hits of the index: enough for three documents, although one may have many near chunks.
DEPTH = 60


class PredictionExplainer:
    """Explains predictions, one at a time, since each keeps a processor busy for seconds.

    ``passes`` bounds how often the classifier runs for one explanation.
    """

    def __init__(self, catalogue: Catalogue, reader: IndexReader, classifiers: Classifiers, passes: int) -> None:
        self._catalogue, self._reader, self._classifiers, self._passes = catalogue, reader, classifiers, passes
        self._lock = threading.Lock()
        self._older: OnnxClassifier | None = None

    def explain(self, caller: Caller, document: Document) -> Explanation:
        """Explain the prediction for a document that the caller may read; examples are documents that it may read, too.

        Raises Refused("conflict") for a document without a stored text, Misconfigured("bad-model") without a
        classifier.
        """
        parsed = self._catalogue.chunks.parsed(document.id)
        if parsed is None or not parsed.text.strip():
            raise Refused("conflict", f"Document {document.id} has no stored text; there is no prediction to explain.")
        with self._lock:
            classifier = self.classifier_of(document)
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
        """Return the nearest documents, nearest first, of those that a person labelled and the caller may read.

        Empty if there are none, and before the document is indexed.
        """
        catalogue, snapshot = self._catalogue, self._reader.snapshot()
        _, vectors = catalogue.chunks.of_document(document.number, snapshot.embedder)
        allowed = catalogue.reviews.approved(caller) & catalogue.documents.visible(caller, Filters())
        allowed -= [document.number]
        query = mean_vector(vectors)
        if query is None or not len(allowed):
            return ()
        best: dict[int, Hit] = {}
        for hit in snapshot.vectors.search(query, DEPTH, allowed):
            best.setdefault(hit.document_number, hit)
        nearest = sorted(best.values(), key=lambda hit: -hit.score)[:EXAMPLES]
        chunks = catalogue.chunks.by_key([hit.chunk for hit in nearest])
        documents = catalogue.documents.by_number(best)
        rows = [(documents.get(hit.document_number), chunks.get(hit.chunk), hit.score) for hit in nearest]
        return tuple(
            Example(d.id, d.name, d.label or "", round(score, 4), c.text, c.start, c.end, c.page_first)
            for d, c, score in rows
            if d is not None and c is not None
        )

    def classifier_of(self, document: Document) -> OnnxClassifier:
        """Return the version that classified the document if it is still installed, otherwise the active one."""
        current = self._classifiers.current()
        if document.model and "@" in document.model and (current is None or document.model != current.name):
            if self._older is None or self._older.name != document.model:
                with contextlib.suppress(MailroomError):
                    self._older = self._classifiers.open(document.model)
            if self._older is not None and self._older.name == document.model:
                return self._older
        if current is None:
            raise Misconfigured("bad-model", "There is no usable classifier; see `mailroom doctor`.")
        return current
