"""The distilled base as a model version, and back: one network file serves as an embedder and as the start of a fine-tune.

The version holds the student with 8-bit weights, followed by the map to the teacher's space, so that its output is a sentence
embedding like the teacher's. `unpack` reads the weights out of that file again: what a fine-tune starts from is what was
shipped, and nothing is stored twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from transformers import MistralModel

from models.recipes.base.student import mean_state
from models.recipes.finetune.network import visible
from models.recipes.network_file import to_onnx
from models.recipes.quantise import dequantised, quantise
from models.registry import write_manifest
from pipeline.errors import Misconfigured
from pipeline.onnx import ModelFolder

PREFIX = "student."
CONFIG = "config.json"


class Sentence(torch.nn.Module):
    """(input_ids, attention_mask) to L2-normalised sentence embeddings of the teacher's width."""

    def __init__(self, student: MistralModel, readout: torch.Tensor) -> None:
        super().__init__()
        self.student = student
        self.readout = torch.nn.Parameter(readout)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        embedded = self.student.embed_tokens(input_ids)
        seen = visible(self.student.config, attention_mask, embedded.dtype)
        states = self.student(inputs_embeds=embedded, attention_mask=seen, use_cache=False).last_hidden_state
        scaled = torch.nn.functional.rms_norm(states, states.shape[-1:])
        return torch.nn.functional.normalize(mean_state(scaled, attention_mask) @ self.readout.T, dim=-1)


def load(folder: Path, readout: Path) -> Sentence:
    """The distilled student of a recipe's work folder."""
    student = MistralModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    return Sentence(student, torch.load(readout, weights_only=True).float()).eval()


def ship(network: Sentence, source: Path, work: Path, folder: Path, manifest: dict[str, Any], card: str) -> ModelFolder:
    """Write the version ``folder`` from the student directory ``source``."""
    export(network, work / "full.onnx")
    folder.mkdir(parents=True)
    quantise(work / "full.onnx", folder / "model.onnx")
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    shutil.copyfile(source / CONFIG, folder / CONFIG)
    (folder / "card.md").write_text(card, encoding="utf-8")
    return write_manifest(folder, manifest)


def export(network: Sentence, target: Path) -> None:
    """Full precision ONNX whose weights carry the names of the parameters, although the exporter turned them round."""
    to_onnx(network, target, "sentence_embedding")
    _name_weights(target, {name: value.detach().numpy() for name, value in network.named_parameters()})


def _name_weights(file: Path, parameters: dict[str, np.ndarray]) -> None:
    model = onnx.load(file)
    turned = {value.T.tobytes(): name for name, value in parameters.items() if value.ndim == 2}
    new = {
        own.name: turned[content]
        for own in model.graph.initializer
        if (content := numpy_helper.to_array(own).tobytes()) in turned and own.name not in parameters
    }
    for own in model.graph.initializer:
        own.name = new.get(own.name, own.name)
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
    check_whole({own.name for own in model.graph.initializer}, parameters)
    onnx.save(model, file)


def check_whole(held: set[str], parameters: Iterable[str]) -> None:
    """Raises Misconfigured("bad-model") where ``held`` lacks a weight of the student, which then could not be trained on: the exporter
    keeps weights that are equal to the bit, such as the norms of a network that was hardly trained, once and under one name."""
    lost = sorted({name for name in parameters if name.startswith(PREFIX)} - held)
    if lost:
        text = f"{len(lost)} of the student's weights equal others to the bit, such as {lost[0]}, and would be lost; train it longer."
        raise Misconfigured("bad-model", text)


def unpack(version: ModelFolder, folder: Path) -> Path:
    """A Hugging Face directory with the student's weights out of a shipped version; returns ``folder``.

    Weights come back as served: 8 bits with a scale per block, in single precision.
    """
    found = dequantised(version.read(version.manifest.model))
    weights = {n.removeprefix(PREFIX): torch.from_numpy(v.copy()) for n, v in found.items() if n.startswith(PREFIX)}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = json.loads(version.read(CONFIG))
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(version.read(version.manifest.tokenizer))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
