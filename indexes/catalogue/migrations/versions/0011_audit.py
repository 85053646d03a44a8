"""The audit: entries that the database neither changes nor deletes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

REFUSAL = "the audit is append-only"
FUNCTION = f"""CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"""


def upgrade() -> None:
    short, text = sa.String(length=64), sa.Text()
    op.create_table(
        "audit",
        sa.Column("action", short, nullable=False),
        sa.Column("resource", text, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("actor", text, nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("source", text, nullable=False),
        sa.Column("request_id", short, nullable=False),
        sa.Column("address", text, nullable=False),
        sa.Column("tenant", short, nullable=False),
        sa.Column("data", text, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("hash", short, nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    for column in ("action", "actor", "resource", "time"):
        op.create_index(f"ix_audit_{column}", "audit", [column])
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        return
    op.execute(FUNCTION)
    for level, changes in (("ROW", "UPDATE OR DELETE"), ("STATEMENT", "TRUNCATE")):
        op.execute(
            f"CREATE TRIGGER audit_no_{level.lower()} BEFORE {changes} ON audit "
            f"FOR EACH {level} EXECUTE FUNCTION audit_refuse()"
        )


def downgrade() -> None:
    op.drop_table("audit")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_refuse()")
