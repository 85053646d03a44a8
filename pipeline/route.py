"""Turn a prediction and the rules into destinations. Pure: nothing is moved here."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parseaddr
from fnmatch import fnmatchcase

from pipeline.documents import Document, Prediction, Routing
from pipeline.patterns import TEXT_LIMIT as PATTERN_LIMIT
from pipeline.rules import Conditions, Rule, Rules

#: Phrases are looked for in this much of a text, which bounds the time of any set of rules.
TEXT_LIMIT = 200_000


class _Facts:
    """The values that conditions test, computed once for all rules."""

    def __init__(
        self, prediction: Prediction | None, document: Document, text: str, metadata: Mapping[str, str]
    ) -> None:
        self.fields = {
            "label": (prediction.label, *prediction.also) if prediction else ("",),
            "path": (document.path,),
            "source": (document.source,),
            "sender": _senders(metadata.get("from", "")),
            "media_type": (document.media_type or "",),
            "flag": document.flags,
        }
        self.score = prediction.probability if prediction else 0.0
        self.pages = document.pages or 0
        self.text = " ".join(text[:TEXT_LIMIT].lower().split())
        self.raw = text[:PATTERN_LIMIT]
        self.metadata = metadata


def route(
    rules: Rules, prediction: Prediction | None, document: Document, text: str, metadata: Mapping[str, str]
) -> Routing:
    """Return the rules that match a document, and the resulting destinations or review.

    A missing or unconfident prediction sends the document to review, unless a rule that holds is trusted without one.
    A rule's own review reason wins over its destinations.
    """
    facts = _Facts(prediction, document, text, metadata)
    confident = prediction is not None and prediction.confident
    matching = [rule for rule in rules.rules if holds(rule, facts)]
    if rules.first_only:
        matching = matching[:1]
    matching = matching or [rules.default]
    destinations = tuple(dict.fromkeys(d for rule in matching for d in rule.destinations))
    reason = next((rule.review for rule in matching if rule.review), None)
    if reason is None and not confident and not any(rule.trust for rule in matching):
        reason = "low-confidence" if prediction is not None else "no-prediction"
    return Routing(destinations, tuple(rule.name for rule in matching), rules.digest, reason)


def holds(rule: Rule, facts: _Facts) -> bool:
    """All of ``when``, and not the whole of ``unless``."""
    return _all(rule.when, facts) and (rule.unless.empty or not _all(rule.unless, facts))


def _all(conditions: Conditions, facts: _Facts) -> bool:
    numbers = conditions.numbers
    return (
        all(_any_glob(globs, facts.fields[name]) for name, globs in conditions.globs.items())
        and (not conditions.texts or any(" ".join(phrase.split()) in facts.text for phrase in conditions.texts))
        and (not conditions.patterns or any(pattern.search(facts.raw) for pattern in conditions.patterns))
        and numbers.get("min_score", 0.0) <= facts.score <= numbers.get("max_score", 1.0)
        and numbers.get("min_pages", 0) <= facts.pages <= numbers.get("max_pages", float("inf"))
        and all(_any_glob((glob,), (facts.metadata.get(key, ""),)) for key, glob in conditions.metadata.items())
    )


def _senders(header: str) -> tuple[str, ...]:
    """What a sender's glob may match: the address, its domain and the domains above it."""
    address = parseaddr(header)[1] or header.strip()
    parts = address.rpartition("@")[2].split(".") if "@" in address else []
    return (address, *(".".join(parts[i:]) for i in range(len(parts) - 1)))


def _any_glob(globs: tuple[str, ...], values: tuple[str, ...]) -> bool:
    return any(fnmatchcase(value.lower(), glob.lower()) for glob in globs for value in values)
