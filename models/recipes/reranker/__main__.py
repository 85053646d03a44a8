"""A reranker from public questions and handbooks: a late-interaction network initialised from all-MiniLM-L6-v2.

    python -m models.recipes.reranker --data $MAILROOM_DATA --work .work/reranker --out DATA_FOLDER/models

Then set `models.reranker = "reranker@VERSION"`. ``--resume`` continues an interrupted training. The same command runs
on CPU and GPU; ``--groups`` sets its length. Needs the "train" extra.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.offline import go_offline

go_offline(os.environ)

import numpy as np  # noqa: E402  (the switches come before any import of a runtime)
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModel  # noqa: E402

from models.recipes.embedder.export import minilm_directory  # noqa: E402
from models.recipes.network_file import to_onnx  # noqa: E402
from models.recipes.quantise import quantise, quantise_to_4_bits  # noqa: E402
from models.recipes.reranker.fit import RerankerHyperparameters, fit  # noqa: E402
from models.recipes.reranker.network import Interaction  # noqa: E402
from models.recipes.reranker.pieces import reduce_embeddings, reduce_vocabulary  # noqa: E402
from models.recipes.reranker.questions import Pool, handbook, joined, neighbourhoods, squad  # noqa: E402
from models.registry import verify, write_manifest  # noqa: E402
from pipeline.errors import Refused  # noqa: E402
from pipeline.onnx import ModelFolder  # noqa: E402
from pipeline.rerank import OnnxReranker  # noqa: E402

NAME = "reranker"
LICENCE = "Apache-2.0 for the code; the weights follow all-MiniLM-L6-v2 (Apache-2.0) and the share-alike texts below"
DATA = """SQuAD 1.1 training questions (CC BY-SA 4.0), PolicyQA (MIT), headings and sentences of handbooks and product
documentation with their sections (GitLab handbook and AWS guides, CC BY-SA 4.0; others CC BY 4.0 or public domain)"""
#: The share of each kind among the groups to learn from.
SHARES = {"squad": 0.6, "policies": 0.05, "handbooks": 0.35}
#: Articles, policies and files of handbooks that are not trained on, to measure with.
HELD_OUT = {"squad": 24, "policies": 4, "handbooks": 2}
#: Sections of each file of handbooks.
SECTIONS = 900
#: Held-out questions of each kind that are measured, and the passages for each.
QUESTIONS, PASSAGES = 50, 6
#: Tokens of question and passage that are read in serving.
WINDOW = 256
CARD = """# {name}@{version}

Compares a question and a passage token by token and estimates the passage's relevance: it reranks the hits of a
search where `models.reranker` names it.

Right passage first among {passages} that resemble one another: {metrics}, on {questions} questions of each kind from
articles, policies and handbooks that were not trained on.

Network: {layers} layers of all-MiniLM-L6-v2, {pieces} word pieces, {bits}-bit weights. Data: {data}. {groups} groups
of {size} passages, each read once.

Recipe: `{command}`, {date}, seed {seed}.

Licence: {licence}.

