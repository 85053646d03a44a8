"""Explain a prediction: the sentences that influenced it most, measured by leaving each one out in turn. Pure.

The network's internals are not used, so this works for any classifier: a sentence's influence is the drop of the
label's log-odds when the classifier reads the text without it. Only the text that the classifier sees is divided (the
head and the tail of a long text), and removed text is not replaced. A text with more sentences than passes is divided
into runs of sentences first; then the most influential run is divided further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.documents import Parsed
from pipeline.sentences import split_sentences

#: Spans reported for the label, and against it.
FOR, AGAINST = 5, 2
#: A smaller change of the log-odds is noise.
LEAST = 0.05
#: An influential run of sentences is divided into this many parts.
PARTS = 6
_EDGE = 1e-9

Place = tuple[int, int]


class Probabilities(Protocol):
    """The methods of a classifier that this module uses."""

    labels: tuple[str, ...]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray: ...

    def window(self, text: str) -> tuple[Place, ...]: ...


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the document's text, ``start`` to ``end`` in characters. ``influence`` is how much the log-odds of the
    label fall without it (negative: it speaks against the label), ``without`` the probability that would be left."""

    start: int
    end: int
    page: int | None
    text: str
    influence: float
    without: float


@dataclass(frozen=True, slots=True)
class Example:
    """A document that a person labelled, and its passage nearest to the explained one; ``similarity`` is a cosine."""

    document_id: str
    document_name: str
    label: str
    similarity: float
    text: str
    start: int
    end: int
    page: int | None


@dataclass(frozen=True, slots=True)
class Why:
    """``label`` and ``probability`` are the classifier's, ``model`` says which one; ``recorded`` and ``recorded_by``
    are the document's own, which a person or an older version may have given. ``passes`` counts the texts that were
    judged."""

    document_id: str
    label: str
    probability: float
    runner_up: str
    threshold: float
    confident: bool
    model: str
    recorded: str | None
    recorded_by: str | None
    passes: int
    spans: tuple[Span, ...]
    examples: tuple[Example, ...]


def influences(judge: Probabilities, parsed: Parsed, label: str, passes: int) -> tuple[tuple[Span, ...], int]:
    """Return the spans that influence the prediction of ``label`` most, strongest first and those against it last; and
    the number of texts classified, at most ``passes`` (at least 2)."""
    text = parsed.text
    reader = _Reader(judge, text, label)
    pieces = _pieces(text, reader.window)
    if not pieces:
        return (), 0
    whole = reader.judged([()])[0]
    if len(pieces) <= passes - 1:
        probabilities = list(zip(pieces, reader.judged([(p,) for p in pieces]), strict=True))
    else:
        probabilities = _coarse_to_fine(reader, pieces, whole, passes - 1)
    spans = [_span(parsed, place, whole, without) for place, without in probabilities]
    spans = sorted((s for s in spans if abs(s.influence) >= LEAST), key=lambda s: -s.influence)
    against = [s for s in spans if s.influence < 0][-AGAINST:]
    return (*[s for s in spans if s.influence > 0][:FOR], *against), reader.passes


class _Reader:
    """Classifies a text with parts left out."""

    def __init__(self, judge: Probabilities, text: str, label: str) -> None:
        self._judge, self._text = judge, text
        self._column = judge.labels.index(label)
        self.window = judge.window(text)
        self.passes = 0

    def judged(self, left_out: Sequence[tuple[Place, ...]]) -> list[float]:
        """Return the label's probability for the text, once without each of these tuples of places."""
        self.passes += len(left_out)
        texts = [self._without(places) for places in left_out]
        return [float(p) for p in self._judge.probabilities(texts)[:, self._column]]

    def _without(self, places: tuple[Place, ...]) -> str:
        return "\n".join(_cut(self._text, start, end, places) for start, end in self.window)


def _cut(text: str, start: int, end: int, places: tuple[Place, ...]) -> str:
    remaining, at = [], start
    for first, last in sorted(places):
        if last > start and first < end:
            remaining.append(text[at : max(at, first)])
            at = max(at, last)
    return "".join([*remaining, text[at:end]])


def _pieces(text: str, window: Sequence[Place]) -> list[Place]:
    """The sentences, as far as the classifier sees them."""
    pieces = []
    for sentence in split_sentences(text):
        for start, end in window:
            if sentence.start < end and sentence.end > start:
                pieces.append((max(sentence.start, start), min(sentence.end, end)))
    return pieces


def _coarse_to_fine(reader: _Reader, pieces: list[Place], whole: float, budget: int) -> list[tuple[Place, float]]:
    """Runs of sentences first; then, for as long as the budget lasts, the run that matters most in its parts."""
    measured: dict[tuple[Place, ...], float] = {}
    parts = _runs(tuple(pieces), max(1, budget // 3))
    while len(parts) <= budget:
        budget -= len(parts)
        left = reader.judged([((run[0][0], run[-1][1]),) for run in parts])
        measured |= dict(zip(parts, left, strict=True))
        moved = {run: abs(_odds(whole) - _odds(p)) for run, p in measured.items() if len(run) > 1}
        best = max(moved, key=lambda run: moved[run], default=None)
        if best is None or moved[best] < LEAST:
            break
        parts = _runs(best, PARTS)
        if len(parts) <= budget:
            del measured[best]
    return [((run[0][0], run[-1][1]), p) for run, p in measured.items()]


def _runs(pieces: tuple[Place, ...], count: int) -> list[tuple[Place, ...]]:
    """At most ``count`` runs of about the same number of sentences."""
    size = -(-len(pieces) // count)
    return [pieces[at : at + size] for at in range(0, len(pieces), size)]


def _span(parsed: Parsed, place: Place, whole: float, without: float) -> Span:
    start, end = place
    influence = _odds(whole) - _odds(without)
    return Span(start, end, page_at(parsed, start), parsed.text[start:end], round(influence, 4), round(without, 4))


def page_at(parsed: Parsed, offset: int) -> int | None:
    """The page that a character of the text stands on; None where the format has no pages."""
    at, page = 0, None
    for element in parsed.elements:
        if element.text:
            if at > offset:
                break
            page, at = element.page, at + len(element.text) + 2  # the blank line that joins elements
    return page


def _odds(probability: float) -> float:
    clamped = min(max(probability, _EDGE), 1 - _EDGE)
    return float(np.log(clamped / (1 - clamped)))
