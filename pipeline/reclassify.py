"""What a new model or new rules would change of a document. Pure: a difference is computed, saved and applied elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pipeline.documents import Document, Event, Routing, Stage, State, Verdict
from pipeline.ingest import review_detail

#: What a plan may change of a document; an item's old and new hold these keys.
CHANGED = ("label", "probability", "model", "rules", "reason", "detail", "state")
#: What makes a difference: under the same label, rules and state the old decision stands, with its own probability.
DECIDED = ("label", "rules", "reason", "state")


def eligible(document: Document) -> bool:
    """Whether its place was decided by a verdict and rules: done, with a readable text."""
    return document.state in (State.INDEXED, State.REVIEW) and document.reason != "no-text"


def standing(document: Document) -> dict[str, Any]:
    """The document's present decision, as JSON values."""
    values = {key: getattr(document, key) for key in CHANGED}
    return {**values, "rules": list(document.rules), "state": str(document.state)}


def proposed(document: Document, verdict: Verdict, routing: Routing) -> dict[str, Any]:
    """The decision that verdict and routing make, as JSON values."""
    reason = routing.review_reason
    seen = replace(document, label=verdict.label, probability=verdict.probability)
    return {
        "label": verdict.label,
        "probability": verdict.probability,
        "model": verdict.model,
        "rules": list(routing.rules),
        "reason": reason,
        "detail": review_detail(seen, reason) if reason else None,
        "state": str(State.REVIEW if reason else State.INDEXED),
    }


def difference(
    document: Document, verdict: Verdict, routing: Routing, delivered: frozenset[str]
) -> dict[str, Any] | None:
    """An item of a plan {document_id, old, new}, or None when nothing would change.

    ``delivered`` are the destinations ("kind:target") that the document was sent to under its present label. The new
    side's ``destinations`` are those still to be sent to: all of them under a new label, else the ones not yet served.
    """
    old, new = standing(document), proposed(document, verdict, routing)
    wanted = [] if routing.review_reason else [f"{d.kind}:{d.target}" for d in routing.destinations]
    if old["label"] == new["label"]:
        wanted = [each for each in wanted if each not in delivered]
    if all(old[key] == new[key] for key in DECIDED) and not wanted:
        return None
    return {"document_id": document.id, "old": old, "new": {**new, "destinations": wanted}}


def delivered(events: Iterable[Event]) -> frozenset[str]:
    """The destinations that a document was sent to by its latest decision, from its decision record."""
    sent: set[str] = set()
    for event in events:
        if event.stage == Stage.ROUTE:
            sent = set() if event.facts.get("review") else set(event.facts.get("destinations", ()))
        elif event.stage == "reclassify" and event.event == "applied":
            new, old = event.facts["to"], event.facts["from"]
            kept = sent if new["label"] == old["label"] else set()
            sent = kept | set(new.get("destinations", ()))
    return frozenset(sent)


def matrix(items: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """How many documents move from one place to another: (old, new) -> count; a place is a label, or "review"."""
    return Counter((place(item["old"]), place(item["new"])) for item in items)


def place(side: Mapping[str, Any]) -> str:
    """Where one side of an item leaves the document, in one word."""
    if side["state"] == State.REVIEW:
        return "review"
    return side["label"] or "unlabelled"
