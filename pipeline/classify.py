"""Predict a text's label, with a calibrated probability."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from pipeline.documents import Prediction
from pipeline.onnx import CHARACTERS_PER_TOKEN, ModelFolder, OnnxModel, batches
from pipeline.taxonomy import NEVER, Operation, labelling

#: Tokens in one call of the network, padding included.
TOKEN_BUDGET = 4096
#: A text longer than the window is cut to its beginning, which has this share of the window, and its end: a document
#: says what it is at the top, and signs, totals or thanks at the bottom.
HEAD_SHARE = 0.75

Item = TypeVar("Item")


class OnnxClassifier:
    """Implements `pipeline.ports.Classifier` with a network whose output is ``logits`` of shape (batch, labels).

    ``operations`` are the organisation's taxonomy: predictions, labels and thresholds follow it, see
    `pipeline.taxonomy`.
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
        self._set_taxonomy(operations)

    def with_taxonomy(self, operations: Sequence[Operation]) -> OnnxClassifier:
        """Return the same network with another state of the taxonomy, without loading it again."""
        other = copy.copy(self)
        other._set_taxonomy(operations)
        return other

    def _set_taxonomy(self, operations: Sequence[Operation]) -> None:
        manifest = self._manifest
        thresholds = [manifest.thresholds[label] for label in manifest.labels]
        self._labelling = labelling(manifest.labels, thresholds, operations, manifest.taxonomy)
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
        """Return one prediction per text, in order. A text without tokens gets equal probabilities and is never
        confident."""
        own = self._own_probabilities(texts)
        current = self._labelling.probabilities(own, self._manifest.multi)
        return [self._prediction(*rows) for rows in zip(texts, own, current, strict=True)]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return calibrated probabilities of the current labels, float64, shape (len(texts), labels).

        Rows sum to 1, or to less if a label was retired. If the model gives a text several labels, each probability
        stands for itself.
        """
        return self._labelling.probabilities(self._own_probabilities(texts), self._manifest.multi)

    def window(self, text: str) -> tuple[tuple[int, int], ...]:
        """Return the parts of a text that the network sees, as (start, end) in characters: all, or head and tail."""
        return visible_parts(self._model.tokenizer, text, self._manifest.max_length)

    def _own_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return calibrated probabilities of the network's own labels, shape (len(texts), own labels)."""
        ids = encode(self._model.tokenizer, texts, self._manifest.max_length)
        logits = np.zeros((len(texts), len(self._manifest.labels)))
        for batch in batches(ids, self._budget):
            logits[list(batch.rows)] = self._model.run(batch)
        logits[[row for row, text in enumerate(texts) if not text.strip()]] = 0.0
        scaled = logits / self._manifest.temperature
        return 1.0 / (1.0 + np.exp(-scaled)) if self._manifest.multi else softmax(scaled)

    def _prediction(self, text: str, own: np.ndarray, current: np.ndarray) -> Prediction:
        """Return the prediction for a text from one row each of own and current probabilities."""
        thresholds = self._labelling.thresholds
        second, first = np.argsort(current, kind="stable")[-2:].tolist()
        outputs = self._labelling.outputs[first]
        label = self.labels[first]
        model_label = self._manifest.labels[max(outputs, key=lambda i: float(own[i]))] if outputs else label
        also: list[int] = []
        if self._manifest.multi and text.strip():
            others = (n for n in np.argsort(-current, kind="stable").tolist() if n != first)
            also = [n for n in others if current[n] >= thresholds[n]]
        return Prediction(
            label=label,
            probability=float(current[first]),
            runner_up=self.labels[second],
            runner_up_probability=float(current[second]),
            threshold=thresholds[first] if text.strip() else NEVER,
            model=self.name,
            digest=self._manifest.files[self._manifest.model],
            model_label=model_label if model_label != label else "",
            taxonomy=self._labelling.taxonomy,
            also=tuple(self.labels[n] for n in also),
        )


def encode(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return the token ids of each text, at most ``max_length``: of a longer one its head and its tail.

    Training and serving both use this function, so that the network sees the same cut. Characters beyond what the
    window could hold are cut first: a text of a megabyte costs no more than a page.
    """
    room = max_length * CHARACTERS_PER_TOKEN
    shortened = [text if len(text) <= 2 * room else f"{text[:room]}\n{text[-room:]}" for text in texts]
    return [_head_and_tail(encoding.ids, max_length) for encoding in tokenizer.encode_batch(shortened)]


def _head_and_tail(items: list[Item], max_length: int) -> list[Item]:
    if len(items) <= max_length:
        return items
    head = int(max_length * HEAD_SHARE)
    return items[:head] + items[head - max_length :]


def visible_parts(tokenizer: Any, text: str, max_length: int) -> tuple[tuple[int, int], ...]:
    """Return the parts of a text, as (start, end) in characters, whose tokens `encode` keeps."""
    room = max_length * CHARACTERS_PER_TOKEN
    is_short = len(text) <= 2 * room
    joined = text if is_short else f"{text[:room]}\n{text[-room:]}"
    offsets = [(start, end) for start, end in tokenizer.encode(joined).offsets if end > start]
    if len(offsets) <= max_length and is_short:
        return ((0, len(text)),) if text else ()
    chosen = _head_and_tail(offsets, max_length)
    first = int(max_length * HEAD_SHARE) if len(offsets) > max_length else sum(end <= room for _, end in offsets)
    spans = [(part[0][0], part[-1][1]) for part in (chosen[:first], chosen[first:]) if part]
    if is_short:
        return tuple(spans)
    # In the joined text, the tail begins after the head and a line break; in the whole text it is this much further on.
    shift = len(text) - room - (room + 1)
    return tuple((start, end) if start < room else (start + shift, end + shift) for start, end in spans)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row, shape as ``logits``."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True)) if logits.size else logits
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares
