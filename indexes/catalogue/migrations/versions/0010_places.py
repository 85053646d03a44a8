"""A document is one content at one place of one owner: documents that arrived at several places become several."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from indexes.catalogue.scopes import link_folder

revision = "0010"
down_revision = "0009"

BATCH = 1_000
TEXT = sa.Text()
documents = sa.table(
    "documents",
    *(sa.column(name) for name in "number id tenant content_hash size name source path state stage".split()),
    *(sa.column(name) for name in "received_at parent owner place superseded_by".split()),
    sa.column("labels", sa.JSON),
    sa.column("metadata", sa.JSON),
    sa.column("changed"),
)
arrivals = sa.table(
    "arrivals",
    *(sa.column(name) for name in ("id", "document_id", "source", "path", "arrived_at")),
    *(sa.column(name, sa.JSON) for name in ("access", "labels", "metadata")),
)
access = sa.table("document_access", sa.column("number"), sa.column("principal"))
document_scopes = sa.table("document_scopes", sa.column("number"), sa.column("scope"))
scopes = sa.table("scopes", sa.column("id"), sa.column("document_id"))
events = sa.table(
    "events", *(sa.column(n) for n in ("id", "document_id", "at", "stage", "event")), sa.column("data", sa.JSON)
)
jobs = sa.table(
    "jobs",
    *(sa.column(name) for name in "id queue subject stage dead attempts run_after lease_until created_at".split()),
    sa.column("payload", sa.JSON),
)
Row = sa.Row[*tuple[Any, ...]]
_IDENTITY = "number id tenant content_hash size source path received_at parent".split()
_DOCUMENTS = sa.select(*(documents.c[name] for name in _IDENTITY)).where(documents.c.state != "deleted")


def upgrade() -> None:
    op.add_column("documents", sa.Column("owner", TEXT, nullable=False, server_default=""))
    op.add_column("documents", sa.Column("place", sa.String(64), nullable=False, server_default=""))
    op.add_column("documents", sa.Column("superseded_by", sa.String(32)))
    op.drop_index("documents_one_per_content", "documents")
    connection = op.get_bind()
    several = sa.select(arrivals.c.document_id).group_by(arrivals.c.document_id).having(sa.func.count() > 1)
    for row in connection.execute(_DOCUMENTS.where(documents.c.id.in_(several))).all():
        _split(connection, row)
    _set_places(connection)
    op.create_index(
        "documents_one_per_place",
        "documents",
        ["tenant", "place", "content_hash"],
        unique=True,
        sqlite_where=sa.text("state != 'deleted'"),
        postgresql_where=sa.text("state != 'deleted'"),
    )
    op.create_index("documents_by_content", "documents", ["content_hash"])


def _set_places(connection: sa.Connection) -> None:
    """Set the place of every document. Nobody recorded who sent them: of several with one source and path only the last
    gets the place of later arrivals without an owner. Otherwise one person's document could supersede another's."""
    c = documents.c
    order = sa.func.row_number().over(
        partition_by=(c.tenant, c.source, c.path), order_by=(c.received_at.desc(), c.number.desc())
    )
    ranked = sa.select(c.number, order.label("rank")).where(c.state != "deleted", c.parent.is_(None)).subquery()
    earlier = set(connection.scalars(sa.select(ranked.c.number).where(ranked.c.rank > 1)))
    update = sa.update(documents).where(c.number == sa.bindparam("at")).values(place=sa.bindparam("digest"))
    after = 0
    while rows := connection.execute(_DOCUMENTS.where(c.number > after).order_by(c.number).limit(BATCH)).all():
        values = []
        for row in rows:
            parent = row.parent or (row.id if row.number in earlier else None)
            names = ["", row.source, row.path, *([parent] if parent else [])]
            values.append({"at": row.number, "digest": hashlib.sha256(json.dumps(names).encode()).hexdigest()})
        connection.execute(update, values)
        after = rows[-1].number


def _split(connection: sa.Connection, row: Row) -> None:
    """Give each place where the content arrived a document of its own; the first place keeps this one."""
    query = sa.select(arrivals).where(arrivals.c.document_id == row.id).order_by(arrivals.c.id)
    places: dict[tuple[str, str, str | None], list[Row]] = {}
    for arrival in connection.execute(query):
        places.setdefault((arrival.source, arrival.path, arrival.metadata.get("attached_to")), []).append(arrival)
    if len(places) < 2:
        return
    listed = set(connection.scalars(sa.select(access.c.principal).where(access.c.number == row.number)))
    first, *others = sorted(places.items(), key=lambda item: item[0] != (row.source, row.path, row.parent))
    _narrow(connection, row, first[1], listed)
    for (_, _, parent), group in others:
        same = (documents.c.id == parent, documents.c.state != "deleted")
        if parent is None or connection.scalar(sa.select(documents.c.number).where(*same)) is not None:
            _make_document(connection, row, parent, group, listed)
        else:  # what it was attached to is erased
            connection.execute(sa.delete(arrivals).where(arrivals.c.id.in_([arrival.id for arrival in group])))


def _narrow(connection: sa.Connection, row: Row, group: Sequence[Row], listed: set[str]) -> None:
    """Leave the document the folders and principals of its own place."""
    foreign = sorted(listed - _principals(group))
    own = (access.c.number == row.number, access.c.principal.in_(foreign))
    connection.execute(sa.delete(access).where(*own))
    folders = sa.select(scopes.c.id).where(scopes.c.document_id == "")
    linked = (document_scopes.c.number == row.number, document_scopes.c.scope.in_(folders))
    connection.execute(sa.delete(document_scopes).where(*linked))
    link_folder(connection, row.number, row.source, row.path)


def _principals(group: Sequence[Row]) -> set[str]:
    return {principal for arrival in group for principal in arrival.access}


def _make_document(
    connection: sa.Connection, row: Row, parent: str | None, group: Sequence[Row], listed: set[str]
) -> None:
    """Insert a document for the arrivals at another place. It is read anew, under the rules on the document that it was
    part of; of its access list those stay who were not removed since."""
    arrival, document_id = group[0], f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}"
    values = {
        "id": document_id,
        "tenant": row.tenant,
        "content_hash": row.content_hash,
        "size": row.size,
        "name": arrival.path.rsplit("/", 1)[-1],
        "source": arrival.source,
        "path": arrival.path,
        "state": "processing",
        "stage": "parse",
        "received_at": arrival.arrived_at,
        "parent": parent,
        "labels": arrival.labels,
        "metadata": arrival.metadata,
    }
    number = connection.scalar(sa.insert(documents).values(values).returning(documents.c.number))
    assert isinstance(number, int)
    for principal in sorted(listed & _principals(group)):
        connection.execute(sa.insert(access).values(number=number, principal=principal))
    link_folder(connection, number, arrival.source, arrival.path)
    rules = sa.select(document_scopes.c.scope).join(scopes, scopes.c.id == document_scopes.c.scope)
    for scope in connection.scalars(
        rules.where(document_scopes.c.number == row.number, scopes.c.document_id != "")
    ).all():
        connection.execute(sa.insert(document_scopes).values(number=number, scope=scope))
    ids = [one.id for one in group]
    connection.execute(sa.update(arrivals).where(arrivals.c.id.in_(ids)).values(document_id=document_id))
    _record(connection, row, values)


def _record(connection: sa.Connection, row: Row, values: Mapping[str, Any]) -> None:
    """Enqueue the new document and begin its decision record."""
    now, document_id = time.time(), values["id"]
    job = {"id": f"{int(now * 1000):012x}{secrets.token_hex(10)}", "queue": "ingest", "subject": document_id}
    job |= {"stage": "parse", "payload": {}, "dead": False, "attempts": 0, "lease_until": 0.0}
    connection.execute(sa.insert(jobs).values({**job, "run_after": now, "created_at": now}))
    data = {"source": values["source"], "path": values["path"], "content_hash": row.content_hash, "size": row.size}
    data |= {"new": True}
    event = {"document_id": document_id, "at": now, "stage": "receive", "event": "received", "data": data}
    connection.execute(sa.insert(events).values(event))


def downgrade() -> None:
    op.drop_index("documents_one_per_place", "documents")
    connection = op.get_bind()
    c = documents.c
    ranks = sa.func.row_number().over(partition_by=(c.tenant, c.content_hash), order_by=c.number)
    ranked = sa.select(c.number, ranks.label("rank")).where(c.state != "deleted").subquery()
    later = sa.select(ranked.c.number).where(ranked.c.rank > 1)
    for row in connection.execute(_DOCUMENTS.where(c.number.in_(later))).all():
        _merge(connection, row)
    op.drop_index("documents_by_content", "documents")
    op.create_index(
        "documents_one_per_content",
        "documents",
        ["tenant", "content_hash"],
        unique=True,
        sqlite_where=sa.text("state != 'deleted'"),
        postgresql_where=sa.text("state != 'deleted'"),
    )
    for column in ("superseded_by", "place", "owner"):
        op.drop_column("documents", column)


def _merge(connection: sa.Connection, row: Row) -> None:
    """Give what is the later document's to the first one of its content, and delete the later one."""
    same = (documents.c.tenant == row.tenant, documents.c.content_hash == row.content_hash)
    query = _DOCUMENTS.where(*same).order_by(documents.c.number).limit(1)
    first = connection.execute(query).one()
    for name, column in (("document_access", "principal"), ("document_scopes", "scope")):
        text = f"INSERT INTO {name} (number, {column}) SELECT :first, {column} FROM {name} WHERE number = :own"
        text += f" AND {column} NOT IN (SELECT {column} FROM {name} WHERE number = :first)"
        connection.execute(sa.text(text), {"first": first.number, "own": row.number})
    for name in ("arrivals", "events"):
        connection.execute(
            sa.text(f"UPDATE {name} SET document_id = :first WHERE document_id = :own"),
            {"first": first.id, "own": row.id},
        )
    for name in ("document_access", "document_scopes", "document_attributes", "chunks", "embeddings"):
        connection.execute(sa.text(f"DELETE FROM {name} WHERE number = :own"), {"own": row.number})
    for name, column in (("jobs", "subject"), ("results", "document_id"), ("feedback", "document_id")):
        connection.execute(sa.text(f"DELETE FROM {name} WHERE {column} = :own"), {"own": row.id})
    connection.execute(sa.update(documents).where(documents.c.parent == row.id).values(parent=first.id))
    connection.execute(sa.delete(documents).where(documents.c.number == row.number))
