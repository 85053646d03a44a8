"""The first tables, written out and not taken from `tables`: a migration always makes the tables of its own time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (
    "plan_items",
    "plans",
    "keys",
    "requests",
    "results",
    "chunks",
    "jobs",
    "epoch",
    "events",
    "sightings",
    "document_access",
    "documents",
)


def upgrade() -> None:
    _documents()
    _records()
    _jobs()
    _chunks()
    _keys_and_plans()


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


def _documents() -> None:
    op.create_table(
        "documents",
        sa.Column("number", SERIAL, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float()),
        sa.Column("media_type", sa.Text()),
        sa.Column("title", sa.Text()),
        sa.Column("pages", sa.Integer()),
        sa.Column("chunks", sa.Integer()),
        sa.Column("languages", sa.JSON()),
        sa.Column("label", sa.Text()),
        sa.Column("probability", sa.Float()),
        sa.Column("model", sa.Text()),
        sa.Column("rules", sa.JSON()),
        sa.Column("flags", sa.JSON()),
        sa.Column("reason", sa.Text()),
        sa.Column("detail", sa.Text()),
        sa.Column("parent", sa.String(length=32)),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("parsed_key", sa.String(length=64)),
        sa.Column("embedder", sa.String(length=64)),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "documents_one_per_content",
        "documents",
        ["tenant", "revision"],
        unique=True,
        sqlite_where=sa.text("state != 'deleted'"),
        postgresql_where=sa.text("state != 'deleted'"),
    )
    op.create_index("ix_documents_label", "documents", ["label"])
    op.create_index("ix_documents_parent", "documents", ["parent"])
    op.create_index("ix_documents_received_at", "documents", ["received_at"])
    op.create_index("ix_documents_state", "documents", ["state"])
    op.create_table(
        "document_access",
        sa.Column("number", SERIAL, nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["documents.number"]),
        sa.PrimaryKeyConstraint("number", "principal"),
    )
    op.create_index("ix_document_access_principal", "document_access", ["principal"])


def _records() -> None:
    op.create_table(
        "sightings",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("access", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_sightings_document_id", "sightings", ["document_id"])
    op.create_table(
        "events",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_events_document_id", "events", ["document_id"])
    op.create_table(
        "epoch",
        sa.Column("one", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one"),
    )
    op.execute("INSERT INTO epoch (one, value) VALUES (1, 0)")


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("effect", sa.Text()),
        sa.Column("dead", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run_after", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("token", sa.String(length=32)),
        sa.Column("owner", sa.Text()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("detail", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("effect"),
    )
    op.create_index("ix_jobs_subject", "jobs", ["subject"])
    op.create_index("jobs_due", "jobs", ["lane", "dead", "run_after", "lease_until"])
    op.create_table(
        "requests",
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "name"),
    )
    op.create_index("ix_requests_at", "requests", ["at"])


def _chunks() -> None:
    op.create_table(
        "chunks",
        sa.Column("number", SERIAL, autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("page_first", sa.Integer()),
        sa.Column("page_last", sa.Integer()),
        sa.Column("heading", sa.Text()),
        sa.Column("vector", sa.LargeBinary()),
        sa.ForeignKeyConstraint(["number"], ["documents.number"]),
        sa.PrimaryKeyConstraint("number", "ordinal"),
    )
    op.create_table(
        "results",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_results_document_id", "results", ["document_id"])


def _keys_and_plans() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("principals", sa.JSON(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("revoked_at", sa.Float()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("rules_digest", sa.Text(), nullable=False),
        sa.Column("selection", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "plan_items",
        sa.Column("plan_id", sa.String(length=32), nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("old", sa.JSON(), nullable=False),
        sa.Column("new", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"]),
        sa.PrimaryKeyConstraint("plan_id", "document_id"),
    )
