"""A reranker from public questions and handbooks: a late-interaction network that starts from the lower layers of
all-MiniLM-L6-v2.

    python -m models.recipes.reranker --data $MAILROOM_DATA --work .work/reranker --out DATA_FOLDER/models

Then `models.reranker = "reranker@VERSION"` in the settings. ``--resume`` goes on with a training that was cut off. CPU and GPU by the
same command; ``--groups`` says how long. Needs the "train" extra.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import shutil
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
from models.recipes.reranker.fit import Settings, fit  # noqa: E402
from models.recipes.reranker.network import Interaction  # noqa: E402
from models.recipes.reranker.pieces import fewer, keep  # noqa: E402
from models.recipes.reranker.questions import Pool, handbook, joined, neighbourhoods, squad  # noqa: E402
from models.registry import verify, write_manifest  # noqa: E402
from pipeline.onnx import ModelFolder  # noqa: E402
from pipeline.rerank import OnnxReranker  # noqa: E402

NAME = "reranker"
LICENCE = "Apache-2.0 for the code; the weights follow all-MiniLM-L6-v2 (Apache-2.0) and the share-alike texts below"
DATA = """SQuAD 1.1 training questions (CC BY-SA 4.0), PolicyQA (MIT), headings and sentences of handbooks and product
documentation with their sections (GitLab handbook and AWS guides, CC BY-SA 4.0; others CC BY 4.0 or public domain)"""
#: Of the groups to learn from, the share of each kind.
SHARES = {"squad": 0.6, "policies": 0.05, "handbooks": 0.35}
#: Articles, policies and files of handbooks that are kept aside to measure on.
ASIDE = {"squad": 24, "policies": 4, "handbooks": 2}
#: Sections of each file of handbooks.
SECTIONS = 900
#: Questions kept aside that are measured, of each kind, each with so many passages.
HELD, PASSAGES = 50, 6
#: Tokens of question and passage that are read when it serves.
WINDOW = 256
CARD = """# {name}@{version}

Compares a question and a passage token by token and says how relevant the passage is: the second look of a search, off unless
`models.reranker` names it.

Right passage first among {passages} that resemble one another: {figures}, on {held} questions of each kind from articles,
policies and handbooks kept aside.

Network: {layers} layers of all-MiniLM-L6-v2, {pieces} word pieces, {bits}-bit weights. Data: {data}. {groups} groups of
{size} passages, each seen once.

Recipe: `{command}`, {date}, seed {seed}.

Licence: {licence}.

