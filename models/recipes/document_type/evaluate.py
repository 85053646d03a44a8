"""Measure a version on texts that it never saw, beside a bag of words, and write its card."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from models.recipes.document_type.prepare import LABELS, Sample
from models.registry import write_manifest
from pipeline.classify import OnnxClassifier
from pipeline.onnx import ModelFolder

COMMAND = (
    "python -m models.recipes.document_type all --data $MAILROOM_DATA --work .work/document-type --out models/shipped"
)


def evaluate(folder: ModelFolder, samples: Sequence[Sample]) -> dict[str, float]:
    """Figures on the test split: accuracy (all, and public texts alone), coverage and precision of the sure verdicts,
    expected calibration error (15 bins), and the accuracy of TF-IDF with a linear SVM on the same split."""
    test = [s for s in samples if s.split == "test"]
    classifier = OnnxClassifier(folder, threads=2)
    probabilities = classifier.probabilities([s.text for s in test])
    targets = np.array([LABELS.index(s.label) for s in test])
    best, top = probabilities.argmax(1), probabilities.max(1)
    right = best == targets
    sure = top >= np.array([folder.manifest.thresholds[LABELS[b]] for b in best])
    public = np.array([s.source != "synthetic" for s in test])
    return {
        "texts": len(test),
        "accuracy": share(right),
        "accuracy_public_texts": share(right[public]),
        "coverage_sure": share(sure),
        "precision_of_sure": share(right[sure]),
        "ece": round(calibration_error(top, right), 4),
        "tfidf_svm_accuracy": baseline(samples),
    }


def share(values: np.ndarray) -> float:
    return round(float(values.mean()), 4) if len(values) else 0.0


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017)."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[places == b].mean() - right[places == b].mean()) * (places == b).mean()
        for b in range(bins)
        if (places == b).any()
    ]
    return float(sum(gaps))


def baseline(samples: Sequence[Sample]) -> float:
    """Words and pairs of words, TF-IDF, linear SVM: what the network has to beat."""
    train = [s for s in samples if s.split == "train"]
    test = [s for s in samples if s.split == "test"]
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=300_000)
    machine = LinearSVC().fit(words.fit_transform([s.text for s in train]), [s.label for s in train])
    guessed = machine.predict(words.transform([s.text for s in test]))
    return share(guessed == np.array([s.label for s in test]))


def write_card(
    folder: ModelFolder, figures: Mapping[str, float], way: Mapping[str, object], plan: Mapping[str, object]
) -> ModelFolder:
    """Put the figures into ``card.md`` and ``figures.json`` of the version and sign it anew."""
    path = Path(folder.path)
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in figures.items())
    manifest = folder.manifest
    text = CARD.format(
        title=manifest.title,
        labels=", ".join(LABELS),
        rows=rows,
        way=json.dumps(way, default=str),
        plan=json.dumps(plan, default=str),
        command=COMMAND,
        date=datetime.datetime.now(datetime.UTC).date(),
        heat=manifest.temperature,
        window=manifest.max_length,
    )
    (path / "card.md").write_text(text, encoding="utf-8")
    (path / "figures.json").write_text(json.dumps(dict(figures), indent=1) + "\n", encoding="utf-8")
    return write_manifest(path, described(manifest))


def described(manifest) -> dict[str, object]:
    """The manifest's own fields without the digests, which are made anew."""
    names = ("name", "version", "kind", "labels", "max_length", "temperature", "licence", "data", "thresholds")
    return {name: getattr(manifest, name) for name in names}


CARD = """# {title}

What kind of document is this? A small Mistral (`MistralForSequenceClassification`, four layers, 384 wide, grouped-query
attention, read in both directions, mean over all tokens) over the MiniLM word pieces, its token embeddings started from
MiniLM's. Input: up to {window} tokens, of a longer text the first three quarters of the window and the end. Output: calibrated
probabilities (temperature {heat}) over: {labels}.

## Figures
Measured on the tenth of the texts whose hash falls into the test split; none of them was trained or calibrated on.

| figure | value |
|---|---|
{rows}

Most classes of the public set come from one or two sources, so a random split mostly measures the source's style. The
held-out-source split has not been measured for this version. Parity of the ONNX files with PyTorch on the test split, and
the choice between them: `{way}`.

## Data
Public, labelled texts whose terms allow a shipped model: contracts (CUAD, CC BY 4.0; SEC EDGAR samples, public domain), e-mail
(Enron, public record), policies, handbooks (GitLab handbook, CC BY-SA 4.0, and others), statutes (DC code, public domain), product
documentation (AWS, CC BY-SA 4.0; Microsoft docs, CC BY 4.0), PEPs (public domain), Rust RFCs (MIT/Apache-2.0), abstracts (SciFact's
abstracts from S2ORC, PubMedQA, MIT), IT tickets, receipts (SROIE), meetings (QMSum, MIT; TC39; Node TSC), post-mortems, job
descriptions and resumes. General text (18F and digital.gov blogs, public domain) is "other". Not used: news, court transcripts,
financial reports, newsgroup posts. About half of what the network saw of the business classes was generated for this project by
`models/recipes/document_type/synthetic.py`. Where a source is share-alike, these weights are offered under the same terms.

## Recipe
`{command}`
Date {date}. Settings and seed: `{plan}`.

## Limits
English. Thresholds are per class for 97 % precision on the calibration texts; a document under its threshold goes to review. Business
documents in the public set are few and of one look; expect review rather than a sure answer on layouts that are far from it. Not
tried on scans of poor quality, on languages other than English, or on texts under twenty words.
"""
