"""Which version of a model is in force: a pointer file per name, and how it came to point there.

    <root>/<name>/active.json    {"active": VERSION, "history": [{at, who, action, before, after, forced, reason, figures}]}

The file is replaced in one step, so that a worker which follows it sees one version or the other, and the history
is never apart from what it tells of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.durable import changing, put
from pipeline.errors import Misconfigured, Refused

POINTER = "active.json"
ACTIONS = ("promote", "rollback")


@dataclass(frozen=True, slots=True)
class Change:
    """One move of the pointer. ``at`` is epoch seconds, ``before`` None where nothing was in force; ``forced`` says that
    the gate was overruled; ``figures`` are what the gate saw."""

    at: float
    who: str
    action: str
    before: str | None
    after: str
    forced: bool = False
    reason: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pointer:
    """The version in force (None: nobody ever chose one) and every change, oldest first."""

    version: str | None
    history: tuple[Change, ...]

    @property
    def trail(self) -> tuple[str, ...]:
        """The versions that a rollback walks back through, the nearest last."""
        trail: list[str] = []
        for change in self.history:
            if change.action == "promote":
                trail += [change.before] if change.before else []
            elif change.after in trail:
                del trail[trail.index(change.after) :]
        return tuple(trail)


def pointer_path(root: Path, name: str) -> Path:
    return root / name / POINTER


def read_pointer(root: Path, name: str) -> Pointer:
    """The pointer of a name. Raises Misconfigured("bad-model") for a file that is none."""
    path = pointer_path(root, name)
    try:
        values = json.loads(path.read_bytes())
        history = tuple(Change(**each) for each in values["history"])
        version = values["active"]
        if not history or version != history[-1].after or not isinstance(version, str):
            raise ValueError("the history does not end at the active version")
    except (FileNotFoundError, NotADirectoryError):
        return Pointer(None, ())
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Misconfigured(
            "bad-model", f"{path} cannot be used ({error}); move it away, then promote a version of {name} again."
        ) from error
    return Pointer(version, history)


def move_pointer(root: Path, name: str, change: Change) -> Pointer:
    """Put ``change`` into force. Raises Refused("conflict") where the pointer moved since ``change.before`` was read."""
    with changing(root):
        held = read_pointer(root, name)
        if held.version is not None and held.version != change.before:
            raise Refused("conflict", f"{name} was switched to {held.version} meanwhile; look again, then repeat.")
        moved = Pointer(change.after, (*held.history, change))
        (root / name).mkdir(exist_ok=True)
        content = {"active": moved.version, "history": [asdict(each) for each in moved.history]}
        put(pointer_path(root, name), json.dumps(content, ensure_ascii=False, indent=1).encode())
    return moved
