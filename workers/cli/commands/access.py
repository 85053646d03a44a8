"""access allow, deny, only, list, remove, explain; groups list, add, remove: who may read what. For administrators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pipeline.access import Effect, Scope
from workers.cli.context import out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(
    help="Who may read what, from the next query on. Deny wins, wherever it stands.", no_args_is_help=True
)
groups_app = typer.Typer(help="Principals under a common name.", no_args_is_help=True)

Principal = Annotated[str, typer.Argument(help="user:ann, group:hr; * is everyone.")]
Source = Annotated[str, typer.Option(help="All documents of this source, such as a tray.")]
Folder = Annotated[str, typer.Option(help="Only this folder of the source, with everything below.")]
DocumentId = Annotated[str, typer.Option("--document", help="This document, with its attachments.")]


def _place(source: str, folder: str, document: str) -> dict[str, str]:
    """Return the fields of REST for a place: a document, or a source with or without a folder."""
    values = {"source": source, "folder": folder, "document_id": document}
    return {name: value for name, value in values.items() if value}


def _scope(place: Mapping[str, Any]) -> Scope:
    """Return the scope of a place, or of a rule of REST. Raises Refused("bad-request") for no place, or two."""
    from workers.services.access import scope_of

    return scope_of(*(place.get(name) or "" for name in ("source", "folder", "document_id")))


def _add(context: typer.Context, effect: Effect, principal: str, place: Mapping[str, str]) -> None:
    scope = _scope(place)
    receipt = shared(context).gateway.add_rule({"effect": str(effect), "principal": principal, **place})
    out.print(show.plain(f"{effect} {principal}: {scope}" + ("" if receipt["created"] else " (it was so already)")))


@app.command()
def allow(
    context: typer.Context, principal: Principal, source: Source = "", folder: Folder = "", document: DocumentId = ""
) -> None:
    """Let a principal read it."""
    _add(context, Effect.ALLOW, principal, _place(source, folder, document))


@app.command()
def deny(
    context: typer.Context, principal: Principal, source: Source = "", folder: Folder = "", document: DocumentId = ""
) -> None:
    """Hide it from a principal, whatever else allows it."""
    _add(context, Effect.DENY, principal, _place(source, folder, document))


@app.command()
def only(
    context: typer.Context, principal: Principal, source: Source = "", folder: Folder = "", document: DocumentId = ""
) -> None:
    """Let a principal read it, and hide it from everyone else.

    Everyone else is whom no `only` of the same place names.
    """
    _add(context, Effect.ONLY, principal, _place(source, folder, document))


@app.command()
def remove(
    context: typer.Context,
    effect: Annotated[Effect, typer.Argument(help="allow, deny or only.")],
    principal: Principal,
    source: Source = "",
    folder: Folder = "",
    document: DocumentId = "",
) -> None:
    """Remove a rule, or a principal from a document's own list.

    A document's own list is the one that it arrived with.
    """
    place = _place(source, folder, document)
    scope = _scope(place)
    shared(context).gateway.remove_rule({"effect": str(effect), "principal": principal, **place})
    out.print(show.plain(f"removed: {effect} {principal}: {scope}"))


@app.command("list")
def list_(
    context: typer.Context,
    source: Source = "",
    folder: Folder = "",
    document: DocumentId = "",
    as_json: AsJson = False,
) -> None:
    """List the rules, all or those of one place.

    Those of a document include the list that it arrived with.
    """
    page = shared(context).gateway.rules(_place(source, folder, document))
    if as_json:
        show.print_json(page)
        return
    rows = ((rule["effect"], rule["principal"], _scope(rule), rule["origin"], rule["by"]) for rule in page["items"])
    show.table(("effect", "principal", "scope", "origin", "by"), rows)


@app.command()
def explain(
    context: typer.Context,
    document_id: str,
    principal: Annotated[list[str], typer.Argument(help="The principals of a key.")],
    as_json: AsJson = False,
) -> None:
    """Show whether someone may read a document, and why."""
    decision = shared(context).gateway.explain_access(document_id, principal)
    if as_json:
        show.print_json(decision)
        return
    verb = "may read it" if decision["allowed"] else "may not read it"
    rule = decision["rule"]
    reason = f"{rule['effect']} {rule['principal']}: {_scope(rule)} ({rule['origin']})" if rule else "nothing allows it"
    out.print(show.plain(f"{', '.join(principal)} {verb}: {reason}"))


@groups_app.command("list")
def list_groups(context: typer.Context, as_json: AsJson = False) -> None:
    """List the groups and their members."""
    page = shared(context).gateway.groups()
    if as_json:
        show.print_json(page)
        return
    show.table(("group", "members"), ((group["name"], ", ".join(group["members"])) for group in page["items"]))


@groups_app.command("add")
def add_members(context: typer.Context, group: str, members: list[str]) -> None:
    """Add principals, or other groups, to a group."""
    added = shared(context).gateway.add_members(group, members)["members"]
    out.print(show.plain(f"{added} added to {group}"))


@groups_app.command("remove")
def remove_members(context: typer.Context, group: str, members: list[str]) -> None:
    """Remove principals from a group. An empty group no longer exists."""
    removed = shared(context).gateway.remove_members(group, members)["members"]
    out.print(show.plain(f"{removed} removed from {group}"))
