"""From labelled texts to a registered model version with its report: a whole fine-tune."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.recipes.finetune import baselines, measure, report
from models.recipes.finetune.base import Base
from models.recipes.finetune.calibrate import PRECISION, Calibration, calibrate, fewest
from models.recipes.finetune.examples import SHARES, SPLITS, Dataset
from models.recipes.finetune.export import export
from models.recipes.finetune.fit import FEW_TEXTS, Fitted, fit, refit, tune
from models.recipes.finetune.outputs import bag_of_words_scores, logits_of
from models.recipes.finetune.settings import Hyperparameters
from models.registry import verify, write_manifest
from pipeline.classify import OnnxClassifier
from pipeline.onnx import ModelFolder
from pipeline.ports import Embedder

#: Test examples that a version brings along, at most.
GOLDEN = 2000
#: Before the id of a document, in an example's identity.
DOCUMENT = "document:"

CARD = """# {title}

{summary}

{network}. Input: up to {window} tokens of a text, head and tail of a longer one. Output: calibrated probabilities
over {count} labels{multi}.

## Metrics
On {texts} test texts that were neither trained nor calibrated on; the baselines had the same split.

| classifier | accuracy | macro F1 | ECE | coverage at 97 % |
|---|---|---|---|---|
{rows}

Everything else is in report.html and report.json.

## Data
{data}. {train} texts to train on, {calibration} to calibrate, {texts} to test; {dropped} repetitions left out.
Fingerprint `{fingerprint}`.

## Recipe
`{command}`, {date}. Settings: `{settings}`. Base: {base}. Training took {seconds:.0f} s.

## Licence
{licence}

## Limits
A prediction under its class's threshold ({precision:.0%} precision on the calibration split) goes to review. The
metrics hold for texts like those it was trained on. {limits}
"""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to make: a version of a model, and what its card states.

    Args:
        name: of the model.
        version: of the model.
        root: the folder of <name>/<version>/ folders.
        work: for checkpoints; may be removed afterwards.
        command: that the training can be repeated by.
        data: the sources of the texts.
        licence: of the weights.
        base: what the fine-tune starts from.
        limits: of the model, for the card.
        golden: whether the version brings its test texts along.
        precision: that predictions above threshold should have.
        taxonomy: id of the last taxonomy operation that the labels follow.
    """

    name: str
    version: str
    root: Path
    work: Path
    command: str
    data: str
    licence: str
    base: str
    limits: str = ""
    golden: bool = False
    precision: float = PRECISION
    taxonomy: str = ""


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A finished version and its report."""

    folder: ModelFolder
    report: dict[str, Any]


def train(
    job: TrainingJob,
    base: Base,
    data: Dataset,
    settings: Hyperparameters,
    embedder: Embedder | None,
    tries: int = 1,
    resume: bool = False,
    extra: Callable[[OnnxClassifier, Fitted], Mapping[str, Any]] | None = None,
) -> TrainedVersion:
    """Fine-tune, calibrate, export, measure, report. The version folder appears whole or not at all.

    ``embedder`` is that of a baseline, and of the projection where texts are few; None leaves both out. With more than
    one of the ``tries``, settings are searched first. ``extra`` adds metrics of the caller's, measured on the served
    model. Raises Misconfigured or Refused with what is wrong and what to do.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    if tries > 1:
        settings = tune(base, data, job.work, settings, tries, resume)
    fitted = fit(base, data, job.work, settings, resume, embedder)
    texts = base.encode([example.text for example in data.calibration], settings.max_length)
    calibration = calibrate(logits_of(fitted.network, texts, exact=True), data.targets(data.calibration), job.precision)
    if len(data.train) < FEW_TEXTS:
        fitted = refit(base, data, settings, fitted, embedder)
    manifest = _manifest(job, data, calibration, settings)
    scratch = job.work / "version" / job.version
    shutil.rmtree(scratch, ignore_errors=True)
    test = [example.text for example in data.test]
    folder, parities = export(fitted.network, base, test, job.work, scratch, manifest)
    served = OnnxClassifier(folder, threads=len(os.sched_getaffinity(0)))
    result = _report(job, data, settings, fitted, calibration, served, base)
    result["export"] = parities
    result["baselines"]["tfidf_svm"] = baselines.tfidf_svm(data)
    if embedder is not None:
        result["baselines"]["minilm_lr"] = baselines.minilm_lr(data, embedder)
    result["metrics"] |= dict(extra(served, fitted)) if extra else {}
    report.write(result, scratch)
    if job.golden:
        write_golden(data, scratch / "golden.jsonl")
    (scratch / "card.md").write_text(_card(job, data, settings, result), encoding="utf-8")
    write_manifest(scratch, manifest | {"metrics": result["metrics"]})
    return TrainedVersion(publish(scratch, job), result)


def write_golden(data: Dataset, file: Path) -> None:
    """Write the test examples as a golden set: a document by its id, anything else by its text."""
    with file.open("w", encoding="utf-8") as out:
        for example in data.test[:GOLDEN]:
            document = example.identity.removeprefix(DOCUMENT)
            what = {"document": document} if document != example.identity else {"text": example.text}
            out.write(json.dumps({**what, "labels": list(example.labels)}, ensure_ascii=False) + "\n")


