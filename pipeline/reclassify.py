"""What a new model or new rules would change about a document. Pure: a difference is computed here, saved and applied
elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.documents import Document, Event, Prediction, Routing, Stage, State
from pipeline.errors import Refused
from pipeline.route import review_detail
from pipeline.taxonomy import Operation, current_name

#: What a plan may change about a document; an item's old and new side have these keys.
CHANGED = ("label", "probability", "model", "rules", "reason", "detail", "state")
#: What makes a difference: with the same label, rules and state the old decision stays, with its own probability.
DECIDED = ("label", "rules", "reason", "state")
#: The model of a document with a person's label is this, followed by the person.
PERSON = "person:"
#: Stage and event of a person's decision in the decision record.
REVIEW, APPROVED = "review", "approved"


def eligible(document: Document) -> bool:
    """Return True if a prediction and rules decided the destination: finished, with a readable text."""
    return document.state in (State.INDEXED, State.REVIEW) and document.reason != "no-text"


def current_decision(document: Document) -> dict[str, Any]:
    """Return the document's current decision, as JSON values."""
    values = {key: getattr(document, key) for key in CHANGED}
    return {**values, "rules": list(document.rules), "state": str(document.state)}


def proposed_decision(document: Document, prediction: Prediction, routing: Routing) -> dict[str, Any]:
    """Return the decision that follows from prediction and routing, as JSON values."""
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
    """Return an item of a plan {document_id, old, new}, or None if nothing would change.

    ``delivered`` are the destinations ("kind:target") that the document was sent to under its current label. The new
    side's ``destinations`` are those that it still has to be sent to: all of them under a new label, otherwise the
    remaining ones.
    """
    item = plan_item(document, prediction, routing, delivered)
    old, new = item["old"], item["new"]
    is_same = all(old[key] == new[key] for key in DECIDED) and not new["destinations"]
    return None if is_same else item


def plan_item(
    document: Document, prediction: Prediction, routing: Routing, delivered: frozenset[str]
) -> dict[str, Any]:
    """Return an item of a plan as `difference` does, also if nothing would change."""
    old, new = current_decision(document), proposed_decision(document, prediction, routing)
    targets = [] if routing.review_reason else [f"{d.kind}:{d.target}" for d in routing.destinations]
    if old["label"] == new["label"]:
        targets = [target for target in targets if target not in delivered]
    return {"document_id": document.id, "old": old, "new": {**new, "destinations": targets}}


def delivered_to(events: Iterable[Event]) -> frozenset[str]:
    """Return the destinations ("kind:target") of the latest decision in a decision record."""
    sent: set[str] = set()
    for event in events:
        if event.stage == Stage.ROUTE:
            sent = set() if event.data.get("review") else set(event.data.get("destinations", ()))
        elif (event.stage, event.event) in (("reclassify", "applied"), (REVIEW, APPROVED)):
            new, old = event.data["to"], event.data["from"]
            earlier = sent if new["label"] == old["label"] else set()
            sent = earlier | set(new.get("destinations", ()))
    return frozenset(sent)


def person_prediction(label: str, who: str, also: Sequence[str] = ()) -> Prediction:
    """Return a person's decision as a prediction that is always confident. ``also`` are the person's further labels."""
    return Prediction(label, 1.0, label, 0.0, 0.0, f"{PERSON}{who}", "", also=tuple(also))


def has_person_label(document: Document) -> bool:
    """Return True if a person assigned the document's label."""
    return (document.model or "").startswith(PERSON)


def person_decision(document: Document, events: Iterable[Event], operations: Sequence[Operation]) -> Prediction:
    """Return a person's decision with the labels' current names.

    No model overrules it. A label that was renamed or merged since has its new name; one that was split or retired
    stays until a person decides again.
    """
    first, *also = current_labels(document, events, operations).values()
    label = first or document.label or ""
    further = [name for name in dict.fromkeys(also) if name is not None and name != label]
    return person_prediction(label, (document.model or "").removeprefix(PERSON), further)


def current_labels(
    document: Document, events: Iterable[Event], operations: Sequence[Operation]
) -> dict[str, str | None]:
    """Return a person's labels of a document, the filed one first, with their current names; None for a label that was
    split or retired since."""
    data = next((e.data for e in reversed(list(events)) if (e.stage, e.event) == (REVIEW, APPROVED)), {})
    since, labels = str(data.get("taxonomy", "")), (document.label or "", *data.get("also", ()))
    return {label: current_name(label, operations, since) for label in labels}


def document_labels(document: Document, events: Iterable[Event], operations: Sequence[Operation]) -> tuple[str, ...]:
    """Return a document's labels, the filed one first ("" for none): a person's labels under their current names,
    otherwise the classifier's confident ones. A plan stores one label only."""
    events = list(events)
    if has_person_label(document):
        prediction = person_decision(document, events, operations)
        return (prediction.label, *prediction.also)
    last = next((event for event in reversed(events) if event.stage in (Stage.CLASSIFY, "reclassify")), None)
    also = last.data.get("also", ()) if last and last.stage == Stage.CLASSIFY else ()
    return (document.label or "", *also)


def approval(
    document: Document, label: str, who: str, routing: Routing, delivered: frozenset[str]
) -> Mapping[str, Any]:
    """Return the plan item that files a document under a person's label, even if a rule asks for a person.

    Raises Refused("conflict") for a document that is still processing, failed or was deleted.
    """
    if document.state not in (State.INDEXED, State.REVIEW):
        raise Refused(
            "conflict", f"Document {document.id} is {document.state}; only what is filed or in review is approved."
        )
    return plan_item(document, person_prediction(label, who), replace(routing, review_reason=None), delivered)


def transition_counts(items: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """Count the documents by (old, new), both as `decision_name` returns them."""
    return Counter((decision_name(item["old"]), decision_name(item["new"])) for item in items)


def decision_name(side: Mapping[str, Any]) -> str:
    """Return one side of an item in one word: the label, "unlabelled" or "review"."""
    if side["state"] == State.REVIEW:
        return "review"
    return side["label"] or "unlabelled"
