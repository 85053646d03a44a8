"""Labelled texts: read, cleaned of repetitions, split, and refused where no good model can come of them."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import Refused

SPLITS = ("train", "calibration", "test")
SHARES = (0.7, 0.15, 0.15)
#: With fewer examples of a class neither the network nor its threshold can be trusted.
FEWEST = 8
#: A class may leak its answer whose name is in this share of its own texts, and in hardly any other.
LEAK, LEAK_ELSEWHERE = 0.9, 0.02
#: Texts and labels that are searched for leaks, at most.
LEAK_TEXTS, LEAK_LABELS = 5000, 200

_SPACES = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """A labelled text. ``split`` is one of SPLITS, or empty: `dataset` decides. ``identity`` names it in reports."""

    text: str
    labels: tuple[str, ...]
    identity: str = ""
    split: str = ""

    @property
    def key(self) -> str:
        """A digest that is equal for texts that differ in case, spaces or punctuation alone."""
        return hashlib.sha256(_SPACES.sub(" ", self.text.lower()).strip().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of a fine-tune. ``labels`` are sorted; ``dropped`` is the number of repetitions."""

    labels: tuple[str, ...]
    multi: bool
    train: tuple[LabelledExample, ...]
    calibration: tuple[LabelledExample, ...]
    test: tuple[LabelledExample, ...]
    dropped: int = 0
    warnings: tuple[str, ...] = ()

    def targets(self, examples: Sequence[LabelledExample]) -> np.ndarray:
        """Return label numbers (examples,); (examples, labels) of 0 and 1 when an example may have several."""
        place = {label: number for number, label in enumerate(self.labels)}
        if not self.multi:
            return np.array([place[example.labels[0]] for example in examples], dtype=np.int64)
        out = np.zeros((len(examples), len(self.labels)), dtype=np.float32)
        for row, example in enumerate(examples):
            out[row, [place[label] for label in example.labels]] = 1.0
        return out

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every example and its split."""
        digest = hashlib.sha256()
        for name in SPLITS:
            for line in sorted(f"{name} {e.key} {'|'.join(e.labels)}" for e in getattr(self, name)):
                digest.update(line.encode())
        return digest.hexdigest()


def read_jsonl(file: Path) -> Iterator[LabelledExample]:
    """Yield the examples that `mailroom train` writes: per line text, labels, and optionally identity and split."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield LabelledExample(row["text"], tuple(row["labels"]), row.get("identity", ""), row.get("split", ""))


def dataset(examples: Iterable[LabelledExample], seed: int, notes: Sequence[str] = ()) -> Dataset:
    """Drop repetitions, check and split the examples. ``notes`` are warnings of the caller's.

    Raises Refused("bad-labels"), with what is wrong and what to do, for too few classes or examples, or nothing to test
    on.
    """
    examples = list(examples)
    unique, conflicts = unique_examples(examples)
    warnings = [*notes, *conflicts]
    multi = any(len(example.labels) > 1 for example in unique)
    labels = tuple(sorted({label for example in unique for label in example.labels}))
    _check(unique, labels, " ".join(["", *warnings]))
    splits = split_examples(unique, seed)
    for name in SPLITS:
        if not splits[name]:
            raise Refused("bad-labels", f"The {name} split is empty; add examples, or some of split {name!r}.")
    tested = {label for example in splits["test"] for label in example.labels}
    if untested := sorted(set(labels) - tested):
        warnings.append(f"No test example of: {', '.join(untested)}; their metrics are unknown.")
    warnings += leak_warnings(unique, labels)
    return Dataset(
        labels,
        multi,
        tuple(splits["train"]),
        tuple(splits["calibration"]),
        tuple(splits["test"]),
        dropped=len(examples) - len(unique),
        warnings=tuple(warnings),
    )


