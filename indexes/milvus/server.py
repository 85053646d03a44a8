"""One Milvus server: its URL, the connection, and its errors in our words."""

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
#: Milvus's most for one answer: limit and offset together.
MOST = 16_384
#: Rows of one page.
PAGE = 8192
#: The client asks an idle or slow connection every ten seconds whether it lives; a gRPC server that was not told to bear that, milvus-lite's
#: among them, hangs up after the third. Five minutes is what every server bears; `TIMEOUT` finds a dead one sooner.
KEEPALIVE = {"grpc.keepalive_time_ms": 330_000}
#: The server's codes for a call that this version of it will never accept: wrong fields, types or parameters.
WRONG = frozenset({100, 1100, 1101, 1700, 1701, 65535})


class Server:
    """``url``: milvus+http://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or milvus+https. Connects at the first call."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise Misconfigured("bad-settings", "index.url: give milvus+http://HOST:19530, or leave it empty.")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.address = f"{parts.scheme.removeprefix('milvus+')}://{host}:{parts.port or 19530}"
        self.database = parts.path.strip("/") or "default"
        self._token = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""

    def call(self, method: str, *given: Any, **named: Any) -> Any:
        """A method of `pymilvus.MilvusClient`. Raises Unavailable where the server does not answer, Misconfigured where it
        does not accept what is asked."""
        client = self._client
        try:
            return getattr(client, method)(*given, **{"timeout": TIMEOUT, **named})
        except _failures() as error:
            raise self._translated(method, error) from error

    def rows(
        self, collection: str, expression: str, fields: Sequence[str], page: int = PAGE
    ) -> Iterator[dict[str, Any]]:
        """Every row that the expression names, in order of the primary key; ``page`` rows a call."""
        given = {"filter": expression, "output_fields": list(fields), "consistency_level": "Strong", "batch_size": page}
        pages = self.call("query_iterator", collection, **given)
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
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # what goes wrong is raised, and said once
        given = {"token": self._token, "timeout": TIMEOUT, "grpc_options": KEEPALIVE}
        try:
            if self.database != "default":
                first = MilvusClient(self.address, **given)
                if self.database not in first.list_databases():
                    first.create_database(self.database)
            return MilvusClient(self.address, db_name=self.database, **given)
        except _failures() as error:
            raise self._translated("connect", error) from error

    def _translated(self, method: str, error: Exception) -> Unavailable | Misconfigured:
        code = getattr(error, "code", None)
        reason = error.details() if hasattr(error, "details") else getattr(error, "message", error)
        said = f"Milvus at {self.address} ({method}): {reason}"
        if code in WRONG:
            return Misconfigured("bad-index", said)
        return Unavailable("index-unavailable", f"{said} Check that it runs, and index.url.")


def _failures() -> tuple[type[Exception], ...]:
    """What a call raises: a deadline that has passed comes as gRPC's own error."""
    import grpc
    from pymilvus.exceptions import MilvusException

    return MilvusException, grpc.RpcError
