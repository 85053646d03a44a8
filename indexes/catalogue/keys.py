"""The port Keys over SQL. A secret is 256 random bits, so a salted SHA-256 is enough; a password would need a slow hash."""

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
    """API keys. Only a salted hash is stored; the secret is shown once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(
        self, name: str, principals: Sequence[str], scopes: Sequence[str], admin: bool = False
    ) -> tuple[str, str]:
        """Returns (key id, secret). Scopes: "read", "write", "admin"."""
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
        """Constant-time check; None for an unknown or revoked key."""
        prefix, _, rest = secret.partition("_")
        key_id, _, given = rest.partition("_")
        if prefix != _PREFIX:
            return None
        with self.database.read() as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))).first()
        # Hashed in either case, so that the time taken does not tell whether the id exists.
        expected = row.hash if row else "0" * 64
        right = hmac.compare_digest(expected, digest(row.salt if row else "", given))
        if not right or row is None:
            return None
        return Caller(tuple(row.principals), admin=row.admin, key_id=row.id), frozenset(row.scopes)

    def revoke(self, key_id: str) -> bool:
        with self.database.write() as connection:
            where = (keys.c.id == key_id, keys.c.revoked_at.is_(None))
            return connection.execute(sa.update(keys).where(*where).values(revoked_at=time.time())).rowcount == 1

    def all(self) -> list[Mapping[str, Any]]:
        shown = (
            keys.c.id,
            keys.c.name,
            keys.c.principals,
            keys.c.scopes,
            keys.c.admin,
            keys.c.created_at,
            keys.c.revoked_at,
        )
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(sa.select(*shown).order_by(keys.c.created_at)).mappings()]


def digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()
