"""Hide personal data in what is handed out: values become placeholders such as [IBAN], and offsets move with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pipeline.documents import PersonalSpan as Span
from pipeline.personal_data.detect import find

#: Returns the text of a document and where its personal data stands.
Texts = Callable[[str], tuple[str, Sequence[Span]]]


class Redaction:
    """Hides the values of ``kinds`` in one response.

    Of the documents that the response is about, the values are known with their context, wherever in the response they
    come; in every string those values are hidden too that prove themselves.
    """

    def __init__(self, kinds: Sequence[str], texts: Texts) -> None:
        self._kinds, self._texts = kinds, texts
        self._spans: dict[str, Sequence[Span]] = {}
        self._values: dict[str, str] = {}
        self._occurrences: re.Pattern[str] | None = None

    def apply(self, tree: Any, document_ids: Iterable[str] = ()) -> Any:
        """Return the JSON value without personal data. ``document_ids`` are documents that it is about beside those
        that it names."""
        for document_id in dict.fromkeys((*document_ids, *_document_ids(tree))):
            text, spans = self._texts(document_id)
            self._spans[document_id] = [span for span in spans if span.kind in self._kinds]
            self._values |= {text[span.start : span.end].lower(): span.kind for span in self._spans[document_id]}
        if self._values:
            longest_first = sorted(self._values, key=len, reverse=True)
            self._occurrences = re.compile(
                rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE
            )
        return self._hidden(tree)

    def _hidden(self, value: Any) -> Any:
        if isinstance(value, str):
            return replaced(value, self._places(value))
        if isinstance(value, list):
            return [self._hidden(item) for item in value]
        if not isinstance(value, dict):
            return value
        hidden = {self._hidden(name): self._hidden(item) for name, item in value.items()}
        if isinstance(value.get("text"), str) and isinstance(value.get("start"), int):
            self._hide_part(value, hidden)
        return hidden

    def _hide_part(self, part: dict[str, Any], hidden: dict[str, Any]) -> None:
        """Hide values in a part of a document's text also where the part cuts them, and move its highlights."""
        text, first = part["text"], part["start"]
        cut = [
            Span(max(0, span.start - first), min(len(text), span.end - first), span.kind)
            for span in self._spans.get(part.get("document_id", ""), ())
            if span.start < first + len(text) and span.end > first
        ]
        places = merged([*cut, *self._places(text)])
        hidden["text"] = replaced(text, places)
        if "highlights" in part:
            hidden["highlights"] = [
                list(moved) for pair in part["highlights"] if (moved := shifted(pair[0], pair[1], places))
            ]

    def _places(self, text: str) -> list[Span]:
        matches = self._occurrences.finditer(text) if self._occurrences else ()
        repeated = [Span(*match.span(), self._values.get(match[0].lower(), self._kinds[0])) for match in matches]
        return merged([*repeated, *find(text, self._kinds)])


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order; those that overlap become one, of the kind of the first."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start < result[-1].end:
            result[-1] = Span(result[-1].start, max(result[-1].end, span.end), result[-1].kind)
        else:
            result.append(span)
    return result


def placeholder(kind: str) -> str:
    """Return what stands in the place of a value."""
    return f"[{kind.upper()}]"


def replaced(text: str, spans: Sequence[Span]) -> str:
    """Return the text with placeholders in the place of the spans, which are in order and do not overlap."""
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], placeholder(span.kind)]
        at = span.end
    return "".join((*pieces, text[at:]))


def shifted(start: int, end: int, spans: Sequence[Span]) -> tuple[int, int] | None:
    """Return where a place of the text is after `replaced`; None if a value stands in it."""
    if any(span.start < end and span.end > start for span in spans):
        return None
    shift = sum(len(placeholder(span.kind)) - (span.end - span.start) for span in spans if span.end <= start)
    return start + shift, end + shift


def _document_ids(tree: Any) -> Iterator[str]:
    if isinstance(tree, list):
        for item in tree:
            yield from _document_ids(item)
    elif isinstance(tree, dict):
        yield from (tree[name] for name in ("document_id", "id") if isinstance(tree.get(name), str))
        for item in tree.values():
            yield from _document_ids(item)
