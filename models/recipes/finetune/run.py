"""From labelled texts to a registered model version with its report: the whole way of a fine-tune."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.recipes.finetune import baselines, measure, report
from models.recipes.finetune.base import Base
from models.recipes.finetune.calibrate import PRECISION, Calibration, calibrate, fewest
from models.recipes.finetune.examples import SHARES, SPLITS, Dataset
from models.recipes.finetune.export import export
from models.recipes.finetune.fit import EACH_COUNTS, Fitted, fit, refit, tune
from models.recipes.finetune.outputs import logits_of, word_scores
from models.recipes.finetune.settings import Settings
from models.registry import write_manifest
from pipeline.classify import OnnxClassifier
from pipeline.onnx import ModelFolder
from pipeline.ports import Embedder

#: Test examples that a version brings along at most.
GOLDEN = 2000
#: Before the id of a document, in an example's identity.
DOCUMENT = "document:"

CARD = """# {title}

{verdict}

{network}. Input: up to {window} tokens of a text, of a longer one its head and its tail. Output: calibrated probabilities over
{count} labels{multi}.

## Figures
On {texts} test texts that were neither trained nor calibrated on; the baselines had the same split.

| classifier | accuracy | macro F1 | ECE | coverage at 97 % |
|---|---|---|---|---|
{rows}

Everything else is in report.html and report.json.

## Data
{data}. {train} texts to train on, {calibration} to calibrate, {texts} to test; {dropped} repeated ones left out. Fingerprint
`{fingerprint}`.

## Recipe
`{command}`, {date}. Settings: `{settings}`. Base: {base}. Training took {seconds:.0f} s.

## Licence
{licence}

## Limits
A verdict under its class's threshold ({precision:.0%} precision on the calibration split) goes to review. The figures hold for texts like
those it was trained on.
{limits}
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What to make: ``name`` and ``version`` of the model under ``root``, and what its card says. ``taxonomy`` is the id of
    the last taxonomy operation that the labels follow."""

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
class Made:
    """A finished version and its report."""

    folder: ModelFolder
    report: dict[str, Any]


def train(
    job: Job,
    base: Base,
    data: Dataset,
    settings: Settings,
    embedder: Embedder | None,
    tries: int = 1,
    resume: bool = False,
    extra: Callable[[OnnxClassifier, Fitted], Mapping[str, Any]] | None = None,
) -> Made:
    """Fine-tune, calibrate, export, measure, report. The version folder appears whole or not at all.

    ``embedder`` is the baseline's, and the one that a readout is fitted to where texts are few; None leaves both out. ``extra`` adds figures of the caller's, measured on the served model. Misconfigured or Refused say what is wrong.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    if tries > 1:
        settings = tune(base, data, job.work, settings, tries, resume)
    fitted = fit(base, data, job.work, settings, resume, embedder)
    held = base.encode([example.text for example in data.calibration], settings.max_length)
    calibration = calibrate(logits_of(fitted.network, held, exact=True), data.targets(data.calibration), job.precision)
    if len(data.train) < EACH_COUNTS:
        fitted = refit(base, data, settings, fitted, embedder)
    manifest = _manifest(job, data, calibration, settings)
    scratch = job.work / "version" / job.version
    shutil.rmtree(scratch, ignore_errors=True)
    folder, way = export(fitted.network, base, [example.text for example in data.test], job.work, scratch, manifest)
    served = OnnxClassifier(folder, threads=len(os.sched_getaffinity(0)))
    made = _report(job, base, data, settings, fitted, calibration, served, way, embedder)
    made["figures"] |= dict(extra(served, fitted)) if extra else {}
    report.write(made, scratch)
    if job.golden:
        _write_golden(data, scratch / "golden.jsonl")
    (scratch / "card.md").write_text(_card(job, data, settings, made), encoding="utf-8")
    write_manifest(scratch, manifest | {"figures": made["figures"]})
    return Made(_publish(scratch, job), made)


def _write_golden(data: Dataset, file: Path) -> None:
    """The test examples as a golden set: a document by its id, anything else by its text."""
    with file.open("w", encoding="utf-8") as out:
        for example in data.test[:GOLDEN]:
            document = example.identity.removeprefix(DOCUMENT)
            what = {"document": document} if document != example.identity else {"text": example.text}
            out.write(json.dumps({**what, "labels": list(example.labels)}, ensure_ascii=False) + "\n")


def _publish(scratch: Path, job: Job) -> ModelFolder:
    """Move the finished folder to its place in one step."""
    from models.registry import verify

    place = job.root / job.name / job.version
    place.parent.mkdir(parents=True, exist_ok=True)
    staged = place.parent / f".{job.version}.part"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(scratch, staged)
    staged.rename(place)
    return verify(place)


