"""train: a classifier of your own from your own labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from pipeline.errors import Refused
from workers.cli.commands.documents import AsJson
from workers.cli.context import err, given, out
from workers.cli.output import show

#: Figures that a person wants to see first.
FIRST = ("texts", "accuracy", "macro_f1", "ece", "coverage_sure", "precision_of_sure")


def train(
    context: typer.Context,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            help="A list (.csv, .jsonl): `label` and one of text, path, document. Several labels: a;b. Repeatable."
        ),
    ] = None,
    reviews: Annotated[bool, typer.Option("--reviews", help="Learn from what people approved, too.")] = False,
    name: Annotated[str | None, typer.Option(help="The model's name. Default: the one that judges now.")] = None,
    base: Annotated[
        str, typer.Option(help="A shipped base, or a folder with a Mistral, Mixtral, Ministral or Llama.")
    ] = ("mistral-small"),
    tune: Annotated[
        int, typer.Option(min=1, help="Try this many settings, some with more epochs, and take the best.")
    ] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many passes over the texts.")] = None,
    lora: Annotated[int | None, typer.Option(min=0, help="Rank of low-rank adapters, for a large base.")] = None,
    precision: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Wanted share of right predictions above the threshold.")
    ] = 0.97,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was cut off.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a small Mistral on labelled documents. The new version is not in force until it is promoted."""
    from workers.services.training import Order

    if not labels and not reviews:
        raise Refused("bad-request", "Give --labels FILE, or --reviews to learn from what people approved, or both.")
    shared = given(context)
    chosen = name or shared.settings.models.classifier.partition("@")[0]
    asked = {"tune": tune, "epochs": epochs, "lora": lora, "precision": precision}
    options = [(flag, str(value)) for flag, value in asked.items() if value is not None]
    made = shared.mailroom.trainer.train(Order(chosen, labels or (), reviews, base, options, resume), _follow)
    if as_json:
        show.print_json(made)
        return
    show.facts(
        {
            "model": made["title"],
            **{figure: made[figure] for figure in FIRST},
            "report": f"{made['folder']}/report.html",
        }
    )
    out.print(show.plain(made["summary"]))
    for warning in made["warnings"]:
        err.print(show.plain(f"Note: {warning}"))
    out.print(show.plain(f"To put it into force: mailroom models promote {made['title']}"))


def _follow(rows: Iterable[dict[str, Any]], total: int) -> Iterable[dict[str, Any]]:
    return track(rows, "reading the labelled texts", total, console=err)
