"""Find personal data in a text: kinds and places, never the values themselves."""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pipeline.documents import PersonalSpan as Span
from pipeline.personal_data.kinds import DETECTORS_IN_ORDER, KINDS, Detector

_DIGIT_OR_AT = re.compile(r"[0-9@]")
#: Characters before and after a candidate in which the words of its context may stand.
BEFORE, AFTER = 60, 20
#: Characters of the longest value that needs a context.
LONGEST = 45
#: Characters before a candidate in which the name of a thing (an order, a part) may stand.
JUST_BEFORE = 40


def find(text: str, kinds: Sequence[str] = KINDS) -> tuple[Span, ...]:
    """Return the personal data of a text, in order and without overlaps; the more specific kind comes first."""
    if not _DIGIT_OR_AT.search(text):  # no kind has neither
        return ()
    spans: list[Span] = []
    for detector in DETECTORS_IN_ORDER:
        if detector.kind in kinds:
            for start, end in _places(detector, text):
                if _is_free(spans, start, end):
                    insort(spans, Span(start, end, detector.kind))
    return tuple(spans)


def counts(spans: Sequence[Span]) -> Mapping[str, int]:
    """Return how many values of each kind there are."""
    return dict(sorted(Counter(span.kind for span in spans).items()))


def _places(detector: Detector, text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for first, last in _zones(detector, text):
        at = max(at, first)
        while match := detector.pattern.search(text, at, last):
            start, end = match.span()
            accepted = _has_context(detector, text, start, end) and detector.check(match[0])
            if accepted and not isinstance(accepted, bool):
                end = start + accepted
            if accepted:
                at = end
                yield start, end
                continue
            at = start  # a value may begin at the second word
            while at < end and text[at].isalnum():
                at += 1
            at += 1


def _zones(detector: Detector, text: str) -> Iterator[tuple[int, int]]:
    """Return the parts of the text in which a candidate may stand: all of it, or what is near the context's words."""
    if detector.context is None:
        yield 0, len(text)
        return
    first, last = 0, -1
    for match in detector.context.finditer(text):
        start, end = max(0, match.start() - AFTER - LONGEST), match.end() + BEFORE + LONGEST
        if start > last:
            if last >= 0:
                yield first, last
            first = start
        last = end
    if last >= 0:
        yield first, last


def _has_context(detector: Detector, text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - BEFORE) : start], text[end : end + AFTER].partition("\n")[0]
    named = 0 if detector.context is None else max((m.end() for m in detector.context.finditer(before)), default=-1)
    thing = detector.unless.search(before[-JUST_BEFORE:]) if detector.unless else None
    if thing and thing.start() + max(0, len(before) - JUST_BEFORE) >= named:
        return False
    return named >= 0 or bool(detector.context and detector.context.search(after))


def _is_free(spans: Sequence[Span], start: int, end: int) -> bool:
    """Return True if no span overlaps the place; ``spans`` are in order."""
    at = bisect_right(spans, Span(start, start, ""))
    before, behind = spans[at - 1] if at else None, spans[at] if at < len(spans) else None
    return (before is None or before.end <= start) and (behind is None or behind.start >= end)
