"""python -m models.recipes.base --data $MAILROOM_DATA --work .work/base: distil the small Mistral.

``--text DIR`` adds any folder of your own. The result is ``WORK/student``, a Hugging Face directory (safetensors), and with
``--out ROOT`` a model version. The same command runs on a CPU and on a GPU; ``--resume`` goes on with a run that was cut off, or,
with more ``--tokens`` and ``--warm``, makes a finished run longer. ``--start`` goes on from a base that is there already, shipped or a
directory, and ``--short`` says which share of what is read are short texts: sentences, questions, requests.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import shutil
from pathlib import Path

from pipeline.offline import go_offline

go_offline(os.environ)

import numpy as np  # noqa: E402  (the switches come before any import of a runtime)
import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModel, MistralModel  # noqa: E402

from models.recipes.base.distil import CHECKPOINT, WARM, Plan, Pupil, distil, losses  # noqa: E402
from models.recipes.base.ship import load, ship  # noqa: E402
from models.recipes.base.short import short_texts  # noqa: E402
from models.recipes.base.student import SHAPES  # noqa: E402
from models.recipes.base.text import Passages, documents, squad_texts, tokenise  # noqa: E402
from models.recipes.device import device  # noqa: E402
from models.recipes.embedder.export import minilm_directory  # noqa: E402
from models.recipes.finetune.start import open_start  # noqa: E402

#: Documents kept out of the training, to measure on.
HELD_OUT = 200


def main() -> None:
    """Read, transplant, distil, measure, save."""
    given = _arguments()
    source = given.teacher or minilm_directory()
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    plan = Plan(
        tokens=given.tokens,
        minutes=given.minutes,
        batch=given.batch,
        rate=given.rate,
        cool=given.cool,
        warmup=given.warmup,
        relation_weight=given.relations,
        short=given.short,
        start=given.start,
        start_tokens=given.start_tokens,
        seed=given.seed,
        shape=SHAPES[given.size],
    )
    held_out, passages = _passages(given, tokenizer)
    teacher = AutoModel.from_pretrained(source)
    if given.warm:
        shutil.copyfile(given.work / WARM, given.work / CHECKPOINT)
    pupil, course = distil(teacher, passages, given.work, plan, given.resume or given.warm, _start(given))
    figures = {"tokens": course.step * plan.batch, "seed": plan.seed, **measure(pupil, teacher, held_out)}
    save(pupil, source, given.work / "student", figures)
    print(json.dumps(figures))
    if given.out:
        publish(given, figures)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="models.recipes.base")
    parser.add_argument("--data", type=Path, required=True, help="the folder with text/ and qa/")
    parser.add_argument("--text", type=Path, action="append", default=[], help="a further folder of text, repeatable")
    parser.add_argument("--teacher", type=Path, help="a sentence-transformers directory; default all-MiniLM-L6-v2")
    parser.add_argument("--work", type=Path, default=Path(".work/base"))
    parser.add_argument("--size", choices=sorted(SHAPES), default="small")
    parser.add_argument("--tokens", type=int, default=Plan().tokens)
    parser.add_argument("--minutes", type=float, default=0.0, help="at most so long; the rate falls in time for it")
    parser.add_argument("--batch", type=int, default=Plan().batch)
    parser.add_argument("--rate", type=float, default=Plan().rate)
    parser.add_argument("--warmup", type=int, default=Plan().warmup, help="steps in which the rate rises")
    parser.add_argument("--cool", type=float, default=Plan().cool, help="the last share, in which the rate falls")
    parser.add_argument("--start", default="", help="go on from this base: a shipped one, or a local directory")
    parser.add_argument("--start-tokens", type=int, default=Plan().start_tokens, help="read for the closed form")
    parser.add_argument("--short", type=float, default=0.0, help="the share of short texts, 0 to 1")
    parser.add_argument("--relations", type=float, default=0.0, help="the weight of the cosines of every two texts")
    parser.add_argument("--characters", type=int, default=3_000_000, help="read at most this much of each file")
    parser.add_argument("--seed", type=int, default=Plan().seed)
    parser.add_argument(
        "--out", type=Path, help="also write the version ROOT/mistral-SIZE/VERSION, for instance models/shipped"
    )
    parser.add_argument("--version", default=f"{datetime.datetime.now(datetime.UTC):%Y.%m.%d}")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--warm", action="store_true", help="go on from before the learning rate fell; give more --tokens"
    )
    return parser.parse_args()


def _start(given: argparse.Namespace) -> MistralModel | None:
    """The student that is there already."""
    if not given.start:
        return None
    network = open_start(given.start, given.work).backbone()
    network.config.use_cache = False
    return network


def _passages(given: argparse.Namespace, tokenizer: Tokenizer) -> tuple[Passages, Passages]:
    """(held out, training)."""
    folders = [given.data / "text", *given.text]
    prose = tokenise(tokenizer, documents(folders, given.characters, given.seed))
    squad = given.data / "qa" / "squad-train-v1.1.json.xz"
    questions = tokenise(tokenizer, squad_texts(squad)) if squad.exists() else []
    step = max(1, len(prose) // HELD_OUT)
    kept = [text for place, text in enumerate(prose) if place % step]
    asked = [text for place, text in enumerate(questions) if place % 500]
    return _batches(given, tokenizer, prose[::step], questions[::500], 0.0), _batches(
        given, tokenizer, kept, asked, given.short
    )


def _batches(given: argparse.Namespace, tokenizer: Tokenizer, prose: list, questions: list, share: float) -> Passages:
    stops = frozenset(tokenizer.token_to_id(mark) for mark in (".", "!", "?", ":", ";"))
    brief = short_texts(tokenizer, prose, questions, random.Random(given.seed)) if given.short else None
    return Passages(prose + questions, stops, given.seed, brief, share)


@torch.no_grad()
def measure(pupil: Pupil, teacher: torch.nn.Module, held_out: Passages, batches: int = 30) -> dict[str, float]:
    """Agreement with the teacher on documents that were not read, and where short texts were, on such texts of those documents."""
    read = [held_out.batch(4096) for _ in range(batches)]
    states, cosine, _ = _agreement(pupil, teacher, read)
    figures = {"relative_error_of_states": states, "cosine_of_sentences": cosine}
    if held_out.brief:
        read = [held_out.brief.batch(2048, held_out.rng) for _ in range(batches)]
        _, cosine, relations = _agreement(pupil, teacher, read)
        figures |= {"cosine_of_short_texts": cosine, "relative_error_of_relations": relations}
    return figures


def _agreement(pupil: Pupil, teacher: torch.nn.Module, read: list) -> tuple[float, float, float]:
    """(relative error of the states, cosine of the sentences, relative error of the relations), means over batches."""
    found = [losses(pupil, teacher, *(torch.from_numpy(a).to(device()) for a in pair)).numbers() for pair in read]
    states, sentences, relations = np.mean(found, 0)
    return round(float(states), 4), round(1 - float(sentences), 4), round(float(relations), 4)


def save(pupil: Pupil, source: Path, folder: Path, figures: dict) -> None:
    """The student as a Hugging Face directory with its tokenizer, the map to the teacher's space and the figures."""
    pupil.student.float().cpu().save_pretrained(folder)
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    torch.save(pupil.readouts[-1].detach().cpu(), folder.parent / "readout.pt")
    (folder.parent / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


def publish(given: argparse.Namespace, figures: dict) -> None:
    """The student as a model version: an embedder by itself, and what `mailroom train` starts from."""
    name = f"mistral-{given.size}"
    source = given.work / "student"
    manifest = {
        "name": name,
        "version": given.version,
        "kind": "embedder",
        "dimension": 384,
        "max_length": 512,
        "licence": "Apache-2.0, or the terms of the share-alike texts named in card.md where those apply",
        "data": "plain English, see card.md",
        "parameters": {name: getattr(given, name) for name in PARAMETERS},
        "figures": figures,
    }
    network = load(source, given.work / "readout.pt")
    weights = sum(p.numel() for p in network.student.parameters())
    table = network.student.embed_tokens.weight.numel()
    card = CARD.format(
        title=f"{name}@{given.version}",
        rows="\n".join(f"| {said} | {figures[name]} |" for name, said in FIGURES.items() if name in figures),
        began=(GOES_ON if given.start else TRANSPLANTED).format(**vars(given)),
        tokens=figures["tokens"],
        arguments=" ".join(
            f"--{name.replace('_', '-')} {getattr(given, name)}" for name in PARAMETERS if getattr(given, name)
        ),
        body=f"{(weights - table) / 1e6:.1f}",
        table=f"{table / 1e6:.1f}",
        layers=network.student.config.num_hidden_layers,
        date=datetime.datetime.now(datetime.UTC).date(),
    )
    ship(network, source, given.work, given.out / name / given.version, manifest, card)


#: What the manifest keeps of the arguments.
PARAMETERS = (
    "size", "start", "start_tokens", "short", "relations", "tokens", "minutes", "batch", "rate", "warmup", "cool", "characters", "seed",
)  # fmt: skip
#: The figures by what a card says of them.
FIGURES = {
    "cosine_of_sentences": "mean cosine of its sentence embeddings to the teacher's, unseen documents, 16 to 512 tokens",
    "relative_error_of_states": "mean squared error of its states over the states' variance, mean over the layers",
    "cosine_of_short_texts": "mean cosine of the embeddings of short texts to the teacher's, 4 to 40 tokens, out of unseen documents",
    "relative_error_of_relations": "mean squared error of the cosines of two such texts over the variance of these cosines",
}
TRANSPLANTED = "The teacher's layers were first carried over in closed form (`transplant`)."
GOES_ON = "Its weights began as those of {start}, as shipped; {short:.0%} of what was read are short texts."

CARD = """# {title}

A small Mistral (`MistralModel`: grouped-query attention with two query heads a key-value head, rotary positions, SwiGLU, RMSNorm; {layers}
layers, {body} M parameters beside the token table of {table} M) that reads in both directions. It is the start of every fine-tune
(`mailroom train`); by itself it is a sentence embedder in the space of all-MiniLM-L6-v2.

## Figures
| figure | value |
|---|---|
{rows}

What a fine-tune makes of it is in tests/benchmarks/results/classification.json.

## Recipe
`python -m models.recipes.base --data $MAILROOM_DATA {arguments} --out models/shipped`, {date}. Teacher: all-MiniLM-L6-v2 (Apache-2.0).
{began} Then {tokens} tokens, padding included, were read by both, and the student learned to make the teacher's states layer by
layer and its sentence embeddings. No labels.

## Data
GitLab, Sourcegraph, 18F and GDS handbooks, Business Central, SharePoint, Exchange and PowerShell documentation (CC BY 4.0), AWS guides
and the GitLab handbook (CC BY-SA 4.0), SAP BTP documentation (CC BY 4.0), digital.gov and 18F blogs and NIST 800-63-3 (public domain),
PEPs, Rust RFCs, minutes of Node TSC, Kubernetes and TC39, sections of the DC code (public domain), paragraphs and questions of
SQuAD 1.1's training articles (CC BY-SA 4.0, Wikipedia). At most three million characters of each. Where a text is share-alike, these
weights are offered under the same terms.

## Limits
English. Weights are kept in 8 bits. Beyond 512 tokens it was not distilled; its rotary base lets it read on, and a fine-tune for long
documents measures that for itself.
"""


if __name__ == "__main__":
    main()
