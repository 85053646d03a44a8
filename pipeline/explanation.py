"""Explain a prediction: the sentences that influenced it most, measured by leaving each one out in turn. Pure.

The network's internals are not used, so this works for any classifier: a sentence's influence is the drop of the
label's log-odds when the classifier reads the text without it. Only the text that the classifier sees is divided (the
head and the tail of a long text), and removed text is not replaced. If a text has more sentences than texts may be
classified, runs of sentences are measured first; then the most influential run is divided further.
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

#: (start, end) in characters.
Place = tuple[int, int]


class Probabilities(Protocol):
    """The part of a classifier that this module uses: see `pipeline.classify.OnnxClassifier`."""

    labels: tuple[str, ...]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return calibrated probabilities of the labels, shape (len(texts), labels)."""

    def window(self, text: str) -> tuple[Place, ...]:
        """Return the parts of a text that the classifier reads."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the document's text, ``start`` to ``end`` in characters.

    ``influence`` is the drop of the label's log-odds without it (negative: it speaks against the label), ``without``
    the label's probability without it.
    """

    start: int
    end: int
    page: int | None
    text: str
    influence: float
    without: float


@dataclass(frozen=True, slots=True)
class Example:
    """A document that a person labelled, with its passage nearest to the explained document; ``similarity`` is a
    cosine."""

    document_id: str
    document_name: str
    label: str
    similarity: float
    text: str
    start: int
    end: int
    page: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a classifier predicts a document's label.

    ``label``, ``probability`` and the following fields are of the classifier ``model``. ``recorded`` and
    ``recorded_by`` are the document's own label and who assigned it: a person or another version, possibly. ``passes``
    counts the texts that were classified.
    """

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


def influences(classifier: Probabilities, parsed: Parsed, label: str, max_passes: int) -> tuple[tuple[Span, ...], int]:
    """Return the spans that influence the prediction of ``label`` most, strongest first and those against it last; and
    the number of texts classified, at most ``max_passes`` (at least 2)."""
    text = parsed.text
    reader = _PartialReader(classifier, text, label)
    pieces = [
        (max(sentence.start, start), min(sentence.end, end))
        for sentence in split_sentences(text)
        for start, end in reader.window
        if sentence.start < end and sentence.end > start
    ]
    if not pieces:
        return (), 0
    whole = reader.probabilities([()])[0]
    if len(pieces) <= max_passes - 1:
        measured = list(zip(pieces, reader.probabilities([(piece,) for piece in pieces]), strict=True))
    else:
        measured = _coarse_to_fine(reader, pieces, whole, max_passes - 1)
    spans = []
    for (start, end), without in measured:
        influence = _log_odds(whole) - _log_odds(without)
        if abs(influence) >= LEAST:
            page = parsed.page_at(start)
            spans.append(Span(start, end, page, text[start:end], round(influence, 4), round(without, 4)))
    spans.sort(key=lambda span: -span.influence)
    against = [s for s in spans if s.influence < 0][-AGAINST:]
    return (*[s for s in spans if s.influence > 0][:FOR], *against), reader.passes


class _PartialReader:
    """Classifies a text with parts left out, and counts the texts classified."""

    def __init__(self, classifier: Probabilities, text: str, label: str) -> None:
        self._classifier, self._text = classifier, text
        self._column = classifier.labels.index(label)
        self.window = classifier.window(text)
        self.passes = 0

    def probabilities(self, omissions: Sequence[tuple[Place, ...]]) -> list[float]:
        """Return the label's probability for the text, once for each tuple of places to omit."""
        self.passes += len(omissions)
        texts = [
            "\n".join(omit_places(self._text, start, end, places) for start, end in self.window) for places in omissions
        ]
        return [float(p) for p in self._classifier.probabilities(texts)[:, self._column]]


def omit_places(text: str, start: int, end: int, places: tuple[Place, ...]) -> str:
    """Return the text from ``start`` to ``end`` without the places."""
    remaining, at = [], start
    for first, last in sorted(places):
        if last > start and first < end:
            remaining.append(text[at : max(at, first)])
            at = max(at, last)
    return "".join([*remaining, text[at:end]])


def _coarse_to_fine(
    reader: _PartialReader, pieces: list[Place], whole: float, budget: int
) -> list[tuple[Place, float]]:
    """Measure runs of sentences; then, while the budget lasts, the most influential run in parts."""
    measured: dict[tuple[Place, ...], float] = {}
    parts = _runs(tuple(pieces), max(1, budget // 3))
    while len(parts) <= budget:
        budget -= len(parts)
        probabilities = reader.probabilities([((run[0][0], run[-1][1]),) for run in parts])
        measured |= dict(zip(parts, probabilities, strict=True))
        shifts = {run: abs(_log_odds(whole) - _log_odds(p)) for run, p in measured.items() if len(run) > 1}
        best = max(shifts, key=lambda run: shifts[run], default=None)
        if best is None or shifts[best] < LEAST:
            break
        parts = _runs(best, PARTS)
        if len(parts) <= budget:
            del measured[best]
    return [((run[0][0], run[-1][1]), p) for run, p in measured.items()]


def _runs(pieces: tuple[Place, ...], count: int) -> list[tuple[Place, ...]]:
    """Return at most ``count`` runs of about the same number of sentences."""
    size = -(-len(pieces) // count)
    return [pieces[at : at + size] for at in range(0, len(pieces), size)]


def _log_odds(probability: float) -> float:
    clamped = min(max(probability, _EDGE), 1 - _EDGE)
    return float(np.log(clamped / (1 - clamped)))
