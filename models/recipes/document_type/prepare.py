"""The training data: labelled public documents, general text as "other", and generated business documents.

Only sources whose texts may train a shipped model are read. Classes are merged to those that a company recognises:

    contract, email, policy, invoice, purchase_order, receipt, report, resume, job_description, spam: as they are
    delivery_note     <- shippingorder                 specification     <- technical_spec
    guide             <- handbook, product_documentation (a handbook page with "policy" in its title <- policy)
    minutes           <- meeting_minutes, meeting_transcript
    support_ticket, statute: as they are               incident_report   <- incident_postmortem
    scientific_paper  <- scientific_abstract
    other             <- blog posts of the general text, generated miscellany

The split is by the hash of the text: 80 % train, 10 % calibration, 10 % test, so that copies of a text are always on
one side. Calibration also reads generated documents of other templates (templates/unseen.toml).
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

from models.recipes.document_type.templates import generate, generate_unseen

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
#: General text that belongs to none of our classes.
OTHER_SOURCES = ("18f_blog", "digital_gov")
#: Characters of a text that are stored: more than the window holds, so that crops from its middle are possible.
MAX_CHARACTERS = 6000
#: Calibration documents per class from templates that nobody trains on.
UNSEEN_PER_CLASS = 20


@dataclass(frozen=True, slots=True)
class DocumentSample:
    """A labelled text. ``split`` is "train", "calibration" or "test"."""

    label: str
    source: str
    split: str
    text: str


def split_of(text: str) -> str:
    """Return the split of a text: by its content, so that repetitions stay together."""
    place = hashlib.sha256(" ".join(text.lower().split()).encode()).digest()[0] / 256
    return "train" if place < 0.8 else "calibration" if place < 0.9 else "test"


def read_real(data: Path, limit: int) -> Iterator[DocumentSample]:
    """Yield the labelled documents that may be trained on, at most ``limit`` per class and source.

    The limit keeps a source with many texts from teaching its own style.
    """
    counts: Counter[tuple[str, str]] = Counter()
    with lzma.open(data / "classification" / "doctype_mix.jsonl.xz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["label"] in FORBIDDEN_LABELS or row["source"] in FORBIDDEN_SOURCES:
                continue
            counts[row["label"], row["source"]] += 1
            if counts[row["label"], row["source"]] > limit:
                continue
            label = RENAMED.get(row["label"], row["label"])
            if row["label"] == "handbook" and re.search(r"\bpolic(y|ies)\b", row["text"][:200], re.IGNORECASE):
                label = "policy"
            yield DocumentSample(label, row["source"], split_of(row["text"]), row["text"][:MAX_CHARACTERS])


def read_other(data: Path, per_source: int, rng: random.Random) -> Iterator[DocumentSample]:
    """Yield general text as "other", at most ``per_source`` texts of a source."""
    for source in OTHER_SOURCES:
        with lzma.open(data / "text" / f"{source}.jsonl.xz", "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        for text in rng.sample(texts, min(per_source, len(texts))):
            if len(text) > 300:
                yield DocumentSample("other", source, split_of(text), text[:MAX_CHARACTERS])


def read_synthetic(per_class: int, rng: random.Random) -> Iterator[DocumentSample]:
    """Yield generated documents, ``per_class`` of every class less the repetitions among them."""
    for label, text in dict.fromkeys(generate(per_class, rng)):
        yield DocumentSample(label, "synthetic", split_of(text), text[:MAX_CHARACTERS])


def read_unseen(per_class: int, rng: random.Random) -> Iterator[DocumentSample]:
    """Yield generated documents of the templates that only calibration reads."""
    for label, text in generate_unseen(per_class, rng):
        yield DocumentSample(label, "unseen", "calibration", text[:MAX_CHARACTERS])


def prepare(data: Path, work: Path, seed: int, synthetic: int, limit: int) -> list[DocumentSample]:
    """Collect the samples, write them to ``work/samples.jsonl`` and return them.

    ``synthetic`` documents per class are generated; ``limit`` public ones per class and source are read.
    """
    rng = random.Random(seed)
    public = [*read_real(data, limit), *read_other(data, limit, rng)]
    samples = [*public, *read_synthetic(synthetic, rng), *read_unseen(UNSEEN_PER_CLASS, rng)]
    work.mkdir(parents=True, exist_ok=True)
    with (work / "samples.jsonl").open("w", encoding="utf-8") as out:
        for sample in samples:
            out.write(json.dumps(asdict(sample), ensure_ascii=False) + "\n")
    return samples


def load(work: Path) -> list[DocumentSample]:
    """Return the samples that `prepare` wrote to ``work/samples.jsonl``."""
    with (work / "samples.jsonl").open(encoding="utf-8") as lines:
        return [DocumentSample(**json.loads(line)) for line in lines]
