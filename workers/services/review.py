"""A person's decision on one document: recorded, filed by the rules, and from then on an example to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.taxonomy import read_operations
from pipeline.documents import Document, QueueName
from pipeline.errors import Refused
from pipeline.printable import is_printable
from pipeline.reclassify import approval, delivered_to, document_labels, person_prediction
from pipeline.route import route
from pipeline.rules import Rules
from pipeline.taxonomy import MAX_LABEL
from workers.queue.notify import Notifier
from workers.services.taxonomy import TaxonomyService

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue


class ReviewService:
    """Files documents by what a person decides."""

    def __init__(
        self, catalogue: Catalogue, taxonomy: TaxonomyService, rules: Rules, notifier: Notifier, models_root: Path
    ) -> None:
        self._catalogue, self._taxonomy, self._rules = catalogue, taxonomy, rules
        self._notifier, self._models_root = notifier, models_root

    def approve(self, document: Document, labels: Sequence[str], who: str, new: bool = False) -> Document:
        """File a document under the first of ``labels`` (none: under the labels it has) because ``who`` decides so.

        Return the document as it is then. The other labels are the document's too: rules see them, and a model learns
        all of them. Its destinations are those of the rules for these labels, those already served left out. Plans
        leave its labels alone from now on. Raises Refused: "not-found" for an unknown label (unless ``new``),
        "bad-request" for one that is too long or not printable, "contradictory" for none at all, "conflict" for a
        document that is still being processed or changed meanwhile.
        """
        catalogue = self._catalogue
        events = catalogue.documents.history(document.id)[1]
        operations = read_operations(self._models_root)
        requested = labels or document_labels(document, events, operations)
        label, *also = dict.fromkeys(self._valid_label(document, name, new) for name in requested)
        parsed = catalogue.chunks.parsed(document.id)
        text = parsed.text if parsed else ""
        routing = route(self._rules, person_prediction(label, who, also), document, text, document.metadata)
        item = approval(document, label, who, routing, delivered_to(events))
        data: dict[str, Any] = {
            "by": who,
            "proposed": document.label,
            "taxonomy": operations[-1].id if operations else "",
        }
        data |= {"also": also} if also else {}
        if not catalogue.reviews.decide(item, data):
            raise Refused("conflict", f"Document {document.id} changed meanwhile; look at it again.")
        self._notifier.notify(catalogue.jobs, QueueName.DELIVER)
        return catalogue.documents.get(document.id)

    def _valid_label(self, document: Document, label: str, new: bool) -> str:
        label = label.strip()
        if not label:
            raise Refused("contradictory", f"Document {document.id} has no label of its own to approve; name one.")
        if len(label) > MAX_LABEL or not is_printable(label):
            text = f"Give document {document.id} a label of 1 to {MAX_LABEL} printable characters."
            raise Refused("bad-request", text)
        existing = self._taxonomy.labels()
        if not new and existing and label not in existing:
            text = (
                f"There is no label {label!r}; there are: {', '.join(existing)}. A new one has to be asked for as new."
            )
            raise Refused("not-found", text)
        if label not in existing and self._taxonomy.current_name(label) != label:
            text = (
                f"{label!r} was a label until it was renamed, merged, split or retired; "
                "see `mailroom taxonomy history`, and give another."
            )
            raise Refused("conflict", text)
        return label
