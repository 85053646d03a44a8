"""Map a model's labels to the organisation's current ones after labels were renamed, merged, split or retired.

A model has the labels it was trained with; the organisation changes its own. Every change is an `Operation`, stored for
ever and undone only by another one. `labelling` replays the operations that are later than a model's labels and
returns, for every current label, the model's outputs that count for it and its confidence threshold.

    rename    the output counts for the new name, with the same threshold
    merge     the outputs' probabilities are added up (where a text may have several labels, the largest counts); the
              highest of their thresholds holds
    split     the model cannot tell the parts apart: its label is proposed, but never confident, until a model trained
    on the
              parts is active
    retire    the label's probability goes to no other label; the next best is proposed
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.errors import Refused
from pipeline.printable import is_printable

if TYPE_CHECKING:
    import numpy as np

#: A threshold that no probability reaches: the label is proposed to a person, never filed automatically.
NEVER = 2.0
MAX_LABEL = 100
#: The kind of operation that reverts a kind; "restore" is only used for this.
_INVERSE = {"rename": "rename", "merge": "split", "split": "merge", "retire": "restore"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of the taxonomy.

    ``kind`` is "rename", "merge", "split", "retire" or "undo"; ``labels`` are the labels that it removes, ``into``
    those that replace them; ``undoes`` is the id of the operation that an "undo" reverts.
    """

    id: str
    at: float
    who: str
    kind: str
    labels: tuple[str, ...]
    into: tuple[str, ...] = ()
    undoes: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Labelling:
    """The mapping from a model's outputs to the current labels.

    For each label, ``outputs`` are the model's outputs that count for it (none: only a later model will have the
    label), and ``thresholds`` has its threshold. ``taxonomy`` is the id of the last operation taken into account.
    """

    labels: tuple[str, ...]
    outputs: tuple[tuple[int, ...], ...]
    thresholds: tuple[float, ...]
    taxonomy: str = ""

    @property
    def digest(self) -> str:
        """The SHA-256 of the mapping: equal for histories with the same result."""
        parts = [self.labels, self.outputs, self.thresholds]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def probabilities(self, model: np.ndarray, multi: bool = False) -> np.ndarray:
        """Return the probabilities of the current labels, shape (rows, labels), from the model's, shape (rows,
        outputs).

        If a text may have several labels (``multi``), a merged label is as probable as the most probable of its parts.
        """
        import numpy as np

        parts = [model[:, list(outputs)] for outputs in self.outputs]
        columns = [part.max(axis=1, initial=0.0) if multi else part.sum(axis=1) for part in parts]
        probabilities: np.ndarray = np.minimum(np.stack(columns, axis=1), 1.0)
        return probabilities


@dataclass(slots=True)
class _Part:
    outputs: tuple[int, ...]
    threshold: float


def labelling(
    labels: Sequence[str], thresholds: Sequence[float], operations: Sequence[Operation], since: str = ""
) -> Labelling:
    """Return the mapping from a model's ``labels`` to the current ones.

    ``since`` is the id of the last operation that the labels follow already; an unknown one, such as a foreign or a
    shipped model's, means that all operations come after it.
    """
    parts_by_label = {
        label: _Part((i,), limit) for i, (label, limit) in enumerate(zip(labels, thresholds, strict=True))
    }
    for operation in _steps(operations, since):
        _apply(parts_by_label, operation)
    last = operations[-1].id if operations else ""
    parts = parts_by_label.values()
    return Labelling(tuple(parts_by_label), tuple(p.outputs for p in parts), tuple(p.threshold for p in parts), last)


