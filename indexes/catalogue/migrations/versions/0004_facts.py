"""Attributes that filters and facets use and no column holds: languages, owner, metadata."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CUT, PAGE = 200, 1000


def upgrade() -> None:
    facts = op.create_table(
        "document_facts",
        sa.Column("number", SERIAL, sa.ForeignKey("documents.number"), autoincrement=False, nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", "field", "value"),
    )
    _fill(op.get_bind(), facts)
    op.create_index("document_facts_by_value", "document_facts", ["field", "value", "number"])


def _fill(connection: sa.Connection, facts: Any) -> None:
    """Insert the attributes of the existing documents."""
    query = sa.text(
        "SELECT number, languages, metadata FROM documents WHERE number > :after AND state <> 'deleted'"
        " ORDER BY number LIMIT :page"
    )
    after = 0
    while page := connection.execute(query, {"after": after, "page": PAGE}).all():
        rows = [{"number": row.number, "field": f, "value": v} for row in page for f, v in _facts(row)]
        if rows:
            connection.execute(sa.insert(facts), rows)
        after = page[-1].number


def _facts(row: Any) -> dict[tuple[str, str], None]:
    languages, metadata = _json(row.languages) or [], _json(row.metadata) or {}
    pairs = [("language", language) for language in languages]
    pairs += [("owner", owner) for owner in [metadata.get("owner") or metadata.get("author")] if owner]
    pairs += [(f"metadata.{name}", value) for name, value in metadata.items()]
    cut = [(name[:CUT], " ".join(str(value).split())[:CUT]) for name, value in pairs]
    return dict.fromkeys(pair for pair in cut if pair[1])


def _json(value: Any) -> Any:
    """Return a JSON column's value: SQLite returns its text, PostgreSQL the value."""
    return json.loads(value) if isinstance(value, str) else value


def downgrade() -> None:
    op.drop_table("document_facts")
