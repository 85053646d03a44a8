"""The audit: search, check, and the anchor in the data folder that shows whether its end was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.audit import Anchor, ChainCheck
from pipeline.disk import locked, write_durably
from pipeline.errors import Refused

if TYPE_CHECKING:
    from indexes.catalogue.audit_store import AuditStore

#: The file in the data folder with the number and the hash of the last entry.
ANCHOR_FILE = "audit-head"


class AuditAnchor:
    """The anchor of one data folder. It only ever moves forward along the chain that it is part of."""

    def __init__(self, store: AuditStore, home: Path) -> None:
        self._store, self._home = store, home
        self.path = home / ANCHOR_FILE
        self._written: Anchor | None = None

    def advance(self) -> bool:
        """Move the anchor to the last entry, and return True. Return False, and leave it as it is, if the audit does
        not hold the entry that it names: then the audit was changed or cut off, and the anchor is what shows it."""
        if self._written is not None and self._store.head() == self._written:
            return True
        with locked(self._home / "run" / "audit-head.lock"):
            before = read_anchor(self.path) if self.path.exists() else Anchor()
            if not self._store.holds(before):
                return False
            head = self._store.head()
            if head != before:
                text = json.dumps({"sequence": head.sequence, "hash": head.hash})
                write_durably(self.path, text.encode() + b"\n")
            self._written = head
        return True

    def verify(self, *others: Path) -> ChainCheck:
        """Check the whole audit against itself, this anchor, and older ones in files. Raises Refused("bad-request") for
        a file that is not an anchor."""
        paths = [path for path in (self.path,) if path.exists()]
        return self._store.verify([read_anchor(path) for path in (*paths, *others)])


def read_anchor(path: Path) -> Anchor:
    """Return the anchor in a file. Raises Refused("bad-request")."""
    try:
        values = json.loads(path.read_text())
        return Anchor(int(values["sequence"]), str(values["hash"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"{path} is not an anchor of the audit ({type(error).__name__}); give a copy of the file audit-head."
        raise Refused("bad-request", text) from error
