"""The training data: labelled public documents, general text as "other", and generated business documents.

Only sources whose texts may train a shipped model are read. Classes are merged to those that a company recognises:

    contract, email, policy, invoice, purchase_order, receipt, report, resume, job_description, spam: as they are
    delivery_note     <- shippingorder                 specification     <- technical_spec
    guide             <- handbook, product_documentation (a handbook page with "policy" in its title <- policy)
    minutes           <- meeting_minutes, meeting_transcript
    support_ticket, statute: as they are               incident_report   <- incident_postmortem
    scientific_paper  <- scientific_abstract
    other             <- blog posts of the general text, generated miscellany

The split is by the hash of the text: 80 % train, 10 % calibration, 10 % test. The same text is always on one side. Calibration
reads generated documents of other templates besides (`unseen`).
"""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

LABELS = (
    "contract",
    "delivery_note",
    "email",
    "guide",
    "incident_report",
    "invoice",
    "job_description",
    "minutes",
    "other",
    "policy",
    "purchase_order",
    "receipt",
    "report",
    "resume",
    "scientific_paper",
    "spam",
    "specification",
    "statute",
    "support_ticket",
)
RENAMED = {
    "shippingorder": "delivery_note",
    "handbook": "guide",
    "product_documentation": "guide",
    "meeting_minutes": "minutes",
    "meeting_transcript": "minutes",
    "technical_spec": "specification",
    "incident_postmortem": "incident_report",
    "scientific_abstract": "scientific_paper",
}
#: Never read: their terms do not allow shipping a model trained on them.
FORBIDDEN_LABELS = frozenset({"news", "court_transcript", "financial_report"})
FORBIDDEN_SOURCES = frozenset({"20newsgroups_posts"})
#: General text that is none of our classes.
OTHER_SOURCES = ("18f_blog", "digital_gov")
#: Characters kept of a text: more than the window holds, so that crops from its middle are possible.
KEPT = 6000
#: Calibration documents of a class from templates that nobody trains on.
UNSEEN = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled text. ``split`` is "train", "calibration" or "test"."""

    label: str
    source: str
    split: str
    text: str


def split_of(text: str) -> str:
    """The side that a text falls on: by content, so that a repetition stays together."""
    place = hashlib.sha256(" ".join(text.lower().split()).encode()).digest()[0] / 256
    return "train" if place < 0.8 else "calibration" if place < 0.9 else "test"


def read_real(data: Path, most: int) -> Iterator[Sample]:
    """The labelled documents that may be trained on, at most ``most`` of a class from one source: a source with many texts teaches
    its own style."""
    taken: Counter[tuple[str, str]] = Counter()
    with lzma.open(data / "classification" / "doctype_mix.jsonl.xz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["label"] in FORBIDDEN_LABELS or row["source"] in FORBIDDEN_SOURCES:
                continue
            taken[row["label"], row["source"]] += 1
            if taken[row["label"], row["source"]] > most:
                continue
            label = RENAMED.get(row["label"], row["label"])
            if row["label"] == "handbook" and re.search(r"\bpolic(y|ies)\b", row["text"][:200], re.IGNORECASE):
                label = "policy"
            yield Sample(label, row["source"], split_of(row["text"]), row["text"][:KEPT])


def read_other(data: Path, each: int, rng: random.Random) -> Iterator[Sample]:
    """General text as "other"."""
    for source in OTHER_SOURCES:
        with lzma.open(data / "text" / f"{source}.jsonl.xz", "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        for text in rng.sample(texts, min(each, len(texts))):
            if len(text) > 300:
                yield Sample("other", source, split_of(text), text[:KEPT])


def read_synthetic(each: int, rng: random.Random) -> Iterator[Sample]:
    """Generated documents; repetitions of a text are dropped."""
    from models.recipes.document_type import everyday, paperwork  # noqa: F401  (they register their makers)
    from models.recipes.document_type.synthetic import generate

    seen = set()
    for label, text in generate(each, rng):
        if text not in seen:
            seen.add(text)
            yield Sample(label, "synthetic", split_of(text), text[:KEPT])


def read_unseen(each: int, rng: random.Random) -> Iterator[Sample]:
    """Generated documents of the templates that only calibration reads."""
    from models.recipes.document_type.unseen import unseen

    for label, text in unseen(each, rng):
        yield Sample(label, "unseen", "calibration", text[:KEPT])


def prepare(data: Path, work: Path, seed: int, synthetic: int, most: int) -> list[Sample]:
    """Collect the samples and write them to ``work/samples.jsonl``; returns them."""
    rng = random.Random(seed)
    public = [*read_real(data, most), *read_other(data, most, rng)]
    samples = [*public, *read_synthetic(synthetic, rng), *read_unseen(UNSEEN, rng)]
    work.mkdir(parents=True, exist_ok=True)
    with (work / "samples.jsonl").open("w", encoding="utf-8") as out:
        for sample in samples:
            out.write(json.dumps(asdict(sample), ensure_ascii=False) + "\n")
    return samples


def load(work: Path) -> list[Sample]:
    """What `prepare` wrote."""
    with (work / "samples.jsonl").open(encoding="utf-8") as lines:
        return [Sample(**json.loads(line)) for line in lines]
