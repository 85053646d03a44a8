"""Candidate embedding models and their vectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "embedders",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("serving", sa.Boolean(), nullable=False),
        sa.Column("setting", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("served_until", sa.Float()),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "embeddings",
        sa.Column("number", SERIAL, sa.ForeignKey("documents.number"), autoincrement=False, nullable=False),
        sa.Column("embedder", sa.String(length=64), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", "embedder"),
    )


def downgrade() -> None:
    op.drop_table("embeddings")
    op.drop_table("embedders")
