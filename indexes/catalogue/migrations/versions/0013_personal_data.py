"""Kinds and counts of personal data. Documents that are there have none until they are looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("documents", sa.Column("personal_data", sa.JSON()))
    op.add_column("documents", sa.Column("detectors", sa.String(16)))


def downgrade() -> None:
    op.execute("DELETE FROM document_attributes WHERE field = 'personal_data'")
    op.drop_column("documents", "detectors")
    op.drop_column("documents", "personal_data")
