"""The tables of the catalogue, for SQLite and PostgreSQL alike. A test compares them with what the migrations make."""

from __future__ import annotations

import re

import sqlalchemy as sa

metadata = sa.MetaData()

#: A 64-bit integer; on SQLite INTEGER, the only type that it increments by itself.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Text(sa.TypeDecorator[str]):
    """A text as it comes from files and their names: a NUL, which PostgreSQL refuses, and a lone surrogate, which no
    database accepts, are stored as U+FFFD. The length stays the same, so that offsets stay valid."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Return the text as it is stored."""
        return value if value is None else storable(value)


def storable(text: str) -> str:
    """Return the text with every character that a database refuses replaced by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


documents = sa.Table(
    "documents",
    metadata,
    sa.Column("number", Serial, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(32), nullable=False, unique=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("path", Text, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("received_at", sa.Float, nullable=False, index=True),
    sa.Column("finished_at", sa.Float),
    sa.Column("media_type", Text),
    sa.Column("title", Text),
    sa.Column("pages", sa.Integer),
    sa.Column("chunks", sa.Integer),
    sa.Column("languages", sa.JSON),
    sa.Column("label", Text, index=True),
    sa.Column("probability", sa.Float),
    sa.Column("model", Text),
    sa.Column("rules", sa.JSON),
    sa.Column("flags", sa.JSON),
    sa.Column("reason", Text),
    sa.Column("detail", Text),
    sa.Column("parent", sa.String(32), index=True),
    sa.Column("metadata", sa.JSON, nullable=False),
    #: how many values of each kind the text has, and the version of the detectors that counted them
    sa.Column("personal_data", sa.JSON),
    sa.Column("detectors", sa.String(16)),
    sa.Column("parsed_key", sa.String(64)),
    #: who sent it, as `pipeline.questions.Caller.owner` returns it; empty for what the source itself took in (a tray)
    sa.Column("owner", Text, nullable=False, server_default=""),
    #: `revisions.place_of` its arrivals; empty once it is deleted
    sa.Column("place", sa.String(64), nullable=False, server_default=""),
    #: id of the newest searchable document at the same place, if that is another one and arrived later
    sa.Column("superseded_by", sa.String(32)),
    #: digest of the model that made this document's vectors; null until it is embedded
    sa.Column("embedder", sa.String(64)),
    #: the last change (`visibility_version`) of who may see it, or of what filters read
    sa.Column("changed", sa.BigInteger, nullable=False, server_default="0", index=True),
    sqlite_autoincrement=True,  # numbers of deleted documents are never used again
)
# One content at one place of one owner is one document; after it is deleted, the content may come back as a new one.
sa.Index(
    "documents_one_per_place",
    documents.c.tenant,
    documents.c.place,
    documents.c.content_hash,
    unique=True,
    sqlite_where=documents.c.state != "deleted",
    postgresql_where=documents.c.state != "deleted",
)

sa.Index("documents_by_content", documents.c.content_hash)

access = sa.Table(
    "document_access",
    metadata,
    sa.Column("number", Serial, sa.ForeignKey("documents.number"), primary_key=True),
    sa.Column("principal", Text, primary_key=True, index=True),
)

#: Attributes that filters and facets use and no column of `documents` holds: "language", "owner", "metadata.NAME".
#: Values are cut to 200 characters.
attributes = sa.Table(
    "document_attributes",
    metadata,
    sa.Column("number", Serial, sa.ForeignKey("documents.number"), primary_key=True, autoincrement=False),
    sa.Column("field", Text, primary_key=True),
    sa.Column("value", Text, primary_key=True),
    sa.Index("document_attributes_by_value", "field", "value", "number"),
)

#: What access rules are about: sources, folders, documents. The parent of a folder is the folder above it, that of the
#: topmost folder the source; a document's scope has none.
scopes = sa.Table(
    "scopes",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    #: SHA-256 of the three names, so that names of any length are unique
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("parent", Serial, sa.ForeignKey("scopes.id"), index=True),
    sa.Column("source", Text, nullable=False),
    sa.Column("folder", Text, nullable=False),
    sa.Column("document_id", sa.String(32), nullable=False),
)

#: The scopes of a document: the folders where it arrived and, if they have rules, itself and the documents that it is
#: attached to.
document_scopes = sa.Table(
    "document_scopes",
    metadata,
    sa.Column("number", Serial, sa.ForeignKey("documents.number"), primary_key=True, autoincrement=False),
    sa.Column("scope", Serial, sa.ForeignKey("scopes.id"), primary_key=True, autoincrement=False, index=True),
)

access_rules = sa.Table(
    "access_rules",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("scope", Serial, sa.ForeignKey("scopes.id"), nullable=False, index=True),
    sa.Column("principal", sa.String(200), nullable=False, index=True),
    sa.Column("effect", sa.String(8), nullable=False),
    sa.Column("origin", sa.String(16), nullable=False),
    sa.Column("by", Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.UniqueConstraint("tenant", "scope", "principal", "effect", "origin", name="access_rules_once"),
)

group_members = sa.Table(
    "group_members",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("group", sa.String(200), primary_key=True),
    sa.Column("member", sa.String(200), primary_key=True, index=True),
)

arrivals = sa.Table(
    "arrivals",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("document_id", sa.String(32), nullable=False, index=True),
    sa.Column("source", Text, nullable=False),
    sa.Column("path", Text, nullable=False),
    sa.Column("arrived_at", sa.Float, nullable=False),
    sa.Column("access", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("document_id", sa.String(32), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("queue", sa.String(16), nullable=False),
    sa.Column("subject", sa.String(32), nullable=False, index=True),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    #: what this job may do only once: unique if set ("deliver:DOCUMENT:KIND:TARGET")
    sa.Column("effect", Text, unique=True),
    sa.Column("dead", sa.Boolean, nullable=False, default=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("run_after", sa.Float, nullable=False),
    #: 0 if it is not leased
    sa.Column("lease_until", sa.Float, nullable=False, default=0.0),
    sa.Column("token", sa.String(32)),
    sa.Column("owner", Text),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("reason", Text),
    sa.Column("detail", Text),
    sa.Index("jobs_due", "queue", "dead", "run_after", "lease_until"),
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("number", Serial, sa.ForeignKey("documents.number"), primary_key=True, autoincrement=False),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("text", Text, nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("end", sa.Integer, nullable=False),
    sa.Column("page_first", sa.Integer),
    sa.Column("page_last", sa.Integer),
    sa.Column("heading", Text),
    #: float32, little endian
    sa.Column("vector", sa.LargeBinary),
)

#: Vectors of other models than that of `chunks.vector`: all of a document, row by row, float32, little endian.
embeddings = sa.Table(
    "embeddings",
    metadata,
    sa.Column("number", Serial, sa.ForeignKey("documents.number"), primary_key=True, autoincrement=False),
    sa.Column("embedder", sa.String(64), primary_key=True),
    sa.Column("vectors", sa.LargeBinary, nullable=False),
)

embedders = sa.Table(
    "embedders",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("model", Text, nullable=False),
    sa.Column("dimension", sa.Integer, nullable=False),
    sa.Column("serving", sa.Boolean, nullable=False),
    #: the value of `models.embedder` when it began to serve: a later change of the setting overrules it
    sa.Column("setting", Text, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("served_until", sa.Float),
)

results = sa.Table(
    "results",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("document_id", sa.String(32), nullable=False, index=True),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", Text, nullable=False),
    sa.Column("salt", sa.String(32), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("principals", sa.JSON, nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("sources", sa.JSON, nullable=False),
    sa.Column("grants", sa.JSON, nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("last_used_at", sa.Float),
    sa.Column("rotated_at", sa.Float),
    sa.Column("rotated_by", Text),
    sa.Column("previous_salt", sa.String(32)),
    sa.Column("previous_hash", sa.String(64)),
    sa.Column("overlap_until", sa.Float),
    sa.Column("revoked_at", sa.Float),
    sa.Column("revoked_by", Text),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("key_id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("document_id", sa.String(32), nullable=False),
    sa.Column("at", sa.Float, nullable=False, index=True),
)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("key_id", sa.String(16), nullable=False),
    #: SHA-256 of the query in lower case with single spaces, so that a query of any length can be part of a key
    sa.Column("query_digest", sa.String(64), nullable=False),
    sa.Column("query", Text, nullable=False),
    sa.Column("document_id", sa.String(32), nullable=False, index=True),
    #: "click", or "vote" with its value in kind
    sa.Column("sort", sa.String(8), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("rank", sa.Integer),
    sa.Column("at", sa.Float, nullable=False),
    sa.UniqueConstraint("key_id", "query_digest", "document_id", "sort", name="opinions_once"),
)

queries = sa.Table(
    "queries",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    #: as `pipeline.questions.Caller.owner` returns it
    sa.Column("owner", Text, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("search", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.UniqueConstraint("tenant", "owner", "name", name="queries_once"),
)

plans = sa.Table(
    "plans",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("model", Text, nullable=False),
    sa.Column("rules_digest", Text, nullable=False),
    sa.Column("selection", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
)

plan_items = sa.Table(
    "plan_items",
    metadata,
    sa.Column("plan_id", sa.String(32), sa.ForeignKey("plans.id"), primary_key=True),
    sa.Column("document_id", sa.String(32), primary_key=True),
    sa.Column("old", sa.JSON, nullable=False),
    sa.Column("new", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
)

#: Entries of `pipeline.audit`, its fields in its order. The database refuses to change or delete one.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("action", sa.String(64), nullable=False, index=True),
    sa.Column("resource", sa.Text, nullable=False, index=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("actor", sa.Text, nullable=False, index=True),
    sa.Column("key_id", sa.String(16), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    #: epoch milliseconds
    sa.Column("time", sa.BigInteger, nullable=False, index=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

#: Requests to erase documents. What identifies a document is deleted from both tables when the erasure ends.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("requested_at", sa.Float, nullable=False),
    sa.Column("requested_by", Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    #: whether no file of the index holds anything of these documents
    sa.Column("index_clean", sa.Boolean, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Column("receipt", sa.JSON),
)

erased_documents = sa.Table(
    "erased_documents",
    metadata,
    sa.Column("document_id", sa.String(32), primary_key=True),
    sa.Column("erasure_id", sa.String(32), sa.ForeignKey("erasures.id"), nullable=False, index=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("parent", sa.String(32)),
    sa.Column("received_at", sa.Float, nullable=False),
    #: what the job needs and the receipt must not contain: {content_hash, deliveries, scopes}
    sa.Column("work", sa.JSON, nullable=False),
    sa.Column("removed", sa.JSON, nullable=False),
    sa.Column("remaining", sa.JSON, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
)

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    #: "document", "source" or "subject"
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("target", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.UniqueConstraint("tenant", "kind", "target", name="holds_once"),
)

#: One row that counts the changes of what callers may see, so that readers know when to read again. ``last_global``:
#: the last change that named no documents; ``attributed``: how many changes named the documents that they affect.
visibility_version = sa.Table(
    "visibility_version",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True),
    sa.Column("current", sa.BigInteger, nullable=False),
    sa.Column("last_global", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("attributed", sa.BigInteger, nullable=False, server_default="0"),
)