def effective_operations(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations that were not undone, oldest first."""
    undone = {operation.undoes for operation in operations if operation.kind == "undo"}
    return [operation for operation in operations if operation.kind != "undo" and operation.id not in undone]


def current_name(label: str, operations: Sequence[Operation], since: str = "") -> str | None:
    """Return the current name of a label assigned at ``since``; None if it was split or retired, which needs a
    person."""
    for operation in _steps(operations, since):
        if label in operation.labels:
            if operation.kind not in ("rename", "merge"):
                return None
            label = operation.into[0]
    return label


def validate_sides(kind: str, labels: Sequence[str], into: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return both sides of an operation of this kind. Raises Refused("bad-request") for too few or too many labels."""
    fits = {
        "rename": len(labels) == len(into) == 1,
        "merge": len(labels) >= 1 == len(into),
        "split": len(labels) == 1 and len(into) >= 2,
        "retire": len(labels) == 1 and not into,
    }
    if not fits.get(kind, False):
        text = "rename: one label into one; merge: several into one; split: one into several; retire: one into none."
        raise Refused("bad-request", text)
    return tuple(labels), tuple(into)


def validate_operation(operation: Operation, labels: Sequence[str]) -> Operation:
    """Return the completed operation if the current ``labels`` allow it. Raises Refused with the label that does not
    fit."""
    for label in (*operation.labels, *operation.into):
        if len(label) > MAX_LABEL or not is_printable(label):
            raise Refused("bad-request", f"A label is 1 to {MAX_LABEL} printable characters without space around them.")
    if missing := [label for label in operation.labels if label not in labels]:
        raise Refused("not-found", f"There is no label {missing[0]!r}; there are: {', '.join(sorted(labels))}.")
    if len(set(operation.labels)) < len(operation.labels) or len(set(operation.into)) < len(operation.into):
        raise Refused("bad-request", "Each label is named once.")
    if operation.kind == "merge" and operation.into[0] in labels and operation.into[0] not in operation.labels:
        operation = replace(operation, labels=(*operation.labels, operation.into[0]))
    existing = [label for label in operation.into if label in labels and label not in operation.labels]
    if existing:
        raise Refused("conflict", f"There is a label {existing[0]!r} already; merge them if they are to be one.")
    _check_counts(operation, labels)
    return operation


def _check_counts(operation: Operation, labels: Sequence[str]) -> None:
    if operation.kind == "rename" and operation.labels == operation.into:
        raise Refused("contradictory", "The new name is the old one.")
    if operation.kind == "merge" and len(operation.labels) < 2:
        raise Refused("contradictory", "A merge needs two labels; to give one another name, rename it.")
    if len(set(labels) - set(operation.labels)) + len(operation.into) < 2:
        raise Refused("conflict", "Fewer than two labels would be left; a classifier needs at least two.")


def _steps(operations: Sequence[Operation], since: str) -> list[Operation]:
    """Return the operations that lead from labels of ``since`` to the current ones: later operations that were not
    undone, and the inverse of earlier ones that were undone later."""
    ids = [operation.id for operation in operations]
    start = ids.index(since) + 1 if since in ids else 0
    earlier, later = {o.id: o for o in operations[:start]}, operations[start:]
    undone = {operation.undoes for operation in later if operation.kind == "undo"}
    steps = []
    for operation in later:
        if operation.kind != "undo":
            steps += [operation] if operation.id not in undone else []
        elif operation.undoes in earlier:
            undone_operation = earlier[operation.undoes]
            kind, labels, into = _INVERSE[undone_operation.kind], undone_operation.into, undone_operation.labels
            steps.append(Operation(operation.id, operation.at, operation.who, kind, labels, into))
    return steps


def _apply(parts: dict[str, _Part], operation: Operation) -> None:
    """Apply the operation to the parts in place; labels that the model does not have change nothing."""
    affected = [parts.pop(label) for label in operation.labels if label in parts and operation.kind != "split"]
    if operation.kind in ("rename", "merge") and affected:
        target = operation.into[0]
        affected += [parts.pop(target)] if target in parts else []
        outputs = tuple(sorted(output for part in affected for output in part.outputs))
        parts[target] = _Part(outputs, max(part.threshold for part in affected))
    elif operation.kind == "split":
        whole = parts.get(operation.labels[0])
        if whole is not None:
            whole.threshold = NEVER
        for label in operation.into:
            parts.setdefault(label, _Part((), NEVER))
    elif operation.kind == "restore":
        for label in operation.into:
            parts.setdefault(label, _Part((), NEVER))
