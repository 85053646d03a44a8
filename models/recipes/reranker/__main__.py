"""A reranker from public questions and handbooks: a small cross-encoder that starts from all-MiniLM-L6-v2.

    python -m models.recipes.reranker --data $MAILROOM_DATA --work .work/reranker --out DATA_FOLDER/models

Then `models.reranker = "reranker"` in the settings. ``--resume`` goes on with a training that was cut off. CPU and GPU by the
same command; ``--questions`` and ``--epochs`` say how long. Needs the "train" extra.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import shutil
from pathlib import Path
from typing import Any

from pipeline.offline import go_offline

go_offline(os.environ)

import numpy as np  # noqa: E402  (the switches come before any import of a runtime)
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModel  # noqa: E402

from models.recipes.embedder.export import minilm_directory  # noqa: E402
from models.recipes.network_file import to_onnx  # noqa: E402
from models.recipes.quantise import quantise  # noqa: E402
from models.recipes.reranker.fit import CrossEncoder, Settings, fit  # noqa: E402
from models.recipes.reranker.questions import Question, headings, squad, with_wrong  # noqa: E402
from models.registry import verify, write_manifest  # noqa: E402
from pipeline.onnx import ModelFolder  # noqa: E402
from pipeline.rerank import OnnxReranker  # noqa: E402

NAME = "reranker"
LICENCE = "Apache-2.0 for the code; the weights follow all-MiniLM-L6-v2 (Apache-2.0) and the share-alike texts below"
DATA = """SQuAD 1.1 training questions (CC BY-SA 4.0), PolicyQA (MIT), headings and their sections of handbooks and product
documentation (GitLab handbook and AWS guides, CC BY-SA 4.0; others CC BY 4.0 or public domain)"""
#: Questions kept aside to measure on, of each kind.
HELD = 200
CARD = """# {name}@{version}

Reads a question and a passage together and says how relevant the passage is: the second look of a search, off unless
`models.reranker` names it.

Right passage first among {passages}: {figures}, on questions kept aside ({held}).

Data: {data}. {questions} questions, {epochs} epochs, {wrong} wrong passages each.

Recipe: `{command}`, {date}, seed {seed}.

Licence: {licence}.

Limits: English; windows of {window} tokens. What it changes on public collections that it has never seen stands in
tests/benchmarks/results/search.json beside the ranking without it.
"""


def main() -> None:
    given = _arguments()
    settings = Settings(epochs=given.epochs, seed=given.seed)
    source = given.source or minilm_directory()
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    learn, held = collect(given.data, given.questions, given.wrong, given.seed)
    given.work.mkdir(parents=True, exist_ok=True)
    bert = AutoModel.from_pretrained(source, attn_implementation="eager", local_files_only=True)
    network = CrossEncoder(bert, tokenizer.token_to_id("[SEP]"))
    trained = fit(network, tokenizer, learn, given.work, settings, given.resume)
    tokenizer.no_truncation()
    folder = publish(trained, tokenizer, held, given, settings, len(learn))
    print(folder.path, folder.manifest.figures)


def collect(data: Path, count: int, wrong: int, seed: int) -> tuple[list[Question], dict[str, list[Question]]]:
    """Questions to learn from, mixed, and those kept aside by kind. Half are questions, half are headings, as far as
    the data goes."""
    rng = random.Random(seed)
    kinds = {
        "squad": (squad(data / "qa" / "squad-train-v1.1.json.xz"), count * 5 // 10),
        "policies": (squad(data / "qa" / "policyqa-dev.json"), count // 10),
        "headings": (headings(sorted((data / "text").glob("*.jsonl.xz")), 2000, rng), count * 4 // 10),
    }
    learn: list[Question] = []
    held = {}
    for kind, ((passages, asked), wanted) in kinds.items():
        made = with_wrong(passages, asked, wanted + HELD, wrong, rng)
        held[kind], rest = made[:HELD], made[HELD:]
        learn += rest
    rng.shuffle(learn)
    return learn, held


def publish(
    network: CrossEncoder,
    tokenizer: Tokenizer,
    held: dict[str, list[Question]],
    given: argparse.Namespace,
    settings: Settings,
    learnt: int,
) -> ModelFolder:
    """Export, measure what is served, write the version folder; it appears whole or not at all."""
    to_onnx(network, given.work / "full.onnx", "relevance")
    scratch = given.work / "version" / given.version
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    quantise(given.work / "full.onnx", scratch / "model.onnx")
    tokenizer.save(str(scratch / "tokenizer.json"))
    manifest: dict[str, Any] = {"name": NAME, "version": given.version, "kind": "reranker", "licence": LICENCE}
    manifest |= {"max_length": settings.window, "data": DATA}
    served = OnnxReranker(write_manifest(scratch, manifest), threads=len(os.sched_getaffinity(0)))
    figures = {f"first_{kind}": right_first(served, questions) for kind, questions in held.items()}
    (scratch / "card.md").write_text(_card(figures, given, settings, learnt), encoding="utf-8")
    write_manifest(scratch, manifest | {"figures": figures})
    place = given.out / NAME / given.version
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(scratch, place)
    return verify(place)


def right_first(reranker: OnnxReranker, questions: list[Question]) -> float:
    """The share of questions whose right passage is scored best."""
    best = [int(np.argmax(reranker.scores(q.text, [q.right, *q.wrong]))) == 0 for q in questions]
    return round(sum(best) / max(1, len(best)), 4)


def _card(figures: dict[str, float], given: argparse.Namespace, settings: Settings, learnt: int) -> str:
    return CARD.format(
        name=NAME,
        version=given.version,
        passages=given.wrong + 1,
        figures=", ".join(f"{kind.removeprefix('first_')} {share:.1%}" for kind, share in figures.items()),
        held=f"{HELD} of each kind",
        data=DATA,
        questions=learnt,
        epochs=settings.epochs,
        wrong=given.wrong,
        command=f"python -m models.recipes.reranker --questions {given.questions} --epochs {given.epochs}",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        seed=settings.seed,
        licence=LICENCE,
        window=settings.window,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="models.recipes.reranker")
    parser.add_argument("--data", type=Path, required=True, help="the folder of public data sets")
    parser.add_argument("--work", type=Path, default=Path(".work/reranker"))
    parser.add_argument("--out", type=Path, default=Path(".work/reranker/models"))
    parser.add_argument("--source", type=Path, help="a local BERT-like directory; default all-MiniLM-L6-v2")
    parser.add_argument("--questions", type=int, default=60_000)
    parser.add_argument("--wrong", type=int, default=4, help="wrong passages a question")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--version", default=f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d}")
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
