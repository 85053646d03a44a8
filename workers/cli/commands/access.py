"""access allow, deny, only, list, remove, explain; groups list, add, remove: who may read what. For the operator."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.access import Effect, Rule, Scope
from workers.cli.context import out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

app = typer.Typer(
    help="Who may read what, from the next query on. Deny wins, wherever it stands.", no_args_is_help=True
)
groups_app = typer.Typer(help="Principals that stand together under a name.", no_args_is_help=True)

Principal = Annotated[str, typer.Argument(help="user:ann, group:hr; * is everyone.")]
Source = Annotated[str, typer.Option(help="All documents of this source, such as a tray.")]
Folder = Annotated[str, typer.Option(help="Only this folder of the source, with all below.")]
OfDocument = Annotated[str, typer.Option("--document", help="This document, with what was attached to it.")]


def scope_of(source: str, folder: str, document: str) -> Scope:
    """What the options name: a document, or a source, or a folder of it."""
    from workers.services.access import scope_of as named

    return named(source, folder, document)


def _add(context: typer.Context, effect: Effect, principal: str, scope: Scope) -> None:
    from workers.services.promotion import current_user

    new = shared(context).mailroom.access.add_rule(Rule(scope, principal, effect, by=current_user()))
    out.print(show.plain(f"{effect} {principal}: {scope}" + ("" if new else " (it was so already)")))


@app.command()
def allow(
    context: typer.Context, principal: Principal, source: Source = "", folder: Folder = "", document: OfDocument = ""
) -> None:
    """Let someone read it."""
    _add(context, Effect.ALLOW, principal, scope_of(source, folder, document))


@app.command()
def deny(
    context: typer.Context, principal: Principal, source: Source = "", folder: Folder = "", document: OfDocument = ""
) -> None:
    """Hide it from someone, whatever else allows it."""
    _add(context, Effect.DENY, principal, scope_of(source, folder, document))


@app.command()
def only(
    context: typer.Context, principal: Principal, source: Source = "", folder: Folder = "", document: OfDocument = ""
) -> None:
    """Let someone read it, and hide it from everyone that no `only` of the same place names."""
    _add(context, Effect.ONLY, principal, scope_of(source, folder, document))


@app.command()
def remove(
    context: typer.Context,
    effect: Annotated[Effect, typer.Argument(help="allow, deny or only.")],
    principal: Principal,
    source: Source = "",
    folder: Folder = "",
    document: OfDocument = "",
) -> None:
    """Take a rule away, or someone off the list that a document arrived with."""
    scope = scope_of(source, folder, document)
    shared(context).mailroom.access.remove_rule(scope, principal, effect)
    out.print(show.plain(f"removed: {effect} {principal}: {scope}"))


@app.command("list")
def list_(
    context: typer.Context,
    source: Source = "",
    folder: Folder = "",
    document: OfDocument = "",
    as_json: AsJson = False,
) -> None:
    """The rules, all or of one place; of a document also the list that it arrived with."""
    scope = scope_of(source, folder, document) if source or folder or document else None
    rules = [_row(rule) for rule in shared(context).mailroom.access.rules(scope)]
    if as_json:
        show.print_json(rules)
        return
    show.table(("effect", "principal", "scope", "origin", "by"), (list(row.values())[:5] for row in rules))


@app.command()
def explain(
    context: typer.Context,
    document_id: str,
    principal: Annotated[list[str], typer.Argument(help="The principals of a key.")],
    as_json: AsJson = False,
) -> None:
    """Whether someone may read a document, and the rule that decides."""
    decision = shared(context).mailroom.access.explain(document_id, principal)
    if as_json:
        show.print_json({"allowed": decision.allowed, "rule": _row(decision.rule) if decision.rule else None})
        return
    prediction = "may read it" if decision.allowed else "may not read it"
    reason = "nothing allows it" if decision.rule is None else "{effect} {principal}: {scope} ({origin})"
    told = reason.format(**_row(decision.rule)) if decision.rule else reason
    out.print(show.plain(f"{', '.join(principal)} {prediction}: {told}"))


def _row(rule: Rule) -> dict[str, Any]:
    told = {"effect": str(rule.effect), "principal": rule.principal, "scope": str(rule.scope)}
    return {**told, "origin": str(rule.origin), "by": rule.by, "at": rule.at}


@groups_app.command("list")
def list_groups(context: typer.Context, as_json: AsJson = False) -> None:
    """The groups and who is in them."""
    groups = shared(context).mailroom.access.groups()
    if as_json:
        show.print_json({name: list(members) for name, members in groups.items()})
        return
    show.table(("group", "members"), ((name, ", ".join(members)) for name, members in groups.items()))


@groups_app.command("add")
def add_members(context: typer.Context, group: str, members: list[str]) -> None:
    """Put principals, or other groups, into a group."""
    added = shared(context).mailroom.access.add_members(group, members)
    out.print(show.plain(f"{added} added to {group}"))


@groups_app.command("remove")
def remove_members(context: typer.Context, group: str, members: list[str]) -> None:
    """Take principals out of a group; one that is empty is gone."""
    gone = shared(context).mailroom.access.remove_members(group, members)
    out.print(show.plain(f"{gone} removed from {group}"))
