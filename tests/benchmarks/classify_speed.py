"""Measure how fast a fine-tune trains and classifies, compared with alternatives, and what a longer window is worth.

    MAILROOM_DATA=... python -m tests.benchmarks.classify_speed [--parts speed window] [--work .work/classify_speed]

Needs the extra "train". "speed": the exported network in both precisions, the same network in PyTorch, and
sentence-transformers with a linear layer, by turns on the same texts and threads. The network is the shipped base with
a fitted head and bag-of-words branch and no further training: its speed does not depend on the values of its weights.
"window": accuracy and documents per second of the served network on document types from held-out sources, by the
tokens it may read; needs the folder that `tests.benchmarks.classification` made for doctype_heldout (``--trained``).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.offline import go_offline

go_offline(os.environ)

import numpy as np  # noqa: E402  (the switches come before any import of a runtime)
import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

from models.recipes.embedder.export import minilm_directory  # noqa: E402
from models.recipes.finetune.base import Base  # noqa: E402
from models.recipes.finetune.examples import Dataset, dataset  # noqa: E402
from models.recipes.finetune.export import export  # noqa: E402
from models.recipes.finetune.fit import bag_of_words_branch, fit  # noqa: E402
from models.recipes.finetune.outputs import logits_of  # noqa: E402
from models.recipes.finetune.settings import Hyperparameters  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.registry import open_version, verify  # noqa: E402
from pipeline.classify import OnnxClassifier  # noqa: E402
from tests.benchmarks.classification import SETS  # noqa: E402
from tests.benchmarks.record import public_data, record_part  # noqa: E402


@dataclass(frozen=True, slots=True)
class SampleSize:
    """How much of the set ``name`` is used: ``train`` texts to fit on, ``texts`` to be timed."""

    name: str
    train: int
    texts: int


KINDS = {"short_texts": SampleSize("banking77", 600, 300), "documents": SampleSize("doctype_heldout", 150, 30)}
#: Calibration texts, and texts on which the export is compared with PyTorch.
CALIBRATION_TEXTS, PARITY_TEXTS = 80, 10
WINDOWS = (128, 256, 512, 1024, 2048)
WINDOW_TEXTS = 670
ROUNDS = 3
#: Training texts for the linear layer on sentence embeddings; its speed does not depend on them.
HEAD_TEXTS = 200
#: Tokens of a text that sentence-transformers reads with this model.
SENTENCE_TOKENS = 256

Way = Callable[[Sequence[str]], object]


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Return documents and tokens per second by kind of text and way of serving, also as ratios."""
    torch.set_num_threads(options.threads)
    figures: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 1)}
    for kind, sample in KINDS.items():
        examples, settings = _examples(options.data, sample)
        base = open_start("mistral-small", options.work / kind)
        texts = [example.text for example in examples.test]
        ours, theirs = (sum(map(len, base.encode(texts, reach))) for reach in (settings.max_length, SENTENCE_TOKENS))
        seconds = _in_turn(_ways(options.work / kind, base, examples, settings, options.threads), texts)
        read = dict.fromkeys(seconds, ours) | {"sentence_transformers": theirs}
        figures[kind] = {way: _rates(own, len(texts), read[way]) for way, own in seconds.items()}
        reference = seconds["sentence_transformers"]
        figures[kind]["times_as_fast"] = {way: round(reference / own, 2) for way, own in seconds.items()}
    return figures | _training(options)


def _examples(data: Path, sample: SampleSize) -> tuple[Dataset, Hyperparameters]:
    """Return a part of a set: enough to fit a head and the bag-of-words branch on, and the texts to be timed."""
    read, settings = SETS[sample.name]
    whole = dataset(read(data), settings.seed)
    train, calibration, test = (
        _spread(whole.train, sample.train),
        _spread(whole.calibration, CALIBRATION_TEXTS),
        _spread(whole.test, sample.texts),
    )
    return replace(whole, train=tuple(train), calibration=tuple(calibration), test=tuple(test)), settings


def _training(options: argparse.Namespace) -> dict[str, Any]:
    """Time one epoch over a part of banking77, and extrapolate to 10,000 texts and all epochs of the settings."""
    examples, settings = _examples(options.data, KINDS["short_texts"])
    base = open_start("mistral-small", options.work / "training")
    seconds = (
        fit(base, examples, options.work / "training", replace(settings, epochs=1, bag_of_words=False)).curve[0].seconds
    )
    texts = len(examples.train)
    return {
        "trained_texts": texts,
        "epoch_seconds": round(seconds, 1),
        "training_10000_short_texts_seconds": round(seconds * settings.epochs * 10_000 / texts),
    }


