"""python -m models.recipes.base --data $MAILROOM_DATA --work .work/base: distil the small Mistral.

``--text DIR`` adds any folder of your own. The result is ``WORK/student``, a Hugging Face directory (safetensors), and
with ``--out ROOT`` a model version. The same command runs on CPU and GPU. ``--resume`` continues an interrupted run,
or, with more ``--tokens`` and ``--warm``, makes a finished run longer. ``--start`` continues from an existing base,
shipped or a directory, and ``--short`` sets the share of short texts: sentences, questions, requests.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import shutil
import sys
from pathlib import Path

from pipeline.offline import go_offline

go_offline(os.environ)

import numpy as np  # noqa: E402  (the switches come before any import of a runtime)
import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModel  # noqa: E402

from models.recipes.base.distil import WARM, Distillation, Plan, distil, losses  # noqa: E402
from models.recipes.base.ship import load, ship  # noqa: E402
from models.recipes.base.short import short_texts  # noqa: E402
from models.recipes.base.student import SHAPES  # noqa: E402
from models.recipes.base.text import Passages, documents, squad_texts, tokenise  # noqa: E402
from models.recipes.device import device  # noqa: E402
from models.recipes.embedder.export import minilm_directory  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402
from models.recipes.training_loop import CHECKPOINT  # noqa: E402
from pipeline.errors import Misconfigured, Refused  # noqa: E402

#: Documents that are not trained on, to measure with.
HELD_OUT = 200
#: One question in so many is held out.
QUESTION_STEP = 500
#: The arguments that the manifest records.
PARAMETERS = (
    "size",
    "start",
    "start_tokens",
    "short",
    "relations",
    "tokens",
    "minutes",
    "batch",
    "rate",
    "warmup",
    "cool",
    "characters",
    "seed",
)
#: The metrics and their names in a card.
METRICS = {
    "cosine_of_sentences": "mean cosine of its embeddings to the teacher's, unseen documents, 16 to 512 tokens",
    "relative_error_of_states": "mean squared error of its states over the states' variance, mean over the layers",
    "cosine_of_short_texts": "mean cosine of its embeddings of short texts, 4 to 40 tokens of unseen documents",
    "relative_error_of_relations": "mean squared error of the cosines of two such texts over their variance",
}
TRANSPLANTED = "The teacher's layers were first carried over in closed form (`transplant`)."
CONTINUED = "Its initial weights are those of {start}, as shipped; {short:.0%} of the batches are short texts."

CARD = """# {title}

A small Mistral (`MistralModel`: grouped-query attention with two query heads a key-value head, rotary positions,
SwiGLU, RMSNorm; {layers} layers, {body} M parameters without the token table of {table} M) that reads in both
directions. It is the start of every fine-tune (`mailroom train`); by itself it is a sentence embedder in the space of
all-MiniLM-L6-v2.

## Metrics
| metric | value |
|---|---|
{rows}

The accuracy of fine-tunes of it is in tests/benchmarks/results/classification.json.

## Recipe
`python -m models.recipes.base --data $MAILROOM_DATA {arguments} --out models/shipped`, {date}. Teacher:
all-MiniLM-L6-v2 (Apache-2.0). {start} Then both read {tokens} tokens, padding included, and the student learned to
reproduce the teacher's states layer by layer and its sentence embeddings. No labels.

## Data
GitLab, Sourcegraph, 18F and GDS handbooks, Business Central, SharePoint, Exchange and PowerShell documentation (CC BY
4.0), AWS guides and the GitLab handbook (CC BY-SA 4.0), SAP BTP documentation (CC BY 4.0), digital.gov and 18F blogs
and NIST 800-63-3 (public domain), PEPs, Rust RFCs, minutes of Node TSC, Kubernetes and TC39, sections of the DC code
(public domain), paragraphs and questions of SQuAD 1.1's training articles (CC BY-SA 4.0, Wikipedia). At most three
million characters of each. Where a text is share-alike, these weights are offered under the same terms.

