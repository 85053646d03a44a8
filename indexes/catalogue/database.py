"""One database, its transactions, its clock, and the translation of its errors."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

from indexes.catalogue import audit
from indexes.catalogue.tables import documents, visibility_version
from pipeline.errors import Misconfigured, Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"
#: Seconds that a SQLite writer waits for another one, and a PostgreSQL client for a lock or a connection.
BUSY_SECONDS = 30
_VERSION = "SELECT current, last_global, current - attributed FROM visibility_version"
#: Alembic keeps its context in a module, for one thread at a time.
_MIGRATION_LOCK = threading.Lock()


def new_id() -> str:
    """Return an opaque id that sorts by time of creation: 12 hex digits of milliseconds and 80 random bits."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}"


class VisibilityVersion(NamedTuple):
    """How often what callers may see has changed: ``current`` counts all changes, ``last_global`` is the last one that
    named no documents, and ``unattributed`` counts those of an older Mailroom that named none."""

    current: int
    last_global: int
    unattributed: int


class Database:
    """An engine with `read` and `write` transactions, migrated to this version's tables when it is opened.

    ``url``: `sqlite:` or `postgresql:`. Raises Misconfigured("bad-store") if it is unusable or of a newer version.
    """

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        # A database in memory is one connection, which one thread uses at a time.
        in_memory = isinstance(self.engine.pool, sa.StaticPool)
        self._connection_lock: AbstractContextManager[object] = threading.RLock() if in_memory else nullcontext()
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._driver: Any = self.engine.dialect.loaded_dbapi
        #: how the driver writes a placeholder of a value in a statement
        self.placeholder = "?" if self.sqlite else "%s"
        with translated(), _MIGRATION_LOCK:
            migrate(self.engine)
        # A connection must not be used on both sides of a fork.
        os.register_at_fork(after_in_child=partial(_drop_connections, weakref.ref(self.engine)))

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads. Raises Unavailable or Misconfigured, as `translated` does."""
        with self._connection_lock, translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open one transaction, committed at the end of the block, rolled back on an exception; what it
        adds to the audit is in it. On SQLite it takes the write lock at once, so that it cannot fail half-way for want
        of it."""
        with (
            self._connection_lock,
            translated(),
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            audit.begin(connection)
            yield connection
            audit.seal(connection, time.time())

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one reading statement on the driver itself and return its rows. Every search reads this way, since it
        takes a third of the time that SQLAlchemy needs. Placeholders for ``values`` are `placeholder`; the statement
        sees one state of the database."""
        with self._connection_lock, translated(), closing(self.engine.raw_connection()) as connection:
            try:
                rows: list[tuple[Any, ...]] = connection.cursor().execute(statement, values).fetchall()
                return rows
            except self._driver.Error as error:
                raise exc.DBAPIError.instance(statement, values, error, self._driver.Error) from error

    def visibility(self) -> VisibilityVersion:
        """Return the version of what callers may see; every change of that raises it."""
        return VisibilityVersion(*self.rows(_VERSION)[0])

    def vacuum(self) -> None:
        """Write SQLite's file anew, while others wait: `secure_delete` overwrites deleted rows, but a page whose rows
        were moved to others may hold copies of them in its unused space."""
        with self._connection_lock, translated(), closing(self.engine.raw_connection()) as connection:
            try:
                connection.cursor().execute("VACUUM")
            except self._driver.Error as error:
                raise exc.DBAPIError.instance("VACUUM", (), error, self._driver.Error) from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def now(connection: sa.Connection) -> float:
    """Return epoch seconds by the clock that all lease holders share: the server's, for SQLite this machine's."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp()))).scalar_one())


def bump_visibility(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Count a change of what callers may see.

    It concerns the documents that fulfil all ``conditions``; without conditions it may concern any document.
    """
    c = visibility_version.c
    values = {"current": c.current + 1, "attributed": c.attributed + 1}
    if not conditions:
        values["last_global"] = c.current + 1
    version = connection.scalar(sa.update(visibility_version).values(**values).returning(c.current))
    if conditions:
        connection.execute(sa.update(documents).where(*conditions).values(changed=version))


def _drop_connections(reference: weakref.ref[sa.Engine]) -> None:
    """Drop the connections in the child of a fork without closing them: they are the parent's."""
    if (engine := reference()) is not None:
        engine.dispose(close=False)


def make_engine(url: str) -> sa.Engine:
    """Return an engine for a `sqlite:` or `postgresql:` URL."""
    if url.startswith("sqlite"):
        return _sqlite_engine(url)
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    # Nobody waits for a lock or a server for ever: the caller gets "unavailable" and tries again.
    options = {"connect_timeout": BUSY_SECONDS, "options": f"-c lock_timeout={BUSY_SECONDS}s"}
    return sa.create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=20, connect_args=options)


def _sqlite_engine(url: str) -> sa.Engine:
    database = sa.engine.make_url(url).database
    if database:
        try:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
            # It holds the texts of all documents: only its owner may read it. SQLite gives its journal the same mode.
            os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise Misconfigured("bad-store", f"The catalogue {database} cannot be used: {error.strerror}.") from error
    options = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = sa.create_engine(url, connect_args=options, poolclass=None if database else sa.StaticPool)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # `_begin` issues BEGIN
        for pragma in (f"journal_mode={journal_mode()}", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """Return "WAL", or "TRUNCATE" for a SQLite library with the WAL-reset corruption race: 3.7.0 to 3.51.2, fixed in
    3.44.6 and 3.50.7 too."""
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return "WAL" if fixed else "TRUNCATE"


def migrate(engine: sa.Engine) -> None:
    """Bring the database to this version's tables; several processes may start at once. Raises
    Misconfigured("bad-store") for a database of a newer version."""
    if _is_current(engine):
        return
    # Alembic takes longer to import than most commands take to run.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7461291)"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            detail = f"The catalogue was made by a newer version ({error}); use that version, or restore a backup."
            raise Misconfigured("bad-store", detail) from error


def _is_current(engine: sa.Engine) -> bool:
    """Return True if the tables are those of the latest migration; False also if the database does not answer."""
    latest = max(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == latest)
    except exc.DBAPIError:
        return False


@contextmanager
def translated() -> Iterator[None]:
    """Translate the driver's errors into `Unavailable` and `Misconfigured`; IntegrityError passes through."""
    try:
        yield
    except exc.OperationalError as error:
        text = str(error.orig).lower()
        if "disk is full" in text or "no space left" in text:
            raise Unavailable("disk-full", "The catalogue's disk is full; free some space.") from error
        if "readonly" in text or "unable to open" in text:
            raise Misconfigured("bad-store", f"The catalogue cannot be written: {error.orig}") from error
        raise Unavailable("store-unavailable", f"The catalogue did not answer: {error.orig}") from error
    except exc.DatabaseError as error:
        if isinstance(error, exc.IntegrityError):
            raise
        raise Misconfigured("bad-store", f"The catalogue refused a statement: {error.orig}") from error
