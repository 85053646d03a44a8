"""Turn text into a calibrated prediction, and check first that there is a text at all."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.documents import Prediction
from pipeline.onnx import CHARACTERS_PER_TOKEN, ModelFolder, OnnxModel, batches
from pipeline.taxonomy import NEVER, Operation, labelling

#: Tokens in one call of the network, padding included.
TOKEN_BUDGET = 4096
#: Of a text longer than the window, this share of the window is its beginning and the rest its end: a document says
#: what it is at the top, and signs, totals or thanks at the bottom.
HEAD_SHARE = 0.75
#: The text quality is measured on at most this many characters.
QUALITY_SAMPLE = 100_000
#: A text with fewer letters in words is not readable, however clean: a page number is no content.
QUALITY_LETTERS = 12

_PART = re.compile(r"[^\W\d_]+|\d+")
_EDGE = re.compile(r"^[\W_]+|[\W_]+$")
_VOWEL = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿ]", re.IGNORECASE)
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxzß]{6}", re.IGNORECASE)
_LATIN = re.compile(r"[a-zà-öø-ÿœß]", re.IGNORECASE)
_CAMEL = re.compile(r"[a-zà-öø-ÿ][A-ZÀ-ÖØ-Þ]")


class OnnxClassifier:
    """Implements `pipeline.ports.Classifier` with a network whose output is ``logits`` of shape (batch, labels).

    ``operations`` are the organisation's taxonomy: predictions, labels and thresholds follow it, see `pipeline.taxonomy`.
    """

    def __init__(
        self,
        folder: ModelFolder,
        threads: int = 1,
        token_budget: int = TOKEN_BUDGET,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        operations: Sequence[Operation] = (),
    ) -> None:
        self.name = folder.manifest.title
        self._folder, self._manifest = folder, folder.manifest
        self._budget = token_budget
        self._model = OnnxModel(folder, "logits", threads, providers)
        self._follow(operations)

    def with_taxonomy(self, operations: Sequence[Operation]) -> OnnxClassifier:
        """Return the same network with another state of the taxonomy, without loading it again."""
        other = copy.copy(self)
        other._follow(operations)
        return other

    def _follow(self, operations: Sequence[Operation]) -> None:
        manifest = self._manifest
        limits = [manifest.thresholds[label] for label in manifest.labels]
        self._labelling = labelling(manifest.labels, limits, operations, manifest.taxonomy)
        self.labels = self._labelling.labels
        self.digest = self._folder.digest("classify-2", manifest.temperature, self._labelling.digest)

    def runs(self, folder: ModelFolder) -> bool:
        """Return True if this classifier runs the files of ``folder``."""
        return folder.manifest == self._manifest

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that the runtime gave, in order."""
        return self._model.providers

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Return one prediction per text, in order. A text without tokens gets equal probabilities and is never confident."""
        own = self._outputs(texts)
        current = self._labelling.probabilities(own, self._manifest.multi)
        return [self._prediction(*rows) for rows in zip(texts, own, current, strict=True)]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return calibrated probabilities of the current labels, float64, shape (len(texts), labels). Rows sum to 1, or to less
        where a label was retired; each stands for itself where the model gives several labels."""
        return self._labelling.probabilities(self._outputs(texts), self._manifest.multi)

    def window(self, text: str) -> tuple[tuple[int, int], ...]:
        """The parts of a text that the network sees, as (start, end) in characters: all of it, or its head and its tail."""
        return seen(self._model.tokenizer, text, self._manifest.max_length)

    def _outputs(self, texts: Sequence[str]) -> np.ndarray:
        """The network's own calibrated probabilities."""
        ids = encode(self._model.tokenizer, texts, self._manifest.max_length)
        logits = np.zeros((len(texts), len(self._manifest.labels)))
        for batch in batches(ids, self._budget):
            logits[list(batch.rows)] = self._model.run(batch)
        logits[[row for row, text in enumerate(texts) if not text.strip()]] = 0.0
        scaled = logits / self._manifest.temperature
        return 1.0 / (1.0 + np.exp(-scaled)) if self._manifest.multi else softmax(scaled)

    def _prediction(self, text: str, own: np.ndarray, current: np.ndarray) -> Prediction:
        second, first = np.argsort(current, kind="stable")[-2:]
        outputs = self._labelling.outputs[first]
        label = self.labels[first]
        model_label = self._manifest.labels[max(outputs, key=lambda i: own[i])] if outputs else label
        return Prediction(
            label=label,
            probability=float(current[first]),
            runner_up=self.labels[second],
            runner_up_probability=float(current[second]),
            threshold=self._labelling.thresholds[first] if text.strip() else NEVER,
            model=self.name,
            digest=self._manifest.files[self._manifest.model],
            model_label=model_label if model_label != label else "",
            taxonomy=self._labelling.taxonomy,
            also=self._also(current, first) if self._manifest.multi and text.strip() else (),
        )

    def _also(self, current: np.ndarray, first: int) -> tuple[str, ...]:
        """The other labels that are sure, the most probable first."""
        order = np.argsort(-current, kind="stable")
        return tuple(self.labels[n] for n in order if n != first and current[n] >= self._labelling.thresholds[n])


