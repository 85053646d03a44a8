"""One Milvus server: its URL, the connection, and the translation of its errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.errors import Misconfigured, Unavailable

SCHEMES = ("milvus+http", "milvus+https")
#: Seconds for one call, the client's own retries included.
TIMEOUT = 10.0
#: Milvus's limit for one answer: limit and offset together.
MAX_ROWS = 16_384
#: Rows of one page.
PAGE = 8192
#: By default the client pings an idle or slow connection every ten seconds; a gRPC server that is not configured to
#: bear that, milvus-lite's among them, disconnects after the third. Every server bears five minutes; `TIMEOUT` notices
#: a dead one sooner.
KEEPALIVE = {"grpc.keepalive_time_ms": 330_000}
#: The server's codes for a call that this version of it will never accept: wrong fields, types or parameters.
WRONG = frozenset({100, 1100, 1101, 1700, 1701, 65535})


class Server:
    """A connection that is opened by the first call.

    ``url``: milvus+http://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or milvus+https. Raises
    Misconfigured("bad-settings") for any other. A database that is missing is created.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise Misconfigured("bad-settings", "index.url: give milvus+http://HOST:19530, or leave it empty.")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.address = f"{parts.scheme.removeprefix('milvus+')}://{host}:{parts.port or 19530}"
        self.database = parts.path.strip("/") or "default"
        self._token = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of `pymilvus.MilvusClient` and return its result.

        Raises Unavailable where the server does not answer, Misconfigured("bad-index") where it rejects the call.
        """
        client = self._client
        try:
            return getattr(client, method)(*arguments, **{"timeout": TIMEOUT, **options})
        except _failures() as error:
            raise self._translated(method, error) from error

    def rows(
        self, collection: str, expression: str, fields: Sequence[str], page_size: int = PAGE
    ) -> Iterator[dict[str, Any]]:
        """Iterate over every row that matches the expression, ordered by primary key, ``page_size`` rows a call."""
        pages = self.call(
            "query_iterator",
            collection,
            filter=expression,
            output_fields=list(fields),
            consistency_level="Strong",
            batch_size=page_size,
        )
        try:
            while page := pages.next():
                yield from page
        except _failures() as error:
            raise self._translated("query_iterator", error) from error
        finally:
            pages.close()

    @cached_property
    def _client(self) -> Any:
        try:
            from pymilvus import MilvusClient
        except ImportError as error:
            detail = "index.url names Milvus: pip install 'mailroom-documents[milvus]'"
            raise Misconfigured("missing-program", detail) from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # errors are raised; the client would log them again
        options = {"token": self._token, "timeout": TIMEOUT, "grpc_options": KEEPALIVE}
        try:
            if self.database != "default":
                first = MilvusClient(self.address, **options)
                if self.database not in first.list_databases():
                    first.create_database(self.database)
            return MilvusClient(self.address, db_name=self.database, **options)
        except _failures() as error:
            raise self._translated("connect", error) from error

    def _translated(self, method: str, error: Exception) -> Unavailable | Misconfigured:
        reason = error.details() if hasattr(error, "details") else getattr(error, "message", error)
        message = f"Milvus at {self.address} ({method}): {reason}"
        if getattr(error, "code", None) in WRONG:
            return Misconfigured("bad-index", message)
        return Unavailable("index-unavailable", f"{message} Check that it runs, and index.url.")


def _failures() -> tuple[type[Exception], ...]:
    """Return the exceptions that a call raises; a passed deadline comes as gRPC's own."""
    import grpc
    from pymilvus.exceptions import MilvusException

    return MilvusException, grpc.RpcError
