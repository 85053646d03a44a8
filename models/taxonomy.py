"""The organisation's taxonomy operations in one file beside the models: <root>/taxonomy.json, replaced in one step.

Their effect on predictions is in `pipeline.taxonomy`. The list only grows: an operation is undone by another one.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from models.lock import changing
from pipeline.disk import write_durably
from pipeline.errors import Misconfigured, Refused
from pipeline.taxonomy import Operation, effective_operations, validate_operation, validate_sides

FILE = "taxonomy.json"


def read_operations(root: Path) -> tuple[Operation, ...]:
    """Return all operations, oldest first. Raises Misconfigured("bad-store") if the file is damaged."""
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
    labels_after: Callable[[Sequence[Operation]], Sequence[str]],
    kind: str,
    labels: Sequence[str],
    into: Sequence[str],
    who: str,
    reason: str = "",
) -> Operation:
    """Record one operation, which replaces ``labels`` by ``into``, and return it.

    ``labels_after`` returns the organisation's labels after the operations so far. Raises Refused if the operation
    does not fit them, see `pipeline.taxonomy.checked`.
    """
    sides = validate_sides(kind, labels, into)
    with changing(root):
        operations = read_operations(root)
        proposal = Operation(secrets.token_hex(6), time.time(), who, kind, *sides, reason=reason)
        operation = validate_operation(proposal, labels_after(operations))
        _write(root, (*operations, operation))
    return operation


def undo(root: Path, who: str, reason: str = "") -> Operation:
    """Undo the latest operation that is in effect and return the record of that.

    Earlier ones can only follow one by one, the latest first: each was made for the labels that the earlier ones left.
    """
    with changing(root):
        operations = read_operations(root)
        remaining = effective_operations(operations)
        if not remaining:
            raise Refused("conflict", "No taxonomy operation is in effect; there is nothing to undo.")
        last = remaining[-1]
        operation = Operation(secrets.token_hex(6), time.time(), who, "undo", last.into, last.labels, last.id, reason)
        _write(root, (*operations, operation))
    return operation


def _write(root: Path, operations: Sequence[Operation]) -> None:
    content = {"operations": [asdict(operation) for operation in operations]}
    write_durably(root / FILE, json.dumps(content, ensure_ascii=False, indent=1).encode())
