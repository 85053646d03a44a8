"""Who may read what: the records of permissions, and the access rule in plain Python.

The catalogue evaluates the same rule as SQL; tests compare the two, and `explain` uses this one to report which rule
decided. A document has *scopes*: itself, the documents it was attached to, and for every place where it arrived the
source and each folder down to it. A caller has *principals*: those of the key, the groups that contain them, directly
or through other groups, and "*". Without a rule that allows it nobody reads a document. The order of the rules is
irrelevant:

    deny    on any scope, for any principal of the caller: hidden
    only    on any scope that has such rules, none of them for the caller: hidden
    allow   on any scope, or an `only` that names the caller: readable
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

#: The principal that everyone stands for.
EVERYONE = "*"


class Effect(StrEnum):
    """What a rule does for its principal."""

    ALLOW = "allow"
    DENY = "deny"
    #: allows its principal and hides the scope from everyone whom no `only` of the same scope names
    ONLY = "only"


class Origin(StrEnum):
    """Where a rule comes from: an administrator, the tray's settings, or the document's arrival."""

    GIVEN = "given"
    SETTINGS = "settings"
    ARRIVAL = "arrival"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule applies to: a document with its attachments, a source, or a folder in it with everything below."""

    source: str = ""
    folder: str = ""
    document_id: str = ""

    def __str__(self) -> str:
        if self.document_id:
            return f"document {self.document_id}"
        return f"source {self.source}" + (f", folder {self.folder}" if self.folder else "")


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One entry of an access list. ``by`` is who added it, ``at`` when (epoch seconds)."""

    scope: Scope
    principal: str
    effect: Effect
    origin: Origin = Origin.GIVEN
    by: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a caller may read a document.

    ``rule`` is the one that decided; None if nothing allows, or for an administrator's key.
    """

    allowed: bool
    rule: AccessRule | None = None


def clean_folder(path: str) -> str:
    """Return a folder as scopes name it: no slash at either end, none double, no "."."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def folder_scope(source: str, path: str) -> Scope:
    """Return the scope of the folder that contains ``path``."""
    parent = PurePosixPath(path).parent
    return Scope(source, clean_folder(str(parent)))


def with_ancestors(scope: Scope) -> list[Scope]:
    """Return a folder's scope and all above it, the source first; a document's scope has none above it."""
    if scope.document_id:
        return [scope]
    parts = scope.folder.split("/") if scope.folder else []
    return [Scope(scope.source, "/".join(parts[:depth])) for depth in range(len(parts) + 1)]


def groups_of(principals: Iterable[str], groups: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return the principals, every group that contains one of them, directly or through groups, and "*". ``groups``
    maps a group's name to its members."""
    all_names = {*principals, EVERYONE}
    while more := {
        name for name, members in groups.items() if name not in all_names and not all_names.isdisjoint(members)
    }:
        all_names |= more
    return frozenset(all_names)


def decide(principals: Collection[str], rules: Sequence[AccessRule]) -> Decision:
    """Decide for a caller with these principals, on a document whose scopes have these rules."""
    for rule in rules:
        if rule.effect is Effect.DENY and rule.principal in principals:
            return Decision(False, rule)
    exclusive = [rule for rule in rules if rule.effect is Effect.ONLY]
    open_scopes = {rule.scope for rule in exclusive if rule.principal in principals}
    for rule in exclusive:
        if rule.scope not in open_scopes:
            return Decision(False, rule)
    for rule in rules:
        if rule.effect is not Effect.DENY and rule.principal in principals:
            return Decision(True, rule)
    return Decision(False)
