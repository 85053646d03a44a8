"""Access rules and groups: list and change them, explain a decision, apply the rules of the trays' settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.access import AccessRule, Decision, Effect, Origin, Scope, clean_folder, decide
from pipeline.errors import Refused
from pipeline.rights import Access
from workers.settings import SubFolder, TrayFolder, TraySettings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue


def scope_of(source: str, folder: str, document_id: str) -> Scope:
    """Return the scope of a document, or of a source with or without a folder. Raises Refused("contradictory") for any
    other combination."""
    if bool(source) == bool(document_id) or (folder and not source):
        raise Refused("contradictory", "Name one document, or one source with or without a folder of it.")
    return Scope(source, clean_folder(folder), document_id)


class AccessService:
    """Reads and changes access rules and groups, of one tenant at a time. A change holds from the next query on."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._rules, self._groups, self._documents = catalogue.rules, catalogue.groups, catalogue.documents

    def check_rights(self, access: Access, principals: Sequence[str], scope: Scope | None = None) -> None:
        """Check that a key may change or see what concerns these principals, on this scope.

        Raises Refused("forbidden") for a principal that it may not name and for a source or folder that it may not
        write to, and Refused("not-found") for a document that is not in such a folder.
        """
        if others := [principal for principal in principals if not access.may_name(principal)]:
            names = ", ".join([*access.caller.principals, *access.grants][:20]) or "nobody"
            raise Refused("forbidden", f"This key may name {names}, not {', '.join(others[:5])}.")
        if scope is None or self.may_change(access, scope):
            return
        if scope.document_id:
            raise Refused("not-found", "There is no such document, or this key may not see it.")
        places = ", ".join(access.sources[:20]) or "no source"
        raise Refused("forbidden", f"This key may change the access to {places}, not to {scope}.")

    def may_change(self, access: Access, scope: Scope) -> bool:
        """Return True if a key may change who reads a scope: it may write to it, or wherever the document arrived."""
        if not scope.document_id or access.caller.admin:
            return access.may_write(scope)
        arrivals = self._documents.history(scope.document_id)[0]
        return bool(arrivals) and all(access.may_write_file(arrival.source, arrival.path) for arrival in arrivals)

    def rules(self, scope: Scope | None = None, tenant: str = "default") -> list[AccessRule]:
        """Return the rules of one scope (for a document with the list that it arrived with), or all but such lists."""
        return self._rules.find(scope, tenant)

    def add_rule(self, rule: AccessRule, tenant: str = "default") -> bool:
        """Add a rule. Return False if it existed already."""
        return self._rules.add(rule, tenant)

    def remove_rule(self, scope: Scope, principal: str, effect: Effect, tenant: str = "default") -> None:
        """Remove a rule, or a principal from the access list that a document arrived with.

        Raises Refused("not-found") if there is no such rule, and Refused("conflict") for a rule of the settings.
        """
        if not self._rules.remove(scope, principal, effect, tenant):
            raise Refused(
                "not-found", f"There is no rule `{effect} {principal}` on {scope}; list the rules to see them."
            )

    def explain(self, document_id: str, principals: Sequence[str], tenant: str = "default") -> Decision:
        """Decide whether someone with these principals may read the document, and name the rule that decides."""
        expanded = self._groups.principals(principals, tenant)
        return decide(expanded, self._rules.applying_to(document_id, tenant))

    def groups(self, tenant: str = "default") -> Mapping[str, tuple[str, ...]]:
        """Return the members of each group by its name."""
        return self._groups.all(tenant)

    def add_members(self, group: str, members: Sequence[str], tenant: str = "default") -> int:
        """Add principals or other groups to a group; return how many are new. Refused("conflict") for a cycle."""
        return self._groups.add(group, members, tenant)

    def remove_members(self, group: str, members: Sequence[str], tenant: str = "default") -> int:
        """Remove principals from a group and return how many were in it. Raises Refused("not-found") if none was."""
        if not (removed := self._groups.remove(group, members, tenant)):
            raise Refused("not-found", f"None of these is in {group}; list the groups to see who is.")
        return removed


def apply_tray_rules(catalogue: Catalogue, trays: TraySettings) -> None:
    """Replace the rules of the settings by those of today's settings, before anything is taken from a tray."""
    sources = {folder.source for folder in trays.folders}
    catalogue.rules.replace_configured(sorted(sources), tray_rules(trays))


def tray_rules(trays: TraySettings) -> list[AccessRule]:
    """Return the trays' `allow` and `deny` lists as rules."""
    places: list[tuple[Scope, TrayFolder | SubFolder]] = []
    for tray in trays.folders:
        places.append((Scope(tray.source), tray))
        places += [(Scope(tray.source, clean_folder(path)), folder) for path, folder in tray.subfolders.items()]
    return [
        AccessRule(scope, principal, effect, Origin.SETTINGS, "settings")
        for scope, folder in places
        for effect, principals in ((Effect.ALLOW, folder.allow), (Effect.DENY, folder.deny))
        for principal in principals
    ]
