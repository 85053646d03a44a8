"""The active version of each model: a pointer file per name, with the history of its changes.

    <root>/<name>/active.json    {"active": VERSION, "history": [{fields of `VersionChange`}, ...]}

The file is replaced in one step: a worker that follows it reads the old version or the new one, and the history always
ends at the active version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.lock import changing
from pipeline.disk import write_durably
from pipeline.errors import Misconfigured, Refused

POINTER = "active.json"


@dataclass(frozen=True, slots=True)
class VersionChange:
    """One change of the active version.

    ``at`` is in epoch seconds; ``action`` is "promote" or "rollback"; ``before`` is None for the first promotion.
    ``forced`` means that the gate was overruled; ``metrics`` are those on which the gate decided.
    """

    at: float
    who: str
    action: str
    before: str | None
    after: str
    forced: bool = False
    reason: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VersionPointer:
    """The active version (None before the first promotion) and every change, oldest first."""

    version: str | None
    history: tuple[VersionChange, ...]

    @property
    def trail(self) -> tuple[str, ...]:
        """The versions to which a rollback can go back, the nearest last."""
        trail: list[str] = []
        for change in self.history:
            if change.action == "promote":
                trail += [change.before] if change.before else []
            elif change.after in trail:
                del trail[trail.index(change.after) :]
        return tuple(trail)


def pointer_path(root: Path, name: str) -> Path:
    """Return the place of a model's pointer file, whether it exists or not."""
    return root / name / POINTER


def read_pointer(root: Path, name: str) -> VersionPointer:
    """Return a model's pointer. Raises Misconfigured("bad-model") if the file is damaged."""
    path = pointer_path(root, name)
    try:
        values = json.loads(path.read_bytes())
        history = tuple(VersionChange(**change) for change in values["history"])
        version = values["active"]
        if not history or version != history[-1].after or not isinstance(version, str):
            raise ValueError("the history does not end at the active version")
    except (FileNotFoundError, NotADirectoryError):
        return VersionPointer(None, ())
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Misconfigured(
            "bad-model", f"{path} cannot be used ({error}); move it away, then promote a version of {name} again."
        ) from error
    return VersionPointer(version, history)


def move_pointer(root: Path, name: str, change: VersionChange) -> VersionPointer:
    """Make ``change.after`` the active version and return the new pointer.

    Raises Refused("conflict") if the pointer moved after ``change.before`` was read.
    """
    with changing(root):
        current = read_pointer(root, name)
        if current.version is not None and current.version != change.before:
            raise Refused("conflict", f"{name} was switched to {current.version} meanwhile; look again, then repeat.")
        moved = VersionPointer(change.after, (*current.history, change))
        (root / name).mkdir(exist_ok=True)
        content = {"active": moved.version, "history": [asdict(entry) for entry in moved.history]}
        write_durably(pointer_path(root, name), json.dumps(content, ensure_ascii=False, indent=1).encode())
    return moved
