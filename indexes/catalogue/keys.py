"""API keys. A secret is 256 random bits, so a salted SHA-256 is enough; a password would need a slow hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Any

import sqlalchemy as sa

from indexes.catalogue import audit
from indexes.catalogue.database import Database
from indexes.catalogue.tables import keys
from pipeline.audit import entry
from pipeline.errors import Refused
from pipeline.questions import Caller
from pipeline.rights import SCOPES, Access, Key

_PREFIX = "mr"
#: Seconds between two records of a key's use.
USE_SECONDS = 60.0


class KeyStore:
    """API keys. Only salted hashes of the secrets are stored; a secret is returned once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, name: str, access: Access, by: str = "") -> tuple[str, str]:
        """Create a key with this access, whose caller has no key yet; return (key id, secret)."""
        key_id = secrets.token_hex(6)
        row = {
            "id": key_id,
            "name": name,
            "principals": sorted(set(access.caller.principals)),
            "scopes": sorted(access.scopes),
            "sources": sorted(set(access.sources)),
            "grants": sorted(set(access.grants)),
            "admin": access.caller.admin,
            "expires_at": access.expires_at,
            "created_at": time.time(),
            "created_by": by,
        }
        hashed, secret = _new_secret(key_id)
        with self.database.write() as connection:
            connection.execute(sa.insert(keys).values(row | hashed))
            names = ("name", "principals", "scopes", "sources", "grants", "admin", "expires_at")
            audit.add(connection, entry("key.create", f"key:{key_id}", {name: row[name] for name in names}))
        return key_id, secret

    def check(self, secret: str) -> Access | None:
        """Return the access that a secret gives, or None for an unknown or revoked key. Takes constant time.

        Raises Refused("unauthorized") for the right secret of a key that has expired.
        """
        prefix, _, rest = secret.partition("_")
        key_id, _, random_part = rest.partition("_")
        if prefix != _PREFIX:
            return None
        with self.database.read() as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))).first()
        hashes = (row.salt, row.hash, row.previous_salt, row.previous_hash) if row else (None,) * 4
        # Two hashes in any case, so that the time needed does not reveal whether the id exists or was rotated.
        is_current, is_previous = (_is_secret(random_part, *hashes[at : at + 2]) for at in (0, 2))
        now = time.time()
        if row is None or not (is_current or (is_previous and now < row.overlap_until)):
            return None
        if row.expires_at is not None and row.expires_at <= now:
            day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(row.expires_at))
            raise Refused("unauthorized", f"This key expired on {day} UTC; ask the operator for a new one.")
        return _access(row)

    def rotate(self, key_id: str, overlap: float, by: str = "", expires_at: float | None = None) -> str:
        """Give a key another secret and return it; the one before is valid for ``overlap`` seconds more.

        The key stays the same one: what it owns stays its own. A secret from before an earlier rotation ends now.
        ``expires_at`` replaces the key's end. Raises Refused("not-found") if the key is unknown or revoked.
        """
        hashed, secret = _new_secret(key_id)
        c, now = keys.c, time.time()
        previous = {"previous_salt": c.salt, "previous_hash": c.hash, "overlap_until": now + overlap}
        values: dict[str, Any] = {**hashed, "rotated_at": now, "rotated_by": by}
        values |= previous if overlap else _NO_PREVIOUS
        values |= {"expires_at": expires_at} if expires_at is not None else {}
        update = sa.update(keys).where(c.id == key_id, c.revoked_at.is_(None)).values(values)
        with self.database.write() as connection:
            if connection.execute(update).rowcount != 1:
                raise _unknown(key_id)
            audit.add(connection, entry("key.rotate", f"key:{key_id}", {"overlap": overlap, "expires_at": expires_at}))
        return secret

    def revoke(self, key_id: str, by: str = "") -> bool:
        """Revoke a key; return False if it is unknown or revoked already."""
        conditions = (keys.c.id == key_id, keys.c.revoked_at.is_(None))
        values = {"revoked_at": time.time(), "revoked_by": by, **_NO_PREVIOUS}
        with self.database.write() as connection:
            revoked = connection.execute(sa.update(keys).where(*conditions).values(values)).rowcount == 1
            if revoked:
                audit.add(connection, entry("key.revoke", f"key:{key_id}"))
            return revoked

    def record_use(self, key_id: str, at: float) -> None:
        """Record that a key was used at ``at``, unless a use less than `USE_SECONDS` before is recorded."""
        c = keys.c
        is_due = c.last_used_at.is_(None) | (c.last_used_at <= at - USE_SECONDS)
        with self.database.write() as connection:
            connection.execute(sa.update(keys).where(c.id == key_id, is_due).values(last_used_at=at))

    def get(self, key_id: str) -> Key:
        """Return a key that is not revoked. Raises Refused("not-found")."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))).first()
        if row is None:
            raise _unknown(key_id)
        return _key(row)

    def all(self) -> list[Key]:
        """Return every key, revoked ones too, oldest first."""
        with self.database.read() as connection:
            return [_key(row) for row in connection.execute(sa.select(keys).order_by(keys.c.created_at, keys.c.id))]


_NO_PREVIOUS = {"previous_salt": None, "previous_hash": None, "overlap_until": None}


def digest(salt: str, secret: str) -> str:
    """Return the salted SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def _new_secret(key_id: str) -> tuple[dict[str, str], str]:
    """Return the columns of a new secret, and the secret."""
    random_part, salt = secrets.token_hex(32), secrets.token_hex(16)
    return {"salt": salt, "hash": digest(salt, random_part)}, f"{_PREFIX}_{key_id}_{random_part}"


def _is_secret(random_part: str, salt: str | None, expected: str | None) -> bool:
    return hmac.compare_digest(expected or "0" * 64, digest(salt or "", random_part))


def _access(row: Any) -> Access:
    caller = Caller(tuple(row.principals), admin=row.admin, key_id=row.id)
    scopes = frozenset(SCOPES if row.admin else row.scopes)
    return Access(caller, scopes, tuple(row.sources), tuple(row.grants), row.expires_at)


def _key(row: Any) -> Key:
    access = _access(row)
    times = (row.last_used_at, row.rotated_at, row.rotated_by, row.overlap_until, row.revoked_at, row.revoked_by)
    return Key(row.id, row.name, access, row.created_at, row.created_by, *times)


def _unknown(key_id: str) -> Refused:
    return Refused("not-found", f"There is no valid key {key_id[:50]}; `mailroom keys list` shows them.")
