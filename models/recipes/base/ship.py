"""The distilled base as a model version, and back: one network file serves as an embedder and as the start of a
fine-tune.

The version holds the student with 8-bit weights, followed by the projection to the teacher's space, so that its output
is a sentence embedding like the teacher's. `unpack` reads the weights out of that file again: what a fine-tune starts
from is what was shipped, and nothing is stored twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from transformers import MistralModel

from models.recipes.base.student import mean_state
from models.recipes.finetune.network import attention_bias
from models.recipes.network_file import to_onnx
from models.recipes.quantise import dequantised, quantise
from models.registry import write_manifest
from pipeline.errors import Misconfigured
from pipeline.onnx import ModelFolder

#: Before the names of the student's weights in the network file.
PREFIX = "student."
CONFIG = "config.json"


class SentenceEmbedder(torch.nn.Module):
    """(input_ids, attention_mask), each (batch, length), to sentence embeddings (batch, width) of length 1."""

    def __init__(self, student: MistralModel, projection: torch.Tensor) -> None:
        super().__init__()
        self.student = student
        self.projection = torch.nn.Parameter(projection)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (batch, width)."""
        embedded = self.student.embed_tokens(input_ids)
        bias = attention_bias(self.student.config, attention_mask, embedded.dtype)
        states = self.student(inputs_embeds=embedded, attention_mask=bias, use_cache=False).last_hidden_state
        scaled = torch.nn.functional.rms_norm(states, states.shape[-1:])
        return torch.nn.functional.normalize(mean_state(scaled, attention_mask) @ self.projection.T, dim=-1)


def load(folder: Path, projection: Path) -> SentenceEmbedder:
    """Read the distilled student and its projection from a recipe's work folder."""
    student = MistralModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    return SentenceEmbedder(student, torch.load(projection, weights_only=True).float()).eval()


def ship(
    network: SentenceEmbedder, source: Path, work: Path, folder: Path, manifest: dict[str, Any], card: str
) -> ModelFolder:
    """Write the version ``folder`` from the student directory ``source``."""
    export(network, work / "full.onnx")
    folder.mkdir(parents=True)
    quantise(work / "full.onnx", folder / "model.onnx")
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    shutil.copyfile(source / CONFIG, folder / CONFIG)
    (folder / "card.md").write_text(card, encoding="utf-8")
    return write_manifest(folder, manifest)


def export(network: SentenceEmbedder, target: Path) -> None:
    """Write full precision ONNX whose weights carry the names of the parameters, although the exporter transposes them.

    Raises Misconfigured("bad-model") where the exporter lost a weight (see `check_complete`).
    """
    to_onnx(network, target, "sentence_embedding")
    parameters = {name: value.detach().numpy() for name, value in network.named_parameters()}
    model = onnx.load(target)
    transposed = {value.T.tobytes(): name for name, value in parameters.items() if value.ndim == 2}
    new = {
        weight.name: transposed[content]
        for weight in model.graph.initializer
        if (content := numpy_helper.to_array(weight).tobytes()) in transposed and weight.name not in parameters
    }
    for weight in model.graph.initializer:
        weight.name = new.get(weight.name, weight.name)
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
    check_complete({weight.name for weight in model.graph.initializer}, parameters)
    onnx.save(model, target)


def check_complete(exported: set[str], parameters: Iterable[str]) -> None:
    """Raise Misconfigured("bad-model") where a weight of the student was not exported, so that it cannot be trained on.

    The exporter writes weights that are equal to the bit, such as the norms of a network that was hardly trained, once
    and under one name.
    """
    lost = sorted({name for name in parameters if name.startswith(PREFIX)} - exported)
    if lost:
        text = (
            f"{len(lost)} of the student's weights equal others to the bit, such as {lost[0]}, and would be lost: "
            "train it longer."
        )
        raise Misconfigured("bad-model", text)


def unpack(version: ModelFolder, folder: Path) -> Path:
    """Write a Hugging Face directory with the student's weights of a shipped version, and return ``folder``.

    Weights come back as served: 8 bits with a scale per block, in single precision.
    """
    parameters = dequantised(version.read(version.manifest.model))
    weights = {
        name.removeprefix(PREFIX): torch.from_numpy(value.copy())
        for name, value in parameters.items()
        if name.startswith(PREFIX)
    }
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = json.loads(version.read(CONFIG))
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(version.read(version.manifest.tokenizer))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
