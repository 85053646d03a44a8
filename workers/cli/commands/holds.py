"""hold add, list, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.context import out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(help="Legal holds: what is under one is erased by nobody.", no_args_is_help=True)


@app.command()
def add(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why, for whoever wants to erase it.")],
    document: Annotated[str | None, typer.Option(help="A document's id.")] = None,
    source: Annotated[str | None, typer.Option(help="All documents of a source.")] = None,
    subject: Annotated[str | None, typer.Option(help="All documents that name this person or thing.")] = None,
) -> None:
    """Place a legal hold. It holds at once, for what arrives later too."""
    targets = {"document": document, "source": source, "subject": subject}
    chosen = [(kind, target) for kind, target in targets.items() if target is not None]
    if len(chosen) != 1:
        raise typer.BadParameter("give one of --document, --source and --subject.")
    kind, target = chosen[0]
    hold = shared(context).gateway.add_hold({"kind": kind, "target": target, "reason": reason})
    out.print(show.plain(f"hold {hold['id']} on the {hold['kind']} {hold['target']}"))


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the legal holds, oldest first."""
    page = shared(context).gateway.holds()
    if as_json:
        show.print_json(page)
        return
    columns = ("id", "kind", "target", "reason", "created_at", "created_by")
    show.table(columns, ([hold[name] for name in columns] for hold in page["items"]))


@app.command()
def remove(context: typer.Context, hold_id: str) -> None:
    """Lift a legal hold."""
    shared(context).gateway.remove_hold(hold_id)
    out.print(show.plain(f"lifted {hold_id}"))
