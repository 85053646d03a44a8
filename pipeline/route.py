"""Turn a prediction and the rules into destinations. Pure: nothing is moved here."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parseaddr
from fnmatch import fnmatchcase

from pipeline.documents import Document, Prediction, Routing
from pipeline.patterns import TEXT_LIMIT as PATTERN_LIMIT
from pipeline.rules import Conditions, RoutingRule, Rules

#: Phrases are looked for in this much of a text, which bounds the time of any set of rules.
TEXT_LIMIT = 200_000


class DocumentValues:
    """The values of one document that conditions test, computed once for all rules."""

    def __init__(
        self, prediction: Prediction | None, document: Document, text: str, metadata: Mapping[str, str]
    ) -> None:
        self.fields: Mapping[str, tuple[str, ...]] = {
            "label": (prediction.label, *prediction.also) if prediction else ("",),
            "path": (document.path,),
            "source": (document.source,),
            "sender": sender_names(metadata.get("from", "")),
            "media_type": (document.media_type or "",),
            "flag": document.flags,
            "personal_data": tuple(document.personal_data),
        }
        self.counts = document.personal_data
        self.score = prediction.probability if prediction else 0.0
        self.pages = document.pages or 0
        self.folded_text = " ".join(text[:TEXT_LIMIT].lower().split())
        self.text_for_patterns = text[:PATTERN_LIMIT]
        self.metadata = metadata


def route(
    rules: Rules, prediction: Prediction | None, document: Document, text: str, metadata: Mapping[str, str]
) -> Routing:
    """Return the rules that match a document, and the resulting destinations or review.

    A missing or unconfident prediction sends the document to review, unless a matching rule is trusted without one. A
    rule's own review reason wins over its destinations.
    """
    values = DocumentValues(prediction, document, text, metadata)
    confident = prediction is not None and prediction.confident
    matching = [rule for rule in rules.rules if matches(rule, values)]
    if rules.first_only:
        matching = matching[:1]
    matching = matching or [rules.default]
    destinations = tuple(dict.fromkeys(d for rule in matching for d in rule.destinations))
    reason = next((rule.review for rule in matching if rule.review), None)
    if reason is None and not confident and not any(rule.trust for rule in matching):
        reason = "low-confidence" if prediction is not None else "no-prediction"
    return Routing(destinations, tuple(rule.name for rule in matching), rules.digest, reason)


def matches(rule: RoutingRule, values: DocumentValues) -> bool:
    """Return True if all conditions of ``when`` hold, and not all of ``unless``."""
    return _all_hold(rule.when, values) and (rule.unless.empty or not _all_hold(rule.unless, values))


def review_detail(document: Document, reason: str) -> str:
    """Return the sentence that tells a person why the document is in review."""
    if reason == "low-confidence" and document.probability is not None:
        return f"The classifier proposes {document.label} at {document.probability:.2f}, which is under its threshold."
    return f"A rule or a missing prediction asks for a person: {reason}."


def _all_hold(conditions: Conditions, values: DocumentValues) -> bool:
    numbers = conditions.numbers
    return (
        all(_any_matches(globs, values.fields[name]) for name, globs in conditions.globs.items())
        and (not conditions.texts or any(" ".join(text.split()) in values.folded_text for text in conditions.texts))
        and (not conditions.patterns or any(p.search(values.text_for_patterns) for p in conditions.patterns))
        and all(values.counts.get(kind, 0) >= count for kind, count in conditions.least_counts.items())
        and numbers.get("min_score", 0.0) <= values.score <= numbers.get("max_score", 1.0)
        and numbers.get("min_pages", 0) <= values.pages <= numbers.get("max_pages", float("inf"))
        and all(_any_matches((glob,), (values.metadata.get(key, ""),)) for key, glob in conditions.metadata.items())
    )


def sender_names(header: str) -> tuple[str, ...]:
    """Return what a sender's glob may match: the address, its domain and the domains above it."""
    address = parseaddr(header)[1] or header.strip()
    parts = address.rpartition("@")[2].split(".") if "@" in address else []
    return (address, *(".".join(parts[i:]) for i in range(len(parts) - 1)))


def _any_matches(globs: tuple[str, ...], values: tuple[str, ...]) -> bool:
    return any(fnmatchcase(value.lower(), glob.lower()) for glob in globs for value in values)
