"""Keys: finer scopes, places, grants, end, rotation, last use, and who made and ended them.

Nobody gains a right, in either direction (docs/permissions.md, "Keys of an older version").
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

#: scope of an older version -> those that open no more than it did
NEW_SCOPES = {"read": ("read",), "write": ("delete", "review", "upload"), "admin": ("metrics", "taxonomy")}

keys = sa.table(
    "keys",
    sa.column("id"),
    sa.column("scopes", sa.JSON()),
    sa.column("sources", sa.JSON()),
    sa.column("grants", sa.JSON()),
    sa.column("admin"),
    sa.column("expires_at"),
    sa.column("revoked_at"),
)


def upgrade() -> None:
    for column in columns():
        op.add_column("keys", column)
    for row in op.get_bind().execute(sa.select(keys)).all():
        # A key that could write could write anywhere, for anybody.
        places = {"sources": ["*"], "grants": ["*"]} if row.admin or "write" in row.scopes else {}
        op.execute(sa.update(keys).where(keys.c.id == row.id).values(scopes=new_scopes(row.scopes), **places))


def downgrade() -> None:
    for row in op.get_bind().execute(sa.select(keys)).all():
        values: dict[str, Any] = {"scopes": old_scopes(row)}
        if row.expires_at is not None and row.revoked_at is None:  # the older version knows no end
            values["revoked_at"] = time.time()
        op.execute(sa.update(keys).where(keys.c.id == row.id).values(**values))
    for column in reversed(columns()):
        op.drop_column("keys", column.name)


def new_scopes(scopes: Iterable[str]) -> list[str]:
    """Return the scopes of a key that had ``scopes``."""
    return sorted({new for old in scopes for new in NEW_SCOPES.get(old, ())})


def old_scopes(row: sa.Row[Any]) -> list[str]:
    """Return the older scopes that give a key no more than it has."""
    if row.admin:
        return sorted(NEW_SCOPES)
    unlimited = row.sources == ["*"] and row.grants == ["*"]
    return sorted(old for old, news in NEW_SCOPES.items() if {*news} <= {*row.scopes} and (unlimited or old != "write"))


def columns() -> list[sa.Column[Any]]:
    """Return the new columns."""
    return [
        sa.Column("sources", sa.JSON(), nullable=False, server_default='["api"]'),
        sa.Column("grants", sa.JSON(), nullable=False, server_default="[]"),
        sa.Column("expires_at", sa.Float()),
        sa.Column("created_by", sa.Text(), nullable=False, server_default=""),
        sa.Column("last_used_at", sa.Float()),
        sa.Column("rotated_at", sa.Float()),
        sa.Column("rotated_by", sa.Text()),
        sa.Column("previous_salt", sa.String(length=32)),
        sa.Column("previous_hash", sa.String(length=64)),
        sa.Column("overlap_until", sa.Float()),
        sa.Column("revoked_by", sa.Text()),
    ]
