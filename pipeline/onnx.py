"""Model files in ONNX Runtime: the manifest of a version folder, and a session over its verified bytes.

`ModelManifest` is the parsed ``model.toml``; `ModelFolder` a folder whose files were checked against it (by
``models/registry.py``). This module opens the network and the tokenizer, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import Misconfigured
from pipeline.offline import go_offline

if TYPE_CHECKING:  # whoever reads a manifest only needs no NumPy
    import numpy as np

#: Texts are cut to this many characters per token of the window before they reach the tokenizer, whose time grows with
#: the characters. English has 4 to 5 characters per token; 12 leaves room for rows of dots.
CHARACTERS_PER_TOKEN = 12


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """The content of ``model.toml``.

    ``files`` maps each file's name to its SHA-256. ``labels`` are in the order of the network's outputs; ``thresholds``
    are the calibrated probabilities from which a label is confident; ``temperature`` divides the logits. If ``multi``,
    a text may have several labels and each probability stands for itself. ``max_length`` counts tokens; ``dimension``
    is the length of an embedder's vector (0 for a classifier). ``data`` describes the training data, ``fingerprint`` is
    their SHA-256; ``parameters`` and ``metrics`` are the recipe's. ``taxonomy`` is the id of the last taxonomy
    operation that the labels follow.
    """

    name: str
    version: str
    kind: str
    files: Mapping[str, str]
    model: str = "model.onnx"
    tokenizer: str = "tokenizer.json"
    labels: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0
    multi: bool = False
    max_length: int = 256
    dimension: int = 0
    licence: str = ""
    data: str = ""
    fingerprint: str = ""
    taxonomy: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name of the model recorded with predictions and vectors: "name@version"."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A version folder whose files agree with its manifest."""

    path: Path
    manifest: ModelManifest

    def read(self, name: str) -> bytes:
        """Return the file's bytes, checked against the manifest's digest again, so that exactly the verified bytes are
        loaded. Raises Misconfigured("bad-model")."""
        try:
            content = (self.path / name).read_bytes()
        except OSError as error:
            raise Misconfigured("bad-model", f"{self.path / name} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(content).hexdigest() != self.manifest.files.get(name):
            raise Misconfigured("bad-model", f"{self.path / name} is not the file that model.toml describes.")
        return content

    def digest(self, *settings: Any) -> str:
        """Return the SHA-256 over network, tokenizer and ``settings``: it changes if the output may change."""
        files = self.manifest.files
        parts = [files[self.manifest.model], files[self.manifest.tokenizer], self.manifest.max_length, *settings]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of token ids padded to one length, arrays of shape (len(rows), length).

    ``rows`` are their positions in the caller's sequence.
    """

    rows: tuple[int, ...]
    input_ids: np.ndarray
    attention_mask: np.ndarray


class OnnxModel:
    """A network with its tokenizer.

    Args:
        folder: a verified folder.
        output: the name of the network's output, as the recipe exported it.
        threads: threads per call; 1 is right for several worker processes on one machine.
        providers: ONNX Runtime's execution providers, best first.

    Raises Misconfigured("bad-model") if the files cannot be used.
    """

    def __init__(
        self, folder: ModelFolder, output: str, threads: int, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        # The switches must be set before the runtime is imported, whoever imports this module first.
        go_offline(os.environ)
        from tokenizers import Tokenizer

        self._output = output
        name = folder.manifest.model
        try:
            self._session = _session(folder.read(name), threads, providers)
            self.tokenizer = Tokenizer.from_buffer(folder.read(folder.manifest.tokenizer))
            self.tokenizer.no_padding()
            self.tokenizer.no_truncation()
        except Misconfigured:
            raise
        except Exception as error:
            raise Misconfigured(
                "bad-model", f"{folder.path / name} cannot be loaded: {type(error).__name__}."
            ) from error
        outputs = {o.name for o in self._session.get_outputs()}
        if output not in outputs:
            raise Misconfigured(
                "bad-model", f"{folder.path / name} has no output {output!r}; it was made by another recipe."
            )

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that the session runs on: those that were requested and are available."""
        return tuple(self._session.get_providers())

    def run(self, batch: Batch) -> np.ndarray:
        """Return the network's output for the batch's rows, float32, first dimension len(batch.rows)."""
        feed = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        output: np.ndarray = self._session.run([self._output], feed)[0]
        return output.astype("float32", copy=False)


def available_providers(folder: ModelFolder, requested: Sequence[str]) -> tuple[str, ...]:
    """Return the execution providers that a session of this model gets if these are requested. Raises
    Misconfigured("bad-model") if the network cannot be loaded."""
    go_offline(os.environ)
    name = folder.manifest.model
    try:
        with warnings.catch_warnings(action="ignore"):  # about missing providers, which the result shows
            return tuple(_session(folder.read(name), 1, requested).get_providers())
    except Misconfigured:
        raise
    except Exception as error:
        raise Misconfigured("bad-model", f"{folder.path / name} cannot be loaded: {type(error).__name__}.") from error


def batches(ids: Sequence[Sequence[int]], budget: int) -> Iterator[Batch]:
    """Yield batches of rows of similar length with at most ``budget`` tokens each, padding included; one row at
    least."""
    import numpy as np

    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and len(ids[order[end]]) * (end + 1 - start) <= budget:
            end += 1
        rows = tuple(order[start:end])
        input_ids = np.zeros((len(rows), len(ids[rows[-1]])), dtype=np.int64)  # the last row is the longest
        mask = np.zeros_like(input_ids)
        for position, row in enumerate(rows):
            input_ids[position, : len(ids[row])] = ids[row]
            mask[position, : len(ids[row])] = 1
        yield Batch(rows, input_ids, mask)
        start = end


def _session(content: bytes, threads: int, providers: Sequence[str]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A waiting worker must not burn a core that another one could use.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, sess_options=options, providers=list(providers))
