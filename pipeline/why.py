"""Why a document got its verdict: the sentences that moved it most, found by leaving each out in turn. Pure.

Nothing of the network is looked into, so the account holds for any classifier: a sentence matters as much as the log-odds
of the verdict's label fall when the classifier reads the text without it. Only what the classifier sees is cut up (of a
long text its head and its tail), and what is left out is not filled up from elsewhere. A text of more sentences than
there are passes is looked at in runs of sentences first, and the run that matters most then in ever smaller parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.documents import Parsed
from pipeline.sentences import split_sentences

#: Spans told for the label, and against it.
FOR, AGAINST = 5, 2
#: A change of the log-odds under this is noise.
LEAST = 0.05
#: A run of sentences that matters is looked at in this many parts.
PARTS = 6
_EDGE = 1e-9

Place = tuple[int, int]


class Probabilities(Protocol):
    """What is asked of a classifier."""

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
    """``label`` and ``probability`` are the classifier's, ``model`` says which one; ``recorded`` and ``recorded_by`` are the
    document's own, which a person or an older version may have given. ``passes`` counts the texts that were judged."""

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
    """The spans that moved the verdict for ``label`` most, the strongest first, those against it last; and the number of
    texts that were judged, at most ``passes`` (2 at least)."""
    text = parsed.text
    reader = _Reader(judge, text, label)
    pieces = _pieces(text, reader.window)
    if not pieces:
        return (), 0
    whole = reader.judged([()])[0]
    if len(pieces) <= passes - 1:
        found = list(zip(pieces, reader.judged([(p,) for p in pieces]), strict=True))
    else:
        found = _coarse_to_fine(reader, pieces, whole, passes - 1)
    spans = [_span(parsed, place, whole, without) for place, without in found]
    spans = sorted((s for s in spans if abs(s.influence) >= LEAST), key=lambda s: -s.influence)
    against = [s for s in spans if s.influence < 0][-AGAINST:]
    return (*[s for s in spans if s.influence > 0][:FOR], *against), reader.passes


class _Reader:
    """Shows a classifier a text with parts left out."""

    def __init__(self, judge: Probabilities, text: str, label: str) -> None:
        self._judge, self._text = judge, text
        self._column = judge.labels.index(label)
        self.window = judge.window(text)
        self.passes = 0

    def judged(self, left_out: Sequence[tuple[Place, ...]]) -> list[float]:
        """The label's probability for the text without each of these."""
        self.passes += len(left_out)
        texts = [self._without(places) for places in left_out]
        return [float(p) for p in self._judge.probabilities(texts)[:, self._column]]

    def _without(self, places: tuple[Place, ...]) -> str:
        return "\n".join(_cut(self._text, start, end, places) for start, end in self.window)


def _cut(text: str, start: int, end: int, places: tuple[Place, ...]) -> str:
    kept, at = [], start
    for first, last in sorted(places):
        if last > start and first < end:
            kept.append(text[at : max(at, first)])
            at = max(at, last)
    return "".join([*kept, text[at:end]])


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
    known: dict[tuple[Place, ...], float] = {}
    parts = _runs(tuple(pieces), max(1, budget // 3))
    while len(parts) <= budget:
        budget -= len(parts)
        left = reader.judged([((run[0][0], run[-1][1]),) for run in parts])
        known |= dict(zip(parts, left, strict=True))
        moved = {run: abs(_odds(whole) - _odds(p)) for run, p in known.items() if len(run) > 1}
        best = max(moved, key=lambda run: moved[run], default=None)
        if best is None or moved[best] < LEAST:
            break
        parts = _runs(best, PARTS)
        if len(parts) <= budget:
            del known[best]
    return [((run[0][0], run[-1][1]), p) for run, p in known.items()]


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
    kept = min(max(probability, _EDGE), 1 - _EDGE)
    return float(np.log(kept / (1 - kept)))
