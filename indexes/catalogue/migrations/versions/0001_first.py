"""The first tables."""

from __future__ import annotations

from alembic import op

from indexes.catalogue.tables import epoch, metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    op.bulk_insert(epoch, [{"one": 1, "value": 0}])


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
