"""The built-in document-type classifier, from public data to a shipped version.

    python -m models.recipes.document_type all --data $MAILROOM_DATA --work .work/document-type --out models/shipped

Steps: prepare, train, export (with parity and calibration), evaluate; "all" runs them in order. ``--resume`` goes on from the
last checkpoint. CPU and GPU by the same command.
"""

from __future__ import annotations

import argparse
import datetime
from dataclasses import asdict
from pathlib import Path

import torch

from models.recipes.document_type.evaluate import evaluate, write_card
from models.recipes.document_type.export import export_version
from models.recipes.document_type.prepare import load, prepare
from models.recipes.document_type.train import Plan, train
from models.recipes.embedder.export import minilm_directory

NAME = "document-type"


def main() -> None:
    parser = argparse.ArgumentParser(prog="models.recipes.document_type")
    parser.add_argument("step", choices=("prepare", "train", "export", "all"))
    parser.add_argument("--data", type=Path, required=True, help="the folder of public data sets")
    parser.add_argument("--work", type=Path, default=Path(".work/document-type"))
    parser.add_argument("--out", type=Path, default=Path("models/shipped"))
    parser.add_argument("--tokens", type=int, default=Plan.tokens, help="budget of training tokens, padding included")
    parser.add_argument("--synthetic", type=int, default=500, help="generated documents per class")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--version", default=f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d}")
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    plan, teacher = Plan(tokens=given.tokens, seed=given.seed), minilm_directory()
    if given.step in ("prepare", "all"):
        prepare(given.data, given.work, given.seed, given.synthetic)
    samples = load(given.work)
    if given.step in ("train", "all"):
        train(samples, teacher, given.work, plan, given.resume)
    if given.step in ("export", "all"):
        folder = given.out / NAME / given.version
        version, way = export_version(given.work / "network.pt", teacher, samples, given.work, folder)
        figures = evaluate(version, samples)
        print(figures)
        write_card(version, figures, way, asdict(plan))


if __name__ == "__main__":
    main()
