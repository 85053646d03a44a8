"""Compare the fine-tuned small Mistral with a bag of words and with MiniLM under a linear layer, on the same splits.

    MAILROOM_DATA=... python -m tests.benchmarks.classification --base DIR [--sets banking77 ...] [--resume]

Needs the extra "train". Sets: banking77 and clinc150 (official splits; a tenth of the training texts calibrates),
doctype_random (80/20 by hash), doctype_heldout (no source is in both train and test), and, if named, few-shot draws of
8, 16 and 32 texts per class of banking77 and clinc150. One recipe, with the same settings for all sets of a kind (short
texts, documents). Test texts take no part in training, calibration or the choice of settings.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
import lzma
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.offline import go_offline

go_offline(os.environ)

from sklearn.metrics import roc_auc_score  # noqa: E402  (the switches come before any import of a runtime)

from models.recipes.finetune.examples import LabelledExample, dataset  # noqa: E402
from models.recipes.finetune.run import TrainedVersion, TrainingJob, train  # noqa: E402
from models.recipes.finetune.settings import Hyperparameters  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.registry import SHIPPED, open_version  # noqa: E402
from pipeline.classify import OnnxClassifier  # noqa: E402
from pipeline.embed import OnnxEmbedder  # noqa: E402
from tests.benchmarks.record import record_figures  # noqa: E402

HELD_OUT = frozenset(
    "lexpredict_edgar enron_categories openterms_privacy_terms others bbc peps microsoft dc_code pubmedqa tc39".split()
)
SHORT = Hyperparameters(rate=4e-4, epochs=10, crop=64, max_length=64, batch=48)
PAGES = Hyperparameters(rate=3e-4, epochs=3, crop=112, batch=32, patience=2)
#: With so few texts only the head and the bag-of-words branch are fitted: docs/decisions/0055-heads-for-few-texts.md.
FEW = Hyperparameters(epochs=0, crop=64, max_length=64)
CALIBRATION = 0.1


def part_of(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.lower().strip().encode()).digest()[:4], "big") / 2**32


def banking77(data: Path) -> Iterator[LabelledExample]:
    """Yield questions to a bank: 10,003 to train on, 3,080 to test, 77 intents."""
    for side in ("train", "test"):
        with (data / "classification" / "banking77" / f"{side}.csv").open(encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows):
                yield LabelledExample(row["text"], (row["category"],), split=_side(side, row["text"]))


def clinc150(data: Path) -> Iterator[LabelledExample]:
    """Yield queries of 150 intents: 15,000 to train on, 4,500 to test; out-of-scope queries are not trained on."""
    content = json.loads((data / "classification" / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    for part, side in (("train", "train"), ("val", "calibration"), ("test", "test")):
        yield from (LabelledExample(text, (label,), split=side) for text, label in content[part])


def documents(data: Path, held_out: bool) -> Iterator[LabelledExample]:
    """Yield 10,167 documents of 23 types, split by hash or by source."""
    with lzma.open(data / "classification" / "doctype_mix.jsonl.xz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            tested = row["source"] in HELD_OUT if held_out else part_of(row["text"]) < 0.2
            side = "test" if tested else _side("train", row["text"][::-1])
            yield LabelledExample(row["text"], (row["label"],), identity=row["id"], split=side)


def few(examples: Iterable[LabelledExample], shots: int, seed: int) -> Iterator[LabelledExample]:
    """Yield ``shots`` examples of each class, a quarter of them for calibration, and the whole test split."""
    groups: dict[str, list[LabelledExample]] = defaultdict(list)
    for example in examples:
        if example.split == "test":
            yield example
        else:
            groups[example.labels[0]].append(example)
    rng = random.Random(seed)
    for label in sorted(groups):
        for place, example in enumerate(rng.sample(groups[label], shots)):
            side = "calibration" if place < shots // 4 else "train"
            yield LabelledExample(example.text, example.labels, split=side)


def _side(side: str, text: str) -> str:
    return "calibration" if side == "train" and part_of(text) < CALIBRATION else side


SETS: dict[str, tuple[Callable[[Path], Iterator[LabelledExample]], Hyperparameters]] = {
    "banking77": (banking77, SHORT),
    "clinc150": (clinc150, SHORT),
    "doctype_heldout": (lambda data: documents(data, True), PAGES),
    "doctype_random": (lambda data: documents(data, False), PAGES),
}
for _name, _read in (("banking77", banking77), ("clinc150", clinc150)):
    for _shots in (8, 16, 32):
        SETS[f"{_name}_{_shots}"] = (lambda data, read=_read, shots=_shots: few(read(data), shots, 20261124), FEW)


def outside(data: Path, classifier: OnnxClassifier, inside: list[str]) -> dict[str, float]:
    """Measure how well the probability separates CLINC150's out-of-scope queries from those in scope.

    Returns the area under the ROC curve, and the shares below the threshold (out of scope) and above it (in scope).
    """
    content = json.loads((data / "classification" / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    out_of_scope = [text for text, _ in content["oos_test"]]
    own, foreign = classifier.probabilities(inside).max(1), classifier.probabilities(out_of_scope).max(1)
    below = [not prediction.confident for prediction in classifier.classify(out_of_scope)]
    above = [prediction.confident for prediction in classifier.classify(inside)]
    return {
        "oos_auroc": round(roc_auc_score([1] * len(own) + [0] * len(foreign), [*own, *foreign]), 4),
        "oos_recall": round(sum(below) / len(below), 4),
        "in_scope_sure": round(sum(above) / len(above), 4),
    }


def run(name: str, options: argparse.Namespace) -> TrainedVersion:
    """Train on one set and measure the version."""
    read, settings = SETS[name]
    data = dataset(read(options.data), settings.seed)
    work = options.work / name
    shutil.rmtree(work / "out", ignore_errors=True)
    job = TrainingJob(
        name=name,
        version="1",
        root=work / "out",
        work=work,
        command=f"python -m tests.benchmarks.classification --sets {name}",
        data=name,
        licence="not for shipping",
        base=options.base,
    )
    embedder = OnnxEmbedder(open_version(SHIPPED, "all-minilm-l6-v2"), threads=2)
    extra = None
    if name == "clinc150":
        inside = [example.text for example in data.test]
        extra = lambda served, _: outside(options.data, served, inside)  # noqa: E731
    return train(job, open_start(options.base, work), data, settings, embedder, resume=options.resume, extra=extra)


def entry(version: TrainedVersion) -> dict[str, Any]:
    """Return the entry of one set in the result file."""
    report = version.report
    out = {"small_mistral": report["metrics"]["accuracy"]}
    out |= {name: values["accuracy"] for name, values in report["baselines"].items()}
    out |= {key: value for key, value in report["metrics"].items() if key != "accuracy"}
    out |= {"network_alone": (report["parts"].get("backbone alone") or {"accuracy": out["small_mistral"]})["accuracy"]}
    parity = report["export"]
    return out | {
        "train_texts": report["data"]["train"],
        "train_seconds": report["training"]["seconds"],
        "epochs": len(report["curve"]),
        "served": parity["served"],
        "int8_same": parity["int8"]["same"],
        "int8_difference": parity["int8"]["difference"],
        "full_difference": parity["full"]["difference"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.classification")
    parser.add_argument("--data", type=Path, default=os.environ.get("MAILROOM_DATA"))
    parser.add_argument("--base", default="mistral-small")
    parser.add_argument("--work", type=Path, default=Path(".work/classification"))
    parser.add_argument(
        "--sets", nargs="+", choices=sorted(SETS), default=[name for name in SETS if "_" not in name[-3:]]
    )
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    if options.data is None:
        parser.error("give --data or set MAILROOM_DATA to the folder of public data sets")
    options.data = Path(options.data)
    for name in options.sets:
        save(name, entry(run(name, options)))


def save(name: str, values: dict[str, Any]) -> None:
    """Record the figures of one set; those of the others keep their own run."""
    entry = values | {"date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    command = "python -m tests.benchmarks.classification"
    data = "banking77, clinc150, doctype_mix"
    record_figures("classification", "sets", {name: entry}, tuple(entry), command, SHORT.seed, data)
    print(name, values)


if __name__ == "__main__":
    main()
