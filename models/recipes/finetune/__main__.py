"""python -m models.recipes.finetune --examples FILE --name NAME --out ROOT: what `mailroom train` runs.

FILE holds one JSON object per line: text, labels, and optionally identity ("document:ID" for one of the catalogue's)
and split ("train", "calibration", "test"). The last line printed is JSON: the version and its metrics. An error that a
person can correct ends with status 2 and one JSON line with its code and detail.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from dataclasses import fields
from pathlib import Path

from pipeline.offline import go_offline

go_offline(os.environ)

from models.recipes.finetune.examples import dataset, read_jsonl  # noqa: E402  (the switches come before any runtime)
from models.recipes.finetune.report import summary  # noqa: E402
from models.recipes.finetune.run import TrainedVersion, TrainingJob, train  # noqa: E402
from models.recipes.finetune.settings import Hyperparameters  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.registry import SHIPPED, open_version  # noqa: E402
from pipeline.embed import OnnxEmbedder  # noqa: E402
from pipeline.errors import Misconfigured, Refused  # noqa: E402

#: The settings that have a flag.
FLAGS = ("rate", "epochs", "masking", "crop", "batch", "max_length", "reach", "lora", "patience", "seed")


def main() -> None:
    """Train a version and print what it is."""
    options = parse_arguments()
    try:
        version = run(options)
    except (Refused, Misconfigured) as error:
        print(json.dumps({"error": error.code, "detail": error.detail}))
        sys.exit(2)
    result = {"folder": str(version.folder.path), "title": version.folder.manifest.title, **version.report["metrics"]}
    result |= {"summary": summary(version.report), "warnings": version.report["warnings"]}
    print(json.dumps(result, ensure_ascii=False))


def run(options: argparse.Namespace) -> TrainedVersion:
    """Train as the command line says."""
    data = dataset(read_jsonl(options.examples), options.seed, options.note)
    for warning in data.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    base = open_start(options.base, options.work)
    job = TrainingJob(
        name=options.name,
        version=options.version or f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d.%H%M%S}",
        root=options.out,
        work=options.work,
        command=options.command or f"python -m models.recipes.finetune {' '.join(sys.argv[1:])}",
        data=options.data,
        licence=options.licence,
        base=options.base,
        precision=options.precision,
        golden=True,
        taxonomy=options.taxonomy,
    )
    settings = Hyperparameters(
        bag_of_words=not options.no_bag_of_words, **{flag: getattr(options, flag) for flag in FLAGS}
    )
    embedder = OnnxEmbedder(open_version(SHIPPED, "all-minilm-l6-v2"), threads=len(os.sched_getaffinity(0)))
    return train(job, base, data, settings, embedder, options.tune, options.resume)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="models.recipes.finetune")
    parser.add_argument("--examples", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", help="default: the date and time")
    parser.add_argument("--out", type=Path, required=True, help="the folder of <name>/<version>/ folders")
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints; may be removed afterwards")
    parser.add_argument("--base", default="mistral-small", help="a shipped base, or a local Hugging Face directory")
    parser.add_argument("--data", default="the organisation's own labels", help="for the card")
    parser.add_argument("--licence", default="the organisation's own", help="for the card")
    parser.add_argument("--command", help="for the card")
    parser.add_argument("--precision", type=float, default=0.97, help="that predictions above threshold should have")
    parser.add_argument("--taxonomy", default="", help="id of the last taxonomy operation that the labels follow")
    parser.add_argument("--tune", type=int, default=1, metavar="TRIES", help="try this many settings first")
    parser.add_argument("--no-bag-of-words", action="store_true", help="without the bag-of-words branch")
    parser.add_argument("--note", action="append", default=[], help="a warning of the caller's, for the report")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted training")
    defaults = {field.name: field.default for field in fields(Hyperparameters)}
    for flag in FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", type=type(defaults[flag]), default=defaults[flag])
    return parser.parse_args()


if __name__ == "__main__":
    main()