Limits: English; windows of {window} tokens. What it changes on public collections that it has never seen stands in
tests/benchmarks/results/search.json beside the ranking without it.
"""


def main() -> None:
    given = _arguments()
    settings = Settings(seed=given.seed, frozen=given.frozen)
    source = given.source or minilm_directory()
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    given.work.mkdir(parents=True, exist_ok=True)
    learn, held = collect(given.data, given.groups, given.size, given.seed)
    bert = AutoModel.from_pretrained(source, attn_implementation="eager", local_files_only=True)
    tokenizer, kept = fewer(tokenizer, (text for group in learn for text in group.passages), given.pieces)
    keep(bert, kept)
    network = Interaction(bert, tokenizer.token_to_id("[SEP]"), given.layers)
    trained = fit(network, tokenizer, learn, given.work, settings, given.resume)
    folder = publish(trained, tokenizer, held, given, settings)
    print(folder.path, folder.manifest.figures)


def collect(data: Path, groups: int, size: int, seed: int) -> tuple[list[Pool], dict[str, Pool]]:
    """Neighbourhoods to learn from, mixed, and what is kept aside by kind."""
    rng = random.Random(seed)
    kinds: Mapping[str, Sequence[Pool]] = {
        "squad": squad(data / "qa" / "squad-train-v1.1.json.xz"),
        "policies": squad(data / "qa" / "policyqa-dev.json"),
        "handbooks": [handbook(file, SECTIONS, rng) for file in sorted((data / "text").glob("*.jsonl.xz"))],
    }
    learn: list[Pool] = []
    held = {}
    for kind, pools in kinds.items():
        aside = ASIDE[kind]
        held[kind] = joined(pools[-aside:])
        learn += neighbourhoods(joined(pools[:-aside]), size, round(groups * SHARES[kind]), rng)
    rng.shuffle(learn)
    return learn, held


def publish(
    network: Interaction, tokenizer: Tokenizer, held: Mapping[str, Pool], given: argparse.Namespace, settings: Settings
) -> ModelFolder:
    """Export, measure what is served, write the version folder; it appears whole or not at all."""
    to_onnx(network, given.work / "full.onnx", "relevance")
    scratch = given.work / "version" / given.version
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    smaller = quantise_to_4_bits if given.bits == 4 else quantise
    smaller(given.work / "full.onnx", scratch / "model.onnx")
    tokenizer.save(str(scratch / "tokenizer.json"))
    manifest: dict[str, Any] = {"name": NAME, "version": given.version, "kind": "reranker", "licence": LICENCE}
    manifest |= {"max_length": WINDOW, "temperature": given.temperature, "data": DATA}
    served = OnnxReranker(write_manifest(scratch, manifest), threads=len(os.sched_getaffinity(0)))
    rng = random.Random(settings.seed)
    figures = {
        f"first_{kind}": right_first(served, neighbourhoods(pool, PASSAGES, HELD, rng)) for kind, pool in held.items()
    }
    (scratch / "card.md").write_text(_card(figures, given, settings), encoding="utf-8")
    write_manifest(scratch, manifest | {"figures": figures})
    place = given.out / NAME / given.version
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(scratch, place)
    return verify(place)


def right_first(reranker: OnnxReranker, groups: Sequence[Pool]) -> float:
    """The share of groups whose first question finds its passage before the others."""
    best = [int(np.argmax(reranker.scores(g.asked[0].text, g.passages))) == g.asked[0].place for g in groups]
    return round(sum(best) / max(1, len(best)), 4)


def _card(figures: dict[str, float], given: argparse.Namespace, settings: Settings) -> str:
    names = ("groups", "size", "layers", "frozen", "pieces", "bits")
    return CARD.format(
        name=NAME,
        version=given.version,
        passages=PASSAGES,
        figures=", ".join(f"{kind.removeprefix('first_')} {share:.1%}" for kind, share in figures.items()),
        held=HELD,
        data=DATA,
        layers=given.layers,
        pieces=f"{given.pieces:,}",
        bits=given.bits,
        groups=given.groups,
        size=given.size,
        command="python -m models.recipes.reranker " + " ".join(f"--{n} {getattr(given, n)}" for n in names),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        seed=settings.seed,
        licence=LICENCE,
        window=WINDOW,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="models.recipes.reranker")
    parser.add_argument("--data", type=Path, required=True, help="the folder of public data sets")
    parser.add_argument("--work", type=Path, default=Path(".work/reranker"))
    parser.add_argument("--out", type=Path, default=Path(".work/reranker/models"))
    parser.add_argument("--source", type=Path, help="a local BERT-like directory; default all-MiniLM-L6-v2")
    parser.add_argument("--layers", type=int, default=3, help="of its layers, from the lowest")
    parser.add_argument("--frozen", type=int, default=1, help="lowest layers that stay as they are")
    parser.add_argument("--pieces", type=int, default=16_000, help="word pieces that are kept")
    parser.add_argument("--bits", type=int, choices=(4, 8), default=4, help="of a weight, as served")
    parser.add_argument("--groups", type=int, default=300, help="neighbourhoods to learn from, one a step")
    parser.add_argument("--size", type=int, default=16, help="passages of a neighbourhood")
    # Flat probabilities leave the ranking before the second look most of the say: chosen on held-out questions, models/README.md.
    parser.add_argument("--temperature", type=float, default=16.0, help="divides the log-odds when it serves")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--version", default=f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d}")
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