## Limits
English. Weights are stored in 8 bits. It was not distilled on more than 512 tokens; its rotary base lets it read on,
and a fine-tune for long documents measures that for itself.
"""


def main() -> None:
    """Read, initialise, distil, measure, save."""
    options = parse_arguments()
    source = options.teacher or minilm_directory()
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    plan = Plan(
        tokens=options.tokens,
        minutes=options.minutes,
        batch=options.batch,
        rate=options.rate,
        cool=options.cool,
        warmup=options.warmup,
        relation_weight=options.relations,
        short=options.short,
        start=options.start,
        start_tokens=options.start_tokens,
        seed=options.seed,
        shape=SHAPES[options.size],
    )
    held_out, passages = _passages(options, tokenizer)
    teacher = AutoModel.from_pretrained(source)
    if options.warm:
        shutil.copyfile(options.work / WARM, options.work / CHECKPOINT)
    try:
        start = open_start(options.start, options.work).backbone() if options.start else None
        network, loop = distil(teacher, passages, options.work, plan, options.resume or options.warm, start)
    except (Misconfigured, Refused) as error:
        sys.exit(error.detail)
    metrics = {"tokens": loop.step * plan.batch, "seed": plan.seed, **measure(network, teacher, held_out)}
    save(network, source, options.work / "student", metrics)
    print(json.dumps(metrics))
    if options.out:
        publish(options, metrics)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="models.recipes.base")
    parser.add_argument("--data", type=Path, required=True, help="the folder with text/ and qa/")
    parser.add_argument("--text", type=Path, action="append", default=[], help="a further folder of text, repeatable")
    parser.add_argument("--teacher", type=Path, help="a sentence-transformers directory; default all-MiniLM-L6-v2")
    parser.add_argument("--work", type=Path, default=Path(".work/base"))
    parser.add_argument("--size", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokens", type=int, default=Plan().tokens)
    parser.add_argument("--minutes", type=float, default=0.0, help="time limit; the learning rate falls in time for it")
    parser.add_argument("--batch", type=int, default=Plan().batch)
    parser.add_argument("--rate", type=float, default=Plan().rate)
    parser.add_argument("--warmup", type=int, default=Plan().warmup, help="steps in which the learning rate rises")
    parser.add_argument("--cool", type=float, default=Plan().cool, help="the last share, in which the rate falls")
    parser.add_argument("--start", default="", help="continue from this base: a shipped one, or a local directory")
    parser.add_argument("--start-tokens", type=int, default=Plan().start_tokens, help="read for the closed form")
    parser.add_argument("--short", type=float, default=0.0, help="the share of short texts, 0 to 1")
    parser.add_argument("--relations", type=float, default=0.0, help="the weight of the cosines of every two texts")
    parser.add_argument("--characters", type=int, default=3_000_000, help="read at most this much of each file")
    parser.add_argument("--seed", type=int, default=Plan().seed)
    parser.add_argument(
        "--out", type=Path, help="also write the version ROOT/mistral-SIZE/VERSION, for instance models/shipped"
    )
    parser.add_argument("--version", default=f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d}")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument(
        "--warm", action="store_true", help="continue from before the learning rate fell; set more --tokens"
    )
    return parser.parse_args()


def _passages(options: argparse.Namespace, tokenizer: Tokenizer) -> tuple[Passages, Passages]:
    """Read the texts and return (held-out passages, training passages)."""
    folders = [options.data / "text", *options.text]
    prose = tokenise(tokenizer, documents(folders, options.characters, options.seed))
    squad = options.data / "qa" / "squad-train-v1.1.json.xz"
    questions = tokenise(tokenizer, squad_texts(squad)) if squad.exists() else []
    step = max(1, len(prose) // HELD_OUT)
    vocabulary = tokenizer.get_vocab()
    stops = frozenset(vocabulary[mark] for mark in (".", "!", "?", ":", ";") if mark in vocabulary)

    def batches(prose: list[np.ndarray], questions: list[np.ndarray], share: float) -> Passages:
        short = short_texts(tokenizer, prose, questions, random.Random(options.seed)) if options.short else None
        return Passages(prose + questions, stops, options.seed, short, share)

    train = [text for place, text in enumerate(prose) if place % step]
    train_questions = [text for place, text in enumerate(questions) if place % QUESTION_STEP]
    return batches(prose[::step], questions[::QUESTION_STEP], 0.0), batches(train, train_questions, options.short)


@torch.no_grad()
def measure(network: Distillation, teacher: torch.nn.Module, held_out: Passages, batches: int = 30) -> dict[str, float]:
    """Measure the agreement with the teacher on held-out documents, and on short texts where those were read."""
    states, cosine, _ = _agreement(network, teacher, [held_out.batch(4096) for _ in range(batches)])
    metrics = {"relative_error_of_states": states, "cosine_of_sentences": cosine}
    if held_out.short:
        short = [held_out.short.batch(2048, held_out.rng) for _ in range(batches)]
        _, cosine, relations = _agreement(network, teacher, short)
        metrics |= {"cosine_of_short_texts": cosine, "relative_error_of_relations": relations}
    return metrics


def _agreement(network: Distillation, teacher: torch.nn.Module, batches: list) -> tuple[float, float, float]:
    """Return the means of (relative error of states, cosine of sentences, relative error of relations) over batches."""
    results = [
        losses(network, teacher, *(torch.from_numpy(array).to(device()) for array in batch)).numbers()
        for batch in batches
    ]
    states, sentences, relations = np.mean(results, 0)
    return round(float(states), 4), round(1 - float(sentences), 4), round(float(relations), 4)


def save(network: Distillation, source: Path, folder: Path, metrics: dict) -> None:
    """Write the student as a Hugging Face directory with its tokenizer, and next to it its projection and metrics."""
    network.student.float().cpu().save_pretrained(folder)
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    torch.save(network.projections[-1].detach().cpu(), folder.parent / "projection.pt")
    (folder.parent / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")


def publish(options: argparse.Namespace, metrics: dict) -> None:
    """Write the student as a model version: an embedder by itself, and what `mailroom train` starts from."""
    name = f"mistral-{options.size}"
    source = options.work / "student"
    manifest = {
        "name": name,
        "version": options.version,
        "kind": "embedder",
        "dimension": 384,
        "max_length": 512,
        "licence": "Apache-2.0, or the terms of the share-alike texts named in card.md where those apply",
        "data": "plain English, see card.md",
        "parameters": {name: getattr(options, name) for name in PARAMETERS},
        "metrics": metrics,
    }
    network = load(source, options.work / "projection.pt")
    weights = sum(p.numel() for p in network.student.parameters())
    table = network.student.embed_tokens.weight.numel()
    card = CARD.format(
        title=f"{name}@{options.version}",
        rows="\n".join(f"| {text} | {metrics[metric]} |" for metric, text in METRICS.items() if metric in metrics),
        start=(CONTINUED if options.start else TRANSPLANTED).format(**vars(options)),
        tokens=metrics["tokens"],
        arguments=" ".join(
            f"--{name.replace('_', '-')} {getattr(options, name)}" for name in PARAMETERS if getattr(options, name)
        ),
        body=f"{(weights - table) / 1e6:.1f}",
        table=f"{table / 1e6:.1f}",
        layers=network.student.config.num_hidden_layers,
        date=datetime.datetime.now(datetime.UTC).date(),
    )
    ship(network, source, options.work, options.out / name / options.version, manifest, card)


if __name__ == "__main__":
    main()
