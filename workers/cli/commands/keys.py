"""keys create, list, revoke."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from pipeline.errors import Refused
from workers.cli.context import err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(help="API keys. A key is shown once; only its salted hash is stored.", no_args_is_help=True)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    principal: Annotated[
        list[str] | None, typer.Option(help="Whom it stands for: user:ann, group:hr. Repeatable.")
    ] = None,
    scope: Annotated[list[str] | None, typer.Option(help="read, write, admin. Repeatable. Default: read.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="All scopes, and every document.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, this once."""
    from workers.services.first_key import SCOPES

    scopes = list(SCOPES) if admin else scope or ["read"]
    if unknown := set(scopes) - set(SCOPES):
        raise typer.BadParameter(f"unknown scope {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}")
    key_id, secret = shared(context).mailroom.catalogue.keys.create(name, principal or [], scopes, admin)
    if as_json:
        show.print_json({"id": key_id, "key": secret, "scopes": scopes, "principals": principal or [], "admin": admin})
        return
    err.print(f"key {key_id}, shown this once:")
    print(secret)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    rows = [dict(row) for row in shared(context).mailroom.catalogue.keys.all()]
    for row in rows:
        row |= {name: _time(row[name]) for name in ("created_at", "revoked_at")}
    if as_json:
        show.print_json(rows)
        return
    columns = ("id", "name", "principals", "scopes", "admin", "created_at", "revoked_at")
    cells = ([", ".join(row[c]) if isinstance(row[c], (list, tuple)) else row[c] for c in columns] for row in rows)
    show.table(columns, cells)


@app.command()
def revoke(context: typer.Context, key_id: str) -> None:
    """Revoke a key, at once."""
    if not shared(context).mailroom.catalogue.keys.revoke(key_id):
        raise Refused("not-found", f"There is no key {key_id} that could be revoked; `mailroom keys list` shows them.")
    out.print(f"revoked {key_id}")


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
