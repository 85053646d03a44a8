"""audit verify, export, tail."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.audit import ocsf
from pipeline.errors import Misconfigured
from workers.cli.context import out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(help="Who did what, from where, with what outcome.", no_args_is_help=True)


@app.command()
def verify(
    context: typer.Context,
    anchor: Annotated[
        list[Path] | None, typer.Option(help="An older copy of the data folder's audit-head. Repeatable.")
    ] = None,
) -> None:
    """Check the chain of entries, and the anchors against it.

    Without a fault the anchor in the data folder moves to the last entry. A fault ends with an error.
    """
    service = shared(context).mailroom.audit_anchor
    check = service.verify(*(anchor or []))
    for fault in check.faults:
        out.print(show.plain(fault))
    if check.faults or not service.advance():
        text = "The audit was changed outside of Mailroom; keep the data folder as it is, and compare with a backup."
        raise Misconfigured("bad-store", text)
    out.print(show.plain(f"{check.entries} entries, unchanged; the last is {check.head.sequence} {check.head.hash}"))


@app.command()
def export(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help="Only entries behind this number.")] = 0,
    as_ocsf: Annotated[bool, typer.Option("--ocsf", help="As OCSF events (API Activity).")] = False,
) -> None:
    """Print the entries in order, one JSON object on a line."""
    for entry in shared(context).mailroom.catalogue.audit.entries(after):
        sys.stdout.write(json.dumps(ocsf(entry) if as_ocsf else asdict(entry)) + "\n")


@app.command()
def tail(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many entries.")] = 20,
    actor: Annotated[str | None, typer.Option(help="user:NAME or key:ID.")] = None,
    action: Annotated[str | None, typer.Option(help="domain.verb, or a domain with its dot: document.")] = None,
    resource: Annotated[str | None, typer.Option(help="kind:id, such as document:ID.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the last entries that match, the newest at the end."""
    filters = {"actor": actor, "action": action, "resource": resource}
    query = {name: value for name, value in filters.items() if value}
    page = shared(context).gateway.audit(limit=limit, **query)
    if as_json:
        show.print_json(page)
        return
    columns = ("number", "time", "actor", "action", "resource", "outcome", "from", "data")
    show.table(columns, (_row(item) for item in reversed(page["items"])))


def _row(item: Mapping[str, Any]) -> list[str]:
    origin = f"{item['source']} {item['address']}".strip()
    time = item["time"][:19].replace("T", " ")
    data = json.dumps(item["data"]) if item["data"] else ""
    names = ("actor", "action", "resource", "outcome")
    return [str(item["sequence"]), time, *(item[name] for name in names), origin, data]