def publish(scratch: Path, job: TrainingJob) -> ModelFolder:
    """Copy the finished folder to its place, where it appears in one step, and verify it."""
    place = job.root / job.name / job.version
    place.parent.mkdir(parents=True, exist_ok=True)
    staged = place.parent / f".{job.version}.part"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(scratch, staged)
    staged.rename(place)
    return verify(place)


def _manifest(job: TrainingJob, data: Dataset, calibration: Calibration, settings: Hyperparameters) -> dict[str, Any]:
    return {
        "name": job.name,
        "version": job.version,
        "kind": "classifier",
        "labels": data.labels,
        "max_length": settings.max_length,
        "temperature": calibration.temperature,
        "multi": calibration.multi,
        "licence": job.licence,
        "data": job.data,
        "fingerprint": data.fingerprint,
        "taxonomy": job.taxonomy,
        "thresholds": dict(zip(data.labels, calibration.thresholds, strict=True)),
        "parameters": asdict(settings),
    }


def _report(
    job: TrainingJob,
    data: Dataset,
    settings: Hyperparameters,
    fitted: Fitted,
    calibration: Calibration,
    served: OnnxClassifier,
    base: Base,
) -> dict[str, Any]:
    """Return the report without the baselines and the export."""
    texts, targets = [example.text for example in data.test], data.targets(data.test)
    probabilities = served.probabilities(texts)
    parts = {}
    if branch := fitted.network.bag_of_words:
        # Of each branch alone, so that neither takes the other's merit: the two are added, so that the backbone's
        # logits are the network's less the bag of words'.
        scores = bag_of_words_scores(branch, base.encode(texts, settings.max_length))
        alone = {"backbone alone": calibration.logits(probabilities) - scores, "bag of words alone": scores}
        for name, logits in alone.items():
            measured = measure.metrics(calibration.probabilities(logits), targets, calibration)
            parts[name] = {"accuracy": measured["accuracy"], "macro_f1": measured["macro_f1"]}
    return {
        "title": f"{job.name}@{job.version}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": job.command,
        "warnings": [*data.warnings, *calibration_warnings(job, data)],
        "metrics": measure.metrics(probabilities, targets, calibration),
        "parts": parts,
        "baselines": {},
        "classes": measure.per_class(probabilities, targets, calibration, data.labels),
        "confusion": measure.confusion(probabilities, targets, data.labels),
        "reliability": measure.reliability_of(probabilities, targets),
        "mistakes": measure.mistakes(probabilities, targets, data.test, data.labels),
        "curve": [asdict(epoch) for epoch in fitted.curve],
        "training": {
            "seconds": round(fitted.seconds, 1),
            "base": job.base,
            "best_epoch": fitted.epochs,
            "training_kept": fitted.share,
            "bag_of_words_factor": round(fitted.factor, 2),
            "projection": fitted.network.projection is not None,
            **asdict(settings),
        },
        "data": {
            **{name: len(getattr(data, name)) for name in SPLITS},
            "dropped": data.dropped,
            "labels": len(data.labels),
            "fingerprint": data.fingerprint,
        },
    }


def calibration_warnings(job: TrainingJob, data: Dataset) -> list[str]:
    """Warn where there are too few calibration texts (one in seven labelled texts) for a prediction above threshold."""
    count, needed = len(data.calibration), fewest(job.precision)
    if count >= needed:
        return []
    labelled = round(needed / SHARES[SPLITS.index("calibration")], -1)
    return [
        f"{count} calibration texts cannot prove {job.precision:.0%} precision, so that nearly every prediction goes "
        f"to review; {needed} can, which takes about {labelled:.0f} labelled texts in all."
    ]


def _card(job: TrainingJob, data: Dataset, settings: Hyperparameters, result: dict[str, Any]) -> str:
    lines = {"this model": result["metrics"], **result["parts"], **result["baselines"]}
    columns = ("accuracy", "macro_f1", "ece", "coverage_at_97")
    rows = "\n".join(
        f"| {report.NAMES.get(name, name)} | " + " | ".join(str(v.get(c, "")) for c in columns) + " |"
        for name, v in lines.items()
    )
    branch = ", with a linear branch over words and pairs of words added" if result["parts"] else ""
    projection = ", under a projection to a sentence embedder's space" if result["training"]["projection"] else ""
    return CARD.format(
        title=result["title"],
        summary=report.summary(result),
        network=f"A fine-tuned small Mistral with a linear layer on its mean state{projection}{branch}",
        window=settings.max_length,
        count=len(data.labels),
        multi="; a text may have several" if data.multi else "",
        rows=rows,
        texts=len(data.test),
        data=job.data,
        train=len(data.train),
        calibration=len(data.calibration),
        dropped=data.dropped,
        fingerprint=data.fingerprint,
        command=job.command,
        date=result["date"],
        settings=asdict(settings),
        base=job.base,
        seconds=result["training"]["seconds"],
        licence=job.licence,
        precision=job.precision,
        limits=job.limits,
    )
