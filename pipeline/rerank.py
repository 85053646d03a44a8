"""Rerank the best passages: a cross-encoder in ONNX Runtime reads question and passage together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.onnx import CHARACTERS_PER_TOKEN, ModelFolder, OnnxModel, batches

#: Tokens in one call of the network, padding included.
TOKEN_BUDGET = 4096
#: Tokens of the question at most; the passage has the rest of the window.
QUESTION_TOKENS = 64


class OnnxReranker:
    """Implements `pipeline.ports.Reranker`.

    The network's output "relevance" has one logit per row, shape (n,) or (n, 1). Its input is the pair as the folder's
    tokenizer encodes it, by its own template; the passage is cut to the window, the question to `QUESTION_TOKENS`. The
    network derives everything else, such as which part a token belongs to, from these.
    """

    def __init__(
        self, folder: ModelFolder, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        manifest = folder.manifest
        self.name = manifest.title
        self.digest = folder.digest("rerank-1")
        self._model = OnnxModel(folder, "relevance", threads, providers)
        self._length = manifest.max_length
        self._temperature = manifest.temperature

    def scores(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """Return the probability (0 to 1) that a text answers, for every text: float32 of shape (len(texts),)."""
        question = self._first(query, QUESTION_TOKENS)
        rest = self._length - len(self._model.tokenizer.encode(question, "").ids)
        pairs = [(question, self._first(text, rest)) for text in texts]
        encodings = self._model.tokenizer.encode_batch(pairs)
        logits = np.zeros(len(texts), np.float32)
        for batch in batches([encoding.ids for encoding in encodings], TOKEN_BUDGET):
            logits[list(batch.rows)] = self._model.run(batch).reshape(len(batch.rows))
        probabilities: np.ndarray = 1.0 / (1.0 + np.exp(-logits / self._temperature))
        return probabilities

    def _first(self, text: str, tokens: int) -> str:
        """Return the beginning of the text, at most ``tokens`` long."""
        shortened = text[: tokens * CHARACTERS_PER_TOKEN]
        offsets = self._model.tokenizer.encode(shortened, add_special_tokens=False).offsets
        return shortened if len(offsets) <= tokens else shortened[: offsets[tokens - 1][1]]
