"""The trained network to a model version: ONNX, parity, 8 bits, temperature, thresholds, folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from models.recipes.document_type.network import DocumentType, Shape
from models.recipes.document_type.prepare import LABELS, Sample
from models.recipes.quantise import quantise
from models.registry import write_manifest
from pipeline.classify import OnnxClassifier, encode, softmax
from pipeline.onnx import ModelFolder, batches

#: The share of right answers that a verdict over its label's threshold should reach.
PRECISION = 0.97
#: No threshold under or over these: under the first two labels may look alike, over the second nothing passes.
LOWEST, HIGHEST = 0.5, 0.95
#: The 8-bit file is taken when it names the same label on this share of the test texts.
SAME_LABELS = 0.995
WINDOW = 256


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a file is from the network in PyTorch, on the test texts."""

    difference: float
    same: float
    texts: int


def restore(file: Path) -> DocumentType:
    """The trained network, with the attention that the exporter understands."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    table = state["network"]["mistral.model.embed_tokens.weight"]
    shape = Shape(**state["plan"]["shape"])
    network = DocumentType(shape, len(table), len(LABELS), attention="eager")
    network.load_state_dict(state["network"])
    return network.eval()


def export(network: DocumentType, target: Path) -> None:
    """Full precision ONNX with free batch and length, in one file."""
    ids = torch.randint(1000, 2000, (3, 17))
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    program = torch.onnx.export(
        network,
        (ids, mask),
        dynamo=True,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic},
        verbose=False,
    )
    program.save(str(target), external_data=False)


@torch.no_grad()
def torch_logits(network: DocumentType, tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """Logits of the network in PyTorch, in the order of ``texts``, cut as in serving."""
    logits = np.zeros((len(texts), len(LABELS)), dtype=np.float32)
    for batch in batches(encode(tokenizer, texts, WINDOW), 8192):
        rows = network(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask))
        logits[list(batch.rows)] = rows.numpy()
    return logits


def temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The divisor of the logits that makes the right labels most likely on the calibration texts."""
    grid = np.exp(np.linspace(np.log(0.3), np.log(5.0), 200))
    rows = np.arange(len(targets))
    losses = [-np.log(softmax(logits.astype(np.float64) / t)[rows, targets] + 1e-12).mean() for t in grid]
    return round(float(grid[int(np.argmin(losses))]), 4)


def thresholds(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Per label the lowest probability from which on its verdicts reach `PRECISION` on the calibration texts."""
    best, top = probabilities.argmax(1), probabilities.max(1)
    found = {}
    for place, label in enumerate(LABELS):
        mine = best == place
        order = np.argsort(-top[mine])
        scores, right = top[mine][order], (targets[mine] == place)[order]
        precise = np.cumsum(right) / np.arange(1, len(right) + 1) >= PRECISION
        lowest = scores[np.nonzero(precise)[0][-1]] if precise.any() else HIGHEST
        found[label] = round(float(np.clip(lowest, LOWEST, HIGHEST)), 3)
    return found


def write_version(
    network: Path, tokenizer: Path, folder: Path, name: str, heat: float, limits: dict[str, float]
) -> ModelFolder:
    """Assemble and verify a version folder; its card is written by `evaluate`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(network, folder / "model.onnx")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    manifest = {
        "name": name,
        "version": folder.name,
        "kind": "classifier",
        "labels": LABELS,
        "max_length": WINDOW,
        "temperature": heat,
        "licence": "Apache-2.0 for the weights; the training data's licences and attributions are in card.md",
        "data": "doctype_mix (sources that may ship), public blog posts, generated documents; see card.md",
        "thresholds": limits,
    }
    return write_manifest(folder, manifest)


def parity(expected: np.ndarray, folder: ModelFolder, texts: Sequence[str]) -> Parity:
    """Compare a version with the network's own logits on ``texts``."""
    served = OnnxClassifier(folder, threads=2).probabilities(texts)
    own = softmax(expected.astype(np.float64) / folder.manifest.temperature)
    same = float((served.argmax(1) == own.argmax(1)).mean())
    return Parity(float(np.abs(served - own).max()), same, len(texts))


def export_version(
    trained: Path, teacher: Path, samples: Sequence[Sample], work: Path, folder: Path
) -> tuple[ModelFolder, dict]:
    """From checkpoint to verified folder; returns it with the figures of the way."""
    network = restore(trained)
    source = teacher / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    held = [s for s in samples if s.split == "calibration"]
    logits = torch_logits(network, tokenizer, [s.text for s in held])
    targets = np.array([LABELS.index(s.label) for s in held])
    heat = temperature(logits, targets)
    limits = thresholds(softmax(logits.astype(np.float64) / heat), targets)
    test = [s.text for s in samples if s.split == "test"]
    expected = torch_logits(network, tokenizer, test)
    export(network, work / "full.onnx")
    full = parity(
        expected,
        write_version(work / "full.onnx", source, work / "full" / folder.name, folder.parent.name, heat, limits),
        test,
    )
    quantise(work / "full.onnx", work / "int8.onnx")
    small = parity(
        expected,
        write_version(work / "int8.onnx", source, work / "int8" / folder.name, folder.parent.name, heat, limits),
        test,
    )
    chosen = "int8" if small.same >= SAME_LABELS else "full"
    version = write_version(work / f"{chosen}.onnx", source, folder, folder.parent.name, heat, limits)
    return version, {"full": full, "int8": small, "chosen": chosen, "temperature": heat}
