"""deliveries list, retry, drop: copies and webhooks that were given up."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.context import out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(help="Copies and webhooks that were given up.", no_args_is_help=True)


@app.command("list")
def list_(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that still wait for an attempt.")] = False,
    as_json: AsJson = False,
) -> None:
    """List deliveries that were given up, and why."""
    page = shared(context).gateway.deliveries("all" if everything else "dead")
    if as_json:
        show.print_json(page)
        return
    names = ("id", "document_id", "kind", "target", "state", "attempts", "reason", "detail")
    show.table(names, (tuple(item[name] for name in names) for item in page["items"]))


@app.command()
def retry(
    context: typer.Context,
    delivery_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Default: all.")] = None,
) -> None:
    """Send deliveries that were given up again."""
    gateway = shared(context).gateway
    count = sum(map(gateway.retry_deliveries, delivery_ids)) if delivery_ids else gateway.retry_deliveries(None)
    out.print(show.plain(f"{count} due again"))


@app.command()
def drop(context: typer.Context, delivery_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Remove a delivery. The document's record keeps who did."""
    shared(context).gateway.drop_delivery(delivery_id)
