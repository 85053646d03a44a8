"""What a document would be under another model or other rules. Pure: the difference, not the change."""

from __future__ import annotations

from typing import Any

from pipeline.documents import Document, Parsed, Routing, State, Verdict
from pipeline.route import route
from pipeline.rules import Rules


def difference(
    document: Document, parsed: Parsed, verdict: Verdict | None, rules: Rules
) -> dict[str, dict[str, Any]] | None:
    """{"old": ..., "new": ...} of what a plan changes, or None where nothing would."""
    old = current(document)
    new = proposed(verdict, route(rules, verdict, document, parsed.text, document.metadata))
    return {"old": old, "new": new} if any(old[key] != new[key] for key in ("label", "rules", "state")) else None


def current(document: Document) -> dict[str, Any]:
    """What a plan may change, as it stands."""
    return {
        "label": document.label,
        "probability": document.probability,
        "model": document.model,
        "rules": list(document.rules),
        "reason": document.reason,
        "detail": document.detail,
        "state": str(document.state),
    }


def proposed(verdict: Verdict | None, routing: Routing) -> dict[str, Any]:
    """The same facts under the new verdict and rules, with the destinations that would follow."""
    reason = routing.review_reason
    destinations = () if reason else routing.destinations
    return {
        "label": verdict.label if verdict else None,
        "probability": verdict.probability if verdict else None,
        "model": verdict.model if verdict else None,
        "rules": list(routing.rules),
        "reason": reason,
        "detail": f"Reclassified; a person has to decide: {reason}." if reason else None,
        "state": str(State.REVIEW if reason else State.INDEXED),
        "destinations": [f"{d.kind}:{d.target}" for d in destinations],
    }
