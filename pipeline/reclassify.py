"""What a new model or new rules would change of a document. Pure: a difference is computed, saved and applied
elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.documents import Document, Event, Prediction, Routing, Stage, State
from pipeline.errors import Refused
from pipeline.route import review_detail
from pipeline.taxonomy import Operation, called_today

#: What a plan may change of a document; an item's old and new hold these keys.
CHANGED = ("label", "probability", "model", "rules", "reason", "detail", "state")
#: What makes a difference: under the same label, rules and state the old decision stands, with its own probability.
DECIDED = ("label", "rules", "reason", "state")
#: The model of a document whose label a person gave is this and who it was.
PERSON = "person:"
#: Stage and event of such a decision in the decision record.
REVIEW, APPROVED = "review", "approved"


def eligible(document: Document) -> bool:
    """Return True if a prediction and rules decided the destination: finished, with a readable text."""
    return document.state in (State.INDEXED, State.REVIEW) and document.reason != "no-text"


def standing(document: Document) -> dict[str, Any]:
    """The document's present decision, as JSON values."""
    values = {key: getattr(document, key) for key in CHANGED}
    return {**values, "rules": list(document.rules), "state": str(document.state)}


def proposed(document: Document, prediction: Prediction, routing: Routing) -> dict[str, Any]:
    """Return the decision of prediction and routing, as JSON values."""
    reason = routing.review_reason
    relabelled = replace(document, label=prediction.label, probability=prediction.probability)
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "model": prediction.model,
        "rules": list(routing.rules),
        "reason": reason,
        "detail": review_detail(relabelled, reason) if reason else None,
        "state": str(State.REVIEW if reason else State.INDEXED),
    }


def difference(
    document: Document, prediction: Prediction, routing: Routing, delivered: frozenset[str]
) -> dict[str, Any] | None:
    """An item of a plan {document_id, old, new}, or None when nothing would change.

    ``delivered`` are the destinations ("kind:target") that the document was sent to under its present label. The new
    side's ``destinations`` are those still to be sent to: all of them under a new label, else the ones not yet served.
    """
    item = change(document, prediction, routing, delivered)
    old, new = item["old"], item["new"]
    same = all(old[key] == new[key] for key in DECIDED) and not new["destinations"]
    return None if same else item


def change(document: Document, prediction: Prediction, routing: Routing, delivered: frozenset[str]) -> dict[str, Any]:
    """An item of a plan, whether anything would change or not."""
    old, new = standing(document), proposed(document, prediction, routing)
    targets = [] if routing.review_reason else [f"{d.kind}:{d.target}" for d in routing.destinations]
    if old["label"] == new["label"]:
        targets = [target for target in targets if target not in delivered]
    return {"document_id": document.id, "old": old, "new": {**new, "destinations": targets}}


def delivered(events: Iterable[Event]) -> frozenset[str]:
    """The destinations that a document was sent to by its latest decision, from its decision record."""
    sent: set[str] = set()
    for event in events:
        if event.stage == Stage.ROUTE:
            sent = set() if event.data.get("review") else set(event.data.get("destinations", ()))
        elif (event.stage, event.event) in (("reclassify", "applied"), (REVIEW, APPROVED)):
            new, old = event.data["to"], event.data["from"]
            earlier = sent if new["label"] == old["label"] else set()
            sent = earlier | set(new.get("destinations", ()))
    return frozenset(sent)


def decided(label: str, who: str, also: Sequence[str] = ()) -> Prediction:
    """Return a person's decision as a prediction that is always confident. ``also`` are the person's further labels."""
    return Prediction(label, 1.0, label, 0.0, 0.0, f"{PERSON}{who}", "", also=tuple(also))


def by_person(document: Document) -> bool:
    """Whether a person gave the document its label."""
    return (document.model or "").startswith(PERSON)


def standing_decision(document: Document, events: Iterable[Event], operations: Sequence[Operation]) -> Prediction:
    """A person's decision under today's taxonomy: no model overrules it, but a label that was renamed or merged since
    is called what it is called now. One that was split or retired stays, until a person decides anew."""
    first, *also = labels_today(document, events, operations).values()
    label = first or document.label or ""
    further = [other for other in dict.fromkeys(also) if other not in (None, label)]
    return decided(label, (document.model or "").removeprefix(PERSON), further)


def labels_today(document: Document, events: Iterable[Event], operations: Sequence[Operation]) -> dict[str, str | None]:
    """Return a person's labels of a document, the filed one first, with their current names; None for a label split or
    retired since."""
    data = next((e.data for e in reversed(list(events)) if (e.stage, e.event) == (REVIEW, APPROVED)), {})
    since, labels = str(data.get("taxonomy", "")), (document.label or "", *data.get("also", ()))
    return {label: called_today(label, operations, since) for label in labels}


def present_labels(document: Document, events: Iterable[Event], operations: Sequence[Operation]) -> tuple[str, ...]:
    """Return a document's labels, the filed one first ("" for none): a person's labels under their current names,
    otherwise the classifier's confident ones. A plan stores one label only."""
    events = list(events)
    if by_person(document):
        prediction = standing_decision(document, events, operations)
        return (prediction.label, *prediction.also)
    last = next((event for event in reversed(events) if event.stage in (Stage.CLASSIFY, "reclassify")), None)
    also = last.data.get("also", ()) if last and last.stage == Stage.CLASSIFY else ()
    return (document.label or "", *also)


def approval(
    document: Document, label: str, who: str, routing: Routing, delivered: frozenset[str]
) -> Mapping[str, Any]:
    """The item that files a document under the label that a person gave it. A rule that asks for a person has been
    heard. Raises Refused("conflict") for a document that is on its way, failed or was deleted."""
    if document.state not in (State.INDEXED, State.REVIEW):
        raise Refused(
            "conflict", f"Document {document.id} is {document.state}; only what is filed or in review is approved."
        )
    return change(document, decided(label, who), replace(routing, review_reason=None), delivered)


def matrix(items: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """How many documents move from one place to another: (old, new) -> count; a place is a label, or "review"."""
    return Counter((place(item["old"]), place(item["new"])) for item in items)


def place(side: Mapping[str, Any]) -> str:
    """Where one side of an item leaves the document, in one word."""
    if side["state"] == State.REVIEW:
        return "review"
    return side["label"] or "unlabelled"
