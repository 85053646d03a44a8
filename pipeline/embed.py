"""Texts to vectors: a sentence-transformers model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.onnx import CHARACTERS_PER_TOKEN, ModelFolder, OnnxModel, batches

#: Tokens in one call of the network, padding included. Larger batches gain nothing on a CPU and cost memory.
TOKEN_BUDGET = 4096


def embedder_digest(folder: ModelFolder) -> str:
    """Return what `OnnxEmbedder.digest` would be, without loading the network."""
    return folder.digest("embed-1")


class OnnxEmbedder:
    """Implements `pipeline.ports.Embedder`. Of a text longer than the model's window only the beginning counts.

    A text's vector does not depend on the other texts of a call beyond rounding: rows are padded and masked.
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
        """Return L2-normalised float32 vectors of shape (len(texts), dimension), in the order of ``texts``."""
        shortened = [text[: self._max_length * CHARACTERS_PER_TOKEN] for text in texts]
        encodings = self._model.tokenizer.encode_batch(shortened)
        # A longer text keeps the closing token: the model was never trained without it.
        last = self._max_length - 1
        ids = [e.ids if len(e.ids) <= last + 1 else [*e.ids[:last], e.ids[-1]] for e in encodings]
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for batch in batches(ids, self._budget):
            vectors[list(batch.rows)] = self._model.run(batch)
        return vectors
