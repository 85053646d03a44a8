"""python -m models.recipes.finetune --examples FILE --name NAME --out ROOT: what `mailroom train` runs.

FILE holds one JSON object a line: text, labels, and perhaps identity ("document:ID" for one of the catalogue's) and split ("train",
"calibration", "test"). The last line printed is JSON: the version and its figures. An error a person can mend ends with status 2 and one JSON line saying it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.offline import go_offline

go_offline(os.environ)

from models.recipes.finetune.examples import dataset, read_jsonl  # noqa: E402  (the switches come before any runtime)
from models.recipes.finetune.report import verdict  # noqa: E402
from models.recipes.finetune.run import Job, Made, train  # noqa: E402
from models.recipes.finetune.settings import Settings  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.registry import SHIPPED, open_version  # noqa: E402
from pipeline.embed import OnnxEmbedder  # noqa: E402
from pipeline.errors import Misconfigured, Refused  # noqa: E402

#: The settings that have a flag.
FLAGS = ("rate", "epochs", "masking", "crop", "batch", "max_length", "reach", "lora", "patience", "seed")


def main() -> None:
    """Train and print what was made."""
    given = _arguments()
    try:
        made = _train(given)
    except (Refused, Misconfigured) as error:
        print(json.dumps({"error": error.code, "detail": error.detail}))
        sys.exit(2)
    print(json.dumps(_last_word(made), ensure_ascii=False))


def _last_word(made: Made) -> dict[str, Any]:
    """What the one who asked for the training wants to know of it."""
    told = {"folder": str(made.folder.path), "title": made.folder.manifest.title, **made.report["figures"]}
    return {**told, "verdict": verdict(made.report), "warnings": made.report["warnings"]}


def _train(given: argparse.Namespace) -> Made:
    data = dataset(read_jsonl(given.examples), given.seed, given.note)
    for warning in data.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    base = open_start(given.base, given.work)
    job = Job(
        name=given.name,
        version=given.version or f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d.%H%M%S}",
        root=given.out,
        work=given.work,
        command=given.command or f"python -m models.recipes.finetune {' '.join(sys.argv[1:])}",
        data=given.data,
        licence=given.licence,
        base=given.base,
        precision=given.precision,
        golden=True,
        taxonomy=given.taxonomy,
    )
    settings = Settings(words=not given.no_words, **{flag: getattr(given, flag) for flag in FLAGS})
    embedder = OnnxEmbedder(open_version(SHIPPED, "all-minilm-l6-v2"), threads=len(os.sched_getaffinity(0)))
    return train(job, base, data, settings, embedder, given.tune, given.resume)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="models.recipes.finetune")
    parser.add_argument("--examples", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", help="default: the date and time")
    parser.add_argument("--out", type=Path, required=True, help="the folder of <name>/<version>/ folders")
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints; may be removed afterwards")
    parser.add_argument("--base", default="mistral-small", help="a shipped base, or a local Hugging Face directory")
    parser.add_argument("--data", default="the house's own labels", help="said in the card")
    parser.add_argument("--licence", default="the house's own", help="said in the card")
    parser.add_argument("--command", help="said in the card")
    parser.add_argument("--precision", type=float, default=0.97, help="that sure verdicts should have")
    parser.add_argument("--taxonomy", default="", help="id of the last taxonomy operation that the labels follow")
    parser.add_argument("--tune", type=int, default=1, metavar="TRIES", help="try this many settings first")
    parser.add_argument("--no-words", action="store_true", help="without the path of bare words")
    parser.add_argument("--note", action="append", default=[], help="a warning of the caller's, for the report")
    parser.add_argument("--resume", action="store_true")
    defaults = {field.name: field.default for field in fields(Settings)}
    for flag in FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", type=type(defaults[flag]), default=defaults[flag])
    return parser.parse_args()


if __name__ == "__main__":
    main()