def _manifest(job: Job, data: Dataset, calibration: Calibration, settings: Settings) -> dict[str, Any]:
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
    job: Job,
    base: Base,
    data: Dataset,
    settings: Settings,
    fitted: Fitted,
    calibration: Calibration,
    served: OnnxClassifier,
    way: dict[str, Any],
    embedder: Embedder | None,
) -> dict[str, Any]:
    texts, targets = [example.text for example in data.test], data.targets(data.test)
    probabilities = served.probabilities(texts)
    path = fitted.network.words
    words = word_scores(path, base.encode(texts, settings.max_length)) if path else None
    return {
        "title": f"{job.name}@{job.version}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": job.command,
        "warnings": [*data.warnings, *_unproved(job, data)],
        "figures": measure.figures(probabilities, targets, calibration),
        "parts": _parts(words, targets, calibration, probabilities),
        "baselines": _baselines(data, embedder),
        "classes": measure.per_class(probabilities, targets, calibration, data.labels),
        "confusion": measure.confusion(probabilities, targets, data.labels),
        "reliability": measure.reliability_of(probabilities, targets),
        "mistakes": measure.mistakes(probabilities, targets, data.test, data.labels),
        "curve": [asdict(epoch) for epoch in fitted.curve],
        "training": _training(job, settings, fitted),
        "data": _sizes(data),
        "export": way,
    }


def _unproved(job: Job, data: Dataset) -> list[str]:
    """That there are too few texts for any verdict to be sure; one in seven labelled texts calibrates."""
    held, needed = len(data.calibration), fewest(job.precision)
    if held >= needed:
        return []
    return [
        f"{held} calibration texts cannot prove {job.precision:.0%} precision, so that nearly every verdict goes to review; {needed} can, "
        f"which takes about {round(needed / SHARES[SPLITS.index('calibration')], -1):.0f} labelled texts in all."
    ]


def _parts(
    words: np.ndarray | None, targets: np.ndarray, calibration: Calibration, probabilities: np.ndarray
) -> dict[str, dict[str, float]]:
    """The accuracy of each path alone, so that nobody takes one's merit for the other's: the two are added, so that what the
    network says is what both say less the words (`words`, None where there is no such path)."""
    if words is None:
        return {}
    alone = {"network without words": calibration.logits(probabilities) - words, "words without network": words}
    scored = {name: measure.figures(calibration.probabilities(z), targets, calibration) for name, z in alone.items()}
    return {name: {"accuracy": values["accuracy"], "macro_f1": values["macro_f1"]} for name, values in scored.items()}


def _baselines(data: Dataset, embedder: Embedder | None) -> dict[str, dict[str, float]]:
    found = {"tfidf_svm": baselines.tfidf_svm(data)}
    return found if embedder is None else found | {"minilm_lr": baselines.minilm_lr(data, embedder)}


def _training(job: Job, settings: Settings, fitted: Fitted) -> dict[str, Any]:
    found = {"best_epoch": fitted.epochs, "training_kept": fitted.kept, "words_factor": round(fitted.factor, 2)}
    found["readout"] = fitted.network.readout is not None
    return {"seconds": round(fitted.seconds, 1), "base": job.base, **found, **asdict(settings)}


def _sizes(data: Dataset) -> dict[str, Any]:
    sizes = {name: len(getattr(data, name)) for name in ("train", "calibration", "test")}
    return {**sizes, "dropped": data.dropped, "labels": len(data.labels), "fingerprint": data.fingerprint}


def _card(job: Job, data: Dataset, settings: Settings, made: dict[str, Any]) -> str:
    lines = {"this model": made["figures"], **made["parts"], **made["baselines"]}
    columns = ("accuracy", "macro_f1", "ece", "coverage_at_97")
    rows = "\n".join(
        f"| {report.NAMES.get(name, name)} | " + " | ".join(str(v.get(c, "")) for c in columns) + " |"
        for name, v in lines.items()
    )
    words = ", beside it a linear path over words and pairs of words" if made["parts"] else ""
    seen = ", seen through a map to a sentence embedder's space" if made["training"]["readout"] else ""
    return CARD.format(
        title=made["title"],
        verdict=report.verdict(made),
        network=f"A fine-tuned small Mistral with a linear layer on its mean state{seen}{words}",
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
        date=made["date"],
        settings=asdict(settings),
        base=job.base,
        seconds=made["training"]["seconds"],
        licence=job.licence,
        precision=job.precision,
        limits=job.limits,
    )
