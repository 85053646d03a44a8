"""reclassify plan, show, list, apply, undo: many documents at once, the difference first."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.documents import QueueName
from pipeline.errors import Refused
from workers.cli import exits
from workers.cli.context import Context, err, out, shared
from workers.cli.options import AsJson, with_filters
from workers.cli.output import show

app = typer.Typer(
    help="Compare stored documents with another model or other rules. Apply, resume, undo.", no_args_is_help=True
)
Inline = Annotated[bool, typer.Option("--inline", help="Work in this process instead of the running workers.")]
Ids = Annotated[Path | None, typer.Option("--ids", help="A file of document ids, one a line.", exists=True)]

#: Seconds without a batch taken after which no worker is assumed to run.
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.2


@app.command()
@with_filters
def plan(
    context: typer.Context,
    filters: dict[str, Any],
    model: Annotated[str | None, typer.Option(help="NAME@VERSION or a folder. Default: the configured one.")] = None,
    rules: Annotated[Path | None, typer.Option(help="A rules file. Default: the configured one.")] = None,
    ids: Ids = None,
    inline: Inline = False,
    as_json: AsJson = False,
) -> None:
    """Save the difference that a model or rule version would make. Nothing is changed."""
    from workers.api.schemas.filters import FilterFields

    options = shared(context)
    selected = None if ids is None else [line.strip() for line in ids.read_text().splitlines() if line.strip()]
    selection = FilterFields.model_validate(filters).filters()
    plan_id, jobs = options.mailroom.reclassify.plan(selection, selected, model, rules)
    _follow(options, plan_id, "comparing", len(jobs), inline)
    _print(options, plan_id, as_json)
    if not as_json:
        out.print(f"Nothing was changed. To do exactly this: mailroom reclassify apply {plan_id}")


@app.command()
def apply(context: typer.Context, plan_id: str, inline: Inline = False, as_json: AsJson = False) -> None:
    """Change exactly what the plan shows. A repeat resumes an interrupted run."""
    _start(shared(context), plan_id, "apply", inline, as_json)


@app.command()
def undo(context: typer.Context, plan_id: str, inline: Inline = False, as_json: AsJson = False) -> None:
    """Undo what the plan has changed. Copies and webhooks that were delivered stay delivered."""
    _start(shared(context), plan_id, "undo", inline, as_json)


@app.command("show")
def show_(
    context: typer.Context,
    plan_id: str,
    limit: Annotated[int, typer.Option(min=1, help="Documents to list.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show a plan: what moves from where to where, and each document."""
    _print(shared(context), plan_id, as_json, limit)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the plans, oldest first."""
    plans = shared(context).mailroom.catalogue.plans.all()
    if as_json:
        show.print_json(plans)
        return
    rows = (
        (
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(plan["created_at"])),
            plan["id"],
            plan["state"],
            plan["model"],
            plan["selection"].get("documents"),
            _listed(plan["counts"]),
        )
        for plan in plans
    )
    show.table(("created (UTC)", "id", "state", "model", "compared", "differences"), rows)


def _start(options: Context, plan_id: str, action: str, inline: bool, as_json: bool) -> None:
    jobs = options.mailroom.reclassify.start(plan_id, action)
    _follow(options, plan_id, action, len(jobs), inline)
    plan = options.mailroom.catalogue.plans.get(plan_id)
    if as_json:
        show.print_json(plan)
        return
    out.print(f"Plan {plan_id} is {plan['state']}: {_listed(plan['counts']) or 'there was nothing to do'}.")
    if plan["counts"].get("stale"):
        out.print("Stale documents changed after the plan was made and were left alone; make a new plan for them.")


def _follow(options: Context, plan_id: str, action: str, jobs: int, inline: bool) -> None:
    """Show a progress bar over the plan's batches; an interruption ends the watching, not the work.

    Raises Refused("conflict") if batches failed.
    """
    from workers.services.reclassify import is_finished

    mailroom = options.mailroom
    if not inline and options.running_at is None and mailroom.settings.broker_is_embedded and jobs:
        err.print("No Mailroom runs on this data folder; the work waits for `mailroom up`, or repeat with --inline.")
        raise typer.Exit(exits.NOT_RUNNING)
    with show.progress() as bar:
        task = bar.add_task(f"{action} (batches)", total=jobs)
        for waiting in mailroom.reclassify.steps(plan_id) if inline else _open_batches(options, plan_id):
            bar.update(task, completed=jobs - waiting)
        bar.update(task, completed=jobs)
    is_finished(mailroom.catalogue.plans.get(plan_id))


def _open_batches(options: Context, plan_id: str) -> Iterator[int]:
    """Yield the number of open batches while workers do them. Raises Refused("conflict") if no worker takes one."""
    mailroom = options.mailroom
    mailroom.notifier.notify(mailroom.catalogue.jobs, QueueName.RECLASSIFY)
    last, since = -1, time.monotonic()
    while waiting := mailroom.catalogue.plans.get(plan_id)["open_jobs"]:
        if waiting != last:
            last, since = waiting, time.monotonic()
        elif time.monotonic() - since > PATIENCE_SECONDS:
            text = f"No worker takes up plan {plan_id}; look at `mailroom status`, or repeat with --inline."
            raise Refused("conflict", text)
        yield waiting
        time.sleep(POLL_SECONDS)


def _print(options: Context, plan_id: str, as_json: bool, limit: int = 50) -> None:
    from pipeline.reclassify import transition_counts

    plan = dict(options.mailroom.catalogue.plans.get(plan_id))
    items = list(_items(options, plan_id))
    if as_json:
        show.print_json({**plan, "items": items[:limit]})
        return
    compared = f"{plan['selection'].get('documents')} documents, {len(items)} would differ"
    summary = {"plan": plan_id, "state": plan["state"], "model": plan["model"], "rules": plan["rules_digest"][:12]}
    show.fields({**summary, "compared": compared})
    if items:
        moves = ((old, new, count) for (old, new), count in transition_counts(items).most_common())
        show.table(("from", "to", "documents"), moves)
        columns = ("document", "name", "from", "to", "probability", "rules", "state")
        show.table(columns, (_row(options, item) for item in items[:limit]))
    if len(items) > limit:
        out.print(f"... and {len(items) - limit} more: mailroom reclassify show --limit {len(items)} {plan_id}")


def _items(options: Context, plan_id: str) -> Iterator[Mapping[str, Any]]:
    after = ""
    while page := options.mailroom.catalogue.plans.items(plan_id, limit=1000, after=after):
        yield from page
        after = page[-1]["document_id"]


def _row(options: Context, item: Mapping[str, Any]) -> tuple[str, ...]:
    from pipeline.reclassify import decision_name

    old, new = sides = item["old"], item["new"]
    name = options.mailroom.catalogue.documents.get(item["document_id"]).name
    probabilities = " -> ".join("-" if s["probability"] is None else f"{s['probability']:.2f}" for s in sides)
    rules = " -> ".join(", ".join(s["rules"]) or "-" for s in sides)
    return item["document_id"], name, decision_name(old), decision_name(new), probabilities, rules, item["state"]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
