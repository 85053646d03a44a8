"""reclassify plan, show, list, apply, undo: many documents at once, the difference first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.documents import Lane
from workers.api.schemas import FilterFields
from workers.cli import exits, show
from workers.cli.context import Context, given, out
from workers.cli.documents import AsJson, Folder, Label, Since, Source, State, Until, filters_of, progress

app = typer.Typer(
    help="Compare stored documents with another model or other rules; apply, resume, undo.", no_args_is_help=True
)
Here = Annotated[bool, typer.Option("--here", help="Do the work in this process; else the running workers do it.")]


@app.command()
def plan(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="NAME@VERSION or a folder. Default: the configured one.")] = None,
    rules: Annotated[Path | None, typer.Option(help="A rules file. Default: the configured one.")] = None,
    state: State = None,
    label: Label = None,
    source: Source = None,
    folder: Folder = None,
    since: Since = None,
    until: Until = None,
    here: Here = False,
    as_json: AsJson = False,
) -> None:
    """Save the difference that a model or rule version would make. Nothing is changed."""
    shared = given(context)
    fields = filters_of(state=state, label=label, source=source, folder=folder, since=since, until=until)
    filters = FilterFields.model_validate(fields).filters()
    plan_id, jobs = shared.house.reclassify.plan(filters, model=model, rules=rules)
    _follow(shared, plan_id, "comparing", len(jobs), here)
    _print(shared, plan_id, as_json)


@app.command()
def apply(context: typer.Context, plan_id: str, here: Here = False, as_json: AsJson = False) -> None:
    """Change exactly what the plan shows. A repeat goes on where an interrupted run ended."""
    _start(given(context), plan_id, "apply", here, as_json)


@app.command()
def undo(context: typer.Context, plan_id: str, here: Here = False, as_json: AsJson = False) -> None:
    """Put back what the plan has changed."""
    _start(given(context), plan_id, "undo", here, as_json)


@app.command("show")
def show_(
    context: typer.Context,
    plan_id: str,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """A plan and its differences."""
    _print(given(context), plan_id, as_json, limit)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """The plans, oldest first."""
    plans = given(context).house.catalogue.plans.list()
    if as_json:
        show.print_json(plans)
        return
    columns = ("id", "state", "model", "counts", "created_at")
    show.table(columns, ([plan[column] for column in columns] for plan in plans))


def _start(shared: Context, plan_id: str, action: str, here: bool, as_json: bool) -> None:
    jobs = shared.house.reclassify.start(plan_id, action)
    _follow(shared, plan_id, action, len(jobs), here)
    _print(shared, plan_id, as_json)


def _follow(shared: Context, plan_id: str, word: str, jobs: int, here: bool) -> None:
    """A progress bar over the plan's jobs; an interruption stops the looking, not the work."""
    house = shared.house
    if here:
        house.reclassify.drain(plan_id)
    elif shared.running_at is None:
        text = "No Mailroom runs on this data folder; the work waits for `mailroom up`, or repeat with --here."
        out.print(text)
        raise typer.Exit(exits.NOT_RUNNING)
    else:
        house.hints.nudge(house.catalogue.ledger, Lane.RECLASSIFY)
    with progress() as bar:
        task = bar.add_task(word, total=jobs)
        while left := house.catalogue.plans.get(plan_id)["open_jobs"]:
            bar.update(task, completed=jobs - left)
            time.sleep(0.2)
        bar.update(task, completed=jobs)


def _print(shared: Context, plan_id: str, as_json: bool, limit: int = 50) -> None:
    plans = shared.house.catalogue.plans
    plan, items = dict(plans.get(plan_id)), plans.items(plan_id, limit=limit)
    if as_json:
        show.print_json({**plan, "items": items})
        return
    show.facts({name: plan[name] for name in ("id", "state", "model", "counts", "open_jobs")})
    rows = ((i["document_id"], _side(i["old"]), _side(i["new"]), i["state"]) for i in items)
    show.table(("document", "now", "then", "state"), rows)


def _side(side: dict[str, Any]) -> str:
    probability = f" {side['probability']:.2f}" if side.get("probability") is not None else ""
    return f"{side['label']}{probability} {side['state']}"
