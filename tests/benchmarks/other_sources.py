"""Documents of the types of doctype_mix from sources that are in none of its parts: to choose by where unseen sources count.

    MAILROOM_DATA=... python -m tests.benchmarks.other_sources [--trained .work/classification]

Needs the extra "train". The held-out sources of doctype_mix are test texts, and what is measured on them may choose nothing; these
may. 836 texts of 15 types and 21 kinds: SAP's documentation, minutes of Kubernetes, NIST's specifications, privacy policies, e-mails,
abstracts, and generated documents. Prints, for the bag-of-words branch as the recipe fits it to the training texts of doctype_heldout (and, with
``--trained``, for the version that `tests.benchmarks.classification` made of that set), the share of texts that are right, its mean
over the kinds, and the share of the calibration texts, which are from the training's sources.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.offline import go_offline

go_offline(os.environ)

from models.recipes.document_type.prepare import read_synthetic  # noqa: E402  (the switches come before any import of a runtime)
from models.recipes.finetune.examples import dataset  # noqa: E402
from models.recipes.finetune.fit import bag_of_words_branch  # noqa: E402
from models.recipes.finetune.outputs import bag_of_words_scores  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.registry import open_version  # noqa: E402
from pipeline.classify import OnnxClassifier  # noqa: E402
from tests.benchmarks.classification import PAGES, documents  # noqa: E402
from tests.benchmarks.public_collections import records  # noqa: E402
from tests.benchmarks.record import public_data  # noqa: E402

#: Characters kept of a text, as in doctype_mix.
KEPT = 8000
SEED = 1
GENERATED = {
    "contract": "contract", "resume": "resume", "job_description": "job_description", "invoice": "invoice",
    "purchase_order": "purchase_order", "receipt": "receipt", "support_ticket": "support_ticket", "policy": "policy",
    "email": "email", "incident_report": "incident_postmortem", "delivery_note": "shippingorder",
    "minutes": "meeting_minutes", "specification": "technical_spec",
}  # fmt: skip
ABSTRACTS = {"cranfield": "cran.all.1400", "cisi": "CISI.ALL", "cacm": "cacm.all"}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A text of a known type; ``kind`` names its source."""

    label: str
    kind: str
    text: str


def other_sources(data: Path) -> list[Foreign]:
    """All of them, at most 120 of a kind."""
    found = [
        *_pages(data, "btp", "product_documentation", r"/docs/(?!.*index)", 120),
        *_pages(data, "kubernetes_community", "meeting_minutes", r"(?i)minutes|meeting|notes", 120),
        *_pages(data, "nist_800-63-3", "technical_spec", r"/sp800", 60),
        *_policies(data),
        *_mails(data),
        *_generated(30),
        *_abstracts(data, 40),
    ]
    return [Foreign(each.label, each.kind, each.text[:KEPT]) for each in found]


def _pages(data: Path, source: str, label: str, name: str, most: int) -> list[Foreign]:
    with lzma.open(data / "text" / f"{source}.jsonl.xz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if len(row["text"]) > 600 and re.search(name, row["id"])]
    random.Random(SEED).shuffle(rows)
    return [Foreign(label, source, row["text"]) for row in rows[:most]]


def _policies(data: Path) -> Iterator[Foreign]:
    articles = json.loads((data / "qa" / "policyqa-dev.json").read_text(encoding="utf-8"))["data"]
    for article in articles:
        yield Foreign("policy", "policyqa", "\n".join(each["context"] for each in article["paragraphs"]))


def _mails(data: Path) -> Iterator[Foreign]:
    for file in (f for part in ("mail_eml", "unstructured") for f in sorted((data / "files" / part).rglob("*.eml"))):
        try:
            message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            body = message.get_body(("plain",))
            text = body.get_content() if body else ""
        except Exception:  # some are broken on purpose
            continue
        if len(text) > 150:
            yield Foreign("email", "mail_eml", f"Subject: {message['subject']}\n\n{text}")


def _generated(each: int) -> Iterator[Foreign]:
    taken: dict[str, int] = defaultdict(int)
    for sample in read_synthetic(2 * each, random.Random(SEED)):
        if sample.label in GENERATED and taken[sample.label] < each:
            taken[sample.label] += 1
            yield Foreign(GENERATED[sample.label], f"generated {sample.label}", sample.text)


def _abstracts(data: Path, each: int) -> Iterator[Foreign]:
    for name, file in ABSTRACTS.items():
        whole = [r for r in records(data / "retrieval" / name / file) if len(r.get("W", "").strip()) > 300]
        random.Random(SEED).shuffle(whole)
        for record in whole[:each]:
            yield Foreign("scientific_abstract", name, f"{record.get('T', '').strip()}\n{record['W'].strip()}")


def shares(best: list[str], foreign: list[Foreign]) -> tuple[float, float]:
    """(share of the texts that are right, its mean over the kinds)."""
    kinds = defaultdict(list)
    for label, each in zip(best, foreign, strict=True):
        kinds[each.label, each.kind].append(label == each.label)
    return float(np.mean(np.concatenate(list(kinds.values())))), float(np.mean([np.mean(k) for k in kinds.values()]))


def words(data: Path, foreign: list[Foreign], work: Path) -> str:
    """The bag-of-words branch alone."""
    base = open_start("mistral-small", work)
    known = dataset(documents(data, True), PAGES.seed)
    branch = bag_of_words_branch(base, known, PAGES)
    asked, held = ([e.text for e in texts] for texts in (foreign, known.calibration))
    there, here = (
        bag_of_words_scores(branch, base.encode(texts, PAGES.max_length)).argmax(1) for texts in (asked, held)
    )
    own = float((here == known.targets(known.calibration)).mean())
    return _line("words alone", *shares([known.labels[place] for place in there], foreign), own)


def served(data: Path, foreign: list[Foreign], trained: Path) -> str:
    """The version that was made of doctype_heldout."""
    version = open_version(trained / "doctype_heldout" / "out", "doctype_heldout", "1")
    classifier = OnnxClassifier(version, threads=2)
    known = dataset(documents(data, True), PAGES.seed).calibration
    own = classifier.classify([example.text for example in known])
    there = [prediction.label for prediction in classifier.classify([each.text for each in foreign])]
    right = [prediction.label == example.labels[0] for prediction, example in zip(own, known, strict=True)]
    return _line("served", *shares(there, foreign), float(np.mean(right)))


def _line(name: str, texts: float, kinds: float, own: float) -> str:
    return f"{name}: {texts:.4f} of the texts, {kinds:.4f} of a kind, {own:.4f} of the calibration texts"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.other_sources")
    parser.add_argument("--trained", type=Path, help="the folder that tests.benchmarks.classification worked in")
    given = parser.parse_args()
    data = public_data()
    foreign = other_sources(data)
    print(len(foreign), "texts")
    with tempfile.TemporaryDirectory() as work:
        print(words(data, foreign, Path(work)))
    if given.trained:
        print(served(data, foreign, given.trained))


if __name__ == "__main__":
    main()
