"""The first API key of an installation, and the file that holds it on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import Refused
from workers.services.keys import access_for

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue


KEY_FILE = "admin.key"


def first_key(catalogue: Catalogue, run_path: Path) -> tuple[str | None, bool]:
    """Create an administrator's key if there is no key at all. Return (secret, created).

    The catalogue holds only its hash; the secret is in ``run/admin.key`` (0600), so that the command line and the demo
    on this machine can use it. None if that file is gone or its key was revoked.
    """
    path = run_path / KEY_FILE
    if any(key.revoked_at is None for key in catalogue.keys.all()):
        return local_key(catalogue, run_path), False
    _, secret = catalogue.keys.create("administrator", access_for(["*"], (), admin=True), "first start")
    run_path.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
    return secret, True


def local_key(catalogue: Catalogue, run_path: Path) -> str | None:
    """Return the secret in ``run/admin.key``, or None if there is none or it is not valid any more."""
    try:
        secret = (run_path / KEY_FILE).read_text().strip()
        return secret if catalogue.keys.check(secret) else None
    except (OSError, Refused):
        return None
