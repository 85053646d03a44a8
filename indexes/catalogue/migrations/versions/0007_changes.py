"""The visibility version at which each document last changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_COUNTERS = ("whole", "told")


def upgrade() -> None:
    # With a default, so that no row is written: a table of millions gains the column at once.
    op.add_column("documents", sa.Column("changed", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(op.f("ix_documents_changed"), "documents", ["changed"])
    for name in _COUNTERS:
        op.add_column("epoch", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    for name in _COUNTERS:
        op.drop_column("epoch", name)
    op.drop_index(op.f("ix_documents_changed"), "documents")
    op.drop_column("documents", "changed")
