"""All rows of the catalogue of one moment, as JSON lines: written beside a running installation, read into an empty
one, whichever database either of them has."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from indexes.catalogue import tables
from indexes.catalogue.database import Database, bump_visibility, make_engine
from indexes.catalogue.scopes import drop_unused, insert_new
from pipeline.documents import State
from pipeline.errors import Refused

SUFFIX = ".jsonl.gz"
#: Rows read and inserted at a time.
_ROWS = 500
#: Columns that name a document: rows with an erased one are left out.
_DOCUMENT_COLUMNS = ("document_id", "subject", "parent")


class CatalogueRows:
    """The rows of one moment. ``revision``: of the tables."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        version = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        self.revision = str(version)

    def write(self, folder: Path) -> dict[str, int]:
        """Write the rows of every table to ``folder``; return their numbers by table."""
        counts = {}
        for table in tables.metadata.sorted_tables:
            query = sa.select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_ROWS)
            counts[table.name] = 0
            with gzip.open(folder / f"{table.name}{SUFFIX}", "wt", compresslevel=1, encoding="utf-8") as file:
                for row in self._connection.execute(query).mappings():
                    values = {
                        key: base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value
                        for key, value in row.items()
                    }
                    file.write(json.dumps(values) + "\n")
                    counts[table.name] += 1
        return counts

    def content_hashes(self) -> list[str]:
        """Return the digests of the undeleted documents' originals."""
        c = tables.documents.c
        query = sa.select(c.content_hash).where(c.state != State.DELETED).distinct().order_by(c.content_hash)
        return list(self._connection.scalars(query))


class TransferStore:
    """Writes all rows of the catalogue, and reads them into an empty one."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @contextmanager
    def snapshot(self, copy: Path) -> Iterator[CatalogueRows]:
        """Open the rows of this moment, while others write. ``copy``: a file for SQLite's copy, removed in the end."""
        if not self.database.sqlite:
            with self.database.engine.connect() as connection:
                serial = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                yield CatalogueRows(serial)
            return
        copy.unlink(missing_ok=True)
        engine = make_engine(f"sqlite:///{copy}")  # which creates the file with mode 0600
        try:
            # SQLite's own online backup: in one step, since a change by another process would start it again.
            with closing(self.database.engine.raw_connection()) as source, closing(sqlite3.connect(copy)) as target:
                driver: Any = source.driver_connection
                driver.backup(target)
            with engine.connect() as connection:
                yield CatalogueRows(connection)
        finally:
            engine.dispose()
            for path in copy.parent.glob(f"{copy.name}*"):
                path.unlink(missing_ok=True)

    def check_target(self, revision: str) -> None:
        """Check that rows of a revision can be read into this catalogue. Raises Refused("conflict") otherwise."""
        with self.database.read() as connection:
            own = str(connection.scalar(sa.text("SELECT version_num FROM alembic_version")))
            if connection.scalar(sa.select(tables.documents.c.number).limit(1)) is not None:
                detail = "This installation has documents; restore into a data folder (or database) without any."
                raise Refused("conflict", detail)
        if own != revision:
            detail = (
                f"The backup is of the tables {revision}, this Mailroom has {own}: restore it with the version that"
            )
            raise Refused("conflict", f"{detail} made it, then upgrade.")

    def read(self, folder: Path, erased: Collection[str]) -> None:
        """Insert the rows in ``folder``, without those about the ``erased`` documents, in one transaction.

        Rows that exist already, such as a first key, stay. Jobs that were leased are due at once.
        """
        numbers = {row["number"] for row in _rows(folder, tables.documents) if row["id"] in erased}
        unlinked = {row["scope"] for row in _rows(folder, tables.document_scopes) if row["number"] in numbers}
        with self.database.write() as connection:
            skipped = {tables.visibility_version}
            if connection.scalar(sa.select(tables.audit.c.sequence).limit(1)) is not None:
                skipped.add(tables.audit)  # a second chain cannot be joined to one
            for table in tables.metadata.sorted_tables:
                if table in skipped:
                    continue
                rows = (row for row in _rows(folder, table) if not _is_about(table, row, erased, numbers))
                for part in _parts(rows):
                    connection.execute(insert_new(connection, table), [_adapted(table, row, erased) for row in part])
            for scope in sorted(unlinked):
                drop_unused(connection, scope)
            _continue_numbers(connection, folder)
            bump_visibility(connection)

    def erased_ids(self, folder: Path, is_erased: Callable[[str], bool]) -> Iterator[str]:
        """Yield the ids of the documents in ``folder`` that have been erased since."""
        return (row["id"] for row in _rows(folder, tables.documents) if is_erased(row["id"]))

    def digests_in(self, folder: Path, erased: Collection[str]) -> list[str]:
        """Return the digests of the originals of the undeleted documents in ``folder`` that are not erased."""
        rows = _rows(folder, tables.documents)
        return sorted(
            {row["content_hash"] for row in rows if row["state"] != State.DELETED and row["id"] not in erased}
        )


def _parts(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _ROWS:
            yield part
            part = []
    if part:
        yield part


def _is_about(table: sa.Table, row: Mapping[str, Any], erased: Collection[str], numbers: Collection[int]) -> bool:
    """Return True if a row is about an erased document."""
    if table is tables.documents:
        return row["id"] in erased
    if table in (tables.erased_documents, tables.audit):
        return False
    return row.get("number") in numbers or any(row.get(name) in erased for name in _DOCUMENT_COLUMNS)


def _adapted(table: sa.Table, row: dict[str, Any], erased: Collection[str]) -> dict[str, Any]:
    """Return a row as it is inserted: a SQL NULL where JSON's null was none, and no lease of another installation."""
    values: dict[str, Any] = {}
    for column in table.c:
        value = row[column.name]
        if isinstance(column.type, sa.LargeBinary) and value is not None:
            value = base64.b64decode(value)
        elif isinstance(column.type, sa.JSON) and value is None and column.nullable:
            value = sa.null()
        values[column.name] = value
    if table is tables.jobs and values["stage"] != "done":
        values |= {"lease_until": 0.0, "token": None}
    if table is tables.documents and values["superseded_by"] in erased:
        values["superseded_by"] = None  # the revision before an erased one stands again
    return values


def _continue_numbers(connection: sa.Connection, folder: Path) -> None:
    """Let new rows have numbers above all those of the backup, erased documents included."""
    for table in tables.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None:
            continue
        highest = max((row[column.name] for row in _rows(folder, table)), default=0)
        if not highest:
            continue
        if connection.dialect.name == "postgresql":
            sequence = sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name)
            connection.execute(sa.select(sa.func.setval(sequence, highest)))
        elif table.dialect_options["sqlite"]["autoincrement"]:
            where = "WHERE name = :name"
            values = {"name": table.name, "highest": highest}
            updated = connection.execute(
                sa.text(f"UPDATE sqlite_sequence SET seq = max(seq, :highest) {where}"), values
            )
            if not updated.rowcount:
                connection.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :highest)"), values)


def _rows(folder: Path, table: sa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as they were written."""
    with gzip.open(folder / f"{table.name}{SUFFIX}", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
