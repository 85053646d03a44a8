"""Responses to keys without the scope `personal-data`: JSON without the values that `privacy.redact` names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
from starlette.types import Message, Scope, Send

from pipeline.documents import PersonalSpan
from pipeline.errors import Refused
from pipeline.personal_data.detect import find
from pipeline.personal_data.redact import Redaction

if TYPE_CHECKING:
    from indexes.catalogue.chunks import ChunkStore
    from workers.settings import PrivacySettings

#: The scope of keys that see all values.
SCOPE = "personal-data"
_DOCUMENT = re.compile(r"/v1/documents/([0-9a-f]{32})(/content)?.*")


class Redactor:
    """Hides personal data in the responses to keys that may not see it."""

    def __init__(self, settings: PrivacySettings, chunks: ChunkStore) -> None:
        self._settings, self._chunks = settings, chunks

    def sender(self, scope: Scope, send: Send) -> Send:
        """Return a ``send`` that hides what the request's key may not see. Raises Refused("forbidden") for a download
        that the settings refuse."""
        if not self._settings.redact or SCOPE in scope["access"].scopes:
            return send
        document = _DOCUMENT.fullmatch(scope["path"])
        if document and document[2] and not self._settings.downloads:
            raise Refused(
                "forbidden", f"Originals may hold personal data: a key with the scope {SCOPE!r} downloads them."
            )
        if scope["path"] == "/openapi.json" or (document and document[2]):
            return send
        return _JsonSender(send, lambda body: self._hidden(body, (document[1],) if document else ())).send

    def _hidden(self, body: bytes, document_ids: tuple[str, ...]) -> bytes:
        tree = Redaction(self._settings.redact, self._text).apply(json.loads(body), document_ids)
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()

    def _text(self, document_id: str) -> tuple[str, tuple[PersonalSpan, ...]]:
        """Return a document's text and where its personal data stands, also if it was read by an older version."""
        parsed = self._chunks.parsed(document_id) if re.fullmatch("[0-9a-f]{32}", document_id) else None
        if parsed is None:
            return "", ()
        return parsed.text, parsed.personal_data if parsed.personal_data is not None else find(parsed.text)


class _JsonSender:
    """Keeps a JSON response until it is complete, and sends what ``change`` makes of it; others pass."""

    def __init__(self, send: Send, change: Callable[[bytes], bytes]) -> None:
        self._send, self._change = send, change
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Send a message of the response, or keep it."""
        if message["type"] == "http.response.start" and b"json" in dict(message["headers"]).get(b"content-type", b""):
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = await anyio.to_thread.run_sync(self._change, bytes(self._body)) if self._body else b""
        headers = [(name, value) for name, value in self._start["headers"] if name != b"content-length"]
        await self._send({**self._start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await self._send({"type": "http.response.body", "body": body})
