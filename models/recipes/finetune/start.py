"""Where a fine-tune starts: a local Hugging Face directory, or a shipped base unpacked from its network file."""

from __future__ import annotations

from pathlib import Path

from models.recipes.base.ship import unpack
from models.recipes.finetune.base import Base, open_base
from models.registry import SHIPPED, open_version


def open_start(base: str, work: Path) -> Base:
    """Open a base: the path of a directory (anything with a slash), or a shipped one, "name" or "name@version".

    A shipped one is unpacked to ``work/base``. Raises Misconfigured("bad-model") where it cannot be used.
    """
    if "/" in base:
        return open_base(Path(base))
    version = open_version(SHIPPED, base)
    return open_base(unpack(version, work / "base"))
