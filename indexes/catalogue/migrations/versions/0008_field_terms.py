"""The field's terms for tables and columns: arrivals, content hashes, queues, feedback, attributes, event data."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = (
    ("sightings", "arrivals"),
    ("document_facts", "document_attributes"),
    ("epoch", "visibility_version"),
    ("opinions", "feedback"),
)
#: table (by its new name), old column, new column
COLUMNS = (
    ("documents", "revision", "content_hash"),
    ("requests", "revision", "content_hash"),
    ("arrivals", "seen_at", "arrived_at"),
    ("events", "facts", "data"),
    ("jobs", "lane", "queue"),
    ("visibility_version", "value", "current"),
    ("visibility_version", "whole", "last_global"),
    ("visibility_version", "told", "attributed"),
)
#: table (by its new name), old index, new index, columns
INDEXES = (
    ("arrivals", "ix_sightings_document_id", "ix_arrivals_document_id", ["document_id"]),
    (
        "document_attributes",
        "document_facts_by_value",
        "document_attributes_by_value",
        ["field", "value", "number"],
    ),
    ("feedback", "ix_opinions_document_id", "ix_feedback_document_id", ["document_id"]),
)


def upgrade() -> None:
    for old, new in TABLES:
        op.rename_table(old, new)
    for table, old, new in COLUMNS:
        _rename_column(table, old, new)
    for table, old, new, columns in INDEXES:
        op.drop_index(old, table)
        op.create_index(new, table, columns)


def downgrade() -> None:
    for table, old, new, columns in INDEXES:
        op.drop_index(new, table)
        op.create_index(old, table, columns)
    for table, old, new in reversed(COLUMNS):
        _rename_column(table, new, old)
    for old, new in reversed(TABLES):
        op.rename_table(new, old)


def _rename_column(table: str, old: str, new: str) -> None:
    """Rename in place: Alembic's own `alter_column` would copy the whole table on SQLite."""
    quote = op.get_bind().dialect.identifier_preparer.quote
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {quote(old)} TO {quote(new)}")
