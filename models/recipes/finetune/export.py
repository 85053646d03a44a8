"""A trained classifier to a model version: ONNX in full precision and in 8 bits, compared with PyTorch, one of them
served.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.recipes.finetune.base import Base
from models.recipes.finetune.calibrate import Calibration
from models.recipes.finetune.network import ClassifierNetwork
from models.recipes.finetune.outputs import logits_of
from models.recipes.network_file import to_onnx
from models.recipes.quantise import quantise
from models.registry import write_manifest
from pipeline.classify import OnnxClassifier
from pipeline.onnx import ModelFolder

#: The 8-bit file is served when it predicts the same label on this share of the test texts.
SAME_LABELS = 0.995
#: Texts that are compared, at most; a full test split of long texts takes longer than the training.
COMPARED = 600


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a file is from the network in PyTorch: the largest difference of a probability, the share of equal
    labels.
    """

    difference: float
    same: float
    texts: int


def export(
    network: ClassifierNetwork, base: Base, texts: Sequence[str], work: Path, folder: Path, manifest: dict[str, Any]
) -> tuple[ModelFolder, dict[str, Any]]:
    """Write and verify the version ``folder``; return it with both files' parity on ``texts`` and the served one."""
    texts = list(texts)[:COMPARED]
    expected = logits_of(network, base.encode(texts, manifest["max_length"]), exact=True)
    to_onnx(network, work / "full.onnx", "logits", network.backbone.config.vocab_size)
    quantise(work / "full.onnx", work / "int8.onnx")
    parities = {}
    for kind in ("full", "int8"):
        trial = work / kind / folder.name
        shutil.rmtree(trial, ignore_errors=True)
        parities[kind] = parity(expected, _folder(work / f"{kind}.onnx", base, trial, manifest), texts)
    served = "int8" if parities["int8"].same >= SAME_LABELS else "full"
    report = {kind: asdict(result) for kind, result in parities.items()}
    return _folder(work / f"{served}.onnx", base, folder, manifest), {**report, "served": served}


def _folder(network: Path, base: Base, folder: Path, manifest: dict[str, Any]) -> ModelFolder:
    folder.mkdir(parents=True)
    shutil.copyfile(network, folder / "model.onnx")
    shutil.copyfile(base.folder / "tokenizer.json", folder / "tokenizer.json")
    return write_manifest(folder, manifest)


def parity(expected: np.ndarray, folder: ModelFolder, texts: Sequence[str]) -> Parity:
    """Compare a version with PyTorch's logits (texts, labels) for ``texts``."""
    served = OnnxClassifier(folder, threads=2).probabilities(texts)
    own = Calibration(folder.manifest.temperature, (), folder.manifest.multi).probabilities(expected)
    same = float((served.argmax(1) == own.argmax(1)).mean())
    return Parity(round(float(np.abs(served - own).max()), 6), round(same, 5), len(texts))
