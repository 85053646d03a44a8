"""Permissions as the house uses them, for the command line and REST alike: rules and groups changed, why someone may read a document
or may not, and the trays' standing rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.access import Decision, Effect, Origin, Rule, Scope, clean_folder, decide
from pipeline.errors import Refused
from workers.assemble import Mailroom
from workers.settings import Settings, SubFolder, TrayFolder

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue


def scope_of(source: str, folder: str, document_id: str) -> Scope:
    """The place that is named. Raises Refused("bad-request") unless it is one document, or one source with or without a folder."""
    if bool(source) == bool(document_id) or (folder and not source):
        raise Refused("bad-request", "Name one document, or one source with or without a folder of it.")
    return Scope(source, clean_folder(folder), document_id)


def give(catalogue: Catalogue, rule: Rule, tenant: str = "default") -> bool:
    """Let a rule hold from the next query on; False where it did already."""
    return catalogue.rules.add(rule, tenant)


def take(catalogue: Catalogue, scope: Scope, principal: str, effect: Effect, tenant: str = "default") -> None:
    """Take a rule away, or a principal off the list that a document arrived with. Raises Refused("not-found") where there is
    none, and "conflict" for one of the settings."""
    if not catalogue.rules.remove(scope, principal, effect, tenant):
        raise Refused("not-found", f"There is no rule `{effect} {principal}` on {scope}; list the rules to see them.")


def leave(catalogue: Catalogue, group: str, members: Sequence[str], tenant: str = "default") -> int:
    """Take principals out of a group: how many were in it. Raises Refused("not-found") where none was."""
    if not (gone := catalogue.groups.remove(group, members, tenant)):
        raise Refused("not-found", f"None of these is in {group}; list the groups to see who is.")
    return gone


def explain(catalogue: Catalogue, document_id: str, principals: Sequence[str], tenant: str = "default") -> Decision:
    """Whether someone of these principals may read the document, and the rule that decides."""
    held = catalogue.groups.principals(principals, tenant)
    return decide(held, catalogue.rules.applying_to(document_id, tenant))


def stand_by(mailroom: Mailroom) -> None:
    """Let the settings' rules hold, before anything is taken from a tray. What the settings say no more is lifted."""
    sources = {folder.source for folder in mailroom.settings.tray.folders}
    mailroom.catalogue.rules.replace_configured(sorted(sources), standing(mailroom.settings))


def standing(settings: Settings) -> list[Rule]:
    """The trays' `allow` and `deny` lists as rules."""
    places: list[tuple[Scope, TrayFolder | SubFolder]] = []
    for tray in settings.tray.folders:
        places.append((Scope(tray.source), tray))
        places += [(Scope(tray.source, clean_folder(path)), folder) for path, folder in tray.subfolders.items()]
    return [
        Rule(scope, principal, effect, Origin.SETTINGS, "settings")
        for scope, folder in places
        for effect, principals in ((Effect.ALLOW, folder.allow), (Effect.DENY, folder.deny))
        for principal in principals
    ]
