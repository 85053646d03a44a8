"""A person's decision on one document: recorded, filed by the rules, and from then on an example to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.taxonomy import read_operations
from pipeline.codec import decode_parsed
from pipeline.documents import Document, QueueName
from pipeline.errors import Refused
from pipeline.reclassify import approval, decided, delivered, present_labels
from pipeline.route import route
from pipeline.taxonomy import MAX_LABEL

if TYPE_CHECKING:
    from workers.assemble import Mailroom


def approve(mailroom: Mailroom, document: Document, labels: Sequence[str], who: str, new: bool = False) -> Document:
    """File a document under the first of ``labels`` (none: under what it has), because ``who`` says so; returns it as it is then.

    The other labels are the document's too: rules see them, and a model learns all of them. Its destinations are the rules' for
    these labels, those already served left out. Plans leave its labels alone from now on. Raises Refused: "bad-request" for a
    label that the house does not have (unless ``new``) or none at all, "conflict" for a document that is on its way or
    changed meanwhile.
    """
    catalogue = mailroom.catalogue
    events = catalogue.documents.history(document.id)[1]
    operations = read_operations(mailroom.settings.models_root)
    asked = labels or present_labels(document, events, operations)
    wanted, *also = dict.fromkeys(_label(mailroom, document, label, new) for label in asked)
    key = catalogue.chunks.parsed_key(document.id)
    payload = catalogue.chunks.result(key) if key else None
    text = decode_parsed(payload).text if payload is not None else ""
    routing = route(mailroom.rules, decided(wanted, who, also), document, text, document.metadata)
    item = approval(document, wanted, who, routing, delivered(events))
    data = {"by": who, "proposed": document.label, "taxonomy": operations[-1].id if operations else ""}
    data |= {"also": also} if also else {}
    if not catalogue.reviews.decide(item, data):
        raise Refused("conflict", f"Document {document.id} changed meanwhile; look at it again.")
    mailroom.notifier.notify(catalogue.jobs, QueueName.DELIVER)
    return catalogue.documents.get(document.id)


def _label(mailroom: Mailroom, document: Document, label: str, new: bool) -> str:
    wanted = label.strip()
    if not wanted or len(wanted) > MAX_LABEL or not wanted.isprintable():
        text = f"Give document {document.id} a label of 1 to {MAX_LABEL} printable characters."
        raise Refused("bad-request", text)
    known = mailroom.taxonomy.labels()
    if not new and known and wanted not in known:
        text = f"There is no label {wanted!r}; there are: {', '.join(known)}. A new one has to be asked for as new."
        raise Refused("bad-request", text)
    if wanted not in known and mailroom.taxonomy.listed(wanted) != wanted:
        text = f"{wanted!r} was a label until it was renamed, merged, split or retired; see `mailroom taxonomy history`, and give another."
        raise Refused("conflict", text)
    return wanted
