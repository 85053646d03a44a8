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
#: A class whose name stands in this share of its own texts, and in hardly any other, may be leaking its answer.
LEAK, LEAK_ELSEWHERE = 0.9, 0.02

_SPACES = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled text. ``split`` is one of SPLITS, or empty: `split` decides. ``identity`` names it in reports."""

    text: str
    labels: tuple[str, ...]
    identity: str = ""
    split: str = ""

    @property
    def key(self) -> str:
        """Equal for texts that differ in case, spaces or punctuation alone."""
        return hashlib.sha256(_SPACES.sub(" ", self.text.lower()).strip().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a fine-tune works on. ``labels`` are sorted; ``dropped`` counts repeated examples; ``warnings`` are for people."""

    labels: tuple[str, ...]
    multi: bool
    train: tuple[Example, ...]
    calibration: tuple[Example, ...]
    test: tuple[Example, ...]
    dropped: int = 0
    warnings: tuple[str, ...] = ()

    def targets(self, examples: Sequence[Example]) -> np.ndarray:
        """(examples,) label places, or (examples, labels) of 0 and 1 when an example may have several labels."""
        place = {label: number for number, label in enumerate(self.labels)}
        if not self.multi:
            return np.array([place[example.labels[0]] for example in examples], dtype=np.int64)
        out = np.zeros((len(examples), len(self.labels)), dtype=np.float32)
        for row, example in enumerate(examples):
            out[row, [place[label] for label in example.labels]] = 1.0
        return out

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every example and the side it is on."""
        digest = hashlib.sha256()
        for name in SPLITS:
            for line in sorted(f"{name} {e.key} {'|'.join(e.labels)}" for e in getattr(self, name)):
                digest.update(line.encode())
        return digest.hexdigest()


def read_jsonl(file: Path) -> Iterator[Example]:
    """Examples as `mailroom train` writes them: one object a line with text, labels, and perhaps identity and split."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield Example(row["text"], tuple(row["labels"]), row.get("identity", ""), row.get("split", ""))


def dataset(examples: Iterable[Example], seed: int, notes: Sequence[str] = ()) -> Dataset:
    """Drop repetitions, check, split. ``notes`` are warnings of the caller's.

    Raises Refused("bad-labels") saying what is wrong and what to do: too few classes or examples, or the same text under
    different labels, or nothing to test on.
    """
    given = list(examples)
    kept, torn = _unique(given)
    warnings = [*notes, *torn]
    multi = any(len(example.labels) > 1 for example in kept)
    labels = tuple(sorted({label for example in kept for label in example.labels}))
    _check(kept, labels, " ".join(["", *warnings]))
    sides = _sides(kept, seed)
    for name in SPLITS:
        if not sides[name]:
            raise Refused("bad-labels", f"The {name} split is empty; give more examples, or some of split {name!r}.")
    warnings += _missing(labels, sides["test"]) + _leaks(kept, labels)
    return Dataset(
        labels, multi, *(tuple(sides[n]) for n in SPLITS), dropped=len(given) - len(kept), warnings=tuple(warnings)
    )


def _unique(examples: list[Example]) -> tuple[list[Example], list[str]]:
    """The first of each text. Where repetitions disagree about the label, all of them go: one of them is wrong."""
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.key].append(example)
    kept, torn = [], 0
    for group in groups.values():
        if len({each.labels for each in group}) > 1:
            torn += 1
            continue
        # A repetition across a given split would measure memory: the side that is trained on wins.
        kept.append(min(group, key=lambda each: SPLITS.index(each.split) if each.split else 0))
    said = f"{torn} texts stand under different labels; all their copies were left out. Settle them and train again."
    return kept, [said] if torn else []


def _check(examples: list[Example], labels: tuple[str, ...], besides: str) -> None:
    if not labels:
        raise Refused(
            "bad-labels",
            "There is no labelled text to learn from. Give a list of some, or approve documents first." + besides,
        )
    if len(labels) < 2:
        raise Refused(
            "bad-labels",
            f"There is one class ({labels[0]}); a classifier needs at "
            "least two. Add examples of what the documents are not, for instance a class 'other'." + besides,
        )
    counts = Counter(label for example in examples for label in example.labels)
    few = [f"{label} ({counts[label]})" for label in labels if counts[label] < FEWEST]
    if few:
        raise Refused(
            "bad-labels",
            f"Fewer than {FEWEST} different examples of: {', '.join(few[:20])}{' ...' if len(few) > 20 else ''}. Label more of "
            "them, or merge the class into another one." + besides,
        )


def _sides(examples: list[Example], seed: int) -> dict[str, list[Example]]:
    """Given splits stand. Of the others each class is dealt out in the shares, in an order that the text's hash fixes: adding
    examples later moves no old one from test to train unless its class's share asks for it."""
    sides: dict[str, list[Example]] = {name: [e for e in examples if e.split == name] for name in SPLITS}
    free = [example for example in examples if not example.split]
    groups: dict[str, list[Example]] = defaultdict(list)
    counts = Counter(label for example in free for label in example.labels)
    for example in free:
        groups[min(example.labels, key=lambda label: (counts[label], label))].append(example)
    wanted = [name for name in SPLITS if not sides[name]] if any(sides.values()) else list(SPLITS)
    for label in sorted(groups):
        order = sorted(groups[label], key=lambda e: hashlib.sha256(f"{seed}{e.key}".encode()).digest())
        for name, part in _dealt(order, wanted):
            sides[name] += part
    return sides


def _dealt(order: list[Example], wanted: list[str]) -> Iterator[tuple[str, list[Example]]]:
    """The share of each wanted side, at least one example; what is left, and all where nothing else is wanted, is trained on."""
    start = 0
    for name in ("test", "calibration"):
        if name in wanted:
            size = max(1, round(len(order) * SHARES[SPLITS.index(name)]))
            yield name, order[start : start + size]
            start += size
    yield "train", order[start:]


def _missing(labels: tuple[str, ...], test: list[Example]) -> list[str]:
    absent = sorted(set(labels) - {label for example in test for label in example.labels})
    return [f"No test example of: {', '.join(absent)}; their figures are unknown."] if absent else []


def _leaks(examples: list[Example], labels: tuple[str, ...]) -> list[str]:
    """Classes whose name stands in nearly all of their own texts and in hardly any other."""
    sample = examples if len(examples) <= 5000 else random.Random(0).sample(examples, 5000)
    lowered = [(example.text.lower(), example.labels) for example in sample]
    found = []
    for label in labels if len(labels) <= 200 else ():
        word = re.compile(rf"\b{re.escape(label.lower().replace('_', ' '))}\b|\b{re.escape(label.lower())}\b")
        own = [bool(word.search(text)) for text, given in lowered if label in given]
        rest = [bool(word.search(text)) for text, given in lowered if label not in given]
        if len(own) >= FEWEST and np.mean(own) > LEAK and np.mean(rest or [0]) < LEAK_ELSEWHERE:
            found.append(label)
    return (
        [
            f"The label's own name stands in nearly every text of: {', '.join(found)}. If your real documents do not say it, take it "
            "out of the texts and train again; the figures flatter."
        ]
        if found
        else []
    )
