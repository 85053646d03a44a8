"""The built-in document-type classifier, from public data to a shipped version: a fine-tune like any other.

    python -m models.recipes.document_type --data $MAILROOM_DATA --work .work/document-type --out models/shipped

``--prepare`` only collects the samples. ``--resume`` continues an interrupted training. The same command runs on CPU
and GPU.
"""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.offline import go_offline

go_offline(os.environ)

from models.recipes.document_type.prepare import DocumentSample, load, prepare  # noqa: E402  (the switches come first)
from models.recipes.finetune.examples import Dataset, LabelledExample, dataset  # noqa: E402
from models.recipes.finetune.fit import Fitted  # noqa: E402
from models.recipes.finetune.run import TrainingJob, train  # noqa: E402
from models.recipes.finetune.settings import Hyperparameters  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.registry import SHIPPED, open_version  # noqa: E402
from pipeline.classify import OnnxClassifier  # noqa: E402
from pipeline.embed import OnnxEmbedder  # noqa: E402

NAME = "document-type"
LICENCE = "Apache-2.0 for the weights, or the terms of the share-alike sources named below where those apply"
DATA = """Public, labelled texts whose terms allow a shipped model: contracts (CUAD, CC BY 4.0; SEC EDGAR samples,
public domain), e-mail (Enron, public record), policies, handbooks (GitLab handbook, CC BY-SA 4.0, and others),
statutes (DC code, public domain), product documentation (AWS, CC BY-SA 4.0; Microsoft docs, CC BY 4.0), PEPs (public
domain), Rust RFCs (MIT/Apache-2.0), abstracts (SciFact's abstracts from S2ORC; PubMedQA, MIT), IT tickets, receipts
(SROIE), meetings (QMSum, MIT; TC39; Node TSC), post-mortems, job descriptions and resumes. General text (18F and
digital.gov blogs, public domain) is "other". Not used: news, court transcripts, financial reports, newsgroup posts.
Further business documents were generated from the templates in `models/recipes/document_type/templates`; calibration
read further templates that nobody trained on (`unseen.toml`)"""
LIMITS = """English. Business documents in the public set are few and alike; expect review rather than an automatic
decision on layouts that are far from theirs. Most classes of the public set come from one or two sources, so the
figures above mostly measure the source's style; the held-out-source figure of a fully trained network is in
tests/benchmarks/results/classification.json. Not tried on scans of poor quality or on texts under twenty words."""


def main() -> None:
    """Prepare the samples where that was not done yet, train, and print the metrics."""
    options = parse_arguments()
    if options.prepare or not (options.work / "samples.jsonl").exists():
        prepare(options.data, options.work, options.seed, options.synthetic, options.public)
        if options.prepare:
            return
    data = dataset(map(example, load(options.work)), options.seed)
    settings = Hyperparameters(
        rate=3e-4,
        epochs=options.epochs,
        crop=options.crop,
        reach=options.reach,
        start_texts=options.start_texts,
        batch=32,
        patience=2,
        seed=options.seed,
    )
    job = TrainingJob(
        name=NAME,
        version=options.version,
        root=options.out,
        work=options.work,
        command=_command(options),
        data=DATA,
        licence=LICENCE,
        base=options.base,
        limits=LIMITS,
    )
    minilm = open_version(SHIPPED, "all-minilm-l6-v2")
    embedder = None if options.no_minilm else OnnxEmbedder(minilm, threads=len(os.sched_getaffinity(0)))
    base = open_start(options.base, options.work)
    measured = partial(public_texts, data=data)
    version = train(job, base, data, settings, embedder, resume=options.resume, extra=measured)
    print(version.report["metrics"])


def example(sample: DocumentSample) -> LabelledExample:
    """Return a sample as an example of the fine-tune; reports name its source, never its text."""
    return LabelledExample(sample.text, (sample.label,), identity=sample.source, split=sample.split)


def public_texts(classifier: OnnxClassifier, _: Fitted, data: Dataset) -> Mapping[str, Any]:
    """Measure the accuracy on the test texts that were not generated."""
    public = [example for example in data.test if example.identity != "synthetic"]
    predicted = classifier.probabilities([example.text for example in public]).argmax(1)
    return {
        "accuracy_public_texts": round(float((predicted == data.targets(public)).mean()), 4),
        "public_texts": len(public),
    }


def _command(options: argparse.Namespace) -> str:
    """Return the command for the card, with the flags that change the result."""
    names = ("epochs", "crop", "reach", "start_texts", "synthetic", "public", "seed")
    flags = [f"--{name.replace('_', '-')} {getattr(options, name)}" for name in names]
    flags += ["--no-minilm"] if options.no_minilm else []
    return f"python -m models.recipes.document_type --data $MAILROOM_DATA {' '.join(flags)}"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="models.recipes.document_type")
    parser.add_argument("--data", type=Path, required=True, help="the folder of public data sets")
    parser.add_argument("--work", type=Path, default=Path(".work/document-type"))
    parser.add_argument("--out", type=Path, default=Path("models/shipped"))
    parser.add_argument("--base", default="mistral-small", help="a shipped base, or a local Hugging Face directory")
    parser.add_argument("--epochs", type=int, default=4, help="0: the base as it is, with a fitted linear layer")
    parser.add_argument("--crop", type=int, default=112, help="tokens of a text per training step")
    parser.add_argument("--reach", type=int, default=512, help="tokens of a text that the network reads")
    parser.add_argument("--start-texts", type=int, default=10_000, help="texts on which the head is first fitted")
    parser.add_argument("--synthetic", type=int, default=500, help="generated documents per class")
    parser.add_argument("--public", type=int, default=500, help="public documents per class and source, at most")
    parser.add_argument("--no-minilm", action="store_true", help="without the slower of the two baselines")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--version", default=f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d}")
    parser.add_argument("--prepare", action="store_true", help="only collect the samples")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted training")
    return parser.parse_args()


if __name__ == "__main__":
    main()
