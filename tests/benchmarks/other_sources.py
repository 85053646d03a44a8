"""Measure document types on sources that are in no part of doctype_mix, to choose settings for unseen sources.

    MAILROOM_DATA=... python -m tests.benchmarks.other_sources [--trained .work/classification]

Needs the extra "train". The held-out sources of doctype_mix are test texts, so no choice may depend on them; it may on
these. 836 texts of 15 types and 21 kinds: SAP's documentation, minutes of Kubernetes, NIST's specifications, privacy
policies, e-mails, abstracts, and generated documents. Prints the share of texts that are right, its mean over the
kinds, and the share of the calibration texts, which are from the training's sources: for the bag-of-words branch as the
recipe fits it to the training texts of doctype_heldout, and with ``--trained`` for the version that
`tests.benchmarks.classification` made of that set.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import json
import lzma
import os
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.offline import go_offline

go_offline(os.environ)

# The switches come before any import of a runtime.
from models.recipes.document_type.prepare import read_synthetic  # noqa: E402
from models.recipes.finetune.examples import dataset  # noqa: E402
from models.recipes.finetune.fit import bag_of_words_branch  # noqa: E402
from models.recipes.finetune.outputs import bag_of_words_scores  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.registry import open_version  # noqa: E402
from pipeline.classify import OnnxClassifier  # noqa: E402
from tests.benchmarks.classification import PAGES, documents  # noqa: E402
from tests.benchmarks.public_collections import records  # noqa: E402
from tests.benchmarks.record import public_data  # noqa: E402

#: Characters of a text that are used, as in doctype_mix.
MAX_CHARACTERS = 8000
SEED = 1
GENERATED = {
    "contract": "contract", "resume": "resume", "job_description": "job_description", "invoice": "invoice",
    "purchase_order": "purchase_order", "receipt": "receipt", "support_ticket": "support_ticket", "policy": "policy",
    "email": "email", "incident_report": "incident_postmortem", "delivery_note": "shippingorder",
    "minutes": "meeting_minutes", "specification": "technical_spec",
}  # fmt: skip
ABSTRACTS = {"cranfield": "cran.all.1400", "cisi": "CISI.ALL", "cacm": "cacm.all"}


@dataclass(frozen=True, slots=True)
class ForeignText:
    """A text of a known type; ``kind`` names its source."""

    label: str
    kind: str
    text: str


def other_sources(data: Path) -> list[ForeignText]:
    """Return all texts, at most 120 of a kind."""
    texts = [
        *_pages(data, "btp", "product_documentation", r"/docs/(?!.*index)", 120),
        *_pages(data, "kubernetes_community", "meeting_minutes", r"(?i)minutes|meeting|notes", 120),
        *_pages(data, "nist_800-63-3", "technical_spec", r"/sp800", 60),
        *_policies(data),
        *_mails(data),
        *_generated(30),
        *_abstracts(data, 40),
    ]
    return [ForeignText(text.label, text.kind, text.text[:MAX_CHARACTERS]) for text in texts]


def _pages(data: Path, source: str, label: str, name: str, most: int) -> list[ForeignText]:
    with lzma.open(data / "text" / f"{source}.jsonl.xz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if len(row["text"]) > 600 and re.search(name, row["id"])]
    random.Random(SEED).shuffle(rows)
    return [ForeignText(label, source, row["text"]) for row in rows[:most]]


def _policies(data: Path) -> Iterator[ForeignText]:
    articles = json.loads((data / "qa" / "policyqa-dev.json").read_text(encoding="utf-8"))["data"]
    for article in articles:
        yield ForeignText("policy", "policyqa", "\n".join(paragraph["context"] for paragraph in article["paragraphs"]))


def _mails(data: Path) -> Iterator[ForeignText]:
    for file in (f for part in ("mail_eml", "unstructured") for f in sorted((data / "files" / part).rglob("*.eml"))):
        try:
            message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            body = message.get_body(("plain",))
            text = body.get_content() if body else ""
        except Exception:  # some are broken on purpose
            continue
        if len(text) > 150:
            yield ForeignText("email", "mail_eml", f"Subject: {message['subject']}\n\n{text}")


def _generated(per_label: int) -> Iterator[ForeignText]:
    counts: dict[str, int] = defaultdict(int)
    for sample in read_synthetic(2 * per_label, random.Random(SEED)):
        if sample.label in GENERATED and counts[sample.label] < per_label:
            counts[sample.label] += 1
            yield ForeignText(GENERATED[sample.label], f"generated {sample.label}", sample.text)


def _abstracts(data: Path, per_collection: int) -> Iterator[ForeignText]:
    for name, file in ABSTRACTS.items():
        long_enough = [r for r in records(data / "retrieval" / name / file) if len(r.get("W", "").strip()) > 300]
        random.Random(SEED).shuffle(long_enough)
        for record in long_enough[:per_collection]:
            yield ForeignText("scientific_abstract", name, f"{record.get('T', '').strip()}\n{record['W'].strip()}")


def shares(best: list[str], foreign: list[ForeignText]) -> tuple[float, float]:
    """Return the share of the texts that are right, and the mean of that share over the kinds."""
    kinds = defaultdict(list)
    for label, text in zip(best, foreign, strict=True):
        kinds[text.label, text.kind].append(label == text.label)
    return float(np.mean(np.concatenate(list(kinds.values())))), float(np.mean([np.mean(k) for k in kinds.values()]))


def bag_of_words_line(data: Path, foreign: list[ForeignText], work: Path) -> str:
    """Measure the bag-of-words branch alone and return a line of text."""
    base = open_start("mistral-small", work)
    training = dataset(documents(data, True), PAGES.seed)
    branch = bag_of_words_branch(base, training, PAGES)

    def best(texts: Iterable[str]) -> np.ndarray:
        return bag_of_words_scores(branch, base.encode(list(texts), PAGES.max_length)).argmax(1)

    labels = [training.labels[place] for place in best(text.text for text in foreign)]
    own = best(example.text for example in training.calibration) == training.targets(training.calibration)
    return _line("bag of words alone", *shares(labels, foreign), float(own.mean()))


def served_line(data: Path, foreign: list[ForeignText], trained: Path) -> str:
    """Measure the version that was made of doctype_heldout and return a line of text."""
    version = open_version(trained / "doctype_heldout" / "out", "doctype_heldout", "1")
    classifier = OnnxClassifier(version, threads=2)
    calibration = dataset(documents(data, True), PAGES.seed).calibration
    predictions = classifier.classify([example.text for example in calibration])
    right = [p.label == example.labels[0] for p, example in zip(predictions, calibration, strict=True)]
    labels = [prediction.label for prediction in classifier.classify([text.text for text in foreign])]
    return _line("served", *shares(labels, foreign), float(np.mean(right)))


def _line(name: str, texts: float, kinds: float, own: float) -> str:
    return f"{name}: {texts:.4f} of the texts, {kinds:.4f} of a kind, {own:.4f} of the calibration texts"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.other_sources")
    parser.add_argument("--trained", type=Path, help="the folder in which tests.benchmarks.classification worked")
    options = parser.parse_args()
    data = public_data()
    foreign = other_sources(data)
    print(len(foreign), "texts")
    with tempfile.TemporaryDirectory() as work:
        print(bag_of_words_line(data, foreign, Path(work)))
    if options.trained:
        print(served_line(data, foreign, options.trained))


if __name__ == "__main__":
    main()
