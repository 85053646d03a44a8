"""How fast a fine-tune classifies, beside what else could serve it, and what a longer window is worth.

    MAILROOM_DATA=... python -m tests.benchmarks.classify_speed [--parts speed window] [--work .work/classification]

Needs the extra "train" and the folders that `tests.benchmarks.classification` left for banking77 and doctype_heldout. "speed":
the exported network in both precisions, the same network in PyTorch, and sentence-transformers with a linear layer, in turn on
the same texts and threads. "window": accuracy and documents a second of the served network on document types from held-out
sources, by the tokens it may read.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from models.recipes.finetune.network import Classifier  # noqa: E402
from models.recipes.finetune.outputs import logits_of  # noqa: E402
from models.recipes.finetune.settings import Settings  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.recipes.finetune.trainer import CHECKPOINT  # noqa: E402
from models.recipes.finetune.words import fit_words, lexicon  # noqa: E402
from models.registry import open_version, verify  # noqa: E402
from pipeline.classify import OnnxClassifier  # noqa: E402
from tests.benchmarks.classification import SETS  # noqa: E402
from tests.benchmarks.record import RESULTS, public_data, record_part  # noqa: E402

#: Texts of each kind: (set, how many).
KINDS = {"short_texts": ("banking77", 1000), "documents": ("doctype_heldout", 200)}
WINDOWS = (128, 256, 512, 1024, 2048)
WINDOW_TEXTS = 670
ROUNDS = 3
#: Training texts that the linear layer on sentence embeddings is fitted on; its speed does not depend on them.
HEAD_TEXTS = 300

Way = Callable[[Sequence[str]], object]


def speed(data: Path, work: Path, threads: int) -> dict[str, Any]:
    """Per kind of text and way of serving: documents and tokens a second, and the ratio to sentence-transformers."""
    torch.set_num_threads(threads)
    found: dict[str, Any] = {}
    for kind, (name, count) in KINDS.items():
        read, settings = SETS[name]
        examples = dataset(read(data), settings.seed)
        texts = [example.text for example in _spread(examples.test, count)]
        base = open_start("mistral-small", work / name)
        tokens = sum(map(len, base.encode(texts, settings.max_length)))
        seconds = _in_turn(_ways(work / name, base, examples, settings, threads), texts)
        found[kind] = {way: _rates(own, len(texts), tokens) for way, own in seconds.items()}
        slowest = seconds["sentence_transformers"]
        found[kind]["times_as_fast"] = {way: round(slowest / own, 2) for way, own in seconds.items()}
    sets = json.loads((RESULTS / "classification.json").read_text(encoding="utf-8"))["sets"]
    short = sets["banking77"]
    found["training_10000_short_texts_seconds"] = round(10_000 * short["train_seconds"] / short["train_texts"])
    return found


def _ways(work: Path, base: Base, data: Dataset, settings: Settings, threads: int) -> dict[str, Way]:
    network = _network(work, base, data, settings)
    ways: dict[str, Way] = {
        f"onnx_{kind}": OnnxClassifier(verify(next((work / folder).iterdir())), threads).probabilities
        for kind, folder in (("int8", "int8"), ("float32", "full"))
    }
    ways["pytorch"] = lambda texts: logits_of(network, base.encode(texts, settings.max_length), exact=True)
    return {**ways, "sentence_transformers": _sentences(data)}


def _network(work: Path, base: Base, data: Dataset, settings: Settings) -> Classifier:
    """The trained network as PyTorch has it, with its word path."""
    network = Classifier(base.backbone(), len(data.labels), reach=settings.reach)
    network.load_state_dict(torch.load(work / CHECKPOINT, map_location="cpu", weights_only=True)["top"])
    inner = [base.inner(ids) for ids in base.encode([example.text for example in data.train])]
    known = lexicon(base.tokenizer, base.vocabulary)
    network.words = fit_words(inner, data.targets(data.train), known, len(data.labels), settings.seed)
    return network.eval()


def _sentences(data: Dataset) -> Way:
    """All-MiniLM-L6-v2 in sentence-transformers, of a text its first 256 tokens, and logistic regression on its vectors."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    model = SentenceTransformer(str(minilm_directory()), device="cpu")
    some = _spread(data.train, HEAD_TEXTS)
    vectors = model.encode([example.text for example in some], show_progress_bar=False)
    head = LogisticRegression(C=10, max_iter=200).fit(vectors, data.targets(some))
    return lambda texts: head.predict(model.encode(list(texts), batch_size=32, show_progress_bar=False))


def _in_turn(ways: Mapping[str, Way], texts: Sequence[str]) -> dict[str, float]:
    """Median seconds of each way, taken in turn so that a slow minute of the machine strikes all."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(texts[:8])
    for _ in tqdm(range(ROUNDS), desc="rounds"):
        for name, way in ways.items():
            began = time.perf_counter()
            way(texts)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _rates(seconds: float, texts: int, tokens: int) -> dict[str, float]:
    return {"documents_per_s": round(texts / seconds, 2), "tokens_per_s": round(tokens / seconds)}


def window(data: Path, work: Path, threads: int) -> dict[str, Any]:
    """Per number of tokens that may be read: accuracy, and documents a second."""
    read, settings = SETS["doctype_heldout"]
    examples = dataset(read(data), settings.seed)
    some = _spread(examples.test, WINDOW_TEXTS)
    folder = open_version(work / "doctype_heldout" / "out", "doctype_heldout", "1")
    targets, texts = examples.targets(some), [example.text for example in some]
    found = {}
    for width in tqdm(WINDOWS, desc="windows"):
        served = OnnxClassifier(replace(folder, manifest=replace(folder.manifest, max_length=width)), threads)
        began = time.perf_counter()
        right = served.probabilities(texts).argmax(1) == targets
        rate = round(len(texts) / (time.perf_counter() - began), 2)
        found[str(width)] = {"accuracy": round(float(np.mean(right)), 4), "documents_per_s": rate}
    return {"texts": len(texts), "network_reads": settings.reach, "tokens": found}


def _spread(examples: Sequence, count: int) -> list:
    """``count`` examples at even distances."""
    return [examples[int(place)] for place in np.linspace(0, len(examples) - 1, min(count, len(examples)))]


PARTS = {"speed": speed, "window": window}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.classify_speed")
    parser.add_argument("--work", type=Path, default=Path(".work/classification"))
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=sorted(PARTS))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    data = public_data()
    for part in given.parts:
        values = {**PARTS[part](data, given.work, given.threads), "threads": given.threads}
        command = f"python -m tests.benchmarks.classify_speed --parts {part}"
        record_part("classification", part, values, command, 20261124, "test texts of banking77 and doctype_mix")
        print(part, values)


if __name__ == "__main__":
    main()
