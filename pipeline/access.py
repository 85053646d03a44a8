"""Who may read what: the words of permissions, and the rule as plain Python. The catalogue evaluates the same rule as SQL;
the tests hold the one against the other, and `explain` tells by this one which rule decided.

A document stands under *scopes*: itself, the documents it was attached to, and for every place where it arrived the source and
each folder on the way down. A caller stands for *principals*: those of the key, the groups these are in, however deeply, and
"*". Nobody reads anything that nothing allows. Then, whatever the order in which rules were made:

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
    ALLOW = "allow"
    DENY = "deny"
    #: allows whom it names and hides from everyone whom no `only` of the same scope names
    ONLY = "only"


class Origin(StrEnum):
    """Where a rule comes from: given by an administrator, by the tray's settings, or with the document as it arrived."""

    GIVEN = "given"
    SETTINGS = "settings"
    ARRIVAL = "arrival"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule is about: a document with what was attached to it, or a source, or a folder of it with all below."""

    source: str = ""
    folder: str = ""
    document_id: str = ""

    def __str__(self) -> str:
        if self.document_id:
            return f"document {self.document_id}"
        return f"source {self.source}" + (f", folder {self.folder}" if self.folder else "")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an access list. ``by`` is who made it, ``at`` when (epoch seconds)."""

    scope: Scope
    principal: str
    effect: Effect
    origin: Origin = Origin.GIVEN
    by: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` is the one that decided; None where nothing allows, or for an administrator's key."""

    allowed: bool
    rule: Rule | None = None


def clean_folder(path: str) -> str:
    """A folder as scopes name it: no slash at either end, none double, no "."."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def folder_scope(source: str, path: str) -> Scope:
    """The folder in which a document of this path lies."""
    parent = PurePosixPath(path).parent
    return Scope(source, clean_folder(str(parent)))


def with_ancestors(scope: Scope) -> list[Scope]:
    """A place and everything above it, the source first; a document stands alone."""
    if scope.document_id:
        return [scope]
    parts = scope.folder.split("/") if scope.folder else []
    return [Scope(scope.source, "/".join(parts[:depth])) for depth in range(len(parts) + 1)]


def groups_of(principals: Iterable[str], groups: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The principals, every group that holds one of them, however deeply, and "*". ``groups``: members by name."""
    all_names = {*principals, EVERYONE}
    while more := {
        name for name, members in groups.items() if name not in all_names and not all_names.isdisjoint(members)
    }:
        all_names |= more
    return frozenset(all_names)


def decide(held: Collection[str], rules: Sequence[Rule]) -> Decision:
    """Return the decision for a caller with the principals ``held``, on a document whose scopes have these ``rules``."""
    for rule in rules:
        if rule.effect is Effect.DENY and rule.principal in held:
            return Decision(False, rule)
    bounds = [rule for rule in rules if rule.effect is Effect.ONLY]
    within = {rule.scope for rule in bounds if rule.principal in held}
    for rule in bounds:
        if rule.scope not in within:
            return Decision(False, rule)
    for rule in rules:
        if rule.effect is not Effect.DENY and rule.principal in held:
            return Decision(True, rule)
    return Decision(False)
