"""The last use of each key, recorded once a minute at most, by a thread that no request waits for."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from indexes.catalogue.keys import USE_SECONDS
from pipeline.errors import MailroomError

if TYPE_CHECKING:
    from indexes.catalogue.keys import KeyStore

log = logging.getLogger(__name__)


class KeyUse:
    """Records when keys are used. May be called by several threads at once."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._recorded: dict[str, float] = {}
        self._thread = ThreadPoolExecutor(1, "key-use")

    def record(self, key_id: str) -> None:
        """Record a use of a key, unless one less than a minute before was recorded here."""
        now = time.time()
        if 0 <= now - self._recorded.get(key_id, float("-inf")) < USE_SECONDS:
            return
        self._recorded[key_id] = now
        with suppress(RuntimeError):  # the last request of a server that stops
            self._thread.submit(self._write, key_id, now)

    def _write(self, key_id: str, at: float) -> None:
        try:
            self._keys.record_use(key_id, at)
        except MailroomError as error:
            log.warning("the last use of key %s was not recorded (%s)", key_id, error)

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()