def encode(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each text, at most ``max_length``: its head and its tail where it is longer.

    Training and serving both come through here, so that the network meets the same cut. Characters beyond what the
    window could hold are cut first: a text of a megabyte costs no more than a page.
    """
    room = max_length * CHARACTERS_PER_TOKEN
    cut = [text if len(text) <= 2 * room else f"{text[:room]}\n{text[-room:]}" for text in texts]
    return [_head_and_tail(encoding.ids, max_length) for encoding in tokenizer.encode_batch(cut)]


def _head_and_tail(ids: list[int], max_length: int) -> list[int]:
    if len(ids) <= max_length:
        return ids
    head = int(max_length * HEAD_SHARE)
    return ids[:head] + ids[head - max_length :]


def seen(tokenizer: Any, text: str, max_length: int) -> tuple[tuple[int, int], ...]:
    """The parts of a text, as (start, end) in characters, whose tokens `encode` keeps."""
    room = max_length * CHARACTERS_PER_TOKEN
    short = len(text) <= 2 * room
    head, tail = (text, "") if short else (text[:room], text[-room:])
    places = [span for span in tokenizer.encode(f"{head}\n{tail}" if tail else head).offsets if span[1] > span[0]]
    if len(places) <= max_length and short:
        return ((0, len(text)),) if text else ()
    # Of the joined text, what lies past the head and its line end lies this much further on in the whole one.
    moved = 0 if short else len(text) - room - (room + 1)
    places_read = _head_and_tail(places, max_length)
    first = int(max_length * HEAD_SHARE) if len(places) > max_length else sum(end <= room for _, end in places)
    parts = [places_read[:first], places_read[first:]]
    spans = [(part[0][0], part[-1][1]) for part in parts if part]
    return tuple(_shifted(span, room, moved) for span in spans)


def _shifted(span: tuple[int, int], room: int, moved: int) -> tuple[int, int]:
    return span if not moved or span[0] < room else (span[0] + moved, span[1] + moved)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows of probabilities."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True)) if logits.size else logits
    return powers / powers.sum(axis=-1, keepdims=True)


def text_quality(text: str) -> float:
    """How readable a text is, 0..1: the share of its characters that stand in plausible words or numbers, lowered
    where there are hardly any words. 0 for nothing and for garbage; prose is near 1, a table of figures above 0.6.
    """
    total = long = short = figures = 0
    for token in _sample(text).split():
        core = _EDGE.sub("", token)
        total += len(token)
        if not core or not _is_plausible(core):
            continue
        words = sum(len(part) for part in _PART.findall(core) if not part.isdigit())
        if not words:
            figures += len(token)
        elif words > 2 or not core.isascii():
            long += len(token)
        else:
            short += len(token)
    if not total:
        return 0.0
    # Noise from a scanner is full of one- and two-letter "words"; in a language they never outweigh the others.
    good = long + figures + min(short, long)
    return good / total * min(1.0, long / QUALITY_LETTERS)


def readable(text: str, floor: float) -> bool:
    """Whether the text is good enough to be classified."""
    return text_quality(text) >= floor


def _sample(text: str) -> str:
    """Three pieces of a long text, so that a clean cover page does not vouch for a broken rest."""
    if len(text) <= QUALITY_SAMPLE:
        return text
    third, middle = QUALITY_SAMPLE // 3, len(text) // 2
    return " ".join((text[:third], text[middle : middle + third], text[-third:]))


def _is_plausible(core: str) -> bool:
    """Whether a blank-separated token is made of words and numbers. Letters and digits in quick turns are encoded bytes."""
    parts = _PART.findall(core)
    return len(parts) <= max(5, len(core) // 3) and all(part.isdigit() or _is_word(part) for part in parts)


def _is_word(word: str) -> bool:
    latin = len(_LATIN.findall(word))
    if latin < len(word):
        # Another script: nothing is known about its words, so a letter is a letter. Latin letters do not mix with it.
        return latin == 0
    if len(word) > 30 or _CONSONANTS.search(word) or len(_CAMEL.findall(word)) > 2:
        return False
    return len(word) <= 3 or (word.isupper() and len(word) <= 6) or 0.1 <= len(_VOWEL.findall(word)) / len(word) <= 0.9
