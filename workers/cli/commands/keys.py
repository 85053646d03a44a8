"""keys create, list, rotate, revoke."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from workers.cli.context import err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(help="API keys. A key is shown once; only its salted hash is stored.", no_args_is_help=True)

Expires = Annotated[str | None, typer.Option(help="Valid for so long: 30m, 24h, 90d, 2w.")]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    principal: Annotated[
        list[str] | None, typer.Option(help="Whom it stands for: user:ann, group:hr. Repeatable.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="read, upload, delete, review, train, taxonomy, access, metrics, audit, admin. Default: read."
        ),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="SOURCE or SOURCE/FOLDER to write to. Repeatable. Default: api.")
    ] = None,
    grant: Annotated[
        list[str] | None, typer.Option(help="A principal that it may name beside its own. Repeatable.")
    ] = None,
    expires: Expires = None,
    admin: Annotated[bool, typer.Option("--admin", help="All scopes, and every document.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, this once."""
    lists = {"principals": principal, "scopes": scope, "sources": source, "grants": grant}
    fields: dict[str, Any] = {name_: values for name_, values in lists.items() if values}
    fields |= {"name": name, "admin": admin} | ({"expires": expires} if expires else {})
    _print_new(shared(context).gateway.create_key(fields), as_json)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    page = shared(context).gateway.keys()
    if as_json:
        show.print_json(page)
        return
    columns = ("id", "name", "principals", "scopes", "sources", "grants", "created", "last used", "state")
    show.table(columns, (_row(key) for key in page["items"]))


@app.command()
def rotate(
    context: typer.Context,
    key_id: str,
    overlap: Annotated[str, typer.Option(help="How long the secret before stays valid; 0 ends it at once.")] = "24h",
    expires: Expires = None,
    as_json: AsJson = False,
) -> None:
    """Give a key another secret and print it, this once. What the key owns stays its own."""
    rotation = {"overlap": overlap} | ({"expires": expires} if expires else {})
    _print_new(shared(context).gateway.rotate_key(key_id, rotation), as_json)


@app.command()
def revoke(context: typer.Context, key_id: str) -> None:
    """End a key, at once."""
    shared(context).gateway.revoke_key(key_id)
    out.print(show.plain(f"revoked {key_id}"))


def _print_new(key: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show.print_json(key)
        return
    until = f"; the one before is valid until {_minute(key['overlap_until'])}" if key["overlap_until"] else ""
    err.print(show.plain(f"key {key['id']}, shown this once{until}:"))
    print(key["key"])


def _row(key: Mapping[str, Any]) -> list[str]:
    lists = [", ".join(key[name]) for name in ("principals", "scopes", "sources", "grants")]
    created = f"{_minute(key['created_at'])} by {key['created_by'] or 'unknown'}"
    return [key["id"], key["name"], *lists, created, _minute(key["last_used_at"]) or "never", _state(key)]


def _state(key: Mapping[str, Any]) -> str:
    """Return what holds of the key now, in words."""
    if key["revoked_at"]:
        return f"revoked {_minute(key['revoked_at'])} by {key['revoked_by'] or 'unknown'}"
    words = ["administrator"] if key["admin"] else []
    words += [f"until {_minute(key['expires_at'])}"] if key["expires_at"] else []
    words += [f"rotated {_minute(key['rotated_at'])} by {key['rotated_by']}"] if key["rotated_at"] else []
    return ", ".join(words) or "valid"


def _minute(time: str | None) -> str:
    return (time or "")[:16].replace("T", " ")