def _ways(work: Path, base: Base, data: Dataset, settings: Hyperparameters, threads: int) -> dict[str, Way]:
    network = fit(base, data, work, replace(settings, epochs=0)).network
    # A weight of zero leaves out the bag-of-words branch, which most served versions have.
    network.bag_of_words = network.bag_of_words or bag_of_words_branch(base, data, settings)
    manifest = _manifest(data, settings)
    export(
        network,
        base,
        [example.text for example in data.test[:PARITY_TEXTS]],
        work,
        _emptied(work / "served" / "1"),
        manifest,
    )
    ways: dict[str, Way] = {
        f"onnx_{kind}": OnnxClassifier(verify(work / folder / "1"), threads).probabilities
        for kind, folder in (("int8", "int8"), ("float32", "full"))
    }
    ways["pytorch"] = lambda texts: logits_of(network, base.encode(texts, settings.max_length), exact=True)
    return {**ways, "sentence_transformers": _sentences(data)}


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _manifest(data: Dataset, settings: Hyperparameters) -> dict[str, Any]:
    return {
        "name": "speed",
        "version": "1",
        "kind": "classifier",
        "labels": data.labels,
        "max_length": settings.max_length,
        "temperature": 1.0,
        "thresholds": dict.fromkeys(data.labels, 0.5),
        "licence": "not for shipping",
    }


def _sentences(data: Dataset) -> Way:
    """Return all-MiniLM-L6-v2 in sentence-transformers (the first 256 tokens of a text) under a logistic regression."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    model = SentenceTransformer(str(minilm_directory()), device="cpu")
    some = _spread(data.train, HEAD_TEXTS)
    vectors = model.encode([example.text for example in some], show_progress_bar=False)
    head = LogisticRegression(C=10, max_iter=200).fit(vectors, data.targets(some))
    return lambda texts: head.predict(model.encode(list(texts), batch_size=32, show_progress_bar=False))


def _in_turn(ways: Mapping[str, Way], texts: Sequence[str]) -> dict[str, float]:
    """Return the median seconds of each way, measured by turns so that a slow minute of the machine affects all."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(texts[:8])
    for _ in tqdm(range(ROUNDS), desc="rounds"):
        for name, way in ways.items():
            began = time.perf_counter()
            way(texts)
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def _rates(seconds: float, texts: int, tokens: int) -> dict[str, float]:
    return {"documents_per_s": round(texts / seconds, 2), "tokens_per_s": round(tokens / seconds)}


def window(options: argparse.Namespace) -> dict[str, Any]:
    """Return accuracy and documents per second by the number of tokens that may be read."""
    read, settings = SETS["doctype_heldout"]
    examples = dataset(read(options.data), settings.seed)
    some = _spread(examples.test, WINDOW_TEXTS)
    folder = open_version(options.trained / "doctype_heldout" / "out", "doctype_heldout", "1")
    targets, texts = examples.targets(some), [example.text for example in some]
    figures = {}
    for width in tqdm(WINDOWS, desc="windows"):
        served = OnnxClassifier(replace(folder, manifest=replace(folder.manifest, max_length=width)), options.threads)
        began = time.perf_counter()
        right = served.probabilities(texts).argmax(1) == targets
        rate = round(len(texts) / (time.perf_counter() - began), 2)
        figures[str(width)] = {"accuracy": round(float(np.mean(right)), 4), "documents_per_s": rate}
    return {"texts": len(texts), "network_reads": settings.reach, "tokens": figures}


def _spread(examples: Sequence, count: int) -> list:
    """Return ``count`` examples at even distances."""
    return [examples[int(place)] for place in np.linspace(0, len(examples) - 1, min(count, len(examples)))]


PARTS = {"speed": speed, "window": window}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.classify_speed")
    parser.add_argument("--work", type=Path, default=Path(".work/classify_speed"))
    parser.add_argument("--trained", type=Path, default=Path(".work/classification"))
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=["speed"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    options.data = public_data()
    for part in options.parts:
        values = {**PARTS[part](options), "threads": options.threads}
        command = f"python -m tests.benchmarks.classify_speed --parts {part}"
        record_part("classification", part, values, command, 20261124, "test texts of banking77 and doctype_mix")
        print(part, values)


if __name__ == "__main__":
    main()
