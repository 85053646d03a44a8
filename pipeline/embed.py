"""Passages to vectors: a sentence-transformers model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.onnx import CHARACTERS_PER_TOKEN, ModelFolder, OnnxModel, batches

#: Tokens in one call of the network, padding included. Larger batches gain nothing on a CPU and cost memory.
TOKEN_BUDGET = 4096


def embedder_digest(folder: ModelFolder) -> str:
    """What `OnnxEmbedder.digest` is, known without loading the network."""
    return folder.digest("embed-1")


class OnnxEmbedder:
    """Implements `pipeline.ports.Embedder`. A text longer than the model's window is embedded by its beginning.

    A text's vector does not depend on its neighbours beyond rounding: rows are padded and masked, never merged.
    """

    def __init__(
        self,
        folder: ModelFolder,
        threads: int = 1,
        token_budget: int = TOKEN_BUDGET,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        manifest = folder.manifest
        self.name = manifest.title
        self.digest = embedder_digest(folder)
        self.dimension = manifest.dimension
        self._max_length = manifest.max_length
        self._budget = token_budget
        self._model = OnnxModel(folder, "sentence_embedding", threads, providers)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """L2-normalised float32 rows, shape (len(texts), dimension), in the order of ``texts``."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for batch in batches(self._encode(texts), self._budget):
            vectors[list(batch.rows)] = self._model.run(batch)
        return vectors

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        room = self._max_length
        cut = [text[: room * CHARACTERS_PER_TOKEN] for text in texts]
        encodings = self._model.tokenizer.encode_batch(cut)
        return [_shortened(encoding.ids, room) for encoding in encodings]


def _shortened(ids: list[int], room: int) -> list[int]:
    """The first ``room`` ids, the closing token kept: the model has never seen a sequence without it."""
    return ids if len(ids) <= room else [*ids[: room - 1], ids[-1]]
