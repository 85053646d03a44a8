"""add, list, show, retry, delete: documents one by one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import MailroomError, Unavailable
from workers.cli import exits
from workers.cli.context import Gateway, err, every_document, out, shared
from workers.cli.files import find_files
from workers.cli.options import AsJson, FacetNames, Yes, facet_names, with_filters
from workers.cli.output import show

if TYPE_CHECKING:
    from rich.progress import Progress

POLL_SECONDS = 0.3


def add(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders to search through.")],
    source: Annotated[
        str | None, typer.Option(help="The source that they are stored under. Default: cli; with --url: api.")
    ] = None,
    access: Annotated[list[str] | None, typer.Option(help="Who may read them. Repeatable. Default: everyone.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="A word to attach. Repeatable.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until each has ended; fail if one failed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store files; the running Mailroom processes them."""
    gateway = shared(context).gateway
    fields = {"access": access, "labels": label or []} | ({"source": source} if source else {})
    added: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    with show.progress() as bar:
        files = find_files(paths)
        task = bar.add_task("storing", total=len(files))
        for file, name in files:
            try:
                added.append({**gateway.add(file, name, fields), "path": name})
            except Unavailable:
                raise
            except (MailroomError, OSError) as error:
                refused.append({"path": name, "error": str(error)})
                err.print(show.plain(f"{name}: {error}"))
            bar.advance(task)
        if wait:
            _wait(gateway, added, bar)
    if as_json:
        show.print_json({"added": added, "refused": refused})
    else:
        new = sum(document["created"] for document in added)
        existing = len(added) - new
        out.print(f"{len(added)} stored: {new} new, {existing} there before; {len(refused)} refused")
    if refused or any(document["state"] in ("failed", "quarantined") for document in added):
        raise typer.Exit(exits.SOME_FAILED)


def _wait(gateway: Gateway, added: list[dict[str, Any]], bar: Progress) -> None:
    """Wait until every document has ended; its new state is set in ``added``."""
    task = bar.add_task("reading", total=len(added))
    processing = list(added)
    while processing:
        for document in processing:
            document["state"] = gateway.document(document["id"])["state"]
        processing = [document for document in processing if document["state"] == "processing"]
        bar.update(task, completed=len(added) - len(processing))
        if processing:
            time.sleep(POLL_SECONDS)


@with_filters
def list_(
    context: typer.Context,
    filters: dict[str, Any],
    facets: FacetNames = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    offset: Annotated[int, typer.Option(min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """List documents, newest first. `mailroom list --state review` is what waits for a person."""
    page = shared(context).gateway.documents(filters, limit=limit, offset=offset, facets=facet_names(facets))
    if as_json:
        show.print_json(page)
        return
    show.documents(page["items"])
    out.print(f"{len(page['items'])} of {page['total']}")
    show.facets(page["facets"])


def show_(context: typer.Context, document_id: str, as_json: AsJson = False) -> None:
    """Show a document and its decision record. It has every arrival and every decision."""
    record = shared(context).gateway.record(document_id)
    if as_json:
        show.print_json(record)
        return
    show.fields(record["document"])
    out.print()
    show.table(("arrived", "source", "path"), ((a["arrived_at"], a["source"], a["path"]) for a in record["arrivals"]))
    out.print()
    if record["revisions"]:
        rows = ((r["id"], r["received_at"], r["state"], r["superseded"]) for r in record["revisions"])
        show.table(("other revision", "received", "state", "superseded"), rows)
        out.print()
    for event in record["events"]:
        out.print(show.plain(f"{event['at']}  {event['stage']}  {event['event']}"), style="bold")
        show.fields(event["data"])


def retry(
    context: typer.Context,
    document_id: Annotated[str | None, typer.Argument(help="A document's id.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed and quarantined document.")] = False,
) -> None:
    """Send a document through the path again. It is failed, quarantined or in review."""
    gateway = shared(context).gateway
    if failed == bool(document_id):
        raise typer.BadParameter("name a document or use --failed")
    unfinished = {"state": ["failed", "quarantined"]}
    ids = [document_id] if document_id else [document["id"] for document in every_document(gateway, unfinished)]
    for document in ids:
        gateway.retry(document)
    out.print(f"{len(ids)} sent again")


def delete(context: typer.Context, document_id: str, yes: Yes = False) -> None:
    """Erase a document and what is attached to it."""
    gateway = shared(context).gateway
    name = gateway.document(document_id)["name"]
    if not yes:
        typer.confirm(f"Erase {name}?", abort=True, err=True)
    gateway.erase([document_id])
    out.print(show.plain(f"erased {name}"))
