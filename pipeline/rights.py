"""What an API key may do: its scopes, the places that it may write to, and the principals that it may name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.access import Scope, clean_folder, folder_scope, with_ancestors
from pipeline.questions import Caller

#: The scopes, and what each opens. None implies another.
SCOPES: Mapping[str, str] = {
    "read": "search, ask, list and read what the key may see; its saved queries and feedback",
    "upload": "send documents",
    "delete": "erase its own documents",
    "review": "approve documents under labels, and process them again",
    "train": "read everybody's feedback, to measure and train with",
    "taxonomy": "change labels, and approve under new ones",
    "access": "access rules and groups",
    "personal-data": "see the values that `privacy.redact` hides from other keys; no route of its own",
    "metrics": "counts of documents, jobs and requests",
    "audit": "who did what, of everybody",
    "admin": "keys, legal holds, retention, deliveries that were given up",
}
#: Every place, or every principal.
ANY = "*"
#: Where uploads are if they name no source, and where a key may write by default.
DEFAULT_SOURCE = "api"


@dataclass(frozen=True, slots=True)
class Access:
    """The access that a key gives: the caller that it stands for, and what that caller may do.

    ``sources`` are the places that it may write to: SOURCE or SOURCE/FOLDER, with everything below; "*" is all.
    ``grants`` are the principals that it may name beside its own: "user:*" is each that begins so, "*" is each and
    everyone. An administrator's key has all of these. ``expires_at`` is in epoch seconds.
    """

    caller: Caller
    scopes: frozenset[str] = frozenset()
    sources: tuple[str, ...] = (DEFAULT_SOURCE,)
    grants: tuple[str, ...] = ()
    expires_at: float | None = None

    @property
    def name(self) -> str:
        """The key as records of what it did name it."""
        return f"key:{self.caller.key_id}"

    def may_write(self, scope: Scope) -> bool:
        """Return True if the key may write to a source or a folder of one."""
        if self.caller.admin or ANY in self.sources:
            return True
        return not {place(source) for source in self.sources}.isdisjoint(with_ancestors(scope))

    def may_write_file(self, source: str, path: str) -> bool:
        """Return True if the key may write to the folder of ``path`` in a source."""
        return self.may_write(folder_scope(source, path))

    def may_name(self, principal: str) -> bool:
        """Return True if the key may give rights to a principal: its own, or one of its grants."""
        return self.caller.admin or principal in self.caller.principals or _matches(self.grants, principal)

    def excess(self, other: Access) -> list[str]:
        """Return the rights that the other access has and this one lacks, in words; empty if there are none."""
        if self.caller.admin:
            return []
        rights = ["all rights of an administrator"] if other.caller.admin else []
        rights += [f"the scope {scope}" for scope in sorted(other.scopes - self.scopes)]
        rights += [f"the principal {name}" for name in other.caller.principals if not self.may_name(name)]
        rights += [f"the source {source}" for source in other.sources if not self._may_write_all(source)]
        rights += [f"the grant {grant}" for grant in other.grants if not self._may_grant(grant)]
        if self.expires_at is not None and (other.expires_at is None or other.expires_at > self.expires_at):
            rights.append("a later end")
        return rights

    def _may_grant(self, grant: str) -> bool:
        """Return True if every principal that the grant stands for may be named."""
        return _matches(self.grants, grant) or (not grant.endswith(ANY) and self.may_name(grant))

    def _may_write_all(self, source: str) -> bool:
        return ANY in self.sources if source == ANY else self.may_write(place(source))


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret. Times are epoch seconds.

    ``created_by``, ``rotated_by`` and ``revoked_by`` are people at the machine or "key:ID". Until ``overlap_until`` the
    secret before the last rotation is valid too. ``last_used_at`` is exact to a minute.
    """

    id: str
    name: str
    access: Access
    created_at: float
    created_by: str
    last_used_at: float | None = None
    rotated_at: float | None = None
    rotated_by: str | None = None
    overlap_until: float | None = None
    revoked_at: float | None = None
    revoked_by: str | None = None


def place(source: str) -> Scope:
    """Return the scope that SOURCE or SOURCE/FOLDER names."""
    name, _, folder = source.partition("/")
    return Scope(name, clean_folder(folder))


def _matches(grants: Sequence[str], text: str) -> bool:
    """Return True for a principal that one of the grants stands for, or a grant that stands for no more than one of
    them."""
    return any(text == grant or (grant.endswith(ANY) and text.startswith(grant[:-1])) for grant in grants)
