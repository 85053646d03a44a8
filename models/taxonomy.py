"""The house's taxonomy operations, kept in one file beside the models: <root>/taxonomy.json, replaced in one step.

What they do to a verdict is in `pipeline.taxonomy`. The list only grows: an operation is taken back by another one.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from models.durable import changing, put
from pipeline.errors import Misconfigured, Refused
from pipeline.taxonomy import Operation, checked, in_effect, require

FILE = "taxonomy.json"


def read_operations(root: Path) -> tuple[Operation, ...]:
    """All operations, oldest first. Raises Misconfigured("bad-store") for a file that is none of ours."""
    path = root / FILE
    try:
        rows = json.loads(path.read_bytes())["operations"]
        return tuple(Operation(**{**row, "labels": tuple(row["labels"]), "into": tuple(row["into"])}) for row in rows)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Misconfigured("bad-store", f"{path} cannot be used ({error}); restore it from a backup.") from error


def change(
    root: Path,
    labels: Callable[[Sequence[Operation]], Sequence[str]],
    kind: str,
    take: Sequence[str],
    into: Sequence[str],
    who: str,
    reason: str = "",
) -> Operation:
    """Record one operation; returns it. ``labels`` gives the house's labels under the operations so far.

    Raises Refused where it does not fit them, see `pipeline.taxonomy.checked`.
    """
    sides = require(kind, take, into)
    with changing(root):
        held = read_operations(root)
        wanted = Operation(secrets.token_hex(6), time.time(), who, kind, *sides, reason=reason)
        made = checked(wanted, labels(held))
        _write(root, (*held, made))
    return made


def undo(root: Path, who: str, reason: str = "") -> Operation:
    """Take back the latest operation that stands; returns the record of that. The ones before it follow one by one, the
    latest first, since each was made over the labels that the earlier ones had left."""
    with changing(root):
        held = read_operations(root)
        standing = in_effect(held)
        if not standing:
            raise Refused("conflict", "No taxonomy operation stands; there is nothing to undo.")
        last = standing[-1]
        made = Operation(secrets.token_hex(6), time.time(), who, "undo", last.into, last.labels, last.id, reason)
        _write(root, (*held, made))
    return made


def _write(root: Path, operations: Sequence[Operation]) -> None:
    content = {"operations": [asdict(operation) for operation in operations]}
    put(root / FILE, json.dumps(content, ensure_ascii=False, indent=1).encode())