def unique_examples(examples: list[LabelledExample]) -> tuple[list[LabelledExample], list[str]]:
    """Return the first example of each text, and warnings.

    Where repetitions disagree about the label, all of them go: one of them is wrong.
    """
    groups: dict[str, list[LabelledExample]] = defaultdict(list)
    for example in examples:
        groups[example.key].append(example)
    unique, conflicts = [], 0
    for group in groups.values():
        if len({example.labels for example in group}) > 1:
            conflicts += 1
            continue
        # A repetition across a given split would measure memory: the side that is trained on wins.
        unique.append(min(group, key=lambda example: SPLITS.index(example.split) if example.split else 0))
    warning = f"{conflicts} texts have different labels; all their copies were left out. Correct them and train again."
    return unique, [warning] if conflicts else []


def _check(examples: list[LabelledExample], labels: tuple[str, ...], warnings: str) -> None:
    """Refuse too few classes or examples; ``warnings`` are added to the message."""
    text = ""
    counts = Counter(label for example in examples for label in example.labels)
    few = [f"{label} ({counts[label]})" for label in labels if counts[label] < FEWEST]
    if not labels:
        text = "There is no labelled text to learn from. Give a list of some, or approve documents first."
    elif len(labels) < 2:
        text = (
            f"There is one class ({labels[0]}); a classifier needs at least two. Add examples of what the documents "
            "are not, for instance a class 'other'."
        )
    elif few:
        more = " ..." if len(few) > 20 else ""
        text = (
            f"Fewer than {FEWEST} different examples of: {', '.join(few[:20])}{more}. Label more of them, or merge the "
            "class into another one."
        )
    if text:
        raise Refused("bad-labels", text + warnings)


def split_examples(examples: list[LabelledExample], seed: int) -> dict[str, list[LabelledExample]]:
    """Return the examples by split: given splits stand, the others are dealt out by class in the shares.

    The text's hash fixes the order, so that adding examples later moves no old one from test to train unless its
    class's share requires it.
    """
    splits: dict[str, list[LabelledExample]] = {name: [e for e in examples if e.split == name] for name in SPLITS}
    free = [example for example in examples if not example.split]
    counts = Counter(label for example in free for label in example.labels)
    groups: dict[str, list[LabelledExample]] = defaultdict(list)
    for example in free:
        groups[min(example.labels, key=lambda label: (counts[label], label))].append(example)
    # A split that was given is not added to, but what is left over is always trained on.
    dealt = [name for name in ("test", "calibration") if not splits[name]]
    for label in sorted(groups):
        order = sorted(groups[label], key=lambda e: hashlib.sha256(f"{seed}{e.key}".encode()).digest())
        for name in dealt:
            size = max(1, round(len(groups[label]) * SHARES[SPLITS.index(name)]))
            splits[name], order = splits[name] + order[:size], order[size:]
        splits["train"] += order
    return splits


def leak_warnings(examples: list[LabelledExample], labels: tuple[str, ...]) -> list[str]:
    """Warn of classes whose name is in nearly all of their own texts and in hardly any other."""
    sample = examples if len(examples) <= LEAK_TEXTS else random.Random(0).sample(examples, LEAK_TEXTS)
    lowered = [(example.text.lower(), example.labels) for example in sample]
    leaking = []
    for label in labels if len(labels) <= LEAK_LABELS else ():
        word = re.compile(rf"\b{re.escape(label.lower().replace('_', ' '))}\b|\b{re.escape(label.lower())}\b")
        own = [bool(word.search(text)) for text, classes in lowered if label in classes]
        rest = [bool(word.search(text)) for text, classes in lowered if label not in classes]
        if len(own) >= FEWEST and np.mean(own) > LEAK and np.mean(rest or [False]) < LEAK_ELSEWHERE:
            leaking.append(label)
    warning = (
        f"The label's own name stands in nearly every text of: {', '.join(leaking)}. If your real documents do not "
        "contain it, remove it from the texts and train again; the metrics are too good."
    )
    return [warning] if leaking else []