Limits: English; windows of {window} tokens. Its effect on public collections that it was not trained on is in
tests/benchmarks/results/search.json, next to the ranking without it.
"""


def main() -> None:
    """Collect passages and questions, train, measure, write the version, and print its metrics."""
    options = parse_arguments()
    settings = RerankerHyperparameters(seed=options.seed, frozen=options.frozen)
    source = options.source or minilm_directory()
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    options.work.mkdir(parents=True, exist_ok=True)
    groups, held_out = collect(options.data, options.groups, options.size, options.seed)
    bert = AutoModel.from_pretrained(source, attn_implementation="eager", local_files_only=True)
    texts = (text for group in groups for text in group.passages)
    tokenizer, pieces = reduce_vocabulary(tokenizer, texts, options.pieces)
    reduce_embeddings(bert, pieces)
    network = Interaction(bert, tokenizer.get_vocab()["[SEP]"], options.layers)
    try:
        trained = fit(network, tokenizer, groups, options.work, settings, options.resume)
    except Refused as error:
        sys.exit(error.detail)
    folder = publish(trained, tokenizer, held_out, options, settings)
    print(folder.path, folder.manifest.metrics)


def collect(data: Path, groups: int, size: int, seed: int) -> tuple[list[Pool], dict[str, Pool]]:
    """Return (neighbourhoods of ``size`` passages to learn from, mixed; the held-out pool of each kind)."""
    rng = random.Random(seed)
    kinds: Mapping[str, Sequence[Pool]] = {
        "squad": squad(data / "qa" / "squad-train-v1.1.json.xz"),
        "policies": squad(data / "qa" / "policyqa-dev.json"),
        "handbooks": [handbook(file, SECTIONS, rng) for file in sorted((data / "text").glob("*.jsonl.xz"))],
    }
    train: list[Pool] = []
    held_out = {}
    for kind, pools in kinds.items():
        count = HELD_OUT[kind]
        held_out[kind] = joined(pools[-count:])
        train += neighbourhoods(joined(pools[:-count]), size, round(groups * SHARES[kind]), rng)
    rng.shuffle(train)
    return train, held_out


def publish(
    network: Interaction,
    tokenizer: Tokenizer,
    held_out: Mapping[str, Pool],
    options: argparse.Namespace,
    settings: RerankerHyperparameters,
) -> ModelFolder:
    """Export, measure what is served, and write the version folder; it appears whole or not at all."""
    to_onnx(network, options.work / "full.onnx", "relevance")
    scratch = options.work / "version" / options.version
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    compress = quantise_to_4_bits if options.bits == 4 else quantise
    compress(options.work / "full.onnx", scratch / "model.onnx")
    tokenizer.save(str(scratch / "tokenizer.json"))
    manifest: dict[str, Any] = {"name": NAME, "version": options.version, "kind": "reranker", "licence": LICENCE}
    manifest |= {"max_length": WINDOW, "temperature": options.temperature, "data": DATA}
    served = OnnxReranker(write_manifest(scratch, manifest), threads=len(os.sched_getaffinity(0)))
    rng = random.Random(settings.seed)
    metrics = {
        f"first_{kind}": right_first(served, neighbourhoods(pool, PASSAGES, QUESTIONS, rng))
        for kind, pool in held_out.items()
    }
    (scratch / "card.md").write_text(_card(metrics, options, settings), encoding="utf-8")
    write_manifest(scratch, manifest | {"metrics": metrics})
    place = options.out / NAME / options.version
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(scratch, place)
    return verify(place)


def right_first(reranker: OnnxReranker, groups: Sequence[Pool]) -> float:
    """Return the share of groups whose first question ranks its passage before the others."""
    hits = [
        int(np.argmax(reranker.scores(group.questions[0].text, group.passages))) == group.questions[0].place
        for group in groups
    ]
    return round(sum(hits) / max(1, len(hits)), 4)


def _card(metrics: dict[str, float], options: argparse.Namespace, settings: RerankerHyperparameters) -> str:
    names = ("groups", "size", "layers", "frozen", "pieces", "bits")
    return CARD.format(
        name=NAME,
        version=options.version,
        passages=PASSAGES,
        metrics=", ".join(f"{kind.removeprefix('first_')} {share:.1%}" for kind, share in metrics.items()),
        questions=QUESTIONS,
        data=DATA,
        layers=options.layers,
        pieces=f"{options.pieces:,}",
        bits=options.bits,
        groups=options.groups,
        size=options.size,
        command="python -m models.recipes.reranker " + " ".join(f"--{n} {getattr(options, n)}" for n in names),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        seed=settings.seed,
        licence=LICENCE,
        window=WINDOW,
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="models.recipes.reranker")
    parser.add_argument("--data", type=Path, required=True, help="the folder of public data sets")
    parser.add_argument("--work", type=Path, default=Path(".work/reranker"))
    parser.add_argument("--out", type=Path, default=Path(".work/reranker/models"))
    parser.add_argument("--source", type=Path, help="a local BERT-like directory; default all-MiniLM-L6-v2")
    parser.add_argument("--layers", type=int, default=3, help="of its layers, from the lowest")
    parser.add_argument("--frozen", type=int, default=1, help="lowest layers that are not trained")
    parser.add_argument("--pieces", type=int, default=16_000, help="word pieces in the vocabulary")
    parser.add_argument("--bits", type=int, choices=(4, 8), default=4, help="of a weight, as served")
    parser.add_argument("--groups", type=int, default=300, help="neighbourhoods to learn from, one per step")
    parser.add_argument("--size", type=int, default=16, help="passages of a neighbourhood")
    # Flat probabilities leave most of the weight to the ranking before: chosen on held-out texts, docs/decisions/0054.
    parser.add_argument("--temperature", type=float, default=16.0, help="divides the log-odds in serving")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--version", default=f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d}")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted training")
    return parser.parse_args()


if __name__ == "__main__":
    main()
