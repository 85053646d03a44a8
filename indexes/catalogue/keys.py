"""API keys. A secret is 256 random bits, so a salted SHA-256 is enough; a password would need a slow hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from indexes.catalogue.database import Database
from indexes.catalogue.tables import keys
from pipeline.questions import Caller

_PREFIX = "mr"


class KeyStore:
    """API keys. Only a salted hash of the secret is stored; the secret is returned once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(
        self, name: str, principals: Sequence[str], scopes: Sequence[str], admin: bool = False
    ) -> tuple[str, str]:
        """Create a key and return (key id, secret). ``scopes`` are some of "read", "write" and "admin"."""
        key_id, secret, salt = secrets.token_hex(6), secrets.token_hex(32), secrets.token_hex(16)
        row = {
            "id": key_id,
            "name": name,
            "salt": salt,
            "hash": digest(salt, secret),
            "principals": sorted(set(principals)),
            "scopes": sorted(set(scopes)),
            "admin": admin,
            "created_at": time.time(),
        }
        with self.database.write() as connection:
            connection.execute(sa.insert(keys).values(row))
        return key_id, f"{_PREFIX}_{key_id}_{secret}"

    def check(self, secret: str) -> tuple[Caller, frozenset[str]] | None:
        """Return the caller and the scopes of a secret, or None for an unknown or revoked key. Takes constant time."""
        prefix, _, rest = secret.partition("_")
        key_id, _, random_part = rest.partition("_")
        if prefix != _PREFIX:
            return None
        with self.database.read() as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))).first()
        # Hashed in either case, so that the time needed does not reveal whether the id exists.
        expected = row.hash if row else "0" * 64
        correct = hmac.compare_digest(expected, digest(row.salt if row else "", random_part))
        if not correct or row is None:
            return None
        return Caller(tuple(row.principals), admin=row.admin, key_id=row.id), frozenset(row.scopes)

    def revoke(self, key_id: str) -> bool:
        """Revoke a key; return False if it is unknown or revoked already."""
        conditions = (keys.c.id == key_id, keys.c.revoked_at.is_(None))
        with self.database.write() as connection:
            return connection.execute(sa.update(keys).where(*conditions).values(revoked_at=time.time())).rowcount == 1

    def all(self) -> list[Mapping[str, Any]]:
        """Return {id, name, principals, scopes, admin, created_at, revoked_at} of every key, oldest first; times are
        epoch seconds, `revoked_at` is None for a valid key."""
        c = keys.c
        query = sa.select(c.id, c.name, c.principals, c.scopes, c.admin, c.created_at, c.revoked_at)
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query.order_by(c.created_at)).mappings()]


def digest(salt: str, secret: str) -> str:
    """Return the salted SHA-256 of a secret, in hexadecimal."""
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()
