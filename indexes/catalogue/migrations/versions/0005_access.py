"""Access rules on sources, folders and documents; groups; the scopes that each document belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from indexes.catalogue.scopes import link_folder

revision = "0005"
down_revision = "0004"

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BATCH = 5_000


def upgrade() -> None:
    op.create_table(
        "scopes",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("parent", SERIAL, sa.ForeignKey("scopes.id")),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("ix_scopes_parent", "scopes", ["parent"])
    op.create_table(
        "document_scopes",
        sa.Column("number", SERIAL, sa.ForeignKey("documents.number"), autoincrement=False, nullable=False),
        sa.Column("scope", SERIAL, sa.ForeignKey("scopes.id"), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("number", "scope"),
    )
    op.create_index("ix_document_scopes_scope", "document_scopes", ["scope"])
    op.create_table(
        "access_rules",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("scope", SERIAL, sa.ForeignKey("scopes.id"), nullable=False),
        sa.Column("principal", sa.String(length=200), nullable=False),
        sa.Column("effect", sa.String(length=8), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "scope", "principal", "effect", "origin", name="access_rules_once"),
    )
    op.create_index("ix_access_rules_scope", "access_rules", ["scope"])
    op.create_index("ix_access_rules_principal", "access_rules", ["principal"])
    op.create_table(
        "group_members",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("group", sa.String(length=200), nullable=False),
        sa.Column("member", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "group", "member"),
    )
    op.create_index("ix_group_members_member", "group_members", ["member"])
    _link_existing_documents(op.get_bind())


def _link_existing_documents(connection: sa.Connection) -> None:
    """Link every undeleted document to the folder of each of its arrivals."""
    after = 0
    query = sa.text(
        "SELECT s.id, s.source, s.path, d.number FROM sightings s JOIN documents d ON d.id = s.document_id "
        "WHERE s.id > :after AND d.state != 'deleted' ORDER BY s.id LIMIT :batch"
    )
    while rows := connection.execute(query, {"after": after, "batch": BATCH}).all():
        for row in rows:
            link_folder(connection, row.number, row.source, row.path)
        after = rows[-1].id


def downgrade() -> None:
    for table in ("group_members", "access_rules", "document_scopes", "scopes"):
        op.drop_table(table)
