"""train: a classifier of your own from your own labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import Refused
from workers.cli.context import err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

#: Metrics that a person wants to see first.
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
    name: Annotated[str | None, typer.Option(help="The model's name. Default: the active classifier's.")] = None,
    base: Annotated[
        str, typer.Option(help="A shipped base, or a folder with a Mistral, Mixtral, Ministral or Llama.")
    ] = "mistral-small",
    tune: Annotated[
        int, typer.Option(min=1, help="Try this many settings, some with more epochs, and take the best.")
    ] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many epochs.")] = None,
    lora: Annotated[int | None, typer.Option(min=0, help="Rank of low-rank adapters, for a large base.")] = None,
    precision: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Required share of right predictions above the threshold.")
    ] = 0.97,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a training that was interrupted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a small Mistral on labelled documents. The new version is not active until it is promoted."""
    from workers.services.training import TrainingOrder

    if not labels and not reviews:
        raise Refused("bad-request", "Give --labels FILE, or --reviews to learn from what people approved, or both.")
    mailroom = shared(context).mailroom
    name = name or mailroom.settings.models.classifier.partition("@")[0]
    values = {"tune": tune, "epochs": epochs, "lora": lora, "precision": precision}
    flags = [(flag, str(value)) for flag, value in values.items() if value is not None]
    version = mailroom.trainer.train(TrainingOrder(name, labels or (), reviews, base, flags, resume), _reading)
    if as_json:
        show.print_json(version)
        return
    metrics = {metric: version[metric] for metric in FIRST}
    show.fields({"model": version["title"], **metrics, "report": f"{version['folder']}/report.html"})
    out.print(show.plain(version["summary"]))
    for warning in version["warnings"]:
        err.print(show.plain(f"Note: {warning}"))
    out.print(show.plain(f"To make it active: mailroom models promote {version['title']}"))


def _reading(rows: Iterable[dict[str, Any]], total: int) -> Iterable[dict[str, Any]]:
    """Show a progress bar while rows are read."""
    from rich.progress import track

    return track(rows, "reading the labelled texts", total, console=err)
