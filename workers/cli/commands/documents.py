"""add, list, show, retry, delete: documents one by one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.errors import MailroomError, Unavailable
from workers.cli import exits
from workers.cli.context import Context, err, given, out
from workers.cli.narrowing import FacetNames, names_of, narrowed
from workers.cli.output import show

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the REST API answers.")]


def add(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders to search through.")],
    source: Annotated[str, typer.Option(help="Where the documents are said to come from.")] = "cli",
    access: Annotated[list[str] | None, typer.Option(help="Who may read them. Repeatable. Default: everyone.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="A word to attach. Repeatable.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until each has ended, and fail if one did.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store files; the running Mailroom takes them from there."""
    from workers.cli.gateway import walk

    shared = given(context)
    fields = {"source": source, "access": access, "labels": label or []}
    added: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    with progress() as bar:
        files = walk(paths)
        task = bar.add_task("storing", total=len(files))
        for file, name in files:
            try:
                added.append({**shared.gateway.add(file, name, fields), "path": name})
            except Unavailable:
                raise
            except (MailroomError, OSError) as error:
                refused.append({"path": name, "error": str(error)})
                err.print(show.plain(f"{name}: {error}"))
            bar.advance(task)
        if wait:
            _wait(shared, added, bar)
    _tell(added, refused, as_json)
    if refused or any(each["state"] in ("failed", "quarantined") for each in added):
        raise typer.Exit(exits.SOME_FAILED)


def _wait(shared: Context, added: list[dict[str, Any]], bar: Progress) -> None:
    task = bar.add_task("reading", total=len(added))
    open_ones = list(added)
    while open_ones:
        for each in open_ones:
            each["state"] = shared.gateway.document(each["id"])["state"]
        open_ones = [each for each in open_ones if each["state"] == "processing"]
        bar.update(task, completed=len(added) - len(open_ones))
        if open_ones:
            time.sleep(0.3)


def _tell(added: list[dict[str, Any]], refused: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show.print_json({"added": added, "refused": refused})
        return
    new = sum(each["created"] for each in added)
    out.print(f"{len(added)} stored, {new} new, {len(added) - new} known already, {len(refused)} refused")


@narrowed
def list_(
    context: typer.Context,
    filters: dict[str, Any],
    facets: FacetNames = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    offset: Annotated[int, typer.Option(min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """List documents, newest first. `mailroom list --state review` is what waits for a person."""
    page = given(context).gateway.documents(filters, limit, offset, names_of(facets))
    if as_json:
        show.print_json(page)
        return
    show.documents(page["items"])
    out.print(f"{len(page['items'])} of {page['total']}")
    show.facet_counts(page["facets"])


def show_(context: typer.Context, document_id: str, as_json: AsJson = False) -> None:
    """Show a document and its decision record: every arrival and every decision."""
    record = given(context).gateway.record(document_id)
    if as_json:
        show.print_json(record)
        return
    show.facts(record["document"])
    out.print()
    show.table(("arrived", "source", "path"), ((s["arrived_at"], s["source"], s["path"]) for s in record["arrivals"]))
    out.print()
    for event in record["events"]:
        out.print(show.plain(f"{event['at']}  {event['stage']}  {event['event']}"), style="bold")
        show.facts(event["data"])


def retry(
    context: typer.Context,
    document_id: Annotated[str | None, typer.Argument(help="A document's id.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed and quarantined document.")] = False,
) -> None:
    """Send a failed, quarantined or reviewed document through the path again."""
    gateway = given(context).gateway
    if failed == bool(document_id):
        raise typer.BadParameter("give a document's id or --failed")
    ids = [document_id] if document_id else _failed_ids(context)
    for each in ids:
        gateway.retry(str(each))
    out.print(f"{len(ids)} sent again")


def _failed_ids(context: typer.Context) -> list[str]:
    gateway, ids = given(context).gateway, []
    offset: int | None = 0
    while offset is not None:
        page = gateway.documents({"state": ["failed", "quarantined"]}, 500, offset)
        ids += [document["id"] for document in page["items"]]
        offset = page["next_offset"]
    return ids


def delete(
    context: typer.Context,
    document_id: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a document: hidden at once, its texts, vectors and bytes forgotten."""
    gateway = given(context).gateway
    name = gateway.document(document_id)["name"]
    if not yes:
        typer.confirm(f"Erase {name}?", abort=True, err=True)
    gateway.delete(document_id)
    out.print(show.plain(f"erased {name}"))


def progress() -> Progress:
    """A bar on standard error, so that standard output stays a program's."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err)
