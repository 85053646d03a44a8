"""retention propose, confirm."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.context import out, shared
from workers.cli.options import AsJson, Yes
from workers.cli.output import show

app = typer.Typer(help="Documents whose time is over by the retention rules.", no_args_is_help=True)
#: The most documents of one confirmation.
MOST = 1000


@app.command()
def propose(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List documents whose time is over, in the order of their arrival. Nothing is erased."""
    page = shared(context).gateway.retention(limit)
    if as_json:
        show.print_json(page)
        return
    columns = ("document_id", "name", "label", "source", "rule", "due", "then")
    show.table(columns, ([item[name] or "" for name in columns] for item in page["items"]))
    if page["has_more"]:
        out.print("and more")


@app.command()
def confirm(
    context: typer.Context,
    documents: Annotated[list[str] | None, typer.Argument(help="Ids of documents that are due.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are due.")] = False,
    yes: Yes = False,
) -> None:
    """Erase documents whose time is over, with receipts. If one of them is not due, nothing is erased."""
    gateway = shared(context).gateway
    if everything == bool(documents):
        raise typer.BadParameter("give ids of documents, or --all.")
    due = [item["document_id"] for item in gateway.retention(MOST)["items"]]
    ids = documents or due
    if ids and not yes:
        typer.confirm(f"Erase {len(ids)} documents?", abort=True, err=True)
    count = gateway.confirm_retention(ids)["erased"] if ids else 0
    out.print(f"{count} documents are being erased")
