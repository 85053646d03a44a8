"""A second look at the best passages: a cross-encoder in ONNX Runtime reads question and passage together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.onnx import CHARACTERS_PER_TOKEN, ModelFolder, OnnxModel, batches

#: Tokens in one call of the network, padding included.
TOKEN_BUDGET = 4096
#: Tokens of the question at most; the passage has the rest of the window.
QUESTION = 64


class OnnxReranker:
    """Implements `pipeline.ports.Reranker`.

    The network's output "relevance" holds one logit a row, shape (n,) or (n, 1). Its input is what the folder's
    tokenizer makes of a pair, by its own template; the passage is shortened to the window, the question to `QUESTION`
    tokens. What else it needs, such as which part a token belongs to, the network makes of these itself.
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
        question = self._first(query, QUESTION)
        rest = self._length - len(self._model.tokenizer.encode(question, "").ids)
        pairs = [(question, self._first(text, rest)) for text in texts]
        encodings = self._model.tokenizer.encode_batch(pairs)
        logits = np.zeros(len(texts), np.float32)
        for batch in batches([encoding.ids for encoding in encodings], TOKEN_BUDGET):
            logits[list(batch.rows)] = self._model.run(batch).reshape(len(batch.rows))
        return 1.0 / (1.0 + np.exp(-logits / self._temperature))

    def _first(self, text: str, tokens: int) -> str:
        """The beginning of the text, of so many tokens at most."""
        cut = text[: tokens * CHARACTERS_PER_TOKEN]
        offsets = self._model.tokenizer.encode(cut, add_special_tokens=False).offsets
        return cut if len(offsets) <= tokens else cut[: offsets[tokens - 1][1]]
