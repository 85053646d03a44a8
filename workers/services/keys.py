"""API keys for people and programs: made, listed, rotated and revoked by whoever has the rights that they give."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR, Caller
from pipeline.rights import ANY, DEFAULT_SOURCE, SCOPES, Access, Key

if TYPE_CHECKING:
    from indexes.catalogue.keys import KeyStore

#: The access of the operator at the machine.
OPERATOR = Access(ADMINISTRATOR, frozenset(SCOPES), (ANY,), (ANY,))
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
#: Seconds of the longest time that a key may be valid, or its former secret: ten years.
_LONGEST = 3653 * 86400.0


def access_for(
    principals: Sequence[str],
    scopes: Sequence[str],
    sources: Sequence[str] = (),
    grants: Sequence[str] = (),
    admin: bool = False,
    expires: str = "",
) -> Access:
    """Return the access that a new key is to give. An administrator's key has all rights.

    Without ``sources`` it may write to the source "api". ``expires`` is a duration from now. Raises
    Refused("bad-request").
    """
    if unknown := set(scopes) - set(SCOPES):
        text = f"There is no scope {', '.join(sorted(unknown))[:200]}; there are {', '.join(SCOPES)}."
        raise Refused("bad-request", text)
    expires_at = time.time() + seconds_of(expires) if expires else None
    if expires_at is not None and expires_at <= time.time():
        raise Refused("bad-request", f"expires: {expires!r} gives no time; give at least a minute, 1m.")
    if admin:
        return Access(Caller(tuple(principals), admin=True), frozenset(SCOPES), (ANY,), (ANY,), expires_at)
    places = tuple(sources) or (DEFAULT_SOURCE,)
    if any(source.startswith("/") for source in places):
        raise Refused("bad-request", "sources: give SOURCE or SOURCE/FOLDER, without a slash before it.")
    return Access(Caller(tuple(principals)), frozenset(scopes), places, tuple(grants), expires_at)


def seconds_of(duration: str) -> float:
    """Return the seconds of a duration such as 90d, 24h, 30m or 2w; "0" is none. Raises Refused("bad-request")."""
    match = re.fullmatch(r"(\d{1,9})([mhdw])", duration.strip())
    if duration.strip() == "0":
        return 0.0
    if match is None:
        text = f"{duration[:50]!r} is not a duration; write it as 30m, 24h, 90d or 2w."
        raise Refused("bad-request", text)
    return min(int(match[1]) * _SECONDS[match[2]], _LONGEST)


class KeyService:
    """Makes, lists, rotates and revokes keys. Nobody can make or take over a key that may do more than they may."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    def create(self, name: str, access: Access, creator: Access, by: str) -> tuple[Key, str]:
        """Create a key for ``by``, whose own access is ``creator``; return it and its secret.

        Raises Refused("forbidden") for a right that the creator lacks.
        """
        if not access.scopes:
            raise Refused("bad-request", f"scopes: a key without one opens nothing; there are {', '.join(SCOPES)}.")
        _refuse_excess(creator, access)
        key_id, secret = self._keys.create(name, access, by)
        return self._keys.get(key_id), secret

    def find_all(self) -> list[Key]:
        """Return every key, revoked ones too, oldest first."""
        return self._keys.all()

    def rotate(self, key_id: str, overlap: str, expires: str, creator: Access, by: str) -> tuple[Key, str]:
        """Give a key another secret, and return both; the one before is valid for the duration ``overlap`` more.

        A duration ``expires`` replaces the key's end. Raises Refused: "not-found", "forbidden", "bad-request".
        """
        key = self._keys.get(key_id)
        _refuse_excess(creator, key.access)
        end = access_for((), (), expires=expires).expires_at
        if end is not None and not creator.caller.admin and creator.expires_at is not None:
            end = min(end, creator.expires_at)
        secret = self._keys.rotate(key.id, seconds_of(overlap), by, end)
        return self._keys.get(key.id), secret

    def revoke(self, key_id: str, creator: Access, by: str) -> None:
        """End a key at once. Raises Refused: "not-found" if it is unknown or revoked, "forbidden"."""
        _refuse_excess(creator, self._keys.get(key_id).access)
        self._keys.revoke(key_id, by)


def _refuse_excess(creator: Access, access: Access) -> None:
    if rights := creator.excess(access):
        more = f" and {len(rights) - 5} more" if len(rights) > 5 else ""
        text = (
            f"Only a key with all rights of another may make or change it; yours lacks {', '.join(rights[:5])}{more}."
        )
        raise Refused("forbidden", text)
